"""Telling until it has arrived: real commands, a real server, real ledgers, and a clock that is set by hand."""

import json
import multiprocessing
import re
import time
from pathlib import Path

import pytest

from oact_dagster.feed.decisions import decide_feed, decide_retry
from oact_dagster.feed.notices import FIRST_DELAY_S, MOST_TRIES, NEWS, send_news
from oact_dagster.feed.state import let_go_on, pause
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign, load_campaign
from oact_dagster.settings.notify import NotifySettings
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.feed.test_decisions import restarted
from oact_dagster_tests.feed.test_notification import Server, no_proxy, server  # noqa: F401
from oact_dagster_tests.feed.test_supply import campaign_of

T0 = 1_800_000_000.0


class Told:
    """A command that notes each text it gets, and ends as it is told to."""

    def __init__(self, folder: Path) -> None:
        self.file, self.exit_code = folder / "told", folder / "exit_code"
        self.file.touch()
        self.ends_with(0)
        script = f"cat >> {self.file}; exit $(cat {self.exit_code})"
        self.settings = NotifySettings(command=("/bin/sh", "-c", script))

    def ends_with(self, exit_code: int) -> None:
        self.exit_code.write_text(str(exit_code))

    @property
    def texts(self) -> list[str]:
        return self.file.read_text().splitlines()


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


@pytest.fixture
def paused(tmp_path: Path, told: Told) -> tuple[Campaign, Ledger]:
    campaign, ledger = campaign_of(tmp_path, TestEngine(tmp_path), 2)
    pause(ledger, "all is wrong")
    return campaign.model_copy(update={"notify": told.settings}), ledger


def tick(campaign: Campaign, ledger: Ledger, at: float) -> list[str]:
    """As the sensors of the feed and of the retries, one after the other."""
    return [
        line
        for decide in (decide_feed, decide_retry)
        for line in send_news(campaign, ledger, decide(campaign, ledger, 0), at)
    ]


def test_what_has_arrived_is_told_once(paused: tuple[Campaign, Ledger], told: Told) -> None:
    campaign, ledger = paused
    assert [tick(campaign, ledger, T0 + 60 * minute) for minute in range(5)] == [[]] * 5
    assert told.texts == [
        "the campaign test is paused: all is wrong; `oact release CAMPAIGN --feed` lets it go on"
    ]


def test_a_command_that_delivers_and_fails_is_called_a_few_times_and_no_more(
    paused: tuple[Campaign, Ledger], told: Told
) -> None:
    campaign, ledger = paused
    told.ends_with(3)
    tried, lines = [], []
    # Every 20 s for a day, by both sensors; with a new process each hour.
    for number in range(3 * 60 * 24):
        at = T0 + 20 * number
        if number % 180 == 0:
            ledger = restarted(ledger)
        before = len(told.texts)
        lines += tick(campaign, ledger, at)
        tried += [at - T0] * (len(told.texts) - before)
    assert tried == [0, *(60.0 * (2**n - 1) for n in range(1, MOST_TRIES))] and MOST_TRIES == 10
    assert len(lines) == MOST_TRIES
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(T0 + FIRST_DELAY_S))
    assert lines[0].startswith("notify.command: /bin/sh ended with exit code 3")
    assert lines[0].endswith(f"; tried 1 of 10 times, next try at {when}")
    assert lines[-1].endswith("; tried 10 times, giving up")


def test_it_arrives_by_a_later_try(paused: tuple[Campaign, Ledger], told: Told) -> None:
    campaign, ledger = paused
    told.ends_with(1)
    assert len(tick(campaign, ledger, T0)) == 1
    told.ends_with(0)
    assert tick(campaign, ledger, T0 + FIRST_DELAY_S - 1) == [] and len(told.texts) == 1
    assert tick(campaign, ledger, T0 + FIRST_DELAY_S) == [] and len(told.texts) == 2
    assert tick(campaign, ledger, T0 + 1e6) == [] and len(told.texts) == 2


def test_a_clock_that_was_set_back_delays_nothing(paused: tuple[Campaign, Ledger], told: Told) -> None:
    campaign, ledger = paused
    told.ends_with(1)
    assert len(tick(campaign, ledger, T0)) == 1
    assert len(tick(campaign, ledger, T0 - 1e6)) == 1
    assert tick(campaign, ledger, T0 - 1e6 + 1) == []


def test_what_is_not_so_any_more_is_not_told(paused: tuple[Campaign, Ledger], told: Told) -> None:
    campaign, ledger = paused
    told.ends_with(1)
    tick(campaign, ledger, T0)
    let_go_on(ledger)
    assert tick(campaign, ledger, T0 + 1e6) == [] and len(told.texts) == 1
    told.ends_with(0)
    pause(ledger, "all is wrong")
    assert tick(campaign, ledger, T0 + 2e6) == [] and len(told.texts) == 2, "the next pause is news again"


def test_a_pause_that_comes_before_the_next_tick_is_news_too(
    paused: tuple[Campaign, Ledger], told: Told
) -> None:
    campaign, ledger = paused
    tick(campaign, ledger, T0)
    let_go_on(ledger)
    pause(ledger, "all is wrong")
    tick(campaign, ledger, T0 + 300)
    assert len(told.texts) == 2


def test_a_tick_that_died_before_it_could_tell(paused: tuple[Campaign, Ledger], told: Told) -> None:
    campaign, ledger = paused
    assert decide_feed(campaign, ledger, 0).news
    ledger = restarted(ledger)
    assert tick(campaign, ledger, T0) == [] and len(told.texts) == 1


def test_who_is_to_be_told_only_later_is_told_then(paused: tuple[Campaign, Ledger], told: Told) -> None:
    campaign, ledger = paused
    nobody = campaign.model_copy(update={"notify": NotifySettings()})
    assert tick(nobody, ledger, T0) == [] and ledger.meta(NEWS.key) is None
    assert tick(campaign, ledger, T0 + 60) == [] and len(told.texts) == 1


def test_only_the_way_that_failed_is_tried_again(
    paused: tuple[Campaign, Ledger],
    told: Told,
    server: Server,  # noqa: F811
) -> None:
    campaign, ledger = paused
    both = told.settings.model_copy(update={"webhook": server.address})
    campaign = campaign.model_copy(update={"notify": both})
    server.status = 503
    (line,) = tick(campaign, ledger, T0)
    assert re.match(r"notify.webhook: 127.0.0.1: HTTP Error 503.*; tried 1 of 10 times, next try at 20", line)
    server.status = 200
    assert tick(campaign, ledger, T0 + 60) == []
    assert len(told.texts) == 1 and len(server.posts) == 2
    assert tick(campaign, ledger, T0 + 1e6) == [] and len(server.posts) == 2


def test_what_cannot_be_read_is_told_once_more(paused: tuple[Campaign, Ledger], told: Told) -> None:
    campaign, ledger = paused
    for broken in ("[", "[]", '{"paused": {}}', '{"paused": {"text": "a", "left": 1, "tries": 1}}'):
        ledger.set_meta(NEWS.key, broken)
        tick(campaign, ledger, T0)
        assert json.loads(ledger.meta(NEWS.key) or "")["paused"]["tries"] == 1
    assert len(told.texts) == 4


def _daemon(file: Path, begin: "multiprocessing.synchronize.Barrier", exits: Path) -> None:
    campaign = load_campaign(file)
    command = ("/bin/sh", "-c", f"cat >> {exits.parent / 'told'}; exit $(cat {exits})")
    campaign = campaign.model_copy(update={"notify": NotifySettings(command=command)})
    with Ledger(campaign.ledger) as ledger:
        for number in range(20):
            begin.wait()
            tick(campaign, ledger, T0 + FIRST_DELAY_S * number)


def test_two_daemons_together_try_as_often_as_one(paused: tuple[Campaign, Ledger], told: Told) -> None:
    campaign, _ = paused
    told.ends_with(1)
    context = multiprocessing.get_context("spawn")
    begin = context.Barrier(2)
    daemons = [context.Process(target=_daemon, args=(campaign.file, begin, told.exit_code)) for _ in range(2)]
    for daemon in daemons:
        daemon.start()
    for daemon in daemons:
        daemon.join()
    assert [daemon.exitcode for daemon in daemons] == [0, 0]
    assert len(told.texts) == 5, "at 0, 1, 3, 7 and 15 of 19 min"

"""When `campaign_summary` is asked for: real ledgers, and a clock that is set by hand."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.feed.state import BUDGET, PAUSED, first_time, let_go_on, no_longer, pause
from oact_dagster.intake.csv_stamp import csv_stamp, note_refused
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign, load_campaign
from oact_dagster.status.summary_requests import (
    ASK_AGAIN_S,
    MOST_SUMMARY_TRIES,
    SUMMARY,
    note_shown,
    standing,
    to_ask,
)
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.feed.test_decisions import restarted
from oact_dagster_tests.feed.test_supply import campaign_of

T0 = 1_800_000_000.0


@pytest.fixture
def made(tmp_path: Path) -> tuple[Campaign, Ledger]:
    return campaign_of(tmp_path, TestEngine(tmp_path), 2)


def asks(campaign: Campaign, ledger: Ledger, at: float = T0, *, under_way: bool = False) -> bool:
    return bool(to_ask(campaign, ledger, under_way=under_way, now=at))


def test_each_change_is_asked_for_once_and_so_is_its_end(made: tuple[Campaign, Ledger]) -> None:
    campaign, ledger = made
    assert not asks(campaign, ledger), "nothing to tell yet"

    def refuse(reason: str) -> None:
        note_refused(ledger, csv_stamp(campaign), reason)

    changes: list[Any] = [
        lambda: pause(ledger, "all is wrong"),
        lambda: let_go_on(ledger),
        lambda: first_time(ledger, BUDGET),
        lambda: no_longer(ledger, BUDGET),
        lambda: refuse("a row vanished"),
        lambda: refuse("another row vanished"),
        lambda: campaign.csv_file.touch(),
        lambda: pause(ledger, "all is wrong"),
    ]
    for number, change in enumerate(changes):
        change()
        assert [asks(campaign, ledger), asks(campaign, ledger)] == [True, False], number
        ledger = restarted(ledger)
        assert not asks(campaign, ledger)
        note_shown(ledger, standing(campaign, ledger))
        assert not asks(campaign, ledger, T0 + 1e6), number


def test_the_same_pause_once_more_is_another_request(made: tuple[Campaign, Ledger]) -> None:
    campaign, ledger = made
    keys = set()
    for number in range(3):
        pause(ledger, "all is wrong")
        keys.add(to_ask(campaign, ledger, under_way=False, now=T0 + number))
        note_shown(ledger, standing(campaign, ledger))
        let_go_on(ledger)
        note_shown(ledger, standing(campaign, ledger))
    assert len(keys) == 3 and "" not in keys


def test_that_a_pause_was_told_is_no_change(made: tuple[Campaign, Ledger]) -> None:
    campaign, ledger = made
    pause(ledger, "all is wrong")
    note_shown(ledger, standing(campaign, ledger))
    first_time(ledger, PAUSED)
    assert not asks(campaign, ledger)


def test_what_came_while_it_was_made_is_asked_for(made: tuple[Campaign, Ledger]) -> None:
    campaign, ledger = made
    before = standing(campaign, ledger)
    pause(ledger, "all is wrong")
    note_shown(ledger, before)
    assert asks(campaign, ledger)


def test_a_run_that_failed_or_was_never_begun_is_asked_for_again_three_times_in_all(
    made: tuple[Campaign, Ledger],
) -> None:
    campaign, ledger = made
    pause(ledger, "all is wrong")
    assert asks(campaign, ledger)
    assert not asks(campaign, ledger, T0 + ASK_AGAIN_S - 1)
    assert not asks(campaign, ledger, T0 + 1e6, under_way=True), "it waits in the queue, or is at work"
    times = 1
    for number in range(1, 100):
        times += asks(campaign, ledger, T0 + number * ASK_AGAIN_S)
    assert times == MOST_SUMMARY_TRIES
    pause(ledger, "told before")
    first_time(ledger, BUDGET)
    assert asks(campaign, ledger, T0 + 1e6), "the next change is asked for anew"


def test_what_cannot_be_read_is_asked_for_once_more(made: tuple[Campaign, Ledger]) -> None:
    campaign, ledger = made
    pause(ledger, "all is wrong")
    for broken in ("[", "[1]", "null", "", '{"times": "x"}'):
        ledger.set_meta(SUMMARY.key, broken)
        assert asks(campaign, ledger) and not asks(campaign, ledger)


def _daemon(file: Path, begin: Any, asked: Any) -> None:
    campaign = load_campaign(file)
    with Ledger(campaign.ledger) as ledger:
        for number in range(20):
            begin.wait()
            key = to_ask(campaign, ledger, under_way=False, now=T0 + number)
            if key:
                asked.put((number, key))
            begin.wait()
            if begin.wait() == 0:
                note_shown(ledger, standing(campaign, ledger))
                let_go_on(ledger) if number % 2 else pause(ledger, "all is wrong")
            begin.wait()


def test_two_daemons_ask_once(made: tuple[Campaign, Ledger]) -> None:
    campaign, ledger = made
    pause(ledger, "all is wrong")
    context = multiprocessing.get_context("spawn")
    begin, asked = context.Barrier(2), context.Queue()
    daemons = [context.Process(target=_daemon, args=(campaign.file, begin, asked)) for _ in range(2)]
    for daemon in daemons:
        daemon.start()
    for daemon in daemons:
        daemon.join()
    assert [daemon.exitcode for daemon in daemons] == [0, 0]
    found = []
    while not asked.empty():
        found.append(asked.get())
    numbers = sorted(number for number, _ in found)
    # In the first round what was there before; then pause is set on an even number, and is so already on 0.
    assert numbers == sorted(set(numbers)) and numbers == [0, *range(2, 20)]

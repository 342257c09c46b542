"""What is shown of a campaign that runs itself: in the dashboard, in JSON, and on `campaign_summary`."""

import json
import re
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from oact_dagster.defs.summary import summary_materialization
from oact_dagster.feed.bad_hosts import bad_hosts
from oact_dagster.feed.decisions import decide_feed
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.feed_status import feed_overview
from oact_dagster.status.quality import evaluate
from oact_dagster_tests.cli.command import oact
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.feed.test_decisions import AT_ONCE, carry_out
from oact_dagster_tests.feed.test_supply import campaign_of, run
from oact_dagster_tests.ledger.samples import run as attempt


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path)


def on_the_asset(campaign: Campaign, ledger: Ledger) -> dict[str, Any]:
    quality = evaluate(campaign, ledger)
    found = summary_materialization(campaign, ledger, dg.AssetKey("campaign_summary"), quality)
    return {key: value.value for key, value in found.metadata.items()}


def test_a_campaign_with_nothing_to_tell(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 2, **AT_ONCE)
    run(campaign, ledger, "feed", 2, "feed")
    found = feed_overview(
        campaign.model_copy(update={"feed": campaign.feed.model_copy(update={"trial": 0})}), ledger
    )
    assert list(found.lines()) == []
    assert (found.paused, found.resting, found.next_due_at, found.without_remedy) == ("", 0, None, 0)
    assert on_the_asset(campaign, ledger)["feed"] == "Trial: 2 of 20 structures have ended (feed.trial)"


def test_a_paused_campaign_and_its_release(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("crash")
    settings = {**AT_ONCE, "feed": {"trial": 5, "core_hours": 1000}}
    campaign, ledger = campaign_of(tmp_path, engine, 8, **settings)
    carry_out(campaign, ledger, decide_feed(campaign, ledger, 0))
    assert "paused" in decide_feed(campaign, ledger, 0).said
    ledger.hold([7])
    told = "PAUSED: 5 of the last 5 attempts failed: 5 aborted (feed.pause_at_failure_rate 0.5); "
    dashboard = oact("dashboard", campaign.file)
    assert told + "`oact release CAMPAIGN --feed` lets it go on\n" in dashboard.stdout, dashboard.stderr
    assert "of 1000 core-hours (feed.core_hours)\n" in dashboard.stdout
    assert on_the_asset(campaign, ledger)["feed"].startswith(told)
    feed = json.loads(oact("dashboard", campaign.file, "--json").stdout)["feed"]
    assert feed["paused"].startswith("5 of the last 5") and feed["core_hours_budget"] == 1000
    assert 0 < feed["core_hours_spent"] < 1 and feed["trial_ended"] == 5

    released = oact("release", campaign.file, "--feed")
    assert released.stdout.startswith("the campaign goes on; it was paused: 5 of the last 5 attempts failed")
    assert ledger.figures.count_held() == 1, "held structures stay held"
    assert oact("release", campaign.file, "--feed").stdout == "the campaign was not paused\n"
    assert "PAUSED" not in oact("dashboard", campaign.file).stdout


def test_a_spent_budget(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 2, feed={"core_hours": 1e-9, "trial": 0})
    assert next(feed_overview(campaign, ledger).lines()) == "Budget: 0 of 1e-09 core-hours (feed.core_hours)"
    run(campaign, ledger, "feed", 1, "feed")
    assert next(feed_overview(campaign, ledger).lines()).startswith("BUDGET SPENT: ")


def test_what_rests_and_what_has_no_remedy_left(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("crash", 0, 1)
    engine.set("input_error", 2)
    settings = {"retry": {"delay_s": 600}, "feed": {"trial": 0}}
    campaign, ledger = campaign_of(tmp_path, engine, 4, **settings)
    now = time.time()
    run(campaign, ledger, "feed", 4, "feed", now)
    ended = [ledger.history.attempts(index)[0].ended_at or 0.0 for index in range(3)]
    found = feed_overview(campaign, ledger, now)
    assert found.resting == 2 and found.next_due_at == pytest.approx(min(ended[:2]) + 600)
    due = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.next_due_at))
    assert list(found.lines()) == [
        f"resting 2 (waiting for their next attempt; the first is due at {due})",
        "set aside 1 because no remedy is left for their failures",
    ]
    ledger.hold([1])
    run(campaign, ledger, "retry", 4, "retry", now + 700)
    found = feed_overview(campaign, ledger, now + 700)
    assert (found.resting, found.without_remedy) == (0, 2)
    assert "set aside 2 because no remedy is left for their failures" in list(found.lines())
    shown = on_the_asset(campaign, ledger)
    assert (shown["set_aside"], shown["set_aside_without_remedy"]) == (2, 2)
    shown = json.loads(oact("dashboard", campaign.file, "--json").stdout)
    assert shown["feed"]["without_remedy"] == 2
    assert shown["left"] == 1, "those for which something is left to try"
    listed = oact("dashboard", campaign.file, "--show-chronic-failures", "3").stdout
    assert "Set Aside (failed less than 3 times)" in listed
    assert re.search(r"^ +3 +2 failed +3 +1  input_error: ", listed, re.MULTILINE)
    found = json.loads(oact("dashboard", campaign.ledger, "--json", "--show-chronic-failures", "3").stdout)
    assert [job["orig_index"] for job in found["set_aside"]] == [0, 2]
    assert found["chronic_failures"] == []
    ledger.reset([Status.FAILED])
    assert "Set Aside" not in oact("dashboard", campaign.file, "--show-chronic-failures", "3").stdout


def test_a_bad_host_and_its_release(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 4, launcher={"kind": "slurm"})
    for index in range(3):
        attempt(ledger, index, Outcome.LOST, host="n17")
    bad_hosts(campaign, ledger)
    line = "Bad hosts: n17 (3 structures): avoided; `oact release --host NAME` readmits one"
    assert line in oact("dashboard", campaign.file).stdout
    assert line in on_the_asset(campaign, ledger)["feed"]
    assert json.loads(oact("dashboard", campaign.file, "--json").stdout)["feed"]["bad_hosts"] == {"n17": 3}
    assert "bad hosts: n17" in decide_feed(campaign, ledger, 0).said
    ledger.hold([3])
    done = oact("release", campaign.file, "--host", "n17", "--host", "n18")
    assert done.stdout == "n17 is no longer avoided\nn18 was not avoided\n"
    assert ledger.figures.count_held() == 1
    assert "Bad hosts" not in oact("dashboard", campaign.file).stdout


def test_what_was_lost_too_often_is_listed_and_not_ready(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 3, retry={"max_losses": 2}, feed={"trial": 0})
    for _ in range(2):
        attempt(ledger, 1, Outcome.LOST)
    listed = oact("dashboard", campaign.file, "--show-chronic-failures", "3", "--show-ready").stdout
    aside = listed.partition("Set Aside (failed less than 3 times)")[2]
    assert re.search(r"^ +2 +1 to_run +3 +0", aside, re.MULTILINE)
    ready = listed.partition("Ready Jobs")[2].partition("Chronic")[0]
    assert re.findall(r"^ +\d+ +(\d+) to_run", ready, re.MULTILINE) == ["0", "2"]
    shown = json.loads(oact("dashboard", campaign.ledger, "--json", "--show-chronic-failures", "1").stdout)
    assert [job["orig_index"] for job in shown["set_aside"]] == [1]


def test_what_stops_a_campaign_hides_when_it_would_end(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 3, feed={"trial": 0})
    run(campaign, ledger, "feed", 1, "feed")
    found = feed_overview(campaign, ledger)
    assert not found.stopped
    orca = campaign.orca.model_copy(update={"functional": "PBE0"})
    other = feed_overview(campaign.model_copy(update={"orca": orca}), ledger)
    (line,) = other.lines()
    assert other.stopped and line.startswith("REFUSED: ") and "PBE0" in line

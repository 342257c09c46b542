"""`campaign_summary` says how a campaign that runs itself stands, as soon as a tick finds that it has changed."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from oact_dagster.feed.state import let_go_on
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.campaigns import write_csv
from oact_dagster_tests.chaos.world import MODULE
from oact_dagster_tests.defs.test_sensors import Watched
from oact_dagster_tests.waiting import until

pytestmark = pytest.mark.slow

SENSORS = ("intake", "feed", "retry")


class Shown(Watched):
    @property
    def feed(self) -> str:
        """What the newest ``campaign_summary`` says of the feed; empty where there is none."""
        event = self.instance.get_latest_materialization_event(dg.AssetKey("campaign_summary"))
        if event is None or event.asset_materialization is None:
            return ""
        return str(event.asset_materialization.metadata["feed"].value)

    def asks(self) -> int:
        """How many summaries a tick of each sensor asks for; they are made."""
        found = 0
        for name in SENSORS:
            self.tick(name)
            found += len(self.summaries)
            assert all(self.carry_out(request) for request in self.summaries)
        return found


def test_a_pause_and_its_end_are_shown_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Shown(tmp_path, 30, monkeypatch, feed={"trial": 6}, retry={"delay_s": 600})
    assert project.asks() == 0, "a new campaign has nothing to tell"
    project.engine.set("crash")
    (request,), _ = project.tick("feed")
    assert not project.carry_out(request)
    assert "PAUSED" not in project.feed, "the run ended before the sensors decided"
    assert project.asks() == 1
    assert project.feed.startswith("PAUSED: 6 of the last 6 attempts failed")
    assert project.asks() == 0 and project.asks() == 0
    with Ledger(project.campaign.ledger) as ledger:
        let_go_on(ledger)
    assert project.asks() == 1 and "PAUSED" not in project.feed
    assert project.asks() == 0


def test_a_request_that_waits_in_the_queue_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Shown(tmp_path, 8, monkeypatch, feed={"trial": 6}, retry={"delay_s": 600})
    project.engine.set("crash")
    project.carry_out(project.tick("feed")[0][0])
    project.tick("retry")
    (request,) = project.summaries
    assert request.run_key and request.job_name == "summarise"
    for name in SENSORS:
        assert project.tick(name)[0] == [] and project.summaries == []
    assert "PAUSED" not in project.feed and project.carry_out(request) and "PAUSED" in project.feed


def test_a_spent_budget_and_a_larger_one_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Shown(tmp_path, 4, monkeypatch, feed={"trial": 2, "core_hours": 1e-9})
    project.carry_out(project.tick("feed")[0][0])
    assert project.asks() == 1 and "BUDGET SPENT" in project.feed and project.asks() == 0
    file = project.campaign.file
    file.write_text(file.read_text().replace("core_hours: 1.0e-09", "core_hours: 1000.0"))
    assert project.asks() == 1 and "Budget: " in project.feed and "SPENT" not in project.feed
    assert project.asks() == 0


def test_that_a_campaign_is_done_is_shown_until_there_is_more_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Shown(tmp_path, 2, monkeypatch, feed={"trial": 0})
    project.carry_out(project.tick("feed")[0][0])
    assert project.asks() == 1 and project.feed == "Done: 2 completed" and project.asks() == 0
    write_csv(project.campaign.csv_file, 1, first=2)
    (request,), _ = project.tick("intake")
    assert project.carry_out(request)
    assert project.asks() == 1 and project.feed == "nothing to tell" and project.asks() == 0


def test_a_refused_csv_is_shown_until_it_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Shown(tmp_path, 3, monkeypatch)
    file = project.campaign.csv_file
    good, stat = file.read_bytes(), file.stat()
    file.write_bytes(good.replace(b"-0.001000", b"-0.101000", 1))
    (request,), _ = project.tick("intake")
    assert not project.carry_out(request) and project.feed == ""
    assert project.asks() == 1 and project.feed.startswith("CSV REFUSED: ") and project.asks() == 0
    # As it was, and all that a tick looks at is as it was.
    file.write_bytes(good)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    requests, said = project.tick("intake")
    assert requests == [] and "has not changed since" in said and len(project.summaries) == 1
    assert project.carry_out(project.summaries[0]) and project.feed == "nothing to tell"
    assert project.asks() == 0


def test_a_real_daemon_shows_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = {"trial": 4, "interval_s": 5}
    project = Shown(tmp_path, 12, monkeypatch, feed=feed, retry={"delay_s": 600})
    project.engine.set("crash")
    for name in SENSORS:
        done = project.dagster("sensor", "start", "-m", MODULE, f"{name}_sensor")
        assert done.returncode == 0, done.stderr
    environment = {
        name: value for name, value in project.environment.items() if name != "DAGSTER_MODULE_NAME"
    }
    with (tmp_path / "daemon.log").open("w") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-m", MODULE],
            cwd=project.campaign.folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: "PAUSED" in project.feed, "the summary")
        for _ in range(2):
            ticks = _ticks(project.instance)
            until(lambda ticks=ticks: _ticks(project.instance) > ticks, "another tick")  # type: ignore[misc]
    finally:
        daemon.terminate()
        daemon.wait()
    runs = project.instance.get_runs(dg.RunsFilter(job_name="summarise"))
    assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS], "once, whoever saw it"


def _ticks(instance: dg.DagsterInstance) -> int:
    """Ticks of the feed's sensor that have ended."""
    (state,) = [one for one in instance.all_instigator_state() if one.instigator_name == "feed_sensor"]
    return len(instance.get_ticks(state.instigator_origin_id, state.selector_id))

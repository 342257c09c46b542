"""Dagster's folder is removed, or its disk fills up, under a run: one line says so, and nothing is lost."""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance

from oact_dagster.defs.in_process import run_intake
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.cli.command import assert_one_line, command, environment, oact
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.mounts import make_room, small_disk
from oact_dagster_tests.waiting import until

pytestmark = pytest.mark.slow

STRUCTURES = 6


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path / "engine")


def counts(campaign: Campaign) -> dict[Status, int]:
    with Ledger(campaign.ledger) as ledger:
        return ledger.figures.count_by_status()


def assert_nothing_was_lost(campaign: Campaign) -> None:
    with Ledger(campaign.ledger) as ledger:
        found = ledger.structures.of(range(STRUCTURES)).values()
        assert {(one.fail_count, one.loss_count, one.held) for one in found} == {(0, 0, False)}


def assert_all_are_shown(home: Path) -> None:
    with DagsterInstance.from_config(str(home)) as instance:
        for asset in ("orca_inputs", "orca_results", "metric_summaries"):
            shown = instance.get_materialized_partitions(AssetKey(asset))
            assert shown == set(map(str, range(STRUCTURES))), asset


def remove(home: Path) -> None:
    """Remove a folder that is in use, at once."""
    shutil.rmtree(home.rename(home.with_name("removed")))


def quiet(text: str) -> bool:
    """Whether neither Python nor Dagster has printed an error of theirs."""
    return not any(word in text for word in ("Traceback", "Exception", "sqlalche", "Logging error"))


@pytest.mark.parametrize("named", [False, True], ids=["beside the campaign", "DAGSTER_HOME"])
@pytest.mark.parametrize("seen", ["by an event", "by itself"])
def test_what_computes_here_goes_on_when_dagsters_folder_is_removed(
    tmp_path: Path, engine: TestEngine, named: bool, seen: str
) -> None:
    engine.set("wait")
    campaign = write_campaign(tmp_path / "c", STRUCTURES, engine.path)
    home = tmp_path / "home" if named else campaign.folder / ".dagster"
    variables = {"DAGSTER_HOME": str(home)} if named else {}
    run = subprocess.Popen(
        command("run", campaign.file),
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: len(engine.runs) == 2)
    remove(home)
    if seen == "by itself":
        # What waits is given back, and what computes is left alone.
        until(lambda: counts(campaign) == {Status.RUNNING: 2, Status.TO_RUN: 4})
    (engine.control / "go").touch()
    out, err = run.communicate(timeout=120)
    assert run.returncode == 1, (out, err)
    lines = err.splitlines()
    assert lines[-1] == (
        f"oact: {home}: Dagster's folder was removed while it was in use; the ledger has all results: run again"
        " to show them in Dagster"
    )
    assert all(line.startswith("oact: ") for line in lines) and quiet(out + err), (out, err)
    done = counts(campaign)[Status.COMPLETED]
    assert counts(campaign) == {Status.COMPLETED: done, Status.TO_RUN: STRUCTURES - done} and done >= 2
    assert f"oact: {STRUCTURES - done} not run: Dagster's storage was lost before it was started" in lines
    assert not home.exists()

    again = oact("run", campaign.file, **variables)
    assert again.returncode == 0, again.stderr
    assert Counter(engine.runs) == dict.fromkeys(range(STRUCTURES), 1)
    assert_nothing_was_lost(campaign)
    assert_all_are_shown(home)


def test_results_that_dagster_has_missed_are_shown_though_nothing_is_left_to_compute(
    tmp_path: Path, engine: TestEngine
) -> None:
    campaign = write_campaign(tmp_path / "c", STRUCTURES, engine.path)
    assert oact("run", campaign.file).returncode == 0
    remove(campaign.folder / ".dagster")
    again = oact("run", campaign.file)
    assert again.returncode == 0, again.stderr
    assert f"adding to Dagster {STRUCTURES} results that it does not show yet\n" in again.stdout
    assert_all_are_shown(campaign.folder / ".dagster")
    last = oact("run", campaign.file)
    assert "nothing to compute" in last.stdout and "are shown" not in last.stdout
    assert len(engine.runs) == STRUCTURES


def test_a_run_of_dagsters_own_ends_well_when_its_folder_is_removed(
    tmp_path: Path, engine: TestEngine
) -> None:
    engine.set("wait")
    campaign = write_campaign(tmp_path / "c", STRUCTURES, engine.path)
    home = campaign.folder / ".dagster"
    assert run_intake(campaign).success
    run = subprocess.Popen(
        [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "oact_dagster.definitions", "--select",
         "orca_inputs,orca_results,metric_summaries,campaign_summary", "--partition-range", f"0...{STRUCTURES - 1}"],
        env=environment(OACT_CAMPAIGN=str(campaign.file), DAGSTER_HOME=str(home)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    until(lambda: len(engine.runs) == 2)
    remove(home)
    (engine.control / "go").touch()
    out, err = run.communicate(timeout=120)
    assert run.returncode == 1 and f"Failure: {home}: Dagster's folder was removed" in err, (out, err)
    assert "Traceback" not in out + err and "sqlalche" not in out + err, (out, err)
    done = counts(campaign)[Status.COMPLETED]
    assert counts(campaign) == {Status.COMPLETED: done, Status.TO_RUN: STRUCTURES - done} and done >= 2
    assert oact("run", campaign.file).returncode == 0
    assert Counter(engine.runs) == dict.fromkeys(range(STRUCTURES), 1)
    assert_nothing_was_lost(campaign)
    assert_all_are_shown(home)


FILLS = """
from pathlib import Path
from oact_dagster_tests.mounts import fill

def add_files(folder, record):
    once = Path({once!r})
    if record.orig_index == 3 and not once.exists():
        once.touch()
        fill(Path({disk!r}))
    (folder / "notes.txt").write_text("of the user's own")
"""


@pytest.mark.parametrize("all_of_it", [True, False], ids=["all on it", "job folders"])
def test_a_disk_that_fills_up_is_told_in_one_line_and_costs_nothing(
    tmp_path: Path, engine: TestEngine, all_of_it: bool
) -> None:
    with small_disk(tmp_path / "disk", "24m") as disk:
        folder = disk / "c" if all_of_it else tmp_path / "c"
        settings = {"setup_func": "fills:add_files", "jobs_dir": "jobs" if all_of_it else str(disk)}
        campaign = write_campaign(folder, STRUCTURES, engine.path, settings=settings)
        (folder / "fills.py").write_text(FILLS.format(once=str(tmp_path / "once"), disk=str(disk)))
        full = oact("run", campaign.file)
        assert full.returncode == 1, (full.stdout, full.stderr)
        place = campaign.ledger if all_of_it else campaign.jobs_dir
        assert full.stderr.count("\n") == 1 and full.stderr.startswith("oact: "), full.stderr
        assert str(place) in full.stderr and quiet(full.stdout + full.stderr), full.stderr
        assert engine.runs == []

        # Nothing changes as long as there is no room.
        still = oact("run", campaign.file)
        assert still.returncode in (1, 2) and still.stderr.count("\n") == 1, (still.stdout, still.stderr)
        assert quiet(still.stdout + still.stderr) and engine.runs == []

        make_room(disk)
        done = oact("run", campaign.file)
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert Counter(engine.runs) == dict.fromkeys(range(STRUCTURES), 1)
        assert_nothing_was_lost(campaign)
        assert_all_are_shown(folder / ".dagster")


def test_dagsters_folder_on_a_full_disk_is_told_in_one_line(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 2, engine.path)
    with small_disk(tmp_path / "disk", "64k") as disk:
        home = disk / "home"
        done = oact("run", campaign.file, DAGSTER_HOME=str(home))
        assert_one_line(done, f"{home}: Dagster's storage cannot be written: no space left on its disk")
        assert engine.runs == []

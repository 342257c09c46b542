"""``oact run``: what it computes, what it says, and its exit code."""

import json
from pathlib import Path

import pytest
from dagster import DagsterInstance

from oact_dagster.campaign import Campaign
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.campaigns import write_campaign, write_csv
from oact_dagster_tests.cli.command import assert_one_line, oact
from oact_dagster_tests.engines import ENERGY, TestEngine


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path / "engine")


def counts(campaign: Campaign) -> dict[Status, int]:
    with Ledger(campaign.ledger) as ledger:
        return ledger.count_by_status()


def test_a_campaign_runs_to_its_end_and_is_then_done(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 5, engine.path)
    done = oact("run", campaign.file)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "5/5 done: 5 computed, 0 failed, 0 running" in done.stdout
    assert "completed           5     100.0%" in done.stdout
    assert "all 5 structures are completed" in done.stdout
    # Neither a bar nor Dagster's log in a pipe: the log is in a file.
    assert "\x1b" not in done.stdout and "\r" not in done.stdout
    assert "STEP_START" not in done.stdout
    assert "STEP_START" in (campaign.folder / ".dagster" / "oact-run.log").read_text()
    assert sorted(engine.runs) == [0, 1, 2, 3, 4]

    again = oact("run", campaign.folder)
    assert again.returncode == 0, again.stderr
    assert "nothing to compute" in again.stdout and "taking in" not in again.stdout
    assert len(engine.runs) == 5

    named = oact("run", ".", "--structures", "1-2", cwd=campaign.folder)
    assert named.returncode == 0, named.stderr
    assert "2/2 done: 0 computed, 2 reused" in named.stdout and "nothing to compute" in named.stdout
    assert len(engine.runs) == 5


def test_named_structures_and_limits(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 6, engine.path)
    done = oact("run", campaign.file, "--structures", "0-1,4")
    assert done.returncode == 0, done.stderr
    assert sorted(engine.runs) == [0, 1, 4]
    done = oact("run", campaign.file, "--limit", "2")
    assert done.returncode == 0, done.stderr
    assert sorted(engine.runs) == [0, 1, 2, 3, 4]
    assert counts(campaign) == {Status.COMPLETED: 5, Status.TO_RUN: 1}


@pytest.mark.parametrize("given", ["0-", "5-1", "one", "0-9,99", ""])
def test_structures_that_cannot_be_read_or_are_not_there(
    tmp_path: Path, engine: TestEngine, given: str
) -> None:
    campaign = write_campaign(tmp_path / "c", 2, engine.path)
    assert_one_line(oact("run", campaign.file, "--structures", given))
    assert engine.runs == []


def test_failures_are_told_by_class_and_neighbours_do_not_care(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(
        tmp_path / "c", 7, engine.path, broken=(6,), settings={"retry": {"max_failures": 2}}
    )
    engine.set("scf_not_converged", 1, 3)
    engine.set("crash", 4)
    done = oact("run", campaign.file)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 2, lines
    assert lines[0].startswith("oact: 2 failed, scf_not_converged (structures ")
    assert lines[1].startswith("oact: 1 failed, aborted (structures 4): the engine was killed by signal 11")
    # The refused row is said, and counts for nothing.
    assert "row 6 (line 20) rejected: " in done.stdout
    assert "rejected rows 1" in done.stdout
    assert "Failures by class: scf_not_converged 2, aborted 1" in done.stdout
    assert counts(campaign) == {Status.COMPLETED: 3, Status.FAILED: 3}

    # Again: the failed ones alone, until their budget is used up. A mended one completes.
    engine.set("normal", 4)
    done = oact("run", campaign.file)
    assert done.returncode == 1
    assert sorted(engine.runs) == [0, 1, 1, 2, 3, 3, 4, 4, 5]
    assert f"oact: 2 set aside, their budget (retry) is used up: `oact run {campaign.file}" in done.stderr

    done = oact("run", campaign.file)
    assert done.returncode == 1 and len(engine.runs) == 9
    assert "set aside after 2 failed attempts" in done.stderr
    engine.set("normal", 1, 3)
    done = oact("run", campaign.file, "--ignore-budget")
    assert done.returncode == 0, done.stderr
    assert counts(campaign) == {Status.COMPLETED: 6}


def test_held_structures_are_left_alone_until_named_or_released(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 4, engine.path)
    assert oact("run", campaign.file, "--structures", "0").returncode == 0
    with Ledger(campaign.ledger) as ledger:
        ledger.hold([1, 2, 3])
    done = oact("run", campaign.file)
    assert done.returncode == 1 and engine.runs == [0]
    assert "oact: 3 held: `oact release " in done.stderr
    assert "held 3" in done.stdout

    assert oact("run", campaign.file, "--structures", "1").returncode == 0
    released = oact("release", campaign.file, "--structures", "0-2")
    assert (released.returncode, released.stdout) == (
        0, "1 structures released of 3 named ones; the others were not held\n",
    )  # fmt: skip
    released = oact("release", campaign.folder)
    assert (released.returncode, released.stdout) == (0, "1 structures released\n")
    assert oact("run", campaign.file).returncode == 0
    assert engine.runs[:2] == [0, 1] and sorted(engine.runs) == [0, 1, 2, 3]


def test_a_grown_csv_is_taken_in_and_a_changed_one_refused(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 2, engine.path)
    assert oact("run", campaign.file).returncode == 0
    write_csv(campaign.csv, 2, first=2)
    done = oact("run", campaign.file)
    assert done.returncode == 0, done.stderr
    assert "4 structures in the ledger, 0 rejected rows" in done.stdout
    assert sorted(engine.runs) == [0, 1, 2, 3]

    text = campaign.csv.read_text()
    campaign.csv.write_text(text.replace("0.76 0.0 0.587", "0.77 0.0 0.587", 1))
    assert_one_line(oact("run", campaign.file), "1 rows that were taken in before changed", "oact init")
    assert len(engine.runs) == 4


def test_missing_partition_keys_are_registered_again(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 3, engine.path)
    assert oact("run", campaign.file).returncode == 0
    other = tmp_path / "other home"
    done = oact("run", campaign.file, DAGSTER_HOME=str(other))
    assert done.returncode == 0 and "taking in" in done.stdout, done.stderr
    with DagsterInstance.from_config(str(other)) as instance:
        assert instance.get_dynamic_partitions(campaign.partitions_name) == ["0", "1", "2"]


def test_another_level_of_theory_is_refused(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 2, engine.path)
    assert oact("run", campaign.file, "--structures", "0").returncode == 0
    campaign.file.write_text(campaign.file.read_text().replace("orca:\n", "orca:\n  functional: PBE0\n"))
    assert_one_line(oact("run", campaign.file), "functional=wB97M-V", "functional=PBE0")
    assert counts(campaign) == {Status.COMPLETED: 1, Status.TO_RUN: 1}


@pytest.mark.parametrize("broken", ["missing", "not executable", "no such word", "a folder"])
def test_without_an_engine_nothing_is_marked_running(tmp_path: Path, engine: TestEngine, broken: str) -> None:
    command = {
        "missing": str(tmp_path / "nowhere" / "orca"),
        "not executable": str(tmp_path / "plain"),
        "no such word": "orca-that-is-nowhere",
        "a folder": str(tmp_path),
    }[broken]
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    campaign = write_campaign(tmp_path / "c", 2, engine.path, settings={"orca": {"command": command}})
    assert_one_line(oact("run", campaign.file), "orca.command", command)
    assert not campaign.ledger.exists() and not campaign.jobs_dir.exists()


def test_all_that_keeps_it_from_running_is_told_at_once(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(
        tmp_path / "c",
        2,
        engine.path,
        settings={"orca": {"command": "orca-that-is-nowhere", "extra_lines": ["! DKH2"]}},
    )
    campaign.csv.unlink()
    done = oact("run", campaign.file)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 3 and all(line.startswith(f"oact: {campaign.file}: ") for line in lines), lines
    assert "orca.command" in lines[0] and "DKH2" in lines[1] and "structures.csv" in lines[2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("retry", "retries"), ("retries: no such setting (did you mean retry?)",)),
        (("max_workers: 2", "max_workers: 0"), ("launcher.max_workers", "greater than or equal to 1", "0")),
        (("max_workers: 2", "workers: 2"), ("launcher.workers: no such setting", "max_workers")),
        (("n_cores: 1", "n_cores: four"), ("orca.n_cores", "four")),
        (("name: test", "name: my campaign"), ("name:", "my campaign")),
        (("name: test", "name: [test"), ("line ", "not YAML")),
    ],
)
def test_wrong_settings(
    tmp_path: Path, engine: TestEngine, change: tuple[str, str], words: tuple[str, ...]
) -> None:
    campaign = write_campaign(tmp_path / "c", 1, engine.path, settings={"retry": {"max_failures": 3}})
    text = campaign.file.read_text()
    assert change[0] in text
    campaign.file.write_text(text.replace(*change))
    assert_one_line(oact("run", campaign.file), str(campaign.file), *words)
    assert not campaign.ledger.exists()


def test_no_campaign(tmp_path: Path) -> None:
    assert_one_line(oact("run", tmp_path), "campaign.yaml: no such file", "oact init")
    assert_one_line(oact("run", "nowhere.yaml", cwd=tmp_path), "no such file")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("is empty",)),
        ("name,geometry,charge,uhf\nw,H 0 0 0,0,1\n", ("no column 'aligned_csd_core'",)),
        ('name,aligned_csd_core,charge,uhf\nw,"H 0 0 0,0,1\n', ("line 2", "unbalanced quote")),
    ],
)
def test_a_csv_that_cannot_be_read(
    tmp_path: Path, engine: TestEngine, text: str, words: tuple[str, ...]
) -> None:
    campaign = write_campaign(tmp_path / "c", 1, engine.path)
    campaign.csv.write_text(text)
    assert_one_line(oact("run", campaign.file), *words)


def test_a_csv_of_bad_rows_only(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 2, engine.path, broken=(0, 1))
    done = oact("run", campaign.file)
    assert done.returncode == 1
    assert "0 structures in the ledger, 2 rejected rows" in done.stdout
    assert done.stderr == "oact: there is no structure to run: every row of the CSV was rejected\n"


def test_folders_that_cannot_be_written(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 2, engine.path)
    campaign.jobs_dir.write_text("in the way")
    assert_one_line(oact("run", campaign.file), "jobs", "the batch cannot run")
    assert counts(campaign) == {Status.TO_RUN: 2}
    (tmp_path / "file").write_text("in the way")
    assert_one_line(oact("run", campaign.file, DAGSTER_HOME=str(tmp_path / "file" / "home")), "file")


def test_a_file_that_is_no_ledger(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 2, engine.path)
    campaign.ledger.write_text("something else, and long enough to be looked at " * 100)
    assert_one_line(oact("run", campaign.file), "workflow.db")
    assert_one_line(oact("release", campaign.file), "workflow.db")


def test_dashboard_while_nothing_and_something_is_there(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 3, engine.path)
    assert_one_line(oact("dashboard", campaign.file), "workflow.db: no such ledger", "oact run")
    engine.set("crash", 2)
    oact("run", campaign.file)
    shown = oact("dashboard", campaign.file)
    assert shown.returncode == 0 and shown.stderr == ""
    assert oact("dashboard", campaign.ledger).stdout == shown.stdout
    found = json.loads(oact("dashboard", campaign.folder, "--json").stdout)
    assert found["statuses"] == {"to_run": 0, "running": 0, "completed": 2, "failed": 1, "timeout": 0}
    assert found["failures_by_class"] == {"aborted": 1}
    assert found["metrics"]["final_energy_Eh"]["max"] == ENERGY
    assert found["metrics"]["wall_time_s"]["total"] == pytest.approx(7.2)

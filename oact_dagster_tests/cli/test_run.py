"""``oact run``: what it computes, what it says, and its exit code."""

import json
from pathlib import Path

import pytest
from dagster import DagsterInstance

from oact_dagster.cli.foreground import usable_cores
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.campaigns import write_campaign, write_csv
from oact_dagster_tests.cli.command import assert_one_line, oact
from oact_dagster_tests.engines import ENERGY, TestEngine

pytestmark = pytest.mark.slow


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path / "engine")


ONE_AT_A_TIME = {"launcher": {"max_workers": 1}}
"""On every machine without a warning that there are too few cores."""


def counts(campaign: Campaign) -> dict[Status, int]:
    with Ledger(campaign.ledger) as ledger:
        return ledger.figures.count_by_status()


def test_a_campaign_runs_to_its_end_and_is_then_done(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 5, engine.path, settings=ONE_AT_A_TIME)
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
        tmp_path / "c", 7, engine.path, broken=(6,), settings={"retry": {"max_failures": 2}, **ONE_AT_A_TIME}
    )
    engine.set("scf_not_converged", 1, 3)
    engine.set("crash", 4)
    done = oact("run", campaign.file)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 2, lines
    assert lines[0].startswith("oact: 2 failed, scf_not_converged (structures ")
    assert lines[1].startswith("oact: 1 failed, aborted (structure 4): the engine was killed by signal 11")
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
    assert done.stderr.splitlines()[-1] == (
        "oact: 2 set aside, their budget (retry) is used up (scf_not_converged 2): "
        f"`oact run {campaign.file} --ignore-budget` continues with their remedies, as does a larger"
        " retry.max_failures (for lost ones: retry.max_losses)"
    )

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
        0, "1 structure released of 3 named; the others were not held\n",
    )  # fmt: skip
    released = oact("release", campaign.folder)
    assert (released.returncode, released.stdout) == (0, "1 structure released\n")
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
    assert_one_line(oact("run", campaign.file), "1 row that was taken in before changed", "oact init")
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
    assert "0 structures in the ledger, 2 rejected rows" in done.stdout
    told = "nothing could be run: all 2 rows of the CSV were rejected"
    assert_one_line(done, told, f"`oact dashboard {campaign.file} --show-rejected`")
    assert_one_line(oact("run", campaign.file, "--structures", "0"), told)


def test_folders_that_cannot_be_written(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 2, engine.path, settings=ONE_AT_A_TIME)
    campaign.jobs_dir.write_text("in the way")
    assert_one_line(oact("run", campaign.file), f"jobs_dir: {campaign.jobs_dir}: it is not a folder")
    assert not campaign.ledger.exists()
    campaign.jobs_dir.unlink()
    (tmp_path / "file").write_text("in the way")
    assert_one_line(oact("run", campaign.file, DAGSTER_HOME=str(tmp_path / "file" / "home")), "file")


def test_a_file_that_is_no_ledger(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 2, engine.path)
    campaign.ledger.write_text("something else, and long enough to be looked at " * 100)
    assert_one_line(oact("run", campaign.file), "workflow.db")
    assert_one_line(oact("release", campaign.file), "workflow.db")


def test_dashboard_while_nothing_and_something_is_there(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 3, engine.path)
    assert_one_line(
        oact("dashboard", campaign.file), "workflow.db: no such ledger", "`oact ingest campaign.yaml`"
    )
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


def test_the_intake_tells_what_it_found(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(
        tmp_path / "c",
        4,
        engine.path,
        settings={"charge_column": None, "spin_column": None},
    )
    lines = campaign.csv.read_text().splitlines(keepends=True)
    # Row 4 is row 0 again, and rows 5 and 6 are row 2.
    campaign.csv.write_text("".join([*lines, *lines[1:4], *lines[7:10], *lines[7:10]]))
    done = oact("run", campaign.file, "--limit", "1")
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()
    place = shown.index("7 structures in the ledger, 0 rejected rows")
    assert shown[place + 1 : place + 4] == [
        "3 structures repeat the calculation of another one: rows 0 = 4; 2 = 5 = 6",
        "charge_column is null: charge 0 for all",
        "spin_column is null: no unpaired electrons for all",
    ]


def test_more_repeated_structures_than_are_shown(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 4, engine.path)
    lines = campaign.csv.read_text().splitlines(keepends=True)
    campaign.csv.write_text("".join([*lines, *lines[1:]]))
    done = oact("run", campaign.file, "--limit", "1")
    told = "4 structures repeat the calculation of another one: rows 0 = 4; 1 = 5; 2 = 6; …"
    assert told in done.stdout.splitlines()
    assert "is null" not in done.stdout


def test_all_rejected_rows_are_listed(tmp_path: Path, engine: TestEngine) -> None:
    campaign = write_campaign(tmp_path / "c", 13, engine.path, broken=tuple(range(1, 13)))
    done = oact("run", campaign.file)
    assert done.returncode == 0, done.stderr
    flag = f"`oact dashboard {campaign.file} --show-rejected`"
    assert f"  and 2 more: {flag} lists them with the reasons\n" in done.stdout
    shown = oact("dashboard", campaign.file, "--show-rejected")
    assert shown.returncode == 0, shown.stderr
    listed = [line for line in shown.stdout.splitlines() if line.startswith("row ")]
    assert len(listed) == 12
    assert listed[0].startswith("row 1 (line 5): uhf 1 does not fit H2O")
    assert listed[-1].startswith("row 12 (line 38): uhf 1 does not fit H2O")
    assert "row 1 (line" not in oact("dashboard", campaign.file).stdout
    found = json.loads(oact("dashboard", campaign.file, "--show-rejected", "--json").stdout)
    assert found["rejected_rows"] == 12
    assert [row["row"] for row in found["rejections"]] == list(range(1, 13))
    assert found["rejections"][0]["line"] == 5
    assert found["rejections"][0]["reason"].startswith("uhf 1 does not fit H2O")
    assert "rejections" not in json.loads(oact("dashboard", campaign.file, "--json").stdout)


def test_more_cores_than_there_are(tmp_path: Path, engine: TestEngine) -> None:
    workers = usable_cores() + 1
    campaign = write_campaign(tmp_path / "c", 1, engine.path, settings={"launcher": {"max_workers": workers}})
    done = oact("run", campaign.file)
    assert done.returncode == 0
    assert done.stderr.startswith(
        f"oact: warning: launcher.max_workers {workers} times orca.n_cores 1 is {workers} cores, but this process may"
        f" use only {workers - 1}: "
    )
    assert done.stderr.count("\n") == 1

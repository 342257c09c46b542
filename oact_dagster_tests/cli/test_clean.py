"""``oact clean``: what goes, what stays, and what is never touched."""

import json
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.attempts.folder_cleanup import FAILURE_FILE, Kind, apply_keep, kind_of
from oact_dagster.errors import CampaignError
from oact_dagster.launchers.attempt_files import ATTEMPT_FILE
from oact_dagster.ledger.by_hand import update_metrics
from oact_dagster.ledger.states import Outcome, Preparation
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import load_campaign
from oact_dagster_tests.cli.command import assert_one_line, oact
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.job_folders import made_job
from oact_dagster_tests.ledger.old_files import old_file
from oact_dagster_tests.ledger.samples import claim, ending, structure

SCRATCH = (
    "orca.tmp",
    "orca.gbw.tmp",
    "orca.SCFGRAD.tmp.0",
    "orca.proc3.tmp",
    "orca_atom92.gbw",
    "orca.ges",
    "core.4711",
)
BASIS = ("orca.bas", "orca.bas0", "written.gbs")
ORBITALS = ("orca.gbw", "orca.densities")
OTHERS = (
    "orca.inp",
    "orca.out",
    "orca.engrad",
    "orca.xyz",
    "orca.property.txt",
    "orca_atom92.out",
    "notes.txt",
    "mine.bas",
)


def fill(folder: Path) -> None:
    """All kinds of files of 100 bytes; the input names one of the basis files."""
    for name in (*SCRATCH, *BASIS, *ORBITALS, *OTHERS):
        if not (folder / name).exists():
            (folder / name).write_bytes(b"x" * 100)
    with (folder / "orca.inp").open("a") as stream:
        stream.write('%basis GTOName "mine.bas" end\n')


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


class House:
    """Structures 0 completed, 1 failed, 2 timed out, 3 running, 4 to run; all with folders full of files."""

    def __init__(self, folder: Path) -> None:
        self.db, self.jobs = folder / "workflow.db", folder / "jobs"
        self.engine = TestEngine(folder / "engine")
        with Ledger(self.db, create=True) as ledger:
            ledger.add_structures([structure(n) for n in range(5)])
            self.attempt(ledger, 0, Outcome.COMPLETED)
            self.attempt(ledger, 1, Outcome.FAILED, "scf_not_converged")
            self.attempt(ledger, 2, Outcome.TIMEOUT, "half")
            self.attempt(ledger, 3, None, "half")
            self.attempt(ledger, 4, Outcome.LOST, "half")

    def attempt(self, ledger: Ledger, index: int, outcome: Outcome | None, behaviour: str = "normal") -> None:
        folder = self.jobs / f"job_{index}"
        if folder.exists():
            folder.rename(folder.with_name(f"{folder.name}.attempt-1"))
        [one] = claim(ledger, [index])
        made_job(folder, self.engine, index, behaviour, token=one.token)
        fill(folder)
        ledger.mark_prepared([Preparation(one.token, str(folder), "hash", 4)])
        ledger.mark_submitted({one.token: "17"})
        if outcome is not None:
            ledger.record([ending(one.token, outcome, message='Übel: "it" failed\n' + "y" * 100_000)])

    def job(self, index: int) -> Path:
        return self.jobs / f"job_{index}"

    def all_files(self) -> set[Path]:
        return {path for path in self.jobs.rglob("*") if path.is_file()}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_dry_run_only_counts(house: House) -> None:
    before, ledger = house.all_files(), house.db.read_bytes()
    done = oact("clean", house.db, house.jobs)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout.splitlines() == [
        f"Would remove {3 * 10} files (3 kB) in 3 folders of finished jobs",
        "  basis: 9 files, 900 B",
        "  scratch: 21 files, 2.1 kB",
        "Dry run: nothing was removed; --execute removes them",
    ]
    assert house.all_files() == before and house.db.read_bytes() == ledger


def test_scratch_and_basis_files_of_finished_jobs_go(house: House) -> None:
    full = names(house.job(3))
    done = oact("clean", house.db, house.jobs, "--execute", "--verbose")
    assert f"{house.job(0) / 'orca.tmp'}  scratch  100 B\n" in done.stdout
    assert "Removed 30 files (3 kB) in 3 folders of finished jobs\n" in done.stdout
    for index in (0, 1, 2):
        assert names(house.job(index)) == {*ORBITALS, *OTHERS, ATTEMPT_FILE}
    # What runs, and what is to be run again, is left alone.
    assert names(house.job(3)) == full and names(house.job(4)) == full
    assert "Removed 0 files (0 B)" in oact("clean", house.db, house.jobs, "--execute").stdout


def test_orbitals_go_by_keep_and_only_where_there_is_a_result(house: House) -> None:
    with Ledger(house.db) as ledger:
        house.attempt(ledger, 1, Outcome.FAILED, "scf_not_converged")
    (house.db.parent / "campaign.yaml").write_text(
        "name: a\ncsv: null\norca: {command: orca}\nkeep: [out, engrad]\n"
    )
    for given in ([house.db, house.jobs], [house.db.parent]):
        found = json.loads(oact("clean", *given, "--json").stdout)
        assert found["kinds"]["orbitals"] == {"files": 2, "bytes": 200} and found["executed"] is False
    assert oact("clean", house.db.parent, "--execute").returncode == 0
    assert names(house.job(0)) == {*OTHERS, ATTEMPT_FILE}
    # The next attempt may start from them, those of the attempt before included.
    assert {*ORBITALS} <= names(house.job(1)) and {*ORBITALS} <= names(house.job(2))
    assert {*ORBITALS} <= names(house.jobs / "job_1.attempt-1")
    assert names(house.jobs / "job_1.attempt-1").isdisjoint(SCRATCH)


def test_purge_failed_leaves_a_small_record(house: House) -> None:
    dry = oact("clean", house.db, house.jobs, "--purge-failed")
    assert FAILURE_FILE not in names(house.job(1)) and "  purged: " in dry.stdout
    assert oact("clean", house.db, house.jobs, "--purge-failed", "--execute").returncode == 0
    assert names(house.job(1)) == {
        "orca.inp", "orca.engrad", "orca.xyz", "orca.gbw", "mine.bas", ATTEMPT_FILE, FAILURE_FILE,
    }  # fmt: skip
    record = json.loads((house.job(1) / FAILURE_FILE).read_text())
    assert (record["orig_index"], record["status"], record["outcome"]) == (1, "failed", "failed")
    assert record["message"].startswith('Übel: "it" failed\ny') and len(record["message"]) == 10_000
    assert any("SCF NOT CONVERGED AFTER 500 CYCLES" in line for line in record["tail"])
    assert (house.job(1) / FAILURE_FILE).stat().st_size < 20_000
    # The output of a result, and of what runs, is not a failure's.
    assert "orca.out" in names(house.job(0)) & names(house.job(3)) & names(house.job(4))
    again = oact("clean", house.db, house.jobs, "--purge-failed", "--execute")
    assert "Removed 0 files" in again.stdout
    assert json.loads((house.job(1) / FAILURE_FILE).read_text()) == record


def test_what_failed_before_a_result_is_purged_with_its_orbitals(house: House) -> None:
    with Ledger(house.db) as ledger:
        house.attempt(ledger, 1, Outcome.COMPLETED)
    assert oact("clean", house.db, house.jobs, "--purge-failed", "--execute").returncode == 0
    left = names(house.jobs / "job_1.attempt-1")
    assert "orca.gbw" not in left and {FAILURE_FILE, "orca.inp"} <= left
    assert {"orca.out", "orca.gbw"} <= names(house.job(1))


def test_nothing_outside_is_touched(house: House, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    fill(away)
    full = names(away)
    # A folder that the ledger has elsewhere, one that is a link, a file that is a link, and a way out.
    with Ledger(house.db) as ledger:
        update_metrics(ledger, 1, job_dir=str(away))
        for path in (house.job(1), house.job(2)):
            path.rename(path.with_name(f"old_{path.name}"))
        house.job(1).symlink_to(away)
        update_metrics(ledger, 3, job_dir=str(house.jobs / ".." / "away"))
    (house.job(0) / "orca.tmp").unlink()
    (house.job(0) / "orca.tmp").symlink_to(away / "orca.tmp")
    done = oact("clean", house.db, house.jobs, "--execute", "--purge-failed")
    assert done.returncode == 0 and "does not lie inside" in done.stdout
    assert names(away) == full
    assert (house.job(0) / "orca.tmp").is_symlink()


def test_old_ledgers_have_no_attempts(tmp_path: Path) -> None:
    engine = TestEngine(tmp_path / "engine")
    rows: list[dict[str, Any]] = [{"status": status} for status in ("completed", "failed", "running")]
    db = old_file(tmp_path / "workflow.db", rows)
    for index in range(3):
        fill(made_job(tmp_path / "jobs" / f"job_{index}", engine, index))
    before = db.read_bytes()
    assert oact("clean", db, tmp_path / "jobs", "--execute", "--purge-failed").returncode == 0
    assert names(tmp_path / "jobs" / "job_0") == {*ORBITALS, *OTHERS}
    assert FAILURE_FILE in names(tmp_path / "jobs" / "job_1")
    assert names(tmp_path / "jobs" / "job_2") >= {*SCRATCH}
    assert db.read_bytes() == before


def test_the_kinds() -> None:
    for name in SCRATCH:
        assert kind_of(name, keep_orbitals=True) is Kind.SCRATCH, name
    for name in BASIS:
        assert kind_of(name, keep_orbitals=True) is Kind.BASIS, name
        assert kind_of(name, keep_orbitals=True, named_by_input={name}) is None
    for name in ORBITALS:
        assert kind_of(name, keep_orbitals=True) is None
        assert kind_of(name, keep_orbitals=False) is Kind.ORBITALS
    for name in (
        *OTHERS[:-1],
        "orca.tmp.out",
        "orca.out.gz",
        "orca.engrad.gz",
        "job.template",
        "exit.json",
        "x.core",
    ):
        assert kind_of(name, keep_orbitals=False) is None, name


def test_keep_is_applied_when_a_result_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "campaign.yaml").write_text(
        "name: a\ncsv: null\norca: {command: orca}\nkeep: [out, engrad]\n"
    )
    campaign = load_campaign(tmp_path)
    folder = campaign.jobs_dir / "job_0"
    folder.mkdir(parents=True)
    fill(folder)
    assert apply_keep(campaign, folder) == 100 * (len(SCRATCH) + len(BASIS) + len(ORBITALS))
    assert names(folder) == {*OTHERS}
    kept = campaign.model_copy(update={"keep": ("out", "engrad", "gbw")})
    fill(folder)
    apply_keep(kept, folder)
    assert names(folder) == {*OTHERS, *ORBITALS}
    # A folder that is gone, or lies elsewhere, costs nobody a result.
    assert apply_keep(campaign, campaign.jobs_dir / "none") == 0
    fill(tmp_path)
    assert apply_keep(campaign, tmp_path) == 0 and "orca.tmp" in names(tmp_path)


@pytest.mark.parametrize("keep", ["[out]", "[gbw]", "[out, engrad, tmp]", "out"])
def test_keep_that_is_wrong(tmp_path: Path, keep: str) -> None:
    (tmp_path / "campaign.yaml").write_text(f"name: a\ncsv: null\norca: {{command: orca}}\nkeep: {keep}\n")
    with pytest.raises(CampaignError, match="keep"):
        load_campaign(tmp_path)


def test_what_cannot_be_cleaned(house: House, tmp_path: Path) -> None:
    assert_one_line(oact("clean", tmp_path / "none.db", house.jobs), "none.db: no such ledger")
    assert_one_line(oact("clean", house.db, tmp_path / "none"), "none: no such folder")
    assert "name the JOBS_DIR" in oact("clean", house.db).stderr

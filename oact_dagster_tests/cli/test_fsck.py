"""``oact fsck``: each invariant is broken once, and named."""

import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from oact_dagster.cli import main
from oact_dagster.launchers.attempt_files import How
from oact_dagster.ledger.by_hand import update_status
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.states import Outcome, Preparation, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.maintenance.fsck import INVARIANTS
from oact_dagster_tests.cli.command import assert_one_line
from oact_dagster_tests.cli.command import oact as oact_process
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.job_folders import made_job, write_exit
from oact_dagster_tests.ledger.old_files import old_file
from oact_dagster_tests.ledger.samples import claim, ending, result, structure


def oact(*arguments: str | Path) -> Result:
    """Run ``oact`` in this process: there are many differences."""
    return CliRunner().invoke(main, [str(one) for one in arguments], prog_name="oact")


class House:
    """A ledger with structures 0 to 5, and their folders: 0 and 1 completed, 2 failed, 3 to 5 to run."""

    def __init__(self, folder: Path) -> None:
        self.db = folder / "workflow.db"
        self.jobs = folder / "jobs"
        self.engine = TestEngine(folder / "engine")
        with Ledger(self.db, create=True) as ledger:
            ledger.add_structures([structure(n) for n in range(6)])
            for index in (0, 1):
                self.attempt(ledger, index, Outcome.COMPLETED)
            self.attempt(ledger, 2, Outcome.FAILED, "scf_not_converged")

    def attempt(self, ledger: Ledger, index: int, outcome: Outcome | None, behaviour: str = "normal") -> str:
        [one] = claim(ledger, [index])
        folder = made_job(self.jobs / f"job_{index}", self.engine, index, behaviour, token=one.token)
        ledger.mark_prepared([Preparation(one.token, str(folder), "hash", 4)])
        ledger.mark_submitted({one.token: "17"})
        ledger.mark_running([one.token])
        if outcome is not None:
            energy = result(final_energy=-76.0 - index / 10_000)
            given = energy if outcome is Outcome.COMPLETED else None
            ledger.record([ending(one.token, outcome, result=given, message="as the test says")])
        return one.token

    def sql(self, *statements: str) -> None:
        with sqlite3.connect(self.db) as db:
            for statement in statements:
                db.execute(statement)
        db.close()

    def fsck(self, *flags: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """The exit code, and what was found, by invariant."""
        done = oact("fsck", self.db, self.jobs, "--json", *flags)
        assert done.stderr == "", done.stderr
        return done.exit_code, {one["invariant"]: one for one in json.loads(done.stdout)}

    def differences(self, *flags: str) -> dict[str, int]:
        """How many are left, by invariant."""
        return {name: one["left"] for name, one in self.fsck(*flags)[1].items() if one["left"]}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_what_agrees(house: House) -> None:
    before = house.db.read_bytes()
    code, found = house.fsck()
    assert code == 0 and not any(one["differences"] for one in found.values())
    assert list(found) == [one.name for one in INVARIANTS]
    done = oact("fsck", house.db, house.jobs)
    assert done.exit_code == 0 and done.stdout == f"{len(INVARIANTS)} invariants checked: 0 differences\n"
    assert house.db.read_bytes() == before
    assert house.fsck("--repair")[0] == 0


def test_the_list_says_what_is_looked_at() -> None:
    shown = oact("fsck", "--list").stdout
    for one in INVARIANTS:
        assert f"{one.name}: {one.holds}\n  {'--repair' if one.mends else 'not repaired'}" in shown


def no_energy(house: House) -> None:
    house.sql("UPDATE structures SET final_energy = NULL, scf_steps = NULL WHERE orig_index = 0")


def another_energy(house: House) -> None:
    house.sql("UPDATE structures SET final_energy = -80 WHERE orig_index = 0")


def results_of_a_reset(house: House) -> None:
    house.sql("UPDATE structures SET max_forces = 0.1 WHERE orig_index = 4")


def marked_running(house: House) -> None:
    house.sql("UPDATE structures SET status = 'running' WHERE orig_index = 4")


def open_and_to_run(house: House) -> None:
    with Ledger(house.db) as ledger:
        house.attempt(ledger, 3, None)
        ledger.open_batch("batch", Owner.this_process())
    house.sql("UPDATE structures SET status = 'to_run' WHERE orig_index = 3")


def two_open(house: House) -> None:
    with Ledger(house.db) as ledger:
        house.attempt(ledger, 3, None)
        ledger.open_batch("batch", Owner.this_process())
    house.sql(
        "INSERT INTO attempts (structure_id, number, token, state, batch_id, launcher, claimed_at)"
        " VALUES (4, 2, 'second', 'running', 'batch', 'local', 1)"
    )


def deleted_row(house: House) -> None:
    shutil.rmtree(house.jobs / "job_0")
    house.sql(
        "DELETE FROM structures WHERE orig_index = 0", "DELETE FROM structure_state WHERE structure_id = 1"
    )


def deleted_row_that_never_ran(house: House) -> None:
    house.sql("DELETE FROM structures WHERE orig_index = 5")


def uncounted(house: House) -> None:
    house.sql("UPDATE structures SET fail_count = 0 WHERE orig_index = 2")


def uncounted_loss(house: House) -> None:
    with Ledger(house.db) as ledger:
        house.attempt(ledger, 3, Outcome.LOST, "half")
    house.sql("UPDATE structure_state SET loss_count = 0")


def taken_and_rejected(house: House) -> None:
    house.sql("INSERT INTO rejections VALUES (4, 9, 'odd', 'h')")


def shared_folder(house: House) -> None:
    house.sql(f"UPDATE structures SET job_dir = '{house.jobs / 'job_2'}' WHERE orig_index = 5")


def dead_batch(house: House) -> None:
    with Ledger(house.db) as ledger:
        token = house.attempt(ledger, 3, None)
    write_exit(house.jobs / "job_3", token, How.EXITED)


def dead_writer(house: House) -> None:
    here = Owner.this_process()
    with Ledger(house.db) as ledger:
        ledger.take_writer(Owner(here.host, here.boot_id, 2**22 + 7, 1.0))


def folder_elsewhere(house: House) -> None:
    away = house.jobs.parent / "away" / "job_2"
    away.parent.mkdir()
    (house.jobs / "job_2").rename(away)
    house.sql(f"UPDATE structures SET job_dir = '{away}' WHERE orig_index = 2")


def output_gone(house: House) -> None:
    (house.jobs / "job_0" / "orca.out").unlink()


def another_attempts_folder(house: House) -> None:
    shutil.copyfile(house.jobs / "job_2" / "attempt.json", house.jobs / "job_0" / "attempt.json")


def good_after_all(house: House) -> None:
    with Ledger(house.db) as ledger:
        house.attempt(ledger, 3, Outcome.TIMEOUT)


def strange_folder(house: House) -> None:
    made_job(house.jobs / "job_77", house.engine, 77)


def half_a_folder(house: House) -> None:
    folder = house.jobs / ".job_4.0123456789abcdef"
    folder.mkdir()
    (folder / "orca.inp").write_text("half")
    then = time.time() - 7200
    os.utime(folder, (then, then))


def quality_of_nothing(house: House) -> None:
    house.sql(
        "INSERT INTO quality SELECT id, 1, 'scf_converged', 8, 'limits' FROM structures WHERE orig_index IN (2, 4)",
        "INSERT INTO quality SELECT id, 2, '', 8, 'limits' FROM structures WHERE orig_index = 1",
        "INSERT INTO quality SELECT id, 1, '', 8, 'limits' FROM structures WHERE orig_index = 0",
    )


Breaks = Callable[[House], None]


@pytest.mark.parametrize(
    ("breaks", "named", "left"),
    [
        (no_energy, {"completed-has-energy": 1}, {}),
        (another_energy, {"result-is-the-attempts": 1, "result-is-proved": 1}, None),
        (results_of_a_reset, {"result-only-completed": 1}, {}),
        (marked_running, {"running-has-attempt": 1}, None),
        (open_and_to_run, {"attempt-is-running": 1}, None),
        (two_open, {"one-open-attempt": 1}, None),
        (deleted_row, {"attempt-has-structure": 1}, None),
        (deleted_row_that_never_ran, {"state-has-structure": 1}, {}),
        (quality_of_nothing, {"quality-of-result": 3}, {}),
        (uncounted, {"failures-counted": 1}, {}),
        (uncounted_loss, {"losses-counted": 1}, {}),
        (taken_and_rejected, {"taken-or-rejected": 1}, None),
        (shared_folder, {"folder-own": 2}, None),
        (dead_batch, {"attempt-is-followed": 1}, {}),
        (dead_writer, {"writer-lives": 1}, {}),
        (folder_elsewhere, {"folder-inside": 1}, None),
        (output_gone, {"result-is-proved": 1}, None),
        (another_attempts_folder, {"result-is-proved": 1}, None),
        (good_after_all, {"failure-has-no-result": 1}, None),
        (strange_folder, {"folder-is-known": 1}, None),
        (half_a_folder, {"folder-is-whole": 1}, {}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_difference_is_named_and_mended_where_that_is_safe(
    house: House, breaks: Breaks, named: dict[str, int], left: dict[str, int] | None
) -> None:
    if breaks in (open_and_to_run, two_open):
        # This process stands for the batch, and must be seen to live while fsck looks.
        assert Owner.this_process().lives()
    breaks(house)
    # A folder that nobody names any more belongs to a difference of another kind.
    assert house.differences() == named
    shown = oact("fsck", house.db, house.jobs)
    assert shown.exit_code == 1
    for name in named:
        assert f"{name}: " in shown.stdout
    assert house.differences("--repair") == (named if left is None else left)
    assert house.fsck()[0] == (1 if left is None else 0)


def test_folders_that_were_moved_are_found_by_their_token(house: House) -> None:
    with Ledger(house.db) as ledger:
        house.attempt(ledger, 3, None)
        house.attempt(ledger, 4, Outcome.FAILED, "scf_not_converged")
        ledger.open_batch("batch", Owner.this_process())
    old, new = house.jobs, house.jobs.with_name("moved")
    old.rename(new)
    shutil.copyfile(new / "job_2" / "attempt.json", new / "job_4" / "attempt.json")
    (new / "001").mkdir()
    (new / "job_1").rename(new / "001" / "job_1")
    house.sql(*(
        f"UPDATE {table} SET job_dir = '{old}/001/job_1' WHERE job_dir = '{old}/job_1'"
        for table in ("structures", "attempts")
    ))  # fmt: skip
    house.jobs = new
    before = house.db.read_bytes()
    assert house.differences()["folder-inside"] == 5
    assert house.db.read_bytes() == before
    # Structure 3 has an attempt that may run; the folder of 4 is another attempt's.
    assert house.differences("--repair")["folder-inside"] == 2
    with Ledger(house.db) as ledger:
        folders = {row.orig_index: row.job_dir for row in ledger.structures.stored_with_folder()}
        assert folders == {
            0: str(new / "job_0"), 1: str(new / "001" / "job_1"), 2: str(new / "job_2"),
            3: str(old / "job_3"), 4: str(old / "job_4"),
        }  # fmt: skip
        assert [one.job_dir for one in ledger.history.attempts(1)] == [str(new / "001" / "job_1")]


def test_the_folders_of_a_copy_are_left_alone(house: House) -> None:
    copied = house.jobs.with_name("copied")
    shutil.copytree(house.jobs, copied)
    house.jobs = copied
    assert house.differences("--repair")["folder-inside"] == 3


@pytest.mark.parametrize("index", [0, 5])
def test_a_good_output_of_another_attempt_is_no_result_of_a_failed_one(tmp_path: Path, index: int) -> None:
    house = House(tmp_path)
    with Ledger(house.db) as ledger:
        if index == 0:
            shutil.rmtree(house.jobs / "job_0")
            update_status(ledger, 1, Status.TO_RUN)
        house.attempt(ledger, index, Outcome.FAILED, "scf_not_converged")
    shutil.copyfile(house.jobs / "job_1" / "orca.out", house.jobs / f"job_{index}" / "orca.out")
    assert house.differences() == {}


def test_what_is_mended_is_right(house: House) -> None:
    no_energy(house)
    dead_batch(house)
    uncounted(house)
    half_a_folder(house)
    done = oact("fsck", house.db, house.jobs, "--repair")
    assert done.exit_code == 0, done.stdout
    assert done.stdout.endswith("invariants checked: 0 differences left, 4 repaired\n")
    with Ledger(house.db) as ledger:
        rows = {row.orig_index: row for row in ledger.structures.stored_by_status()}
    assert (rows[0].final_energy, rows[0].scf_steps, rows[0].max_forces) == (-76.0, 12, 0.001)
    assert rows[3].status is Status.COMPLETED and rows[3].final_energy == -76.0003
    assert rows[2].fail_count == 1 and not list(house.jobs.glob(".*"))


def test_a_status_that_nobody_knows_is_named_first(house: House) -> None:
    house.sql("UPDATE structures SET status = 'paused' WHERE orig_index = 4")
    code, found = house.fsck()
    assert code == 1 and list(found) == ["file-sound", "status-known"]
    assert found["status-known"]["examples"] == [{"id": 5, "orig_index": 4, "detail": "status 'paused'"}]


def test_rows_that_no_run_can_name(tmp_path: Path) -> None:
    db = old_file(tmp_path / "workflow.db", [{"orig_index": 1}, {"orig_index": 1}, {"orig_index": None}])
    (tmp_path / "jobs").mkdir()
    before = db.read_bytes()
    done = oact("fsck", db, tmp_path / "jobs", "--json")
    found = {one["invariant"]: one["examples"] for one in json.loads(done.stdout) if one["left"]}
    assert found == {
        "index-there": [{"id": 3, "orig_index": None, "detail": "no orig_index"}],
        "index-once": [{"id": 2, "orig_index": 1, "detail": "the row with id 1 has it, too"}],
    }
    assert db.read_bytes() == before


def test_a_damaged_file(house: House) -> None:
    size = house.db.stat().st_size
    with house.db.open("r+b") as stream:
        stream.seek(4096 * (size // 4096 // 2))
        stream.write(b"\xff" * 4096)
    done = oact("fsck", house.db, house.jobs)
    assert done.exit_code in (1, 2)
    assert "file-sound: " in done.stdout or "is damaged" in done.stderr


def test_many_differences_are_counted_and_some_are_shown(tmp_path: Path) -> None:
    db = old_file(tmp_path / "workflow.db", [{"status": "running"} for _ in range(50)])
    (tmp_path / "jobs").mkdir()
    shown = oact("fsck", db, tmp_path / "jobs").stdout
    assert "running-has-attempt: 50 differences" in shown and "  and 45 more\n" in shown
    assert shown.count("running, but it has no open attempt") == 5


def test_a_scheduler_that_cannot_be_asked_is_said(house: House) -> None:
    with Ledger(house.db) as ledger:
        house.attempt(ledger, 3, None)
        ledger.open_batch("batch", Owner.this_process())
    house.sql("UPDATE attempts SET launcher = 'pbs' WHERE state != 'closed'")
    code, found = house.fsck()
    assert code == 0 and "no launcher of kind pbs" in found["attempt-has-job"]["skipped"]
    assert "attempt-has-job: not checked" in oact("fsck", house.db, house.jobs).stdout


def test_what_cannot_be_looked_at(house: House, tmp_path: Path) -> None:
    assert_one_line(oact_process("fsck", tmp_path / "none.db", house.jobs), "none.db: no such ledger")
    assert_one_line(oact_process("fsck", house.db, tmp_path / "none"), "none: no such folder")
    assert oact("fsck", house.db).exit_code == 2 and oact("fsck").exit_code == 2
    (tmp_path / "campaign.yaml").write_text("name: a\ncsv: null\norca: {command: orca}\n")
    assert oact("fsck", tmp_path).exit_code == oact("fsck", house.db).exit_code == 0


def test_the_whole_file_system_is_no_jobs_folder(house: House) -> None:
    for command in ("fsck", "clean"):
        assert_one_line(oact_process(command, house.db, "/"), "/: is the whole file system; name the folder")


def test_folders_that_may_not_be_read_are_named_and_passed_over() -> None:
    # Not in pytest's folder, which nobody but its owner may enter.
    folder = Path(tempfile.mkdtemp())
    closed, hidden = folder / "jobs" / "somebody", folder / "jobs" / f".job_9.{'a' * 16}"
    try:
        house = House(folder)
        for one in (closed, hidden):
            one.mkdir()
            (one / "orca.inp").touch()
            os.utime(one, (0, 0))
            one.chmod(0)
        house.sql(f"UPDATE structures SET job_dir = '{closed}/job_1' WHERE orig_index = 1")
        (folder / "jobs" / "job_77").mkdir()
        (folder / "jobs" / "job_77" / "orca.inp").touch()
        folder.chmod(0o755)
        with a_user_with_few_rights():
            code, found = house.fsck()
        assert code == 1
        denied = "unreadable folders: {}: Permission denied"
        assert found["folder-is-known"]["skipped"] == denied.format(closed)
        assert found["folder-is-whole"]["skipped"] == denied.format(hidden)
        assert found["result-is-proved"]["skipped"] == denied.format(closed / "job_1")
        # What can be read is looked at.
        assert str(folder / "jobs" / "job_77") in str(found["folder-is-known"]["examples"])
    finally:
        closed.chmod(0o700)
        hidden.chmod(0o700)
        shutil.rmtree(folder)


@contextmanager
def a_user_with_few_rights() -> Iterator[None]:
    """Nobody, where this process is root's, which may read everything."""
    ours = os.geteuid()
    if ours == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(ours)

"""Reading without creating or changing anything."""

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from oact_dagster.errors import LedgerError
from oact_dagster.ledger.level_of_theory import check_level_of_theory
from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.schema import SCHEMA_VERSION
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.ledger.old_files import COLUMNS, old_file
from oact_dagster_tests.ledger.samples import claim, failures_by_class, run, structure
from oact_dagster_tests.ledger.test_migrations import version_one
from oact_dagster_tests.ledger.test_opening import without_root


def state(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}


def ask_everything(reader: LedgerReader) -> None:
    reader.figures.count_by_status()
    reader.figures.count_as_stored()
    reader.figures.count_running_started()
    reader.figures.count_held()
    reader.figures.count_set_aside(3, 3)
    reader.figures.set_aside_by_class(3, 3)
    reader.intake.count_rejections()
    reader.intake.rejections()
    reader.figures.failures_by_message()
    reader.figures.faults_by_host()
    reader.figures.cores_spent()
    reader.figures.count_by_engine()
    reader.figures.count_results_by_settings()
    reader.history.results_of_other_settings("x")
    reader.figures.metrics()
    reader.batches.writer()
    list(reader.intake.known_rows())
    list(reader.history.completed())
    list(reader.structures.stored_by_status())
    reader.structures.stored_by_fail_count()
    reader.intake.same_calculations(10)
    indices = list(reader.structures.indices())
    reader.queue.select(list(Status))
    reader.structures.of(indices)
    reader.history.attempts_of(indices)
    reader.history.attempts(0)
    reader.history.good_attempts(indices)
    reader.history.open_attempts(indices)
    reader.batches.lives("batch")
    check_level_of_theory(reader, {})


def of_now(path):
    with Ledger(path, create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(4)])
        run(ledger, 0, Outcome.FAILED)
        run(ledger, 1, Outcome.COMPLETED)
    return path


def of_others(path):
    rows = [{"status": "completed", "final_energy": -1.0}, {"status": "failed", "fail_count": 3}, {}]
    return old_file(path, rows)


def of_others_long_ago(path):
    older = COLUMNS.replace(" fail_count INTEGER, wall_time REAL, n_cores INTEGER, created_at TIMESTAMP,", "")
    return old_file(path, [{"status": "completed"}, {"status": "failed"}, {}], older)


@pytest.mark.parametrize("make", [of_now, version_one, of_others, of_others_long_ago])
def test_everything_can_be_asked_and_nothing_changes(tmp_path, make):
    path = make(tmp_path / "work?flow #1%.db")
    before = state(tmp_path)
    with open_reader(path) as reader:
        ask_everything(reader)
        assert reader.figures.count_by_status()[Status.COMPLETED] == 1
        assert reader.figures.failures_by_message()[0][2] >= 1
    assert state(tmp_path) == before


def test_what_an_old_file_lacks_is_empty(tmp_path):
    with open_reader(of_others(tmp_path / "workflow.db")) as reader:
        assert failures_by_class(reader) == {"failed": 1}
        assert reader.figures.cores_spent() == {}
        assert (
            reader.figures.count_held()
            == reader.intake.count_rejections()
            == reader.figures.count_running_started()
            == 0
        )
        assert reader.figures.count_set_aside(3, 3) == 1
        assert reader.history.attempts_of([0, 1, 2]) == {}
        assert reader.figures.metrics().final_energy.total == -1.0
        assert reader.batches.writer() is None


def test_nothing_can_be_written(tmp_path):
    with open_reader(of_now(tmp_path / "workflow.db")) as reader:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.file.connection.execute("DELETE FROM structures")
        assert not hasattr(reader, "claim")


@pytest.mark.parametrize("make", [of_now, version_one, of_others])
def test_a_file_on_a_disk_that_cannot_be_written(make):
    # Not pytest's folder: only root may enter that.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = make(folder / "workflow.db")
        path.chmod(0o444)
        folder.chmod(0o555)
        try:
            with without_root(), open_reader(path) as reader:
                ask_everything(reader)
                assert reader.figures.count_by_status()[Status.COMPLETED] == 1
        finally:
            folder.chmod(0o755)
        assert [one.name for one in folder.iterdir()] == ["workflow.db"]


def test_a_reader_follows_a_writer_that_begins_after_it(tmp_path):
    path = of_now(tmp_path / "workflow.db")
    with open_reader(path) as reader:
        assert reader.figures.count_by_status()[Status.TO_RUN] == 2
        with Ledger(path) as ledger:
            claim(ledger, [2])
            assert reader.figures.count_by_status() == {
                s: 1 for s in Status if s.value not in ("ready", "timeout")
            }
            claim(ledger, [3])
            assert reader.figures.count_by_status()[Status.RUNNING] == 2
            assert list(reader.structures.indices()) == [0, 1, 2, 3]
        assert reader.figures.count_by_status()[Status.RUNNING] == 2


def test_a_reader_sees_what_a_writer_that_came_and_went_has_written(tmp_path):
    path = of_now(tmp_path / "workflow.db")
    with open_reader(path) as reader:
        assert reader.figures.count_by_status()[Status.TO_RUN] == 2
        with Ledger(path) as ledger:
            claim(ledger, [2])
        assert [one.name for one in tmp_path.iterdir()] == ["workflow.db"]
        assert reader.figures.count_by_status() == {
            s: 1 for s in Status if s.value not in ("ready", "timeout")
        }
        assert [one.name for one in tmp_path.iterdir()] == ["workflow.db"], "still nothing beside it"


COMES_AND_GOES = """
import sys
from oact_dagster.ledger.store import Ledger
while True:
    with Ledger(sys.argv[1]) as ledger:
        ledger.set_meta("some", "thing" * 1000)
"""


@pytest.mark.slow
def test_a_reader_beside_a_writer_that_comes_and_goes(tmp_path):
    path = of_now(tmp_path / "workflow.db")
    with open_reader(path) as reader:
        counts = reader.figures.count_by_status()
    writer = subprocess.Popen([sys.executable, "-c", COMES_AND_GOES, str(path)])
    try:
        for _ in range(1000):
            with open_reader(path) as reader:
                assert reader.figures.count_by_status() == counts
                assert len(list(reader.intake.known_rows())) == 4
    finally:
        writer.kill()
        writer.wait()


def test_a_reader_that_may_not_write_reads_beside_a_writer():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = of_now(folder / "workflow.db")
        with Ledger(path) as ledger:
            claim(ledger, [2])
            folder.chmod(0o555)
            try:
                with without_root(), open_reader(path) as reader:
                    assert reader.figures.count_by_status()[Status.RUNNING] == 1
            finally:
                folder.chmod(0o755)


KILLED = """
import os, sys
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.ledger.samples import claim
claim(Ledger(sys.argv[1]), [2])
os.kill(os.getpid(), 9)
"""


def test_the_journal_that_a_killed_process_left_is_read(tmp_path):
    path = of_now(tmp_path / "workflow.db")
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert (tmp_path / "workflow.db-wal").stat().st_size > 0
    file = path.read_bytes()
    with open_reader(path) as reader:
        assert reader.figures.count_by_status()[Status.RUNNING] == 1
    assert path.read_bytes() == file


def test_a_journal_that_cannot_be_read_is_told_and_not_passed_over():
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as other:
        path = of_now(Path(name) / "workflow.db")
        subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
        for ending in ("", "-wal"):
            shutil.copy(f"{path}{ending}", other)
        Path(other).chmod(0o555)
        try:
            with (
                without_root(),
                pytest.raises(LedgerError, match=r"workflow\.db-wal beside it holds changes") as caught,
            ):
                open_reader(Path(other) / "workflow.db")
            assert "\n" not in str(caught.value)
        finally:
            Path(other).chmod(0o755)


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(LedgerError, match="no such ledger"):
        open_reader(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "text.db").write_text("name,charge\n" * 1000)
    with pytest.raises(LedgerError, match="file is not a database"):
        open_reader(tmp_path / "text.db")
    (tmp_path / "empty.db").write_bytes(b"")
    with pytest.raises(LedgerError, match="has no tables yet"):
        open_reader(tmp_path / "empty.db")
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE runs (id)")
    db.close()
    with pytest.raises(LedgerError, match="some other SQLite file"):
        open_reader(tmp_path / "other.db")
    with Ledger(tmp_path / "newer.db", create=True) as ledger:
        ledger.set_meta("schema_version", str(SCHEMA_VERSION + 1))
    with pytest.raises(LedgerError, match="use a newer oact_dagster"):
        open_reader(tmp_path / "newer.db")
    damaged = of_now(tmp_path / "damaged.db")
    content = damaged.read_bytes()
    damaged.write_bytes(content[:5000] + b"\xff" * (len(content) - 5000))
    with pytest.raises(LedgerError, match=r"damaged|cannot"), open_reader(damaged) as reader:
        ask_everything(reader)

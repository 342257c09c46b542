"""Files of older versions, and files that others made."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from oact_dagster.errors import LedgerError
from oact_dagster.ledger.migrations import missing_columns
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.quality import JudgedResult, QualityCounts
from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.schema import SCHEMA_VERSION, TABLES
from oact_dagster.ledger.states import AttemptState, Outcome, Place, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.ledger.old_files import COLUMNS, old_file
from oact_dagster_tests.ledger.samples import claim, failing_results, failures_by_class, row, run, structure

OF_VERSION_FOUR = ("pending_reason", "cpu_time_s", "max_rss_mb")
OF_VERSION_FIVE = ("set_aside_for", "cost_rank")
OLD_QUERY = "SELECT * FROM structures ORDER BY id"


def content(path):
    with sqlite3.connect(path) as db:
        found = list(db.iterdump())
    db.close()
    return found


def test_what_failed_in_an_old_file_has_one_attempt_that_is_not_counted(tmp_path):
    path = old_file(
        tmp_path / "workflow.db",
        [
            {"status": "failed", "error_message": "it's\nbroken", "fail_count": 2, "job_dir": "jobs/job_0"},
            {"status": "timeout", "fail_count": None, "wall_time": 9.5, "n_cores": 8},
            {"status": "completed", "final_energy": -1.0},
            {"status": "running"},
            {"status": "ready"},
        ],
    )
    with Ledger(path) as ledger:
        [failed] = ledger.history.attempts(0)
        assert (failed.number, failed.state, failed.outcome) == (1, AttemptState.CLOSED, Outcome.FAILED)
        assert (failed.message, failed.job_dir, failed.batch_id) == ("it's\nbroken", "jobs/job_0", "migrated")
        assert failed.claimed_at == 1714557600.0
        [timed_out] = ledger.history.attempts(1)
        assert (timed_out.outcome, timed_out.message) == (Outcome.TIMEOUT, None)
        assert (timed_out.result, timed_out.n_cores) == ({"wall_time": 9.5, "n_cores": 8}, 8)
        assert [ledger.history.attempts(index) for index in (2, 3, 4)] == [[], [], []]
        assert failed.token != timed_out.token
        assert [row(ledger, index)["fail_count"] for index in (0, 1)] == [2, None]
        counted = ledger.file.connection.execute("SELECT SUM(counted) FROM attempts").fetchone()[0]
        assert counted == 0
    with Ledger(path) as ledger:
        assert len(ledger.history.attempts(0)) == 1, "opened again, nothing is added"


def test_old_tools_read_a_file_that_was_brought_up_to_date(tmp_path):
    path = old_file(tmp_path / "workflow.db", [{"status": s} for s in ("failed", "completed", "to_run")])
    with sqlite3.connect(path) as db:
        before = db.execute(OLD_QUERY).fetchall()
    db.close()
    with Ledger(path):
        pass
    with sqlite3.connect(path) as db:
        assert db.execute(OLD_QUERY).fetchall() == before
        db.execute("INSERT INTO structures (orig_index, status) VALUES (3, 'to_run')")
    db.close()


def test_columns_that_came_later_are_added_to_a_file_that_lacks_them(tmp_path):
    older = COLUMNS.replace(" fail_count INTEGER, wall_time REAL, n_cores INTEGER, created_at TIMESTAMP,", "")
    path = old_file(tmp_path / "workflow.db", [{"status": "failed"}, {}], older)
    with Ledger(path) as ledger:
        assert [row(ledger, n)["fail_count"] for n in (0, 1)] == [0, 0]
        run(ledger, 1, Outcome.COMPLETED)
        assert ledger.reset() == 1
        assert row(ledger, 0)["fail_count"] == 1


def test_rows_that_are_not_as_they_should_be(tmp_path):
    path = old_file(
        tmp_path / "workflow.db",
        [
            {"orig_index": None},
            {"orig_index": 7, "job_dir": "first"},
            {"orig_index": 7, "job_dir": "second"},
            {
                "orig_index": 8,
                "charge": None,
                "spin": None,
                "geometry": None,
                "elements": None,
                "natoms": None,
            },
            {"orig_index": 9, "status": "failed", "updated_at": "no time"},
            {"orig_index": 10, "status": "failed", "updated_at": None},
        ],
    )
    with Ledger(path) as ledger:
        assert list(ledger.structures.indices()) == [7, 8, 9, 10]
        assert ledger.file.number("SELECT COUNT(*) - COUNT(DISTINCT orig_index) FROM structures") == 2
        assert ledger.queue.select([Status.TO_RUN]) == [7, 8]
        assert ledger.structures.of([7])[7].job_dir == "first"
        assert [c.structure.job_dir for c in claim(ledger, [7, 7])] == ["first"]
        assert claim(ledger, [7]) == []
        empty = ledger.structures.of([8])[8]
        assert (empty.charge, empty.multiplicity, empty.geometry, empty.elements) == (0, 1, "", "")
        assert all(ledger.history.attempts(index)[0].claimed_at > 1.7e9 for index in (9, 10))


@pytest.mark.parametrize(
    ("status", "shown"), [("done", "'done'"), (None, "''"), ("it's\nÅ", r'''"it's\nÅ"''')]
)
def test_an_unknown_status_is_told_in_one_line(tmp_path, status, shown):
    path = old_file(tmp_path / "workflow.db", [{}, {"status": status}, {"status": status}])
    with Ledger(path) as ledger:
        with pytest.raises(LedgerError) as caught:
            ledger.figures.count_by_status()
        text = str(caught.value)
        assert text.count("\n") == 0
        assert f"unknown status {shown} (2 structures), first in the row with id 2" in text
        assert "to_run, ready, running, completed, failed, timeout" in text
        with pytest.raises(LedgerError, match="in the row with id 2"):
            ledger.structures.of([1])
        assert ledger.figures.count_as_stored() == {"to_run": 1, status or "": 2}
        assert len(claim(ledger, [0, 1, 2])) == 1, "the others are not disturbed"


def version_one(path):
    """A file as version 1 made it, with an attempt that failed and one that completed."""
    with Ledger(path, create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(4)])
        run(ledger, 0, Outcome.FAILED)
        run(ledger, 1, Outcome.COMPLETED)
    with sqlite3.connect(path) as db:
        for name, sql in db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index'").fetchall():
            if sql is not None:
                db.execute(f"DROP INDEX {name}")
        for column in ("settings_hash", "plan", "evidence", "undone", "engine", *OF_VERSION_FOUR):
            db.execute(f"ALTER TABLE attempts DROP COLUMN {column}")
        for column in OF_VERSION_FIVE:
            db.execute(f"ALTER TABLE structure_state DROP COLUMN {column}")
        without_version_six(db)
        db.execute("CREATE INDEX idx_open_attempts ON attempts(batch_id) WHERE state != 'closed'")
        db.execute("CREATE INDEX idx_outcomes ON attempts(outcome)")
        db.execute("UPDATE meta SET value = '1' WHERE key = 'schema_version'")
        # Failed before that version opened the file: it made no attempt for such.
        db.execute("UPDATE structures SET status = 'failed' WHERE orig_index = 2")
    db.close()
    return path


def test_a_file_of_version_one_is_as_a_new_one_afterwards(tmp_path):
    path = version_one(tmp_path / "workflow.db")
    with Ledger(path) as ledger:
        assert ledger.meta("schema_version") == str(SCHEMA_VERSION)
        assert all(
            missing_columns(ledger.file.connection, t) == []
            for t in ("structures", "structure_state", "attempts", "quality")
        )
        indexes = {
            r[0]
            for r in ledger.file.connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")
        }
        model = sqlite3.connect(":memory:")
        model.executescript(TABLES)
        assert indexes == {r[0] for r in model.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
        model.close()
        assert ledger.figures.count_by_engine() == {"ORCA": 1}
        assert [one.outcome for one in ledger.history.attempts(2)] == [Outcome.FAILED]
        assert ledger.reset() == 2
        assert [row(ledger, n)["fail_count"] for n in range(4)] == [1, 0, 1, 0]


def test_a_file_of_version_three_keeps_its_attempts(tmp_path):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(3)])
        run(ledger, 0, Outcome.COMPLETED)
        run(ledger, 1, Outcome.FAILED)
    with sqlite3.connect(path) as db:
        db.execute("DROP INDEX idx_pending")
        for column in OF_VERSION_FOUR:
            db.execute(f"ALTER TABLE attempts DROP COLUMN {column}")
        without_version_five(db)
        db.execute("UPDATE meta SET value = '3' WHERE key = 'schema_version'")
    db.close()
    with open_reader(path) as reader:
        before = reader.history.attempts_of(range(3))
        assert reader.figures.stuck_by_reason() == [], "read as it lies, without the columns"
    with Ledger(path) as ledger:
        assert ledger.history.attempts_of(range(3)) == before
        assert all(missing_columns(ledger.file.connection, t) == [] for t in ("structure_state", "attempts"))
        assert ledger.figures.count_by_status() == {Status.COMPLETED: 1, Status.FAILED: 1, Status.TO_RUN: 1}


def test_a_file_of_version_four_keeps_its_order(tmp_path):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True) as ledger:
        ledger.add_structures([structure(n, place=Place(float(n == 2))) for n in range(3)])
    with sqlite3.connect(path) as db:
        without_version_five(db)
        db.execute(
            "CREATE INDEX idx_priority ON structure_state(priority DESC, structure_id) WHERE priority != 0"
        )
        db.execute("UPDATE meta SET value = '4' WHERE key = 'schema_version'")
    db.close()
    with open_reader(path) as reader:
        assert reader.queue.select([Status.TO_RUN]) == [2, 0, 1], "read as it lies, without the columns"
    with Ledger(path) as ledger:
        assert missing_columns(ledger.file.connection, "structure_state") == []
        ledger.set_order({1: Place(priority=1.0, cost_rank=5.0)})
        assert ledger.queue.select([Status.TO_RUN]) == [1, 2, 0]


def without_version_five(db):
    """Take away what version 5 brought, and what came after it."""
    without_version_six(db)
    db.execute("DROP INDEX idx_priority")
    for column in OF_VERSION_FIVE:
        db.execute(f"ALTER TABLE structure_state DROP COLUMN {column}")


def without_version_six(db):
    """Take away what version 6 brought, and what came after it."""
    without_version_seven(db)
    db.execute("DROP TRIGGER quality_of_another_result")
    db.execute("DROP TABLE quality")


def test_a_file_of_version_five_gets_a_place_for_the_quality_of_its_results(tmp_path):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(2)])
        run(ledger, 0, Outcome.COMPLETED)
    with sqlite3.connect(path) as db:
        without_version_six(db)
        db.execute("UPDATE meta SET value = '5' WHERE key = 'schema_version'")
    db.close()
    with open_reader(path) as reader:
        before = reader.history.attempts_of(range(2))
        assert reader.quality.counts() == QualityCounts(0, 0, {}), "read as it lies, without the table"
        assert [one["orig_index"] for one in reader.quality.results_to_judge()] == [0]
    with Ledger(path) as ledger:
        assert ledger.meta("schema_version") == str(SCHEMA_VERSION)
        assert ledger.history.attempts_of(range(2)) == before
        assert ledger.set_quality([JudgedResult(1, 1, -75.5, ("scf_converged",), 3)], "limits") == 1
        assert failing_results(ledger) == [(0, ("scf_converged",))]
        claim(ledger, [0], statuses=[Status.COMPLETED])
        assert failing_results(ledger) == [], "the trigger is there, too"


def without_version_seven(db):
    """Take away what version 7 brought."""
    db.execute("ALTER TABLE batches DROP COLUMN unanswered")


def test_a_file_of_version_six_gets_a_place_for_what_a_scheduler_left_unanswered(tmp_path):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True) as ledger:
        ledger.open_batch("one", Owner.this_process())
    with sqlite3.connect(path) as db:
        without_version_seven(db)
        db.execute("UPDATE meta SET value = '6' WHERE key = 'schema_version'")
    db.close()
    with open_reader(path) as reader:
        assert reader.batches.unanswered() == "", "read as it lies, without the column"
    with Ledger(path) as ledger:
        assert ledger.meta("schema_version") == str(SCHEMA_VERSION)
        ledger.beat("one", unanswered="slurm has not answered since noon")
        assert ledger.batches.unanswered() == "slurm has not answered since noon"
        ledger.beat("one")
        assert ledger.batches.unanswered() == ""
        ledger.beat("one", unanswered="slurm has not answered since noon")
        ledger.close_batch("one")
        assert ledger.batches.unanswered() == "", "whoever found it has ended"


def test_a_migration_that_does_not_get_to_its_end_changes_nothing(tmp_path):
    path = old_file(tmp_path / "workflow.db", [{"status": "failed", "error_message": "x" * 5000}] * 50)
    before = content(path)
    # A limit on the size of files stands for a full disk, which stops the journal from growing.
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "from oact_dagster.ledger.connection import LedgerError\n"
        "from oact_dagster.ledger.store import Ledger\n"
        "try:\n    Ledger(sys.argv[1])\n"
        "except LedgerError as error:\n    print(error)\n"
    )
    size = path.stat().st_size
    run_ = subprocess.run(
        [sys.executable, "-c", script, str(path), str(size)], capture_output=True, text=True, check=True
    )
    assert run_.stdout.startswith(f"{path}: cannot be read or written: disk I/O error; nothing was changed")
    assert run_.stdout.count("\n") == 1
    assert content(path) == before
    with Ledger(path) as ledger:
        assert len(ledger.history.attempts_of(range(50))) == 50


def test_a_process_that_is_killed_while_it_migrates_changes_nothing(tmp_path):
    path = old_file(tmp_path / "workflow.db", [{"status": "failed"}] * 50)
    before = content(path)
    # The kill comes in the middle of the statement that makes the attempts.
    script = (
        "import os, sys; from oact_dagster.ledger import failures\n"
        "left = iter(range(20))\n"
        "failures.secrets.token_hex = lambda n: next(left, None) or (os.kill(os.getpid(), 9) if n == 8 else 0)\n"
        "next(left)\n"
        "from oact_dagster.ledger.store import Ledger; Ledger(sys.argv[1])\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, check=False)
    assert killed.returncode == -9
    assert content(path) == before
    with Ledger(path) as ledger:
        assert len(ledger.history.attempts_of(range(50))) == 50


@pytest.mark.parametrize("tables", ["CREATE TABLE runs (id)", "CREATE TABLE structures (id, name)"])
def test_the_database_of_something_else_is_refused_and_left_as_it_is(tmp_path, tables):
    path = tmp_path / "workflow.db"
    with sqlite3.connect(path) as db:
        db.execute(tables)
    db.close()
    before = content(path)
    for create in (False, True):
        with pytest.raises(LedgerError, match="cannot be used as a ledger") as caught:
            Ledger(path, create=create)
        assert "\n" not in str(caught.value)
    assert content(path) == before


def test_a_version_that_is_no_number_is_refused(tmp_path):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True) as ledger:
        ledger.set_meta("schema_version", "3.1")
    with pytest.raises(LedgerError, match=r"schema version is '3\.1'"):
        Ledger(path)


def test_a_large_old_file_is_migrated_with_little_memory(tmp_path):
    path = old_file(tmp_path / "workflow.db", [])
    with sqlite3.connect(path) as db:
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99999) INSERT INTO structures"
            " (orig_index, status, geometry, error_message)"
            " SELECT i, 'failed', printf('%.*c', 500, 'x'), 'no' FROM n"
        )
    db.close()
    script = (
        "import sys; from pathlib import Path; from oact_dagster.ledger.store import Ledger\n"
        "peak = lambda: int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
        "before = peak(); Ledger(sys.argv[1]).close(); print(peak() - before)\n"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux's /proc")
    grown = int(subprocess.check_output([sys.executable, "-c", script, str(path)], text=True))
    assert grown < 60_000, "kB, where the rows are more than 50 MB"
    with Ledger(path) as ledger:
        assert failures_by_class(ledger) == {"failed": 100_000}
        assert ledger.reset() == 100_000

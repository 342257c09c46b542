"""Opening, copying and refusing ledger files."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from oact_dagster.errors import LedgerError
from oact_dagster.ledger.level_of_theory import check_level_of_theory, fix_level_of_theory
from oact_dagster.ledger.schema import SCHEMA_VERSION
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.ledger.samples import claim, row, run, structure
from oact_dagster_tests.mounts import mount

COLUMNS = [
    ("id", "INTEGER"),
    ("orig_index", "INTEGER"),
    ("elements", "TEXT"),
    ("natoms", "INTEGER"),
    ("status", "TEXT"),
    ("charge", "INTEGER"),
    ("spin", "INTEGER"),
    ("geometry", "TEXT"),
    ("job_dir", "TEXT"),
    ("max_forces", "REAL"),
    ("scf_steps", "INTEGER"),
    ("final_energy", "REAL"),
    ("error_message", "TEXT"),
    ("fail_count", "INTEGER"),
    ("wall_time", "REAL"),
    ("n_cores", "INTEGER"),
    ("created_at", "TIMESTAMP"),
    ("updated_at", "TIMESTAMP"),
]
"""Name and type of each column that the workflow files of today have."""


def refusal(path: Path, **how: bool) -> str:
    with pytest.raises(LedgerError) as caught:
        Ledger(path, **how)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_the_table_of_structures_is_the_one_that_groups_have(tmp_path):
    with Ledger(tmp_path / "workflow.db", create=True):
        pass
    with sqlite3.connect(tmp_path / "workflow.db") as db:
        described = db.execute("PRAGMA table_info(structures)").fetchall()
        indexes = {name for _, name, *_ in db.execute("PRAGMA index_list(structures)")}
    assert [(name, kind) for _, name, kind, *_ in described] == COLUMNS
    assert {"idx_status", "idx_orig_index"} <= indexes


def test_an_old_file_opens_and_its_structures_run(tmp_path):
    path = tmp_path / "workflow.db"
    with sqlite3.connect(path) as db:
        db.execute(
            "CREATE TABLE structures (id INTEGER PRIMARY KEY AUTOINCREMENT, orig_index INTEGER, elements TEXT, natoms"
            " INTEGER, status TEXT, charge INTEGER, spin INTEGER, geometry TEXT, job_dir TEXT, max_forces REAL,"
            " scf_steps INTEGER, final_energy REAL, error_message TEXT, fail_count INTEGER, wall_time REAL, n_cores"
            " INTEGER, created_at TIMESTAMP, updated_at TIMESTAMP)"
        )
        db.executemany(
            "INSERT INTO structures (orig_index, elements, natoms, status, charge, spin, geometry)"
            " VALUES (?, 'H;H', 2, ?, 0, 1, 'H 0 0 0\nH 0 0 0.74')",
            [(0, "ready"), (1, "to_run"), (2, "to_run"), (3, "completed")],
        )
    with Ledger(path) as ledger:
        assert ledger.figures.count_by_status() == {Status.READY: 1, Status.TO_RUN: 2, Status.COMPLETED: 1}
        assert list(ledger.intake.known_rows()) == [(n, "", "{}") for n in range(4)]
        run(ledger, 0, Outcome.FAILED, message="x")
        assert row(ledger, 0)["fail_count"] == 1
        run(ledger, 1, Outcome.LOST)
        assert ledger.structures.of([1])[1].loss_count == 1
        assert claim(ledger, [1], max_failures=1, max_losses=1) == []
        ledger.hold([2])
        assert ledger.figures.count_held() == 1
        assert claim(ledger, [2]) == []
        assert ledger.release([2, 3]) == 1
        assert len(claim(ledger, [2])) == 1


def test_a_newer_file_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True) as ledger:
        ledger.set_meta("schema_version", str(SCHEMA_VERSION + 1))
    before = path.read_bytes()
    assert (
        f"version is {SCHEMA_VERSION + 1}, but this program supports versions up to {SCHEMA_VERSION}"
        in refusal(path)
    )
    assert path.read_bytes() == before


def test_what_is_refused_keeps_its_journal(tmp_path):
    newer, foreign = tmp_path / "newer.db", tmp_path / "foreign.db"
    Ledger(newer, create=True).close()
    for path, statement in (
        (newer, "UPDATE meta SET value = '99' WHERE key = 'schema_version'"),
        (foreign, "CREATE TABLE somebody (name TEXT)"),
    ):
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA journal_mode = DELETE")
            db.execute(statement)
        db.close()
        before = path.read_bytes()
        assert refusal(path).startswith(f"{path}: ")
        assert path.read_bytes() == before


@pytest.mark.parametrize(("kind", "journal"), [("nfs4", "delete"), ("lustre", "delete"), ("ext4", "wal")])
def test_the_journal_is_chosen_by_the_file_system(tmp_path, monkeypatch, kind, journal):
    folder = tmp_path / "campaign"
    folder.mkdir()
    path = folder / "workflow.db"
    # It was on a local disk before, with the journal that belongs there.
    with Ledger(path, create=True) as ledger:
        ledger.add_structures([structure(0), structure(1)])
        assert (folder / "workflow.db-wal").exists()
    mount(folder, kind, monkeypatch)
    with Ledger(path) as ledger:
        claim(ledger, [0])
        with contextlib.closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA journal_mode").fetchone()[0] == journal
        assert (folder / "workflow.db-wal").exists() == (journal == "wal")
        assert ledger.figures.count_by_status() == {Status.RUNNING: 1, Status.TO_RUN: 1}
    assert [entry.name for entry in folder.iterdir()] == ["workflow.db"]


def test_what_is_no_database_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "workflow.db"
    path.write_text("name,charge\n" * 1000)
    assert "file is not a database" in refusal(path)
    assert path.read_text() == "name,charge\n" * 1000


def test_a_missing_file_and_a_missing_folder(tmp_path):
    assert "no such ledger" in refusal(tmp_path / "nowhere" / "workflow.db")
    assert not (tmp_path / "nowhere").exists()
    with Ledger(tmp_path / "new" / "folder" / "workflow.db", create=True):
        assert (tmp_path / "new" / "folder" / "workflow.db").is_file()


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be opened" in refusal(tmp_path / "file" / "workflow.db", create=True)


def test_a_folder_where_the_file_should_be(tmp_path):
    assert "no such ledger" in refusal(tmp_path)
    assert "cannot be used as a ledger" in refusal(tmp_path, create=True)


@contextlib.contextmanager
def without_root() -> Iterator[None]:
    """File permissions hold for a process that is not root only."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_and_a_folder_that_may_not_be_written():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "workflow.db"
        with Ledger(path, create=True) as ledger:
            ledger.add_structures([structure(0)])
        path.chmod(0o444)
        folder.chmod(0o555)
        try:
            with without_root():
                assert "make the file and its folder writable" in refusal(path)
                refusal(folder / "new" / "workflow.db", create=True)
                refusal(folder / "new.db", create=True)
        finally:
            folder.chmod(0o755)


def test_after_closing_the_file_alone_can_be_copied(tmp_path):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(50)])
        run(ledger, 7, Outcome.COMPLETED)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["workflow.db"]
    shutil.copy(path, tmp_path / "copy.db")
    with sqlite3.connect(tmp_path / "copy.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT COUNT(*), SUM(status = 'completed') FROM structures").fetchone() == (50, 1)


def test_closing_brings_the_journal_back_while_another_has_it_open(tmp_path):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True) as other:
        with Ledger(path) as ledger:
            ledger.add_structures([structure(n) for n in range(50)])
        shutil.copy(path, tmp_path / "copy.db")
        assert other.figures.count_by_status() == {Status.TO_RUN: 50}
    with sqlite3.connect(tmp_path / "copy.db") as db:
        assert db.execute("SELECT COUNT(*) FROM structures").fetchone() == (50,)


OPEN = """
import sys
from oact_dagster.ledger.store import Ledger
print("ready", flush=True)
sys.stdin.readline()
with Ledger(sys.argv[1], create=True) as ledger:
    ledger.set_meta(sys.argv[2], "here")
"""


def test_many_processes_may_make_the_file_at_once(tmp_path):
    path = tmp_path / "workflow.db"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(path), f"process {n}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(8)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with Ledger(path) as ledger:
        assert all(ledger.meta(f"process {n}") == "here" for n in range(8))
        assert ledger.meta("schema_version") == str(SCHEMA_VERSION)


def test_a_level_of_theory_without_any_result_binds_nobody(tmp_path):
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(2)])
        fix_level_of_theory(ledger, {"functional": "wB97MV"})
        run(ledger, 0, Outcome.FAILED)
        check_level_of_theory(ledger, {"functional": "wB97M-V"})
        fix_level_of_theory(ledger, {"functional": "wB97M-V"})
        [running] = claim(ledger, [1])
        with pytest.raises(LedgerError, match="functional=wB97M-V"):
            fix_level_of_theory(ledger, {"functional": "PBE0"})
        ledger.give_back([running.token])
        fix_level_of_theory(ledger, {"functional": "PBE0"})
        run(ledger, 1, Outcome.COMPLETED)
        with pytest.raises(LedgerError, match="functional=PBE0"):
            fix_level_of_theory(ledger, {"functional": "wB97M-V"})


def test_the_level_of_theory_is_fixed_by_the_first_one(tmp_path):
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        ledger.add_structures([structure(0)])
        fix_level_of_theory(ledger, {"functional": "wB97M-V", "basis": "def2-TZVPD", "opt": False})
        run(ledger, 0, Outcome.COMPLETED)
        fix_level_of_theory(ledger, {"opt": False, "basis": "def2-TZVPD", "functional": "wB97M-V"})
        with pytest.raises(LedgerError) as caught:
            fix_level_of_theory(ledger, {"functional": "PBE0", "basis": "def2-TZVPD", "opt": False})
        assert "functional=wB97M-V" in str(caught.value)
        assert "functional=PBE0" in str(caught.value)
        assert "basis" not in str(caught.value)
        # A setting that only one of the two knows is another level too.
        with pytest.raises(LedgerError, match="grid=None"):
            fix_level_of_theory(
                ledger, {"functional": "wB97M-V", "basis": "def2-TZVPD", "opt": False, "grid": "DEFGRID3"}
            )
    with Ledger(tmp_path / "workflow.db") as ledger, pytest.raises(LedgerError, match="functional=wB97M-V"):
        fix_level_of_theory(ledger, {"functional": "PBE0"})

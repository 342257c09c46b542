"""Reading a ledger without creating or changing anything: also an old one, one of others, and on a read-only disk."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from oact_dagster.ledger.connection import LedgerError, prepare_connection, telling
from oact_dagster.ledger.filesystem import network_filesystem
from oact_dagster.ledger.ledger_file import LedgerFile
from oact_dagster.ledger.migrations import columns_of, missing_columns, tables_of, version_of
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.schema import TABLES

_T = TypeVar("_T")


class ReadOnlyFile(LedgerFile):
    """A ledger's file that is only read.

    SQLite makes two files beside one that has a write-ahead journal, even to read it, and leaves them there. A file
    that has none beside it is therefore read as it lies on the disk; when a writer comes, what was read meanwhile is
    read again with its journal.

    Args:
        path: the SQLite file.
        timeout: how long a locked file is waited for, s.

    Raises:
        LedgerError: the file is missing, no ledger, of a newer version, or cannot be read.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        if not path.is_file():
            raise LedgerError(
                f"{path}: no such ledger; `oact ingest campaign.yaml` makes it, and runs nothing"
            )
        # On a network file system the journal of another host may not be seen: SQLite's locks at least are asked for.
        self._content = _content(path)
        self._as_it_lies = network_filesystem(path) is None and not _is_written(path)
        super().__init__(path, _open(path, timeout, as_it_lies=self._as_it_lies), timeout)

    def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """What a function reads through the connection; it is called again when somebody wrote meanwhile."""
        self._look_for_a_writer()
        try:
            found = super().read(work)
        except LedgerError:
            if not self._look_for_a_writer():
                raise
            return super().read(work)
        return super().read(work) if self._look_for_a_writer() else found

    def stream(self, query: str, values: Sequence[Any] = ()) -> Iterator[sqlite3.Row]:
        """The rows of a query, one at a time."""
        self._look_for_a_writer()
        return super().stream(query, values)

    def _look_for_a_writer(self) -> bool:
        """Open the file anew when somebody wrote, or began to, since it was opened as it lay on the disk."""
        if not self._as_it_lies:
            return False
        content, written = _content(self.path), _is_written(self.path)
        if content == self._content and not written:
            return False
        old, self.connection = self.connection, _open(self.path, self.timeout, as_it_lies=not written)
        self._content, self._as_it_lies = content, not written
        old.close()
        return True


def _content(path: Path) -> tuple[int, int]:
    """What changes when the file does: a writer may have come and gone."""
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        return found.st_mtime_ns, found.st_size
    return 0, 0


def _is_written(path: Path) -> bool:
    """Tell whether a journal lies beside the file."""
    # A write-ahead journal that is still empty belongs to a process that has the file open.
    return _journal(path) is not None or Path(f"{path}-shm").exists()


def _journal(path: Path) -> Path | None:
    """The journal beside the file that holds changes."""
    for ending in ("-wal", "-journal"):
        journal = Path(f"{path}{ending}")
        # Whoever writes may remove it at any moment.
        with contextlib.suppress(FileNotFoundError):
            if journal.stat().st_size:
                return journal
    return None


def _open(path: Path, timeout: float, *, as_it_lies: bool) -> sqlite3.Connection:
    how = "immutable=1" if as_it_lies else "mode=ro"
    where = f"file:{quote(str(path.absolute()))}?{how}"
    with telling(path, timeout):
        try:
            connection = sqlite3.connect(
                where, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
            )
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            if as_it_lies or error.sqlite_errorcode & 0xFF not in (
                sqlite3.SQLITE_CANTOPEN,
                sqlite3.SQLITE_READONLY,
            ):
                raise
            return _open_without_writing(path, timeout, error)
    return _checked(connection, path, timeout)


def _open_without_writing(path: Path, timeout: float, error: sqlite3.OperationalError) -> sqlite3.Connection:
    """Open a file whose journal cannot be read with the permissions that we have, where that holds nothing."""
    journal = _journal(path)
    if journal is not None:
        raise LedgerError(
            f"{path}: cannot be read: {journal.name} beside it holds changes that only a process with write"
            f" permission in {path.parent} can read; copy both files into a folder of yours, and read that copy"
        ) from error
    return _open(path, timeout, as_it_lies=True)


def _checked(connection: sqlite3.Connection, path: Path, timeout: float) -> sqlite3.Connection:
    try:
        with telling(path, timeout):
            prepare_connection(connection)
            connection.execute("PRAGMA temp_store = MEMORY")
            version_of(connection, path)
            if not tables_of(connection):
                raise LedgerError(f"{path}: has no tables yet; intake makes them (`oact run campaign.yaml`)")
            _stand_in_for_missing(connection)
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _stand_in_for_missing(connection: sqlite3.Connection) -> None:
    """Let queries find what an older file lacks: tables without rows, columns that hold their defaults.

    They live in this connection only; SQLite looks there first.
    """
    there = tables_of(connection)
    with sqlite3.connect(":memory:") as model:
        model.executescript(TABLES)
        made = dict(model.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
    model.close()
    for name, statement in made.items():
        if name.startswith("sqlite_"):
            continue
        if name not in there:
            connection.execute(str(statement).replace("CREATE TABLE", "CREATE TEMP TABLE", 1))
        elif missing := missing_columns(connection, name):
            columns = [*sorted(columns_of(connection, name)), *(_default(*one) for one in missing)]
            connection.execute(f"CREATE TEMP VIEW {name} AS SELECT {', '.join(columns)} FROM main.{name}")


def _default(name: str, declaration: str) -> str:
    value = declaration.partition(" DEFAULT ")[2] or "NULL"
    return f"{value} AS {name}"


def open_reader(path: str | Path, *, timeout: float = 30.0) -> LedgerReader:
    """Open a ledger without creating or changing anything, also an old one or one on a read-only disk.

    Args:
        path: the SQLite file.
        timeout: how long a locked file is waited for, s.

    Raises:
        LedgerError: the file is missing, no ledger, of a newer version, or cannot be read.
    """
    return LedgerReader(ReadOnlyFile(Path(path), timeout))

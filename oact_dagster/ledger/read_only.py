"""Reading a ledger without creating or changing anything, even an old or foreign one, or one on a read-only disk."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from oact_dagster.errors import LedgerError
from oact_dagster.ledger.connection import missing_ledger, one_line_errors, prepare_connection
from oact_dagster.ledger.filesystem import network_filesystem
from oact_dagster.ledger.ledger_file import LedgerFile
from oact_dagster.ledger.migrations import columns_of, missing_columns, tables_of, version_of
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.schema import TABLES

_T = TypeVar("_T")


class ReadOnlyFile(LedgerFile):
    """A ledger's file, opened only for reading; arguments as of :func:`open_reader`.

    To read a file in WAL mode, SQLite creates two files beside it, and leaves them there. A file without a journal is
    therefore opened as immutable. If a process writes to it meanwhile, the file is opened again, with its journal, and
    the query is repeated.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        if not path.is_file():
            raise missing_ledger(path)
        # On a network file system the journal of another host may be invisible, so SQLite's locks are used there.
        self._stamp = _stamp(path)
        self._immutable = network_filesystem(path) is None and not _has_journal(path)
        super().__init__(path, _open(path, timeout, immutable=self._immutable), timeout)

    def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """The return value of a function that reads; it is called again if the file was written meanwhile."""
        self._reopen_if_written()
        try:
            found = super().read(work)
        except LedgerError:
            if not self._reopen_if_written():
                raise
            return super().read(work)
        return super().read(work) if self._reopen_if_written() else found

    def stream(self, query: str, values: Sequence[Any] = ()) -> Iterator[sqlite3.Row]:
        """The rows of a query, one at a time."""
        self._reopen_if_written()
        return super().stream(query, values)

    def _reopen_if_written(self) -> bool:
        """Open the file again if it was opened as immutable and a process has begun to write since."""
        if not self._immutable:
            return False
        stamp, written = _stamp(self.path), _has_journal(self.path)
        if stamp == self._stamp and not written:
            return False
        old, self.connection = self.connection, _open(self.path, self.timeout, immutable=not written)
        self._stamp, self._immutable = stamp, not written
        old.close()
        return True


def _stamp(path: Path) -> tuple[int, int]:
    """Modification time and size, which reveal a writer that has come and gone."""
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        return found.st_mtime_ns, found.st_size
    return 0, 0


def _has_journal(path: Path) -> bool:
    # An empty write-ahead log belongs to a process that has the file open; it has the shared-memory file, too.
    return _journal(path) is not None or Path(f"{path}-shm").exists()


def _journal(path: Path) -> Path | None:
    """The non-empty journal beside the file, or None."""
    for ending in ("-wal", "-journal"):
        journal = Path(f"{path}{ending}")
        # The writer may remove it at any moment.
        with contextlib.suppress(FileNotFoundError):
            if journal.stat().st_size:
                return journal
    return None


def _open(path: Path, timeout: float, *, immutable: bool) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?{'immutable=1' if immutable else 'mode=ro'}"
    with one_line_errors(path, timeout):
        try:
            connection = sqlite3.connect(
                uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
            )
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            if immutable or error.sqlite_errorcode & 0xFF not in (
                sqlite3.SQLITE_CANTOPEN,
                sqlite3.SQLITE_READONLY,
            ):
                raise
            return _open_without_writing(path, timeout, error)
    return _checked(connection, path, timeout)


def _open_without_writing(path: Path, timeout: float, error: sqlite3.OperationalError) -> sqlite3.Connection:
    """Open a file in WAL mode without write permission in its folder, which works only if the journal is empty."""
    journal = _journal(path)
    if journal is not None:
        raise LedgerError(
            f"{path}: cannot be read: {journal.name} beside it holds changes that only a process with write"
            f" permission in {path.parent} can read; copy both files into a folder of yours, and read the copy"
        ) from error
    return _open(path, timeout, immutable=True)


def _checked(connection: sqlite3.Connection, path: Path, timeout: float) -> sqlite3.Connection:
    try:
        with one_line_errors(path, timeout):
            prepare_connection(connection)
            connection.execute("PRAGMA temp_store = MEMORY")
            version_of(connection, path)
            if not tables_of(connection):
                raise LedgerError(f"{path}: has no tables yet; `oact ingest campaign.yaml` creates them")
            _add_temporary_tables(connection)
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _add_temporary_tables(connection: sqlite3.Connection) -> None:
    """Add what an older file lacks: empty tables, and views that add missing columns with their defaults.

    They exist only in this connection; SQLite looks there first.
    """
    there = tables_of(connection)
    with contextlib.closing(sqlite3.connect(":memory:")) as model:
        model.executescript(TABLES)
        statements = dict(
            model.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        )
    for name, statement in statements.items():
        if name.startswith("sqlite_"):
            continue
        if name not in there:
            connection.execute(str(statement).replace("CREATE TABLE", "CREATE TEMP TABLE", 1))
        elif missing := missing_columns(connection, name):
            defaults = [
                f"{declaration.partition(' DEFAULT ')[2] or 'NULL'} AS {column}"
                for column, declaration in missing
            ]
            columns = ", ".join([*sorted(columns_of(connection, name)), *defaults])
            connection.execute(f"CREATE TEMP VIEW {name} AS SELECT {columns} FROM main.{name}")


def open_reader(path: str | Path, *, timeout: float = 30.0) -> LedgerReader:
    """Open a ledger without creating or changing anything, even an old one or one on a read-only disk.

    Args:
        path: the SQLite file.
        timeout: how long to wait for a lock, s.

    Raises:
        LedgerError: the file is missing, not a ledger, of a newer version, or cannot be read.
    """
    return LedgerReader(ReadOnlyFile(Path(path), timeout))

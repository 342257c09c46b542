"""Opening the ledger's SQLite file: its journal by file system, its tables, its transactions."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oact_dagster.ledger.filesystem import network_filesystem
from oact_dagster.ledger.schema import SCHEMA_VERSION, TABLES


class LedgerError(Exception):
    """The ledger cannot be used as asked; the text is one line that says why and what to do."""


def connect(path: Path, *, create: bool, timeout: float) -> sqlite3.Connection:
    """Open the file, make missing tables, and choose the journal.

    Args:
        path: the SQLite file.
        create: whether a missing file is made.
        timeout: how long a locked file is waited for, s.

    Returns:
        A connection in autocommit mode; transactions are those of :func:`transaction`.

    Raises:
        LedgerError: the file is missing, no database, of a newer version, or cannot be written.
    """
    if not create and not path.is_file():
        raise LedgerError(f"{path}: no such ledger; intake makes it (`oact run campaign.yaml`)")
    connection: sqlite3.Connection | None = None
    try:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        # WAL needs memory that all writers share: on a network file system two hosts would corrupt the file.
        journal = "DELETE" if network_filesystem(path) else "WAL"
        _set_journal(connection, journal, timeout)
        connection.execute("PRAGMA synchronous = NORMAL" if journal == "WAL" else "PRAGMA synchronous = FULL")
        _prepare(connection, path)
    except (sqlite3.DatabaseError, OSError, LedgerError) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, LedgerError):
            raise
        if isinstance(error, OSError):
            raise LedgerError(f"{path}: cannot be opened: {error.strerror or error}") from None
        raise LedgerError(f"{path}: cannot be used as a ledger: {error}") from None
    return connection


def _set_journal(connection: sqlite3.Connection, journal: str, timeout: float) -> None:
    """Choose the journal; processes that make a file at the same moment wait for each other here.

    SQLite's own waiting leaves this statement out: to change the journal it wants the file to itself at once.
    """
    give_up = time.monotonic() + timeout
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {journal}")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
        time.sleep(0.02)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    has_meta = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
    if has_meta:
        row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
        version = int(row[0]) if row else 0
        if version > SCHEMA_VERSION:
            raise LedgerError(
                f"{path}: its tables are of version {version}, and this program knows up to {SCHEMA_VERSION}: "
                "use a newer oact_dagster"
            )
        if version == SCHEMA_VERSION:
            return
    with transaction(connection):
        # Not executescript(): that would commit the transaction it stands in.
        for statement in TABLES.split(";"):
            if statement.strip():
                connection.execute(statement)
        connection.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),)
        )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One transaction that holds the write lock from its start, so that what it reads stays true until it ends.

    Raises:
        sqlite3.OperationalError: the file stayed locked for the connection's timeout.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have ended it already: a second error would hide the first.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise

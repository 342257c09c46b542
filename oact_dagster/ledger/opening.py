"""Opening the ledger's SQLite file for writing: its journal by file system, and its tables."""

import sqlite3
from pathlib import Path
from typing import Final

from oact_dagster.ledger.connection import (
    LedgerError,
    prepare_connection,
    telling,
    transaction,
    until_unlocked,
)
from oact_dagster.ledger.filesystem import network_filesystem
from oact_dagster.ledger.migrations import migrate, version_of

CHECKPOINT_PAGES: Final = 4_000
"""Pages in the journal (16 MB) before they are moved into the file."""


def connect(path: Path, *, create: bool, timeout: float) -> sqlite3.Connection:
    """Open the file for reading and writing, bring its tables up to date, and choose the journal.

    Args:
        path: the SQLite file.
        create: whether a missing file is made.
        timeout: how long a locked file is waited for, s.

    Returns:
        A connection in autocommit mode; transactions are those of :func:`transaction`.

    Raises:
        LedgerError: the file is missing, no ledger, of a newer version, locked, or cannot be written.
    """
    if not create and not path.is_file():
        raise LedgerError(f"{path}: no such ledger; `oact ingest campaign.yaml` makes it, and runs nothing")
    connection: sqlite3.Connection | None = None
    try:
        with telling(path, timeout):
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
            prepare_connection(connection)
            # What is refused is left as it is: the journal is a property of the file, and stays behind in it.
            until_unlocked(connection, "SELECT 1 FROM sqlite_master", timeout)
            version_of(connection, path)
            # WAL needs memory that all writers share: on a network file system two hosts would corrupt the file.
            _set_journal(connection, "DELETE" if network_filesystem(path) else "WAL", timeout)
            # A claim must be on the disk before a scheduler hears of it: after a power cut nothing runs that the
            # ledger does not know.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            migrate(connection, path, lambda: transaction(connection, path, timeout))
    except (sqlite3.Error, OSError, LedgerError) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, OSError):
            raise LedgerError(f"{path}: cannot be opened: {error.strerror or error}") from None
        raise
    return connection


def _set_journal(connection: sqlite3.Connection, journal: str, timeout: float) -> None:
    """Choose the journal; processes that make a file at the same moment wait for each other here.

    SQLite's own waiting leaves this statement out: to change the journal it wants the file to itself at once.
    """
    until_unlocked(connection, f"PRAGMA journal_mode = {journal}", timeout)

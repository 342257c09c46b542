"""A ledger's file that is open for writing: its journal by file system, its tables, and its transactions."""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
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
from oact_dagster.ledger.ledger_file import LedgerFile
from oact_dagster.ledger.migrations import migrate, version_of
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.writer import refuse_second_host

CHECKPOINT_PAGES: Final = 4_000
"""Pages in the journal (16 MB) before they are moved into the file."""


class WritableFile(LedgerFile):
    """An SQLite file that is open for reading and writing, with its tables up to date.

    Args:
        path: the file.
        create: make it when it is missing.
        timeout: how long a locked file is waited for, s.
        owner: who writes; this process where it is not given.

    Raises:
        LedgerError: the file is missing, no ledger, of a newer version, locked, or cannot be written.
    """

    def __init__(self, path: Path, *, create: bool, timeout: float, owner: Owner | None) -> None:
        super().__init__(path, _connect(path, create=create, timeout=timeout), timeout)
        self.owner = owner or Owner.this_process()

    def close(self) -> None:
        """Bring the journal back into the file, so that it alone can be copied, and close it."""
        # Where another process reads or writes, the last one to close brings it back.
        with contextlib.suppress(sqlite3.OperationalError):
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        super().close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction of the host that writes.

        Raises:
            LedgerError: another host does, or the file cannot be written; nothing has changed.
        """
        with transaction(self.connection, self.path, self.timeout) as db:
            # Also one that was taken over while it slept learns it here.
            refuse_second_host(db, self.path, self.owner)
            yield db


def _connect(path: Path, *, create: bool, timeout: float) -> sqlite3.Connection:
    """Open the file, bring its tables up to date, and choose the journal.

    Returns:
        A connection in autocommit mode; transactions are those of :func:`transaction`.
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
            journal = "DELETE" if network_filesystem(path) else "WAL"
            # SQLite's own waiting leaves this one out: to change the journal it wants the file to itself at once.
            until_unlocked(connection, f"PRAGMA journal_mode = {journal}", timeout)
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

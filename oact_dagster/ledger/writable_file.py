"""A ledger's file, open for writing: its journal mode, its tables, and its transactions."""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from oact_dagster.errors import LedgerError
from oact_dagster.ledger.connection import (
    missing_ledger,
    one_line_errors,
    prepare_connection,
    transaction,
    until_unlocked,
)
from oact_dagster.ledger.filesystem import network_filesystem
from oact_dagster.ledger.ledger_file import LedgerFile
from oact_dagster.ledger.migrations import migrate, version_of
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.writer import refuse_second_host

CHECKPOINT_PAGES: Final = 4_000
"""Pages (16 MB) that the journal may hold before they are moved into the file."""


class WritableFile(LedgerFile):
    """An SQLite file, open for reading and writing, with up-to-date tables; arguments as of :class:`Ledger`.

    Raises:
        LedgerError: the file is missing, not a ledger, of a newer version, locked, or cannot be written.
    """

    def __init__(self, path: Path, *, create: bool, timeout: float, owner: Owner | None) -> None:
        super().__init__(path, _connect(path, create=create, timeout=timeout), timeout)
        self.owner = owner or Owner.this_process()

    def close(self) -> None:
        """Move the journal into the file, so that the file can be copied alone, and close it."""
        # If other processes have the file open, the last one to close it does this.
        with contextlib.suppress(sqlite3.OperationalError):
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        super().close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction, allowed only on the host that writes.

        Raises:
            LedgerError: another host writes, or the file cannot be written; nothing has changed.
        """
        with transaction(self.connection, self.path, self.timeout) as db:
            # This also stops a process whose ledger was taken over while it was suspended.
            refuse_second_host(db, self.path, self.owner)
            yield db


def _connect(path: Path, *, create: bool, timeout: float) -> sqlite3.Connection:
    """Open the file, choose the journal mode, and bring the tables up to date.

    Returns:
        A connection in autocommit mode; transactions are those of :func:`transaction`.
    """
    if not create and not path.is_file():
        raise missing_ledger(path)
    connection: sqlite3.Connection | None = None
    try:
        with one_line_errors(path, timeout):
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
            prepare_connection(connection)
            # Check the file before changing it: the journal mode is stored in the file.
            until_unlocked(connection, "SELECT 1 FROM sqlite_master", timeout)
            version_of(connection, path)
            # WAL needs memory shared by all writers: on a network file system two hosts would corrupt the file.
            journal = "DELETE" if network_filesystem(path) else "WAL"
            # SQLite does not wait for the exclusive lock that this change needs.
            until_unlocked(connection, f"PRAGMA journal_mode = {journal}", timeout)
            # A claim must be on disk before its job is submitted: after a power cut no job may run that the ledger
            # does not know.
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

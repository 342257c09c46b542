"""A ledger that is open for writing: its transactions, the host that writes, and the batches that run on it."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NoReturn

from oact_dagster.ledger.connection import transaction
from oact_dagster.ledger.opening import connect
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.reading import LedgerReader
from oact_dagster.ledger.states import OpenAttempt
from oact_dagster.ledger.writer import (
    read_writer,
    refuse_second_host,
    release_writer,
    show_writer,
    take_writer,
)


class WritableLedger(LedgerReader):
    """A ledger's file, open for reading and writing.

    Args:
        path: the SQLite file.
        create: make it when it is missing.
        timeout: how long a locked file is waited for, s.
        owner: who writes; this process where it is not given.

    Raises:
        LedgerError: the file is missing or cannot be used.
    """

    def __init__(
        self, path: str | Path, *, create: bool = False, timeout: float = 30.0, owner: Owner | None = None
    ) -> None:
        super().__init__(Path(path), connect(Path(path), create=create, timeout=timeout), timeout)
        self._owner = owner or Owner.this_process()

    @staticmethod
    def open(path: str | Path, *, timeout: float = 30.0) -> NoReturn:
        """Not here: a ledger that is only read is ``open_reader(path)``."""
        raise TypeError("to read only: open_reader(path)")

    def close(self) -> None:
        """Bring the journal back into the file, so that it alone can be copied, and close it."""
        # Where another process reads or writes, the last one to close brings it back.
        with contextlib.suppress(sqlite3.OperationalError):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def _transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """A transaction of the host that writes.

        Raises:
            LedgerError: another host does, or the file cannot be written; nothing has changed.
        """
        return self._guarded()

    @contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection]:
        with transaction(self._connection, self.path, self._timeout) as db:
            # Also one that was taken over while it slept learns it here.
            refuse_second_host(db, self.path, self._owner)
            yield db

    # --- the host that writes, and batches ----------------------------------------------------------------------

    def take_writer(self, owner: Owner, *, take_over: bool = False, now: float | None = None) -> None:
        """Make a process's host the one that may write; other processes of that host may write beside it.

        Args:
            owner: the process that will run batches.
            take_over: from another host that was not seen for 10 minutes.
            now: the time.

        Raises:
            LedgerError: another host has it; it is named, with the time since when.
        """
        at = time.time() if now is None else now
        with transaction(self._connection, self.path, self._timeout) as db:
            take_writer(db, self.path, owner, at, take_over=take_over)
        self._owner = owner

    def open_batch(
        self, batch_id: str, owner: Owner, now: float | None = None, *, take_over: bool = False
    ) -> None:
        """Enter the process that runs a batch; a batch of this id that ran before is taken over.

        Its host is then the one that may write, see :meth:`take_writer`.
        """
        at = time.time() if now is None else now
        with transaction(self._connection, self.path, self._timeout) as db:
            take_writer(db, self.path, owner, at, take_over=take_over)
            db.execute(
                "INSERT OR REPLACE INTO batches (id, host, boot_id, pid, pid_started, heartbeat, started_at, ended_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                (batch_id, owner.host, owner.boot_id, owner.pid, owner.pid_started, at, at),
            )
        self._owner = owner

    def beat(self, batch_id: str, now: float | None = None, unanswered: str = "") -> None:
        """Show that a batch's process lives, and with it the host that writes.

        Args:
            batch_id: of the batch.
            now: Unix time, s.
            unanswered: since when and why its scheduler does not answer; empty while it does.

        Raises:
            LedgerError: another host has taken the ledger over meanwhile.
        """
        at = time.time() if now is None else now
        with self._transaction() as db:
            db.execute(
                "UPDATE batches SET heartbeat = ?, unanswered = ? WHERE id = ?",
                (at, unanswered or None, batch_id),
            )
            show_writer(db, self._owner, at)

    def close_batch(self, batch_id: str, now: float | None = None) -> None:
        """A batch's process has no open attempt any more; the last one of a host lets any host write."""
        at = time.time() if now is None else now
        with self._transaction() as db:
            db.execute("UPDATE batches SET ended_at = ? WHERE id = ?", (at, batch_id))
            others = db.execute(
                "SELECT id FROM batches WHERE ended_at IS NULL AND (host = ? OR boot_id = ?)",
                (self._owner.host, self._owner.boot_id),
            ).fetchall()
            if not any(self.batch_lives(str(other["id"]), at) for other in others):
                release_writer(db, self._owner)

    def release_dead_writer(self, now: float | None = None) -> None:
        """Let any host write again, where the one that did was this host and its process has ended."""
        at = time.time() if now is None else now
        with self._transaction() as db:
            holder = read_writer(db)
            if holder is None or self.any_batch_lives(at):
                return
            if Owner(holder.host, holder.boot_id, holder.pid, holder.pid_started).lives() is False:
                release_writer(db, self._owner)

    def take_over(self, attempt: OpenAttempt, batch_id: str) -> bool:
        """Make a dead batch's attempt ours; False when another process was faster."""
        with self._transaction() as db:
            cursor = db.execute(
                # Why its job waits is looked at anew.
                "UPDATE attempts SET batch_id = ?, pending_reason = NULL"
                " WHERE token = ? AND batch_id = ? AND state != 'closed'",
                (batch_id, attempt.token, attempt.batch_id),
            )
            return cursor.rowcount == 1

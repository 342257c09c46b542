"""A connection to the ledger's SQLite file: its transactions, its waiting for locks, and its faults in one line."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from oact_dagster.errors import OactError

CACHE_KB: Final = 32_000
"""Pages kept in memory: a claim or a record of a thousand structures touches some thousand pages."""


class LedgerError(OactError):
    """The ledger cannot be used as asked; the text is one line that says why and what to do."""


_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})


def is_locked(error: BaseException) -> bool:
    """Tell whether another process or connection has the file locked."""
    return isinstance(error, sqlite3.OperationalError) and _code(error) in _LOCKED


@contextmanager
def telling(path: Path, timeout: float | None = None) -> Iterator[None]:
    """Turn what SQLite says of the file into one line; faults of the program pass through as they are.

    Args:
        path: the SQLite file.
        timeout: how long a locked file was waited for, s.

    Raises:
        LedgerError: the file is locked, full, read-only, damaged or no database.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        told = _told(error, path, timeout)
        if told is None:
            raise
        raise LedgerError(told) from error


def _told(error: sqlite3.DatabaseError, path: Path, timeout: float | None) -> str | None:
    code = _code(error)
    if code in _LOCKED:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_BUSY_SNAPSHOT":
            return (
                f"{path}: cannot be written while this process still reads rows that another one has changed; nothing"
                " was changed; run it again"
            )
        waited = "" if timeout is None else f" for {timeout:g} s"
        return (
            f"{path}: another process has kept it locked{waited} (a run, a dashboard, a copy that is being made,"
            f" or a sqlite3 shell; `fuser {path}` names it); nothing was changed; run it again when that has ended"
        )
    if code == sqlite3.SQLITE_FULL:
        return (
            f"{path}: cannot be written: {error}; nothing was changed; make room on its disk and run it again"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return (
            f"{path}: cannot be written: {error}; nothing was changed; it needs write permission on the file and on"
            " its folder"
        )
    if code == sqlite3.SQLITE_NOTADB:
        return f"{path}: cannot be used as a ledger: {error}; name the campaign's workflow.db"
    if code == sqlite3.SQLITE_CORRUPT:
        return (
            f"{path}: is damaged: {error}; put a copy back, or save what can be read with"
            f" `sqlite3 {path.name} .recover`"
        )
    if code == sqlite3.SQLITE_IOERR:
        return f"{path}: cannot be read or written: {error}; nothing was changed; look at its disk"
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_TOOBIG):
        return f"{path}: cannot be used as a ledger: {error}; look at its folder and its permissions"
    return None


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 where the error is not SQLite's own."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def prepare_connection(connection: sqlite3.Connection) -> None:
    """Settings that every connection has."""
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")


def until_unlocked(connection: sqlite3.Connection, statement: str, timeout: float) -> None:
    """Execute a statement, again and again while the file is locked; in all no longer than ``timeout``.

    SQLite waits by itself for most locks, and answers at once for some: a change of the journal, a snapshot that
    another writer has outdated, a lock that it fears a deadlock over.
    """
    give_up = time.monotonic() + timeout

    def out_of_time(state: RetryCallState) -> bool:
        return time.monotonic() + state.upcoming_sleep >= give_up

    retrying = Retrying(
        retry=retry_if_exception(is_locked),
        wait=wait_random_exponential(multiplier=0.01, max=1.0),
        stop=out_of_time,
        reraise=True,
    )
    for attempt in retrying:
        with attempt:
            if attempt.retry_state.attempt_number > 1:
                # What SQLite waits by itself ends with our time, too.
                left = max(0.0, give_up - time.monotonic())
                connection.execute(f"PRAGMA busy_timeout = {round(left * 1000)}")
            try:
                connection.execute(statement)
            finally:
                if attempt.retry_state.attempt_number > 1:
                    connection.execute(f"PRAGMA busy_timeout = {round(timeout * 1000)}")


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path, timeout: float) -> Iterator[sqlite3.Connection]:
    """One transaction that holds the write lock from its start, so that what it reads stays true until it ends.

    Raises:
        LedgerError: the file stayed locked for the connection's timeout, the disk is full, or it cannot be written;
            nothing has changed then.
    """
    with telling(path, timeout):
        until_unlocked(connection, "BEGIN IMMEDIATE", timeout)
        try:
            yield connection
            until_unlocked(connection, "COMMIT", timeout)
        except BaseException:
            # A full disk may have ended it already: a second error would hide the first.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

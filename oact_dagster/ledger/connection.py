"""Connections to the ledger's SQLite file: transactions, waiting for locks, and errors as one line."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from oact_dagster.errors import LedgerError

CACHE_KB: Final = 32_000
"""Page cache: claiming or recording a thousand structures touches some thousand pages."""


def missing_ledger(path: Path) -> LedgerError:
    """The error for a ledger that does not exist."""
    return LedgerError(
        f"{path}: no such ledger; create it with `oact ingest campaign.yaml`, which runs nothing"
    )


_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})


def is_locked(error: BaseException) -> bool:
    """Whether the error says that another process or connection has the file locked."""
    return isinstance(error, sqlite3.OperationalError) and _code(error) in _LOCKED


@contextmanager
def one_line_errors(path: Path, timeout: float | None = None) -> Iterator[None]:
    """Turn SQLite's errors about the file into a LedgerError; programming errors pass through unchanged.

    Raises:
        LedgerError: the file is locked (for ``timeout`` seconds), full, read-only, damaged or not a database.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        message = _message(error, path, timeout)
        if message is None:
            raise
        raise LedgerError(message) from error


def _message(error: sqlite3.DatabaseError, path: Path, timeout: float | None) -> str | None:
    code = _code(error)
    if code in _LOCKED:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_BUSY_SNAPSHOT":
            return (
                f"{path}: cannot be written while this process is reading rows that another process has changed;"
                " nothing was changed; run it again"
            )
        waited = "" if timeout is None else f" for {timeout:g} s"
        return (
            f"{path}: another process kept it locked{waited} (a run, a dashboard, a copy in progress or a sqlite3"
            f" shell; `fuser {path}` shows which); nothing was changed; run it again once that has ended"
        )
    if code == sqlite3.SQLITE_FULL:
        return f"{path}: cannot be written: {error}; nothing was changed; free disk space and run it again"
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return (
            f"{path}: cannot be written: {error}; nothing was changed; make the file and its folder writable"
        )
    if code == sqlite3.SQLITE_NOTADB:
        return f"{path}: cannot be used as a ledger: {error}; name the campaign's workflow.db"
    if code == sqlite3.SQLITE_CORRUPT:
        rescue = f"`sqlite3 {path.name} .recover`"
        return f"{path}: is damaged: {error}; restore a backup, or save what is readable with {rescue}"
    if code == sqlite3.SQLITE_IOERR:
        return f"{path}: cannot be read or written: {error}; nothing was changed; check the disk"
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_TOOBIG):
        return f"{path}: cannot be used as a ledger: {error}; check its folder and permissions"
    return None


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 if the error does not come from SQLite."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def prepare_connection(connection: sqlite3.Connection) -> None:
    """Apply the settings that every connection has."""
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")


def until_unlocked(connection: sqlite3.Connection, statement: str, timeout: float) -> None:
    """Execute a statement, retrying for up to ``timeout`` seconds while the file is locked.

    SQLite itself waits for most locks. It fails at once when the journal mode changes, when another writer has made
    its snapshot stale, or when waiting might deadlock.
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
                # SQLite's own waiting must end with our timeout, too.
                left = max(0.0, give_up - time.monotonic())
                connection.execute(f"PRAGMA busy_timeout = {round(left * 1000)}")
            try:
                connection.execute(statement)
            finally:
                if attempt.retry_state.attempt_number > 1:
                    connection.execute(f"PRAGMA busy_timeout = {round(timeout * 1000)}")


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path, timeout: float) -> Iterator[sqlite3.Connection]:
    """A transaction that holds the write lock from the start, so that what it reads stays true until it ends.

    Raises:
        LedgerError: the file stayed locked for the timeout, the disk is full, or the file cannot be written. Nothing
            has changed then.
    """
    with one_line_errors(path, timeout):
        until_unlocked(connection, "BEGIN IMMEDIATE", timeout)
        try:
            yield connection
            until_unlocked(connection, "COMMIT", timeout)
        except BaseException:
            # A full disk may have rolled it back already: a second error would hide the first.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

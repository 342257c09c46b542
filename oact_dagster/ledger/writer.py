"""The one host that may write, because SQLite's locks do not work across hosts on most network file systems."""

import sqlite3
import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from oact_dagster.errors import LedgerError
from oact_dagster.ledger.documents import Document
from oact_dagster.ledger.owner import Owner

HEARTBEAT_LIMIT_S: Final = 600.0
"""A process of another host without a heartbeat for this long counts as dead."""


@dataclass(frozen=True, slots=True)
class Writer:
    """The process that runs batches on a ledger, as stored under ``writer`` in ``meta``. Unix times in s."""

    host: str
    boot_id: str
    pid: int
    pid_started: float
    since: float
    heartbeat: float

    def is_host_of(self, owner: Owner) -> bool:
        """Whether a process runs on this host, by its name or, since names may change, by its boot."""
        return self.host == owner.host or self.boot_id == owner.boot_id

    def is_silent(self, now: float) -> bool:
        """Whether the ledger may be taken over from this host."""
        return now - self.heartbeat > HEARTBEAT_LIMIT_S

    def describe(self, now: float) -> str:
        """The host, since when it has been writing, and when it was last seen."""
        since = datetime.fromtimestamp(self.since).astimezone().isoformat(" ", "seconds")
        return (
            f"host {self.host} (process {self.pid}) has been running batches on it since {since}, last seen"
            f" {_span(now - self.heartbeat)} ago"
        )


WRITER: Final[Document[Writer | None]] = Document("writer", Writer | None, None)
"""The present writer; None, so that anyone may write, if there is none or it is unreadable."""


def refuse_second_host(db: sqlite3.Connection, path: Path, owner: Owner | None = None) -> None:
    """Refuse a process (by default this one) of another host than the one that runs batches, if there is one.

    Raises:
        LedgerError: another host holds the ledger; the message names it.
    """
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return
    holder = WRITER.load(db)
    if holder is None or holder.is_host_of(owner or Owner.this_process()):
        return
    raise _refused(path, holder, time.time(), take_over=False)


def take_writer(db: sqlite3.Connection, path: Path, owner: Owner, now: float, *, take_over: bool) -> None:
    """Make a process's host the one that writes; other processes of the same host may write, too.

    Raises:
        LedgerError: another host holds the ledger, unless it is silent and ``take_over`` is set.
    """
    holder = WRITER.load(db)
    since = now
    if holder is not None and holder.is_host_of(owner):
        since = holder.since if holder.boot_id == owner.boot_id else now
    elif holder is not None and not (take_over and holder.is_silent(now)):
        raise _refused(path, holder, now, take_over=take_over)
    WRITER.store(db, Writer(owner.host, owner.boot_id, owner.pid, owner.pid_started, since, now))


def show_writer(db: sqlite3.Connection, owner: Owner, now: float) -> None:
    """Renew the heartbeat of the host that writes."""
    holder = WRITER.load(db)
    if holder is not None and holder.is_host_of(owner):
        WRITER.store(db, replace(holder, heartbeat=now))
    elif holder is None:
        WRITER.store(db, Writer(owner.host, owner.boot_id, owner.pid, owner.pid_started, now, now))


def release_writer(db: sqlite3.Connection, owner: Owner) -> None:
    """Let any host write again, if this process's host is the one that writes."""
    holder = WRITER.load(db)
    if holder is not None and holder.is_host_of(owner):
        db.execute("DELETE FROM meta WHERE key = ?", (WRITER.key,))


def _refused(path: Path, holder: Writer, now: float, *, take_over: bool) -> LedgerError:
    if holder.is_silent(now):
        advice = "if its run is dead, take the ledger over with --take-over"
    elif take_over:
        advice = f"--take-over is for a host that was not seen for {_span(HEARTBEAT_LIMIT_S)}"
    else:
        advice = "run there, or wait until its run has ended"
    return LedgerError(f"{path}: {holder.describe(now)}; only one host at a time may write: {advice}")


def _span(seconds: float) -> str:
    """A duration in a suitable unit."""
    seconds = max(0.0, seconds)
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"

"""The batches of a ledger: which processes are alive, and what dead ones left behind."""

import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oact_dagster.ledger.ledger_file import LedgerFile
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.predicates import OPEN, REACHABLE, RUNNING
from oact_dagster.ledger.writer import HEARTBEAT_LIMIT_S, WRITER, Writer


@dataclass(frozen=True, slots=True)
class Batches:
    """The processes that run, or ran, batches on this ledger."""

    file: LedgerFile

    def writer(self) -> Writer | None:
        """The host that runs batches on this ledger now, or None."""
        return self.file.read(WRITER.load)

    def lives(self, batch_id: str, now: float | None = None) -> bool:
        """Whether a batch's process still runs: judged by its pid on this host, by its heartbeat on another."""
        row = self._row(batch_id)
        return row is not None and _lives(row, now)

    def any_lives(self, now: float | None = None) -> bool:
        """Whether any batch's process still runs."""
        return any(_lives(row, now) for row in self._not_ended())

    def dead(self, batch_ids: Iterable[str]) -> list[str]:
        """The given batches whose process is known to be gone; batches unknown to the ledger are left out."""
        rows = {batch_id: self._row(batch_id) for batch_id in batch_ids}
        return [name for name, row in rows.items() if row is not None and _owner(row).lives() is False]

    def knows(self, batch_id: str) -> bool:
        """Whether the ledger has an entry for a batch."""
        return self._row(batch_id) is not None

    def left_by_dead(self, now: float | None = None) -> list[int]:
        """``orig_index`` of structures whose open attempt no live batch monitors, in the order of the CSV."""
        names = [
            str(row[0]) for row in self.file.rows(f"SELECT DISTINCT a.batch_id FROM attempts a WHERE {OPEN}")
        ]
        rows = self.file.rows_of(
            "SELECT s.orig_index FROM attempts a JOIN structures s ON s.id = a.structure_id"
            f" WHERE {OPEN} AND a.batch_id IN (...) AND {RUNNING} AND {REACHABLE}",
            [name for name in names if not self.lives(name, now)],
        )
        return sorted(int(row[0]) for row in rows)

    def of_living(self, orig_indices: Iterable[int], now: float | None = None) -> set[int]:
        """The given structures that a live batch has attempted."""
        living = {row["id"] for row in self._not_ended() if _lives(row, now)}
        rows = self.file.rows_of(
            "SELECT s.orig_index, a.batch_id FROM attempts a JOIN structures s ON s.id = a.structure_id"
            f" WHERE s.orig_index IN (...) AND {REACHABLE}",
            orig_indices if living else (),
        )
        return {int(row[0]) for row in rows if row[1] in living}

    def unanswered(self, now: float | None = None) -> str:
        """Since when and why the scheduler has not answered, as the first live batch reports; empty if it answers."""
        rows = self._not_ended()
        return next((str(row["unanswered"]) for row in rows if row["unanswered"] and _lives(row, now)), "")

    def unstarted(self, batch_id: str) -> list[str]:
        """Tokens of a batch's open attempts whose payload has not started."""
        rows = self.file.rows(
            f"SELECT a.token FROM attempts a WHERE a.batch_id = ? AND {OPEN} AND a.state IN ('claimed', 'submitted')",
            (batch_id,),
        )
        return [str(row[0]) for row in rows]

    def _row(self, batch_id: str) -> sqlite3.Row | None:
        return self.file.one("SELECT * FROM batches WHERE id = ?", (batch_id,))

    def _not_ended(self) -> Sequence[sqlite3.Row]:
        # The text in `unanswered` begins with the scheduler's name and the time.
        return self.file.rows("SELECT * FROM batches WHERE ended_at IS NULL ORDER BY unanswered")


def _owner(row: sqlite3.Row) -> Owner:
    return Owner(row["host"], row["boot_id"], row["pid"], row["pid_started"])


def _lives(row: sqlite3.Row, now: float | None) -> bool:
    if row["ended_at"] is not None:
        return False
    alive = _owner(row).lives()
    if alive is not None:
        return alive
    return (time.time() if now is None else now) - float(row["heartbeat"]) < HEARTBEAT_LIMIT_S

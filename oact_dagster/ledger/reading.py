"""Reading the ledger: counts, structures, attempts, batches."""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oact_dagster.ledger.chunks import chunks, marks
from oact_dagster.ledger.connection import LedgerError
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.rows import (
    ATTEMPT_COLUMNS,
    STRUCTURE_COLUMNS,
    attempt_of,
    open_attempt_of,
    structure_of,
)
from oact_dagster.ledger.states import (
    AttemptRecord,
    AttemptState,
    OpenAttempt,
    Outcome,
    Rejection,
    Status,
    StructureRecord,
)

HEARTBEAT_LIMIT_S = 600.0
"""A batch of another host that has not shown itself for this long counts as dead."""


class LedgerReader:
    """What can be asked of a ledger.

    Args:
        path: the SQLite file, for messages.
        connection: to it.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def meta(self, key: str) -> str | None:
        """A value of the table ``meta``, or None."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def check_level_of_theory(self, level: Mapping[str, Any]) -> None:
        """Compare with the level of theory of the ledger's results, where one is fixed.

        Raises:
            LedgerError: they differ; both are in the text.
        """
        text = self.meta("level_of_theory")
        if text is None:
            return
        kept = json.loads(text)
        differing = sorted(key for key in {*kept, *level} if kept.get(key) != level.get(key))
        if differing:
            then = ", ".join(f"{key}={kept.get(key)}" for key in differing)
            now = ", ".join(f"{key}={level.get(key)}" for key in differing)
            raise LedgerError(
                f"{self.path}: its results are of the level of theory {then}; campaign.yaml now says {now}: "
                "set that back, or start a second campaign with a ledger of its own"
            )

    def known_rows(self) -> Iterator[tuple[int, str, str | None]]:
        """``(orig_index, row hash, annotations as JSON)`` of every row of the CSV, in its order; streamed.

        The hash is empty for a structure of an old ledger, which kept none; the annotations are None for a row
        that was refused.
        """
        for row in self._connection.execute(
            "SELECT s.orig_index, COALESCE(st.row_hash, ''), COALESCE(st.annotations, '{}') FROM structures s"
            " LEFT JOIN structure_state st ON st.structure_id = s.id WHERE s.orig_index IS NOT NULL"
            " UNION ALL SELECT orig_index, row_hash, NULL FROM rejections ORDER BY 1"
        ):
            yield row[0], row[1], row[2]

    def rejections(self, limit: int | None = None) -> list[Rejection]:
        """The refused rows, in the order of the CSV."""
        rows = self._connection.execute(
            "SELECT orig_index, line, reason, row_hash FROM rejections ORDER BY orig_index LIMIT ?",
            (-1 if limit is None else limit,),
        )
        return [Rejection(*row) for row in rows]

    def count_rejections(self) -> int:
        """How many rows of the CSV were refused."""
        return int(self._connection.execute("SELECT COUNT(*) FROM rejections").fetchone()[0])

    def same_calculations(self, limit: int) -> tuple[int, list[list[int]]]:
        """Structures that are the same calculation (elements, coordinates, charge, unpaired electrons).

        Returns:
            The number of structures that repeat another one, and the first ``limit`` groups of ``orig_index``.
        """
        db = self._connection
        groups = (
            "SELECT calculation_hash AS h, COUNT(*) AS n, MIN(structure_id) AS first FROM structure_state"
            " WHERE calculation_hash != '' GROUP BY calculation_hash HAVING COUNT(*) > 1"
        )
        extra = int(db.execute(f"SELECT COALESCE(SUM(n - 1), 0) FROM ({groups})").fetchone()[0])
        shown = []
        for row in db.execute(f"{groups} ORDER BY first LIMIT ?", (limit,)):
            members = db.execute(
                "SELECT s.orig_index FROM structures s JOIN structure_state st ON st.structure_id = s.id"
                " WHERE st.calculation_hash = ? ORDER BY s.id LIMIT 20",
                (row["h"],),
            )
            shown.append([int(member[0]) for member in members])
        return extra, shown

    def count_by_status(self) -> dict[Status, int]:
        """How many structures have each status."""
        rows = self._connection.execute("SELECT status, COUNT(*) FROM structures GROUP BY status")
        return {Status(status): count for status, count in rows}

    def count_running_started(self) -> int:
        """How many of the running structures' attempts have started (the others are queued)."""
        return int(
            self._connection.execute(
                "SELECT COUNT(*) FROM attempts WHERE state = ?", (AttemptState.RUNNING,)
            ).fetchone()[0]
        )

    def count_held(self) -> int:
        """How many structures are held until they are released or named."""
        return int(self._connection.execute("SELECT COUNT(*) FROM structure_state WHERE held").fetchone()[0])

    def count_set_aside(self, max_failures: int, max_losses: int) -> int:
        """How many structures without a result have used up their budget of failed or of lost attempts."""
        row = self._connection.execute(
            "SELECT COUNT(*) FROM structures s LEFT JOIN structure_state st ON st.structure_id = s.id"
            " WHERE s.status NOT IN ('completed', 'running')"
            " AND (COALESCE(s.fail_count, 0) >= ? OR COALESCE(st.loss_count, 0) >= ?)",
            (max_failures, max_losses),
        ).fetchone()
        return int(row[0])

    def orig_indices(self) -> Iterator[int]:
        """``orig_index`` of every structure, in the order of the CSV."""
        for row in self._connection.execute("SELECT orig_index FROM structures ORDER BY orig_index"):
            yield int(row[0])

    def structures(self, orig_indices: Sequence[int]) -> dict[int, StructureRecord]:
        """The structures with these ``orig_index``; unknown ones are left out."""
        found = {}
        for chunk in chunks(orig_indices):
            rows = self._connection.execute(
                f"SELECT {STRUCTURE_COLUMNS} FROM structures s LEFT JOIN structure_state st ON st.structure_id = s.id"
                f" WHERE s.orig_index IN ({marks(chunk)})",
                chunk,
            )
            found.update({int(row["orig_index"]): structure_of(row) for row in rows})
        return found

    def select(self, statuses: Sequence[Status], limit: int | None = None) -> list[int]:
        """``orig_index`` of structures with one of these statuses that are not held, most urgent first."""
        rows = self._connection.execute(
            "SELECT s.orig_index FROM structures s LEFT JOIN structure_state st ON st.structure_id = s.id"
            f" WHERE s.status IN ({marks(statuses)}) AND COALESCE(st.held, 0) = 0"
            " ORDER BY COALESCE(st.priority, 0) DESC, s.id LIMIT ?",
            (*statuses, -1 if limit is None else limit),
        )
        return [int(row[0]) for row in rows]

    def attempts(self, orig_index: int) -> list[AttemptRecord]:
        """All attempts of a structure, the first one first."""
        rows = self._connection.execute(
            f"SELECT {ATTEMPT_COLUMNS} FROM attempts a JOIN structures s ON s.id = a.structure_id"
            " WHERE s.orig_index = ? ORDER BY a.number",
            (orig_index,),
        )
        return [attempt_of(row) for row in rows]

    def good_attempts(self, orig_indices: Sequence[int]) -> dict[int, AttemptRecord]:
        """The attempt that completed each of these structures; those without one are left out."""
        found = {}
        for chunk in chunks(orig_indices):
            rows = self._connection.execute(
                f"SELECT s.orig_index AS orig_index, {ATTEMPT_COLUMNS} FROM attempts a"
                " JOIN structures s ON s.id = a.structure_id"
                f" WHERE s.orig_index IN ({marks(chunk)}) AND s.status = 'completed' AND a.outcome = 'completed'"
                " ORDER BY a.number",
                chunk,
            )
            found.update({int(row["orig_index"]): attempt_of(row) for row in rows})
        return found

    def open_attempts(self, orig_indices: Sequence[int]) -> dict[int, OpenAttempt]:
        """The attempts of these structures whose outcome is not recorded yet."""
        found = {}
        for chunk in chunks(orig_indices):
            rows = self._connection.execute(
                "SELECT s.orig_index, a.structure_id, a.number, a.token, a.state, a.batch_id, a.launcher,"
                " a.scheduler_job_id, a.job_dir FROM attempts a JOIN structures s ON s.id = a.structure_id"
                f" WHERE a.state != 'closed' AND s.orig_index IN ({marks(chunk)})",
                chunk,
            )
            found.update({int(row["orig_index"]): open_attempt_of(row) for row in rows})
        return found

    def indices_of(self, tokens: Sequence[str]) -> dict[str, int]:
        """``orig_index`` of the structure of each attempt."""
        found = {}
        for chunk in chunks(tokens):
            rows = self._connection.execute(
                "SELECT a.token, s.orig_index FROM attempts a JOIN structures s ON s.id = a.structure_id"
                f" WHERE a.token IN ({marks(chunk)})",
                chunk,
            )
            found.update({str(row[0]): int(row[1]) for row in rows})
        return found

    def completed(self) -> Iterator[sqlite3.Row]:
        """Rows of every completed structure with its good attempt, for summaries; streamed."""
        yield from self._connection.execute(
            "SELECT s.orig_index, s.elements, s.natoms, s.charge, s.spin, s.final_energy, s.max_forces, s.scf_steps,"
            " s.wall_time, s.n_cores, s.job_dir, s.fail_count, a.number AS attempt, a.host, a.remedy, a.result,"
            " a.scheduler_job_id, a.input_hash"
            " FROM structures s LEFT JOIN attempts a ON a.structure_id = s.id AND a.number ="
            " (SELECT MAX(b.number) FROM attempts b WHERE b.structure_id = s.id AND b.outcome = 'completed')"
            " WHERE s.status = 'completed' ORDER BY s.orig_index"
        )

    def failures_by_class(self) -> list[tuple[str, int]]:
        """``(failure class, structures)`` of what is failed or timed out now, by its last attempt; most first."""
        rows = self._connection.execute(
            "SELECT COALESCE(a.failure_class, s.status) AS class, COUNT(*) AS n FROM structures s"
            " LEFT JOIN attempts a ON a.structure_id = s.id"
            " AND a.number = (SELECT MAX(number) FROM attempts b WHERE b.structure_id = s.id)"
            " WHERE s.status IN ('failed', 'timeout') GROUP BY class ORDER BY n DESC, class"
        )
        return [(str(row[0]), int(row[1])) for row in rows]

    def cores_spent(self) -> dict[Outcome, float]:
        """Core-hours of all closed attempts, by outcome."""
        rows = self._connection.execute(
            "SELECT outcome, SUM(COALESCE(elapsed, 0) * COALESCE(n_cores, 1)) / 3600.0 FROM attempts"
            " WHERE outcome IS NOT NULL GROUP BY outcome"
        )
        return {Outcome(outcome): float(hours) for outcome, hours in rows}

    def batch_lives(self, batch_id: str, now: float | None = None) -> bool:
        """Tell whether a batch's process still runs: by its pid on this host, by its heartbeat on another."""
        row = self._connection.execute("SELECT * FROM batches WHERE id = ?", (batch_id,)).fetchone()
        if row is None or row["ended_at"] is not None:
            return False
        alive = Owner(row["host"], row["boot_id"], row["pid"], row["pid_started"]).lives()
        if alive is not None:
            return alive
        return (time.time() if now is None else now) - float(row["heartbeat"]) < HEARTBEAT_LIMIT_S

    def unstarted(self, batch_id: str) -> list[str]:
        """Tokens of a batch's open attempts whose payload has not started."""
        rows = self._connection.execute(
            "SELECT token FROM attempts WHERE batch_id = ? AND state IN ('claimed', 'submitted')", (batch_id,)
        )
        return [str(row[0]) for row in rows]

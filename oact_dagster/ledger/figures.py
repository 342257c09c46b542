"""Counts and statistics of a whole ledger, computed by SQLite."""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from oact_dagster.errors import LedgerError
from oact_dagster.ledger.ledger_file import LedgerFile, marks
from oact_dagster.ledger.metrics import Metrics, metrics_of
from oact_dagster.ledger.predicates import (
    ENDED_AS_FAILURE,
    FAILED,
    GOOD,
    HAS_RESULT,
    LAST,
    OPEN,
    RUNNING,
    UNCOUNTED,
    UNFOLLOWED,
)
from oact_dagster.ledger.schema import RESULT_COLUMNS
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.orca.failures import failure_classes
from oact_dagster.text import pluralise

_ROWS_AT_ONCE: Final = 10_000
_SHOWN_CLASSES: Final = ", ".join(f"'{name}'" for name in failure_classes(lambda facts: facts.show_host))

_LAST_OUTCOME: Final = (
    "COALESCE((SELECT COALESCE(a.failure_class, a.outcome) FROM attempts a WHERE a.structure_id = s.id"
    f" AND {LAST}), s.status)"
)
_MESSAGE_READ: Final = 2000
_MESSAGE_SHOWN: Final = 200
_MESSAGES_APART: Final = 5000
_OTHERS: Final = "other messages"
_NUMBER: Final = re.compile(r"\d+")


class Origin(NamedTuple):
    """Engine and settings of a number of completed structures."""

    engine: str | None
    """None if it was not stored, or the result was set by hand."""
    engine_version: str | None
    settings_hash: str | None
    """Hash of the settings that decide what an input computes."""
    structures: int


class Pace(NamedTuple):
    """Outcomes of the newest attempts."""

    first_claimed_at: float | None
    """When the oldest of them was opened, Unix time in s; None if there are none."""
    completed: int
    """How many have completed since the earlier time."""
    failed: int
    """How many have failed or timed out since the earlier time."""
    completed_last: int
    """How many have completed since the later time."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts and statistics of a ledger."""

    file: LedgerFile

    def count_as_stored(self) -> dict[str, int]:
        """How many structures have each status text, known or not; a missing one is the empty text."""
        # One query for each: SQLite counts the entries of an index much faster than it groups them.
        found: dict[str, int] = {}
        for status in self._statuses_as_stored():
            same = "IS NULL" if status is None else "= ?"
            values = () if status is None else (status,)
            count = self.file.number(f"SELECT COUNT(*) FROM structures WHERE status {same}", values)
            found["" if status is None else status] = found.get(status or "", 0) + count
        return found

    def count_by_status(self) -> dict[Status, int]:
        """How many structures have each status.

        Raises:
            LedgerError: some have an unknown status; the message names it.
        """
        stored = self.count_as_stored()
        unknown = sorted(set(stored) - set(Status))
        if unknown:
            shown = ", ".join(f"{text!r} ({pluralise(stored[text], 'structure')})" for text in unknown[:5])
            row = self.file.one(
                "SELECT id FROM structures WHERE COALESCE(status, '') = ? ORDER BY id LIMIT 1", (unknown[0],)
            )
            raise LedgerError(
                f"{self.file.path}: unknown status {shown}{' and others' if len(unknown) > 5 else ''}, first in the row"
                f" with id {row[0] if row else '?'}: set it to one of {', '.join(Status)}"
            )
        return {Status(text): stored[text] for text in stored if stored[text]}

    def _statuses_as_stored(self) -> list[str | None]:
        """The distinct values of ``status``, found by jumping through its index."""
        rows = self.file.rows(
            "WITH RECURSIVE found(status) AS (SELECT MIN(status) FROM structures UNION ALL"
            " SELECT (SELECT MIN(s.status) FROM structures s WHERE s.status > found.status)"
            " FROM found WHERE found.status IS NOT NULL) SELECT status FROM found WHERE status IS NOT NULL"
        )
        found: list[str | None] = [str(row[0]) for row in rows]
        if self.file.one("SELECT 1 FROM structures WHERE status IS NULL LIMIT 1"):
            found.append(None)
        return found

    def count_running_started(self) -> int:
        """How many running structures have started; the others are queued."""
        return self.file.number(
            "SELECT COUNT(*) FROM attempts a JOIN structures s ON s.id = a.structure_id"
            f" WHERE {OPEN} AND a.state = 'running' AND {RUNNING}"
        )

    def count_running_unfollowed(self) -> int:
        """How many structures are marked as running, by another tool or by hand, without an open attempt."""
        return self.file.number(f"SELECT COUNT(*) FROM structures s WHERE {UNFOLLOWED}")

    def failure_classes(self, ids: Iterable[int]) -> dict[int, str]:
        """Failure class (else outcome or status) of the last attempt by ``id``, for failed or timed-out structures."""
        rows = self.file.rows_of(
            f"SELECT s.id, {_LAST_OUTCOME} AS class FROM structures s WHERE {FAILED} AND s.id IN (...)", ids
        )
        return {int(row["id"]): str(row["class"]) for row in rows}

    def stuck_by_reason(self) -> list[tuple[str, int]]:
        """``(reason, structures)`` for running structures whose jobs may wait for ever, most structures first."""
        rows = self.file.rows(
            "SELECT a.pending_reason AS reason, COUNT(*) AS n FROM attempts a"
            " JOIN structures s ON s.id = a.structure_id"
            f" WHERE a.pending_reason IS NOT NULL AND {OPEN} AND {RUNNING}"
            " GROUP BY reason ORDER BY n DESC, reason"
        )
        return [(str(row[0]), int(row[1])) for row in rows]

    def count_held(self, statuses: Sequence[Status] | None = None) -> int:
        """How many structures are on hold, with one of these statuses or any."""
        if statuses is None:
            return self.file.number("SELECT COUNT(*) FROM structure_state WHERE held != 0")
        return self.file.number(
            "SELECT COUNT(*) FROM structure_state st JOIN structures s ON s.id = st.structure_id"
            f" WHERE st.held != 0 AND s.status IN ({marks(statuses)})",
            tuple(statuses),
        )

    def count_set_aside(self, max_failures: int, max_losses: int) -> int:
        """How many structures without a result have used up their budget of failed or of lost attempts."""
        query, values = set_aside_query(max_failures, max_losses)
        return self.file.number(f"SELECT COUNT(*) FROM ({query})", values)

    def set_aside_by_class(self, max_failures: int, max_losses: int) -> list[tuple[str, int]]:
        """``(failure class or outcome of the last attempt, structures)`` for what :meth:`count_set_aside` counts."""
        query, values = set_aside_query(max_failures, max_losses)
        rows = self.file.rows(
            f"SELECT {_LAST_OUTCOME} AS class, COUNT(*) AS n FROM ({query}) aside JOIN structures s ON s.id = aside.id"
            " GROUP BY class ORDER BY n DESC, class",
            values,
        )
        return [(str(row[0]), int(row[1])) for row in rows]

    def failures_by_message(self) -> list[tuple[str, str, int, int | None]]:
        """``(class, message, structures, orig_index of one)`` for failed or timed-out structures, most first.

        Messages that differ only in their numbers count as one. Beyond 5000 different ones, further messages are
        summed up as "other messages".
        """
        rows = self.file.stream(
            f"SELECT {_LAST_OUTCOME}, substr(s.error_message, 1, {_MESSAGE_READ}), s.orig_index FROM structures s"
            f" WHERE {FAILED}"
        )
        found: dict[tuple[str, str], list[Any]] = {}
        for kind, message, orig_index in rows:
            text = " ".join(str(message or "").split())[:_MESSAGE_SHOWN]
            key = (str(kind), _NUMBER.sub("#", text))
            if key not in found and len(found) >= _MESSAGES_APART:
                key, text = (str(kind), _OTHERS), _OTHERS
            found.setdefault(key, [text, 0, orig_index])[1] += 1
        groups = [(kind, text, count, index) for (kind, _), (text, count, index) in found.items()]
        return sorted(groups, key=lambda group: (-group[2], group[0], group[1]))

    def faults_by_host(self) -> list[tuple[str, int]]:
        """``(host, attempts)`` for attempts that failed because of the host, such as its disk or MPI; most first."""
        rows = self.file.rows(
            f"SELECT host, COUNT(*) AS n FROM attempts WHERE outcome = 'failed' AND failure_class IN ({_SHOWN_CLASSES})"
            " AND host IS NOT NULL GROUP BY host ORDER BY n DESC, host LIMIT 20"
        )
        return [(str(row[0]), int(row[1])) for row in rows]

    def pace(self, newest: int, since: float, last: float) -> Pace:
        """How many of the ``newest`` attempts have ended since an earlier and a later Unix time, s."""
        row = self.file.one(
            "SELECT MIN(claimed_at), COALESCE(SUM(outcome = 'completed' AND ended_at > ?1), 0),"
            f" COALESCE(SUM({ENDED_AS_FAILURE} AND ended_at > ?1), 0),"
            " COALESCE(SUM(outcome = 'completed' AND ended_at > ?2), 0)"
            " FROM (SELECT outcome, claimed_at, ended_at FROM attempts ORDER BY id DESC LIMIT ?3) a",
            (since, last, newest),
        )
        return Pace(*row) if row is not None else Pace(None, 0, 0, 0)

    def count_by_fail_count(self, min_fail_count: int) -> int:
        """How many structures have at least this many counted failures, which must be 1 or more."""
        return self.file.number(
            "SELECT COUNT(*) FROM structures WHERE fail_count > 0 AND fail_count >= ?", (min_fail_count,)
        )

    def cores_spent(self) -> dict[Outcome, float]:
        """Core-hours of all closed attempts, by outcome."""
        rows = self.file.rows(
            "SELECT outcome, SUM(COALESCE(elapsed, 0) * COALESCE(n_cores, 1)) / 3600.0 FROM attempts"
            " WHERE outcome IS NOT NULL GROUP BY outcome"
        )
        return {Outcome(outcome): float(hours) for outcome, hours in rows}

    def count_by_engine(self) -> dict[str | None, int]:
        """Completed structures by the engine that computed them (None: not stored, or set by hand)."""
        return self._count_results_by("engine")

    def count_results_by_settings(self) -> dict[str | None, int]:
        """Completed structures by the hash of the settings of their input (None: not stored)."""
        return self._count_results_by("settings_hash")

    def _count_results_by(self, column: str) -> dict[str | None, int]:
        rows = self.file.rows(
            f"SELECT a.{column}, COUNT(*) FROM structures s LEFT JOIN attempts a ON a.structure_id = s.id AND {GOOD}"
            f" WHERE {HAS_RESULT} GROUP BY a.{column}"
        )
        return {row[0]: int(row[1]) for row in rows}

    def count_by_origin(self) -> list[Origin]:
        """Completed structures by engine, engine version, and settings of their input; most first."""
        version = (
            "CASE WHEN json_valid(a.result) AND json_type(a.result) = 'object'"
            " THEN CAST(json_extract(a.result, '$.engine_version') AS TEXT) END"
        )
        rows = self.file.rows(
            f"SELECT a.engine, {version} AS version, a.settings_hash, COUNT(*) AS n FROM structures s"
            f" LEFT JOIN attempts a ON a.structure_id = s.id AND {GOOD} WHERE {HAS_RESULT}"
            " GROUP BY 1, 2, 3 ORDER BY n DESC, 1, 2, 3"
        )
        return [Origin._make(row) for row in rows]

    def metrics(self) -> Metrics:
        """Exact statistics of all completed structures; computing them takes 40 bytes of memory per structure."""
        return self.file.read(lambda connection: metrics_of(_metric_rows(connection)))


def _metric_rows(connection: sqlite3.Connection) -> Iterator[list[tuple[float | None, ...]]]:
    cursor = connection.cursor()
    cursor.row_factory = None
    # By itself SQLite would use the index on the status and read every row of 2 kB. Older files lack idx_metrics.
    there = cursor.execute(
        "SELECT 1 FROM main.sqlite_master WHERE type = 'index' AND name = 'idx_metrics'"
    ).fetchone()
    by = "INDEXED BY idx_metrics" if there else ""
    cursor.execute(f"SELECT {', '.join(RESULT_COLUMNS)} FROM structures {by} WHERE status = 'completed'")
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        yield rows


def set_aside_query(max_failures: int, max_losses: int) -> tuple[str, tuple[int, ...]]:
    """A query for the ``id`` of structures without a result whose budget is used up, and its values."""
    without_result = "s.status NOT IN ('completed', 'running')"
    if max_failures <= 0 or max_losses <= 0:
        return f"SELECT s.id FROM structures s WHERE {without_result}", ()
    query = (
        # `> 0` lets SQLite use the small partial indexes.
        f"SELECT s.id FROM structures s WHERE s.fail_count > 0 AND s.fail_count >= ? AND {without_result}"
        # A failure that is not counted yet uses up the budget, too.
        f" UNION SELECT s.id FROM structures s WHERE {FAILED} AND COALESCE(s.fail_count, 0) = ? AND {UNCOUNTED}"
        " UNION SELECT s.id FROM structure_state st JOIN structures s ON s.id = st.structure_id"
        f" WHERE st.loss_count > 0 AND st.loss_count >= ? AND {without_result}"
    )
    return query, (max_failures, max_failures - 1, max_losses)

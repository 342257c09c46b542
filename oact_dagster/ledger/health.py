"""Whether a campaign goes well: what became of its last attempts, and on which hosts they went wrong."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from oact_dagster.ledger.failures import LAUNCHER_BY_HAND
from oact_dagster.ledger.ledger_file import LedgerFile
from oact_dagster.ledger.states import EndedAttempt, Outcome
from oact_dagster.orca.failures import FailureClass, failure_classes

# A failure that was set by hand, or that a file of others had, is none of this campaign's attempts.
_OURS: Final = f"launcher != '{LAUNCHER_BY_HAND}'"
_REFUSED: Final = f"COALESCE(failure_class, '') = '{FailureClass.INPUT_REFUSED}'"
_COUNTED: Final = f"state = 'closed' AND outcome IN ('completed', 'failed', 'timeout') AND NOT {_REFUSED}"
# A node that failed before it began what it had been given: outcome cancelled, class lost.
_LOST: Final = f"(outcome = 'lost' OR failure_class = '{FailureClass.LOST}')"
_COUNTED_CLASSES: Final = ", ".join(f"'{name}'" for name in failure_classes(lambda facts: facts.count_host))
# A disk that was full before anything began is the campaign's: that attempt is a cancelled one.
_HOST_FAULT: Final = f"({_LOST} OR (outcome != 'cancelled' AND failure_class IN ({_COUNTED_CLASSES})))"
# As a scheduler calls it: some of its names have the domain with them.
_HOST: Final = "substr(host, 1, instr(host || '.', '.') - 1)"
_LOOKED_AT: Final = 20_000
"""Attempts from the newest on; a campaign may have millions."""


@dataclass(frozen=True, slots=True)
class Health:
    """What tells a campaign that goes wrong from one that meets a hard structure now and then."""

    file: LedgerFile

    def newest_attempt(self) -> int:
        """What :meth:`last_ended` and the others call the attempt that was opened last; 0 where there is none."""
        return self.file.number("SELECT MAX(id) FROM attempts")

    def last_ended(self, limit: int, after: int = 0) -> list[EndedAttempt]:
        """The attempts that ended last, the newest first.

        Lost and cancelled ones say nothing of a campaign's inputs and engine; refused inputs are not run, and in
        :meth:`last_refused`. A failure of a class that its structure had before is no news of them either: hopeless
        structures fail each time, and at the end of a campaign nothing else is left.

        Args:
            limit: at most so many.
            after: only of attempts that were opened after this one (see :meth:`newest_attempt`).
        """
        rows = self.file.rows(
            "SELECT outcome, failure_class, host, ended_at, COALESCE(elapsed, 0) FROM (SELECT id, structure_id, number,"
            " state, launcher, outcome, failure_class, host, ended_at, elapsed FROM attempts WHERE id > ?"
            " ORDER BY id DESC LIMIT ?) newest"
            f" WHERE {_OURS} AND {_COUNTED} AND NOT (outcome != 'completed' AND EXISTS (SELECT 1 FROM attempts before"
            " WHERE before.structure_id = newest.structure_id AND before.number < newest.number AND before.id > ?"
            " AND before.outcome = newest.outcome AND before.failure_class IS newest.failure_class))"
            " ORDER BY ended_at DESC, id DESC LIMIT ?",
            (after, _LOOKED_AT, after, limit),
        )
        return [EndedAttempt(Outcome(outcome), *values) for outcome, *values in rows]

    def last_refused(self, limit: int, after: int = 0) -> tuple[int, int]:
        """How many of the attempts that were opened last there are, and of how many no input could be written.

        Args:
            limit: at most so many.
            after: as of :meth:`last_ended`.
        """
        row = self.file.one(
            f"SELECT COUNT(*), COALESCE(SUM({_REFUSED}), 0) FROM (SELECT failure_class FROM attempts"
            f" WHERE id > ? AND state != 'claimed' AND {_OURS} ORDER BY id DESC LIMIT ?)",
            (after, limit),
        )
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def count_running_since(self, first: float, last: float) -> int:
        """How many attempts compute that began between two Unix times, s."""
        return self.file.number(
            "SELECT COUNT(*) FROM attempts WHERE state != 'closed' AND state = 'running'"
            " AND started_at BETWEEN ? AND ?",
            (first, last),
        )

    def bad_hosts(
        self, after: int, let_in: Mapping[str, int] | None = None, *, now: float
    ) -> list[tuple[str, int]]:
        """Hosts on which different structures were lost or crashed, and more of them than completed there.

        What only crashes there may be an engine that is broken everywhere: such a host counts once something that was
        begun after its first crash has completed elsewhere, or has computed for longer than any of them took.
        Where so many were lost or crashed on more than two hosts, and on most, it is no fault of theirs: there are none
        then.

        Args:
            after: on so many structures at least.
            let_in: hosts of which only attempts count that were opened after this one (see :meth:`newest_attempt`).
            now: Unix time, s.

        Returns:
            ``(host, structures)``, most first; hosts without their domains.
        """
        rows = self.file.rows(
            f"SELECT {_HOST} AS name, COUNT(DISTINCT CASE WHEN fault THEN structure_id END) AS faults,"
            " COUNT(DISTINCT CASE WHEN outcome = 'completed' THEN structure_id END) AS good,"
            " COUNT(DISTINCT CASE WHEN lost_there THEN structure_id END) AS lost,"
            " MIN(CASE WHEN fault THEN id END) AS first, MAX(CASE WHEN fault THEN elapsed END) AS longest FROM"
            f" (SELECT id, host, structure_id, outcome, elapsed, {_HOST_FAULT} AS fault, {_LOST} AS lost_there"
            "  FROM attempts"
            "  WHERE state = 'closed' AND host IS NOT NULL ORDER BY id DESC LIMIT ?) recent"
            f" WHERE id > COALESCE((SELECT value FROM json_each(?) WHERE key = {_HOST}), 0)"
            " GROUP BY name ORDER BY faults DESC, name",
            (_LOOKED_AT, json.dumps(dict(let_in or {}))),
        )
        bad = [row for row in rows if row["faults"] >= after and row["faults"] > row["good"]]
        if len(bad) > 2 and 2 * len(bad) > len(rows):
            return []
        return [
            (str(row["name"]), int(row["faults"]))
            for row in bad
            if row["lost"] >= after
            or self._works_elsewhere(row["name"], row["first"], now - (row["longest"] or 0.0))
        ]

    def _works_elsewhere(self, host: str, first: int, started_before: float) -> bool:
        """Whether an attempt that was opened after this one has completed on another host, or computes since then."""
        return bool(
            self.file.number(
                "SELECT EXISTS (SELECT 1 FROM attempts WHERE id > ? AND state = 'closed' AND outcome = 'completed'"
                f" AND {_HOST} != ?) OR EXISTS (SELECT 1 FROM attempts WHERE id > ? AND state != 'closed'"
                " AND state = 'running' AND started_at < ?)",
                (first, host, first, started_before),
            )
        )

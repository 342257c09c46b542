"""The health of a campaign: the outcomes of its latest attempts, and the hosts on which they fail."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from oact_dagster.ledger.failures import LAUNCHER_BY_HAND
from oact_dagster.ledger.ledger_file import LedgerFile
from oact_dagster.ledger.predicates import ENDED_AS_FAILURE
from oact_dagster.ledger.states import EndedAttempt, Outcome
from oact_dagster.orca.failures import FailureClass, failure_classes

# Failures set by hand or found in a foreign file are not attempts of this campaign.
_OURS: Final = f"launcher != '{LAUNCHER_BY_HAND}'"
_REFUSED: Final = f"COALESCE(failure_class, '') = '{FailureClass.INPUT_REFUSED}'"
_COUNTED: Final = f"a.state = 'closed' AND (a.outcome = 'completed' OR {ENDED_AS_FAILURE}) AND NOT {_REFUSED}"
# If a node fails before its job begins, the outcome is cancelled and the class is lost.
_LOST: Final = f"(outcome = 'lost' OR failure_class = '{FailureClass.LOST}')"
_COUNTED_CLASSES: Final = ", ".join(f"'{name}'" for name in failure_classes(lambda facts: facts.count_host))
# A disk that is full before a job begins is no fault of the host: the outcome is cancelled.
_HOST_FAULT: Final = f"({_LOST} OR (outcome != 'cancelled' AND failure_class IN ({_COUNTED_CLASSES})))"
# Without the domain, as schedulers name their hosts.
_HOST: Final = "substr(host, 1, instr(host || '.', '.') - 1)"
_LOOKED_AT: Final = 20_000
"""How many of the newest attempts are considered; a campaign may have millions."""


@dataclass(frozen=True, slots=True)
class Health:
    """Signs that distinguish a failing campaign from one with an occasional hard structure."""

    file: LedgerFile

    def newest_attempt(self) -> int:
        """``id`` of the newest attempt, for the ``after`` of the other methods; 0 if there is none."""
        return self.file.number("SELECT MAX(id) FROM attempts")

    def last_ended(self, limit: int, after: int = 0) -> list[EndedAttempt]:
        """The attempts that ended last, newest first, as evidence about the campaign's inputs and engine.

        Lost and cancelled attempts are no such evidence, and refused inputs are counted by :meth:`last_refused`. A
        failure is left out if its structure has failed with the same class before: hopeless structures fail every
        time, and at the end of a campaign only they are left.

        Args:
            limit: the largest number of attempts.
            after: consider only attempts opened after the one with this ``id``.
        """
        rows = self.file.rows(
            "SELECT outcome, failure_class, host, ended_at, COALESCE(elapsed, 0) FROM (SELECT id, structure_id, number,"
            " state, launcher, outcome, failure_class, host, ended_at, elapsed FROM attempts WHERE id > ?"
            " ORDER BY id DESC LIMIT ?) a"
            f" WHERE {_OURS} AND {_COUNTED} AND NOT (outcome != 'completed' AND EXISTS (SELECT 1 FROM attempts before"
            " WHERE before.structure_id = a.structure_id AND before.number < a.number AND before.id > ?"
            " AND before.outcome = a.outcome AND before.failure_class IS a.failure_class))"
            " ORDER BY ended_at DESC, id DESC LIMIT ?",
            (after, _LOOKED_AT, after, limit),
        )
        return [EndedAttempt(Outcome(outcome), *values) for outcome, *values in rows]

    def last_refused(self, limit: int, after: int = 0) -> tuple[int, int]:
        """``(attempts, refused)``: how many of the newest attempts there are, and how many had a refused input.

        The arguments are those of :meth:`last_ended`.
        """
        row = self.file.one(
            f"SELECT COUNT(*), COALESCE(SUM({_REFUSED}), 0) FROM (SELECT failure_class FROM attempts"
            f" WHERE id > ? AND state != 'claimed' AND {_OURS} ORDER BY id DESC LIMIT ?)",
            (after, limit),
        )
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def count_running_since(self, first: float, last: float) -> int:
        """How many running attempts started between two Unix times, s."""
        return self.file.number(
            "SELECT COUNT(*) FROM attempts WHERE state != 'closed' AND state = 'running'"
            " AND started_at BETWEEN ? AND ?",
            (first, last),
        )

    def bad_hosts(
        self, after: int, let_in: Mapping[str, int] | None = None, *, now: float
    ) -> list[tuple[str, int]]:
        """Hosts on which several structures were lost or crashed, and more than were completed there.

        If structures crash on a host but are not lost, the engine may be broken everywhere. Such a host counts only
        if an attempt opened after its first crash has completed on another host, or has been running for longer than
        any of the crashed ones. If more than two hosts, and most of all hosts, are bad, the hosts are not to blame:
        the list is empty.

        Args:
            after: how many structures must be lost or crash on a host.
            let_in: for readmitted hosts, the ``id`` of an attempt: only attempts opened after it count.
            now: Unix time, s.

        Returns:
            ``(host, structures)``, most structures first; hosts without their domains.
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
        """Whether an attempt opened after ``first`` completed on another host, or has run since ``started_before``."""
        return bool(
            self.file.number(
                "SELECT EXISTS (SELECT 1 FROM attempts WHERE id > ? AND state = 'closed' AND outcome = 'completed'"
                f" AND {_HOST} != ?) OR EXISTS (SELECT 1 FROM attempts WHERE id > ? AND state != 'closed'"
                " AND state = 'running' AND started_at < ?)",
                (first, host, first, started_before),
            )
        )

"""Whether a campaign goes well: what became of its last attempts, and on which hosts they went wrong."""

from typing import Final

from oact_dagster.ledger.figures import LedgerFigures
from oact_dagster.ledger.states import Outcome

_COUNTED: Final = "state = 'closed' AND outcome IN ('completed', 'failed', 'timeout')"
_HOST_FAULT: Final = "(outcome = 'lost' OR failure_class IN ('disk_full', 'mpi_error', 'aborted'))"
_LOOKED_AT: Final = 20_000
"""Attempts from the newest on; a campaign may have millions."""


class LedgerHealth(LedgerFigures):
    """What tells a campaign that goes wrong from one that meets a hard structure now and then."""

    def last_outcomes(self, limit: int, since: float = 0.0) -> list[Outcome]:
        """Outcomes of the attempts that were opened last, the newest first; not of lost and cancelled ones.

        Args:
            limit: at most so many.
            since: only of attempts that were opened after this Unix time, s.
        """
        rows = self._rows(
            f"SELECT outcome FROM (SELECT id, outcome, state, claimed_at FROM attempts ORDER BY id DESC LIMIT ?)"
            f" WHERE {_COUNTED} AND claimed_at >= ? ORDER BY id DESC LIMIT ?",
            (_LOOKED_AT, since, limit),
        )
        return [Outcome(row[0]) for row in rows]

    def bad_hosts(self, after: int) -> list[tuple[str, int]]:
        """Hosts on which different structures were lost or crashed, and more of them than completed there.

        Args:
            after: on so many structures at least.

        Returns:
            ``(host, structures)``, most first.
        """
        rows = self._rows(
            "SELECT host, COUNT(DISTINCT CASE WHEN fault THEN structure_id END) AS faults,"
            " COUNT(DISTINCT CASE WHEN outcome = 'completed' THEN structure_id END) AS good FROM"
            f" (SELECT host, structure_id, outcome, {_HOST_FAULT} AS fault FROM attempts"
            "  WHERE state = 'closed' AND host IS NOT NULL ORDER BY id DESC LIMIT ?)"
            " GROUP BY host HAVING faults >= ? AND faults > good ORDER BY faults DESC, host",
            (_LOOKED_AT, after),
        )
        return [(str(row[0]), int(row[1])) for row in rows]

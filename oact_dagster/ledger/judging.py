"""Keeping what the quality rules said of the results."""

from collections.abc import Iterable

from oact_dagster.ledger.by_hand import LedgerByHand
from oact_dagster.ledger.quality import JudgedResult

_KEEP = (
    "INSERT INTO quality (structure_id, attempt, failed, judged, judged_for)"
    " SELECT s.id, ?, ?, ?, ? FROM structures s WHERE s.id = ? AND s.status = 'completed' AND s.final_energy IS ?"
    " AND ? = COALESCE((SELECT MAX(a.number) FROM attempts a WHERE a.structure_id = s.id"
    " AND a.outcome = 'completed' AND a.undone = 0), 0)"
    " ON CONFLICT (structure_id) DO UPDATE SET attempt = excluded.attempt, failed = excluded.failed,"
    " judged = excluded.judged, judged_for = excluded.judged_for"
    " WHERE (quality.attempt, quality.failed, quality.judged, quality.judged_for)"
    " IS NOT (excluded.attempt, excluded.failed, excluded.judged, excluded.judged_for)"
)


class LedgerJudging(LedgerByHand):
    """Writing to the table ``quality``."""

    def set_quality(self, results: Iterable[JudgedResult], judged_for: str) -> int:
        """Keep what the rules said of results, all or none; only what differs is written.

        What was said of a result that is not the structure's any more is passed over.

        Args:
            results: what was said.
            judged_for: names the limits.

        Returns:
            How many rows were written.
        """
        with self._transaction() as db:
            return db.executemany(
                _KEEP,
                (
                    (
                        one.attempt,
                        ",".join(one.failed),
                        one.judged,
                        judged_for,
                        one.structure_id,
                        one.energy,
                        one.attempt,
                    )
                    for one in results
                ),
            ).rowcount

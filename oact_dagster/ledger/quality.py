"""The findings of the quality rules, and what the rules need to judge results.

A trigger deletes a structure's row in ``quality`` when its status, energy or gradient changes, so each row holds for
the present result.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from oact_dagster.ledger.ledger_file import LedgerFile
from oact_dagster.ledger.predicates import GOOD, HAS_RESULT, REACHABLE


@dataclass(frozen=True, slots=True)
class JudgedResult:
    """The findings of the rules on one result."""

    structure_id: int
    attempt: int
    """Number of the attempt that gave the result; 0 if unknown."""
    energy: float | None
    """Energy of the result in Eh, to recognise it; not stored."""
    failed: tuple[str, ...]
    """Names of the rules that the result breaks."""
    judged: int
    """How many rules could judge the result."""


@dataclass(frozen=True, slots=True)
class QualityCounts:
    """The findings of the rules on all results."""

    judged: int
    """Results that were judged."""
    failed: int
    """Results that break a rule."""
    by_rule: Mapping[str, int]
    """How many results break each rule, most first; a result may break several."""


@dataclass(frozen=True, slots=True)
class ResultQuality:
    """The quality of the results."""

    file: LedgerFile

    def counts(self) -> QualityCounts:
        """How many results were judged, and how many break each rule."""
        by_rule: dict[str, int] = {}
        failed = 0
        for row in self.file.rows("SELECT failed, COUNT(*) FROM quality WHERE failed != '' GROUP BY failed"):
            failed += row[1]
            for name in names_of(row[0]):
                by_rule[name] = by_rule.get(name, 0) + row[1]
        ordered = sorted(by_rule.items(), key=lambda item: (-item[1], item[0]))
        return QualityCounts(self.file.number("SELECT COUNT(*) FROM quality"), failed, dict(ordered))

    def results_to_judge(self) -> Iterator[sqlite3.Row]:
        """Every completed structure with the attempt that gave its result and the stored findings; streamed."""
        yield from self.file.stream(
            "SELECT s.id, s.orig_index, COALESCE(s.elements, '') AS elements, COALESCE(s.charge, 0) AS charge,"
            " COALESCE(s.spin, 1) AS spin, s.final_energy, s.max_forces, COALESCE(a.number, 0) AS attempt, a.engine,"
            " a.settings_hash, a.result, q.attempt AS kept_attempt, q.failed AS kept_failed, q.judged AS kept_judged,"
            " q.judged_for AS kept_for"
            f" FROM structures s LEFT JOIN attempts a ON a.structure_id = s.id AND {GOOD}"
            " LEFT JOIN quality q ON q.structure_id = s.id"
            f" WHERE {HAS_RESULT} AND {REACHABLE} ORDER BY s.orig_index"
        )


def names_of(text: str) -> tuple[str, ...]:
    """The rule names in the column ``failed``."""
    return tuple(text.split(",")) if text else ()

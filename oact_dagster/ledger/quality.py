"""What the quality rules said of the results: reading it, and what they need to judge.

A row of the table ``quality`` goes when its structure gets another status, energy or gradient, whoever changes it (a
trigger sees to that): what is there holds for the result that is there.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from oact_dagster.ledger.ledger_file import LedgerFile
from oact_dagster.ledger.predicates import GOOD, HAS_RESULT, REACHABLE


@dataclass(frozen=True, slots=True)
class JudgedResult:
    """What the rules said of one result."""

    structure_id: int
    attempt: int
    """Number of the attempt that gave it; 0 where none is known."""
    energy: float | None
    """Eh: the result's, by which it is known again; it is not kept."""
    failed: tuple[str, ...]
    """Names of the rules that it breaks."""
    judged: int
    """How many rules could judge it."""


@dataclass(frozen=True, slots=True)
class QualityCounts:
    """What the rules said of a ledger's results."""

    judged: int
    """Results that were looked at."""
    failed: int
    """Those that break a rule."""
    by_rule: Mapping[str, int]
    """How many break each, most first; one may break several."""


@dataclass(frozen=True, slots=True)
class ResultQuality:
    """What is known of the quality of results."""

    file: LedgerFile

    def counts(self) -> QualityCounts:
        """How many results were judged, and how many break which rule."""
        by_rule: dict[str, int] = {}
        failed = 0
        for row in self.file.rows("SELECT failed, COUNT(*) FROM quality WHERE failed != '' GROUP BY failed"):
            failed += row[1]
            for name in names_of(row[0]):
                by_rule[name] = by_rule.get(name, 0) + row[1]
        ordered = sorted(by_rule.items(), key=lambda item: (-item[1], item[0]))
        return QualityCounts(self.file.number("SELECT COUNT(*) FROM quality"), failed, dict(ordered))

    def results_to_judge(self) -> Iterator[sqlite3.Row]:
        """Rows of every completed structure with its good attempt and what was said of it before; streamed."""
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
    """The names in a column ``failed``."""
    return tuple(text.split(",")) if text else ()

"""Which structures run next, most urgent first."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from oact_dagster.ledger.ledger_file import LedgerFile, marks
from oact_dagster.ledger.predicates import FAILED, FEWER_FAILURES, IDLE, NOT_HELD, REACHABLE
from oact_dagster.ledger.states import Status

_RANKED: Final = "(st.priority != 0 OR st.cost_rank != 0)"
_NOT_RANKED: Final = (
    "NOT EXISTS (SELECT 1 FROM structure_state p WHERE p.structure_id = s.id"
    " AND (p.priority != 0 OR p.cost_rank != 0))"
)
_ORDER_PARTS: Final = (
    "st.priority > 0",
    "st.priority = 0 AND st.cost_rank > 0",
    None,
    "st.priority = 0 AND st.cost_rank < 0",
    "st.priority < 0",
)
"""The parts of the order, in sequence. None stands for unranked structures, which come in the order of the CSV."""
_DUE: Final = (
    f"{FEWER_FAILURES} AND NOT EXISTS (SELECT 1 FROM structure_state d WHERE d.structure_id = s.id AND"
    " (d.loss_count >= ? OR d.set_aside_for = ? OR (d.not_before > ? AND d.not_before <= ?)))"
)

LONGEST_DELAY_S: Final = 7 * 86400.0
"""A ``not_before`` further away than this is ignored, since it was set by a clock that has been set back, s."""


@dataclass(frozen=True, slots=True)
class Due:
    """What decides whether a structure is due to run."""

    now: float
    """Unix time, s."""
    max_failures: int
    max_losses: int
    retry_key: str
    """Key of the settings that decide on a next attempt: structures set aside for them are not due."""

    @property
    def values(self) -> tuple[object, ...]:
        """The values of the question marks in the condition."""
        return (self.max_failures, self.max_losses, self.retry_key, self.now, self.now + LONGEST_DELAY_S)


@dataclass(frozen=True, slots=True)
class Queue:
    """The order in which structures are run."""

    file: LedgerFile

    def select(
        self, statuses: Sequence[Status], limit: int | None = None, due: Due | None = None
    ) -> list[int]:
        """``orig_index`` of structures with one of these statuses that are not held, most urgent first.

        Within one priority they come in the order of ``feed.order``, then in that of the CSV. With ``due``, only
        structures that are due are selected.
        """
        return list(islice(self.most_urgent(statuses, due), limit))

    def count_due(self, statuses: Sequence[Status], due: Due) -> int:
        """How many structures with one of these statuses are due and not held."""
        return self.file.number(
            f"SELECT COUNT(*) FROM structures s WHERE s.status IN ({marks(statuses)}) AND {REACHABLE}"
            f" AND {NOT_HELD} AND {_DUE}",
            (*statuses, *due.values),
        )

    def resting(self, due: Due) -> tuple[int, float | None]:
        """``(structures, time)``: how many are due later, and when the first one is, Unix time in s."""
        row = self.file.one(
            "SELECT COUNT(*), MIN(st.not_before) FROM structure_state st JOIN structures s ON s.id = st.structure_id"
            " WHERE st.not_before > ? AND st.not_before <= ? AND st.held = 0 AND st.loss_count < ?"
            f" AND COALESCE(st.set_aside_for, '') != ? AND {FEWER_FAILURES} AND {IDLE}",
            (due.now, due.now + LONGEST_DELAY_S, due.max_losses, due.retry_key, due.max_failures),
        )
        return (0, None) if row is None else (int(row[0]), row[1])

    def count_without_remedy(self, due: Due) -> int:
        """How many failed structures within their budgets have no remedy left with the present settings."""
        return self.file.number(
            "SELECT COUNT(*) FROM structure_state st JOIN structures s ON s.id = st.structure_id"
            f" WHERE st.set_aside_for = ? AND st.loss_count < ? AND {FEWER_FAILURES} AND {FAILED}",
            (due.retry_key, due.max_losses, due.max_failures),
        )

    def most_urgent(self, statuses: Sequence[Status], due: Due | None = None) -> Iterator[int]:
        """As :meth:`select`, but streamed."""
        if_due, values = ("", ()) if due is None else (f" AND {_DUE}", due.values)
        # Each part is read in the order of an index, and only as far as needed.
        for part in _ORDER_PARTS:
            if part is None:
                # For a single status SQLite reads in the order of the index; for several it would sort.
                yield from heapq.merge(
                    *(self._not_ranked(status, if_due, values) for status in dict.fromkeys(statuses))
                )
                continue
            yield from self.file.stream_integers(
                "SELECT s.orig_index FROM structure_state st CROSS JOIN structures s ON s.id = st.structure_id"
                f" WHERE {_RANKED} AND {part} AND st.held = 0"
                f" AND s.status IN ({marks(statuses)}) AND {REACHABLE}{if_due}"
                " ORDER BY st.priority DESC, st.cost_rank DESC, st.structure_id",
                (*statuses, *values),
            )

    def _not_ranked(self, status: Status, if_due: str, values: tuple[object, ...]) -> Iterator[int]:
        return self.file.stream_integers(
            f"SELECT s.orig_index FROM structures s WHERE s.status = ? AND {REACHABLE} AND {NOT_HELD}"
            f" AND {_NOT_RANKED}{if_due} ORDER BY s.orig_index",
            (status, *values),
        )

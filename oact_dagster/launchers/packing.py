"""The order in which structures fill a node, and how long one may take: no Dagster, no ledger.

The longest goes first, so that the last worker is not left alone with it while the others' cores wait
(``benchmarks/packing.py`` has the figures).
"""

import math
from bisect import insort
from collections import deque
from typing import Final

OPTIMISATION_STEPS: Final = 20
"""Gradients of a usual optimisation; it only puts optimisations before single points of the same size."""

ENOUGH: Final = 10
"""So many calculations must have ended before anything is concluded from them."""

REMEMBERED: Final = 500
"""Calculations from which the estimate is made: the latest ones."""

SHARE: Final = 0.9
"""The estimate is exceeded by one in ten."""


def expected_cost(basis_functions: int, spins: int, *, opt: bool) -> float:
    """How dear a calculation is against another one of the same campaign; the unit has no meaning.

    An SCF cycle of a hybrid functional with RIJCOSX grows about as the square of the number of basis functions (183
    functions and one spin take 6.2 core-seconds a cycle, 223 functions and two spins 18.5), and the number of cycles
    hardly at all.

    Args:
        basis_functions: of the structure.
        spins: 2 where orbitals of both spins are computed, else 1.
        opt: whether the geometry is optimised.
    """
    return float(spins * basis_functions**2 * (OPTIMISATION_STEPS if opt else 1))


class RunTimes:
    """What the calculations that have ended tell of those to come."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, elapsed_s: float, cost: float) -> None:
        """Learn from a calculation that has ended by itself.

        Args:
            elapsed_s: its wall time, s.
            cost: its expected cost; 0 where that is not known.
        """
        rate = elapsed_s / (cost or 1.0)
        if len(self._latest) >= REMEMBERED:
            self._sorted.remove(self._latest.popleft())
        self._latest.append(rate)
        insort(self._sorted, rate)

    def expected_s(self, cost: float) -> float | None:
        """The wall time that nine in ten such calculations stay below, s; None while too few have ended.

        It is the ninetieth percentile of wall time by cost, times this one's cost.
        """
        if len(self._sorted) < ENOUGH:
            return None
        place = math.ceil(SHARE * len(self._sorted)) - 1
        return self._sorted[place] * (cost or 1.0)

    def needed_s(self, cost: float, time_limit_s: float) -> float:
        """For how long a calculation needs its place, s: as expected, and at most its own limit."""
        expected = self.expected_s(cost)
        return time_limit_s if expected is None else min(expected, time_limit_s)

"""Estimates costs and run times, by which structures fill a node.

The longest goes first, so that it does not run alone at the end while the other workers idle
(``benchmarks/packing.py`` has the figures).
"""

import math
from bisect import insort
from collections import deque
from typing import Final

OPTIMISATION_STEPS: Final = 20
"""Gradients of a typical optimisation. It only puts optimisations before single points of the same size."""

ENOUGH: Final = 10
"""How many calculations must have ended before run times are estimated."""

REMEMBERED: Final = 500
"""How many of the latest calculations the estimate is based on."""

SHARE: Final = 0.9
"""Share of calculations that stay below the estimate."""


def expected_cost(basis_functions: int, spins: int, *, opt: bool) -> float:
    """The cost of a calculation relative to others of the same campaign, in arbitrary units.

    With a hybrid functional and RIJCOSX, the time of an SCF cycle grows about as the square of the number of basis
    functions (183 functions and one spin take 6.2 core-seconds a cycle, 223 functions and two spins 18.5); the number
    of cycles hardly grows.

    Args:
        basis_functions: number of basis functions.
        spins: 2 if orbitals of both spins are computed, else 1.
        opt: whether the geometry is optimised.
    """
    return float(spins * basis_functions**2 * (OPTIMISATION_STEPS if opt else 1))


class RunTimes:
    """Estimates run times from calculations that have ended."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, elapsed_s: float, cost: float) -> None:
        """Add the wall time (s) and expected cost (0 if unknown) of a calculation that has ended by itself."""
        rate = elapsed_s / (cost or 1.0)
        if len(self._latest) >= REMEMBERED:
            self._sorted.remove(self._latest.popleft())
        self._latest.append(rate)
        insort(self._sorted, rate)

    def expected_s(self, cost: float) -> float | None:
        """The wall time that nine in ten calculations of this cost stay below, s; None while too few have ended.

        It is the 90th percentile of wall time divided by cost, times this cost.
        """
        if len(self._sorted) < ENOUGH:
            return None
        place = math.ceil(SHARE * len(self._sorted)) - 1
        return self._sorted[place] * (cost or 1.0)

    def needed_s(self, cost: float, time_limit_s: float) -> float:
        """How long a calculation needs its worker, s: its expected wall time, or its time limit if that is less."""
        expected = self.expected_s(cost)
        return time_limit_s if expected is None else min(expected, time_limit_s)

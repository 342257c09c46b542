"""What energy a structure has by its elements and its charge, and how far its like are from that.

Total energies of different compositions cannot be compared. The sum of one reference energy for each atom, fitted to
the energies themselves, takes away nearly all of what the composition makes, as is usual before a machine-learned
potential is trained (atomic reference energies, also called E0s or linear references); what is left is the energy of
the bonds, and comparable from structure to structure once it is divided by the number of atoms. The charge comes in
linearly and squared (electronegativity and hardness; R. G. Parr and R. G. Pearson, J. Am. Chem. Soc. 105, 7512 (1983)).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from oact_dagster.quality.measured import Composition, Deviation

FEWEST: Final = 20
"""With fewer structures nothing is judged, and a metal with fewer is judged among all."""

HIGHEST_LEVERAGE: Final = 0.2
"""A structure that makes more than this share of its own expectation is not judged, such as one of four with some
element: up to 0.2 is safe (P. J. Huber, Robust Statistics, Wiley 1981, section 7.2)."""

PER_SIGMA: Final = 1.4826
"""Standard deviation of a normal distribution, in its median absolute deviations (C. Leys et al., J. Exp. Soc. Psychol.
49, 764 (2013))."""

ROUNDING: Final = 1e-6
"""By so much a leverage may be below 0; one that is further below is none, and nothing can be said by it."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Where the residuals of some structures lie, Eh per atom."""

    median: float
    sigma: float
    """Robust standard deviation: 1.4826 times the median absolute deviation."""
    n: int


@dataclass(frozen=True, slots=True)
class EnergyModel:
    """Reference energies, and the spread around them; fitted by ``energy_fit``."""

    n: int
    """Structures that it was fitted to."""
    elements: tuple[str, ...]
    """k of them."""
    energies: tuple[float, ...]
    """k + 2: Eh for each atom of an element, for each charge, and for each squared charge."""
    scales: tuple[float, ...]
    """k + 2: the units in which :attr:`inverse` measures the columns."""
    inverse: tuple[float, ...]
    """Upper triangle, row by row, of the inverse of the columns' products with each other: k + 2 rows."""
    overall: Spread
    by_metal: Mapping[str, Spread]
    """Of the metals that at least :data:`FEWEST` structures have, by ``Composition.metals``."""

    def deviation(self, composition: Composition, charge: int, energy: float) -> Deviation | None:
        """How far an energy is from that of its like.

        Args:
            composition: of the structure.
            charge: of it.
            energy: Eh.

        Returns:
            None where that cannot be said: too few structures, or none like it. Not a number for such an energy.
        """
        n = composition.n_atoms
        if self.n < FEWEST or not n or not composition.counts.keys() <= set(self.elements):
            return None
        row = [composition.counts.get(symbol, 0) / n for symbol in self.elements]
        row += [charge / n, charge * charge / n]
        if not -ROUNDING <= self.leverage(row) <= HIGHEST_LEVERAGE:
            return None
        if not math.isfinite(energy):
            return Deviation(math.nan, math.nan)
        spread = self.by_metal.get(composition.metals, self.overall)
        expected = sum(share * value for share, value in zip(row, self.energies, strict=True))
        off = energy / n - expected - spread.median
        sigmas = off / spread.sigma if spread.sigma else math.copysign(math.inf, off) if off else 0.0
        return Deviation(sigmas, off * n)

    def leverage(self, row: Sequence[float]) -> float:
        """The share that a structure has in its own expectation, or would have: 0 to 1, larger where none is like it.

        Args:
            row: k + 2: atoms of each element, charge and squared charge, each for one atom of the structure.
        """
        scaled = [value / scale for value, scale in zip(row, self.scales, strict=True)]
        total, place = 0.0, 0
        for i, one in enumerate(scaled):
            if one:
                total += one * one * self.inverse[place]
                for j in range(i + 1, len(scaled)):
                    total += 2 * one * scaled[j] * self.inverse[place + j - i]
            place += len(scaled) - i
        return total

    def to_json(self) -> dict[str, Any]:
        """As values that JSON has."""
        return {
            "n": self.n,
            "elements": list(self.elements),
            "energies": list(self.energies),
            "scales": list(self.scales),
            "inverse": list(self.inverse),
            "overall": _spread_json(self.overall),
            "by_metal": {metal: _spread_json(spread) for metal, spread in self.by_metal.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """From what :meth:`to_json` gave.

        Raises:
            KeyError, TypeError: it is something else.
        """
        return cls(
            n=values["n"],
            elements=tuple(values["elements"]),
            energies=tuple(values["energies"]),
            scales=tuple(values["scales"]),
            inverse=tuple(values["inverse"]),
            overall=Spread(*values["overall"]),
            by_metal={metal: Spread(*spread) for metal, spread in values["by_metal"].items()},
        )


def _spread_json(spread: Spread) -> list[float]:
    return [spread.median, spread.sigma, spread.n]

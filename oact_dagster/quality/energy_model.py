"""Model of a structure's energy from its elements and charge, and the spread of similar structures around it.

Total energies of different compositions cannot be compared. Subtracting a reference energy for each atom, fitted to
the energies themselves, removes nearly all dependence on the composition. This is usual before training a
machine-learned potential (atomic reference energies, E0s, linear references). The rest is the energy of the bonds;
divided by the number of atoms, it can be compared between structures. The charge enters linearly and squared
(electronegativity and hardness; R. G. Parr and R. G. Pearson, J. Am. Chem. Soc. 105, 7512 (1983)).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from oact_dagster.quality.measurements import Composition, Deviation

FEWEST: Final = 20
"""Smallest number of structures for a judgement. A metal with fewer is compared with all structures."""

HIGHEST_LEVERAGE: Final = 0.2
"""Largest leverage (share of a structure in its own expected energy) with a judgement. It excludes, say, one of four
structures with some element; up to 0.2 is safe (P. J. Huber, Robust Statistics, Wiley 1981, section 7.2)."""

PER_SIGMA: Final = 1.4826
"""Standard deviation of a normal distribution, in units of its median absolute deviation (C. Leys et al., J. Exp. Soc.
Psychol. 49, 764 (2013))."""

ROUNDING: Final = 1e-6
"""Rounding error by which a leverage may be below 0. A lower one is invalid and allows no judgement."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Distribution of the residuals of some structures, Eh per atom."""

    median: float
    sigma: float
    """Robust standard deviation: 1.4826 times the median absolute deviation."""
    n: int


@dataclass(frozen=True, slots=True)
class EnergyModel:
    """Reference energies and the spread around them; fitted by ``energy_fit``."""

    n: int
    """Number of structures in the fit."""
    elements: tuple[str, ...]
    energies: tuple[float, ...]
    """k + 2 coefficients in Eh: for an atom of each element, for the charge and for the squared charge."""
    scales: tuple[float, ...]
    """k + 2 units of the columns in :attr:`inverse`."""
    inverse: tuple[float, ...]
    """Upper triangle, row by row, of the inverse of the columns' Gram matrix, which has k + 2 rows."""
    overall: Spread
    by_metal: Mapping[str, Spread]
    """Spread of each metal with at least :data:`FEWEST` structures, by ``Composition.metals``."""

    def deviation(self, composition: Composition, charge: int, energy: float) -> Deviation | None:
        """Return how far an energy (Eh) is from that of similar structures.

        The deviation is NaN if the energy is not finite, and None with too few structures, or none that is similar.
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
        """Return the share of a structure in its own expected energy: 0 to 1, larger if none is similar.

        ``row`` has k + 2 values: atoms of each element, charge and squared charge, all divided by the number of atoms.
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
        """Return the model as JSON values."""
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
        """Return the model from the output of :meth:`to_json`.

        Raises:
            KeyError, TypeError: The values are something else.
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

"""Robust fit of reference energies to a campaign's results, in which a few wrong results do not matter."""

from array import array
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from oact_dagster.orca.elements import ATOMIC_NUMBERS, SYMBOLS
from oact_dagster.quality.energy_model import (
    FEWEST,
    HIGHEST_LEVERAGE,
    PER_SIGMA,
    ROUNDING,
    EnergyModel,
    Spread,
)
from oact_dagster.quality.measurements import Composition

_Numbers = npt.NDArray[np.float64]

_BLOCK: Final = 8192
_MOST_KEPT: Final = 4_000_000
"""Largest number of 8-byte floats kept in memory."""
_RIDGE: Final = 1e-8
_NOISE: Final = 1e-7
"""Smallest uncertainty of an energy, Eh per atom."""
_HUBER: Final = 1.345
_TUKEY: Final = 4.685
_HUBER_STEPS: Final = 40
_TUKEY_STEPS: Final = 20
_SETTLED: Final = 1e-7
"""Change in Eh per atom below which the fit has converged."""


class EnergyTable:
    """Compositions, charges and energies of many structures, in about 60 bytes each."""

    def __init__(self) -> None:
        self._energies = array("d")
        self._charges = array("i")
        self._atoms = array("I")
        self._metals = array("H")
        self._numbers = array("B")
        self._counts = array("I")
        self._ends = array("L")
        self._metal_names: dict[str, int] = {}

    def __len__(self) -> int:
        """Return the number of structures."""
        return len(self._energies)

    def add(self, composition: Composition, charge: int, energy: float) -> int:
        """Add a structure of known elements and return the number of its row, from 0.

        The energy is in Eh; a value that is not finite is stored but not fitted.
        """
        for symbol, count in composition.counts.items():
            self._numbers.append(ATOMIC_NUMBERS[symbol])
            self._counts.append(count)
        self._ends.append(len(self._numbers))
        self._energies.append(energy)
        self._charges.append(charge)
        self._atoms.append(composition.n_atoms)
        self._metals.append(self._metal_names.setdefault(composition.metals, len(self._metal_names)))
        return len(self._energies) - 1

    @property
    def elements(self) -> tuple[str, ...]:
        """The elements of all structures, by atomic number."""
        return tuple(SYMBOLS[number - 1] for number in sorted(set(self._numbers)))

    @property
    def metals(self) -> tuple[str, ...]:
        """The distinct values of ``Composition.metals``."""
        return tuple(self._metal_names)

    @property
    def metal_of(self) -> npt.NDArray[np.uint16]:
        """Index of each structure's metals in :attr:`metals`, shape (n,)."""
        return np.array(self._metals, dtype=np.uint16)

    @property
    def atoms(self) -> _Numbers:
        """Number of atoms of each structure, shape (n,)."""
        return np.array(self._atoms, dtype=np.float64)

    @property
    def per_atom(self) -> _Numbers:
        """Energy per atom of each structure, Eh, shape (n,)."""
        return np.array(self._energies, dtype=np.float64) / self.atoms

    def blocks(self, elements: tuple[str, ...]) -> Iterator[tuple[slice, _Numbers]]:
        """Yield the columns of the fit for the k elements of all structures, some thousand rows at a time.

        Yields:
            The rows as a slice, and an array of shape (rows, k + 2): atoms of each element, charge and squared charge,
            all divided by the number of atoms.
        """
        place = np.zeros(256, dtype=np.intp)
        for column, symbol in enumerate(elements):
            place[ATOMIC_NUMBERS[symbol]] = column
        ends = np.array(self._ends, dtype=np.int64)
        starts = np.concatenate(([0], ends[:-1])) if len(ends) else ends
        numbers = np.frombuffer(self._numbers, dtype=np.uint8) if self._numbers else np.zeros(0, np.uint8)
        counts = np.array(self._counts, dtype=np.float64)
        charges = np.array(self._charges, dtype=np.float64)
        atoms = self.atoms
        for first in range(0, len(ends), _BLOCK):
            rows = slice(first, min(first + _BLOCK, len(ends)))
            within = slice(starts[rows.start], ends[rows.stop - 1])
            block = np.zeros((rows.stop - rows.start, len(elements) + 2))
            row_of = np.repeat(np.arange(len(block)), ends[rows] - starts[rows])
            block[row_of, place[numbers[within]]] = counts[within]
            block[:, -2] = charges[rows]
            block[:, -1] = charges[rows] ** 2
            yield rows, block / atoms[rows, None]


def fit(table: EnergyTable) -> EnergyModel:
    """Fit reference energies to comparable structures (one level of theory, one engine).

    This is iteratively reweighted least squares. Huber's weights come first, because they lead to the same minimum from
    any start; then Tukey's, which give gross errors no weight at all. A small ridge fixes what the structures do not
    determine (an element that never varies). The same table always gives the same model.
    """
    elements = table.elements
    size = len(elements) + 2
    targets = table.per_atom
    finite = np.isfinite(targets)
    scales, products = _products(table, elements, finite)
    energies = np.zeros(size)
    residuals = np.where(finite, targets, 0.0)
    columns = _Columns(table, elements, scales)
    energies += columns.step(finite.astype(np.float64), residuals)
    for weigh, steps in ((_huber, _HUBER_STEPS), (_tukey, _TUKEY_STEPS)):
        for _ in range(steps):
            sigma = _spread(residuals[finite]).sigma
            change = columns.step(np.where(finite, weigh(residuals, sigma), 0.0), residuals)
            energies += change
            if np.abs(change * scales).max() < _SETTLED * np.sqrt(len(table)):
                break
    inverse = np.linalg.inv(_ridged(products))
    by_metal = {}
    for number, metal in enumerate(table.metals):
        spread = _spread(residuals[(table.metal_of == number) & finite])
        if spread.n >= FEWEST:
            by_metal[metal] = spread
    return EnergyModel(
        n=int(finite.sum()),
        elements=elements,
        energies=tuple(map(float, energies)),
        scales=tuple(map(float, scales)),
        inverse=tuple(float(inverse[i, j]) for i in range(size) for j in range(i, size)),
        overall=_spread(residuals[finite]),
        by_metal=by_metal,
    )


def deviations(table: EnergyTable, model: EnergyModel) -> tuple[_Numbers, _Numbers, npt.NDArray[np.bool_]]:
    """Return the deviation of each energy from similar structures: ``EnergyModel.deviation`` for many.

    Returns:
        Deviations in robust standard deviations, deviations in Eh, and whether each is known; all of shape (n,).
    """
    n = len(table)
    size = len(model.elements) + 2
    inverse = np.zeros((size, size))
    inverse[np.triu_indices(size)] = model.inverse
    inverse += np.triu(inverse, 1).T
    spreads = [model.by_metal.get(metal, model.overall) for metal in table.metals]
    medians = np.array([one.median for one in spreads])[table.metal_of] if n else np.zeros(0)
    sigmas = np.array([one.sigma for one in spreads])[table.metal_of] if n else np.zeros(0)
    expected, said = np.zeros(n), np.zeros(n, dtype=np.bool_)
    for rows, block in table.blocks(model.elements):
        expected[rows] = block @ np.array(model.energies)
        block /= np.array(model.scales)
        leverages = ((block @ inverse) * block).sum(axis=1)
        said[rows] = (leverages >= -ROUNDING) & (leverages <= HIGHEST_LEVERAGE)
    off = table.per_atom - expected - medians
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(off == 0, 0.0, off / sigmas)
    return ratio, off * table.atoms, said & (model.n >= FEWEST)


def _products(
    table: EnergyTable, elements: tuple[str, ...], finite: npt.NDArray[np.bool_]
) -> tuple[_Numbers, _Numbers]:
    """Return the norm of each column (1 for an empty one), and the products of the normalised columns."""
    size = len(elements) + 2
    products = np.zeros((size, size))
    for rows, block in table.blocks(elements):
        kept = block[finite[rows]]
        products += kept.T @ kept
    scales = np.sqrt(np.diag(products))
    scales[scales == 0] = 1.0
    return scales, products / np.outer(scales, scales)


def _ridged(products: _Numbers) -> _Numbers:
    ridged: _Numbers = products + _RIDGE * np.eye(len(products))
    return ridged


class _Columns:
    """The normalised columns of a fit, kept in memory if they are small enough."""

    def __init__(self, table: EnergyTable, elements: tuple[str, ...], scales: _Numbers) -> None:
        self._table, self._elements, self._scales = table, elements, scales
        small = len(table) * len(scales) <= _MOST_KEPT
        self._kept = list(self._made()) if small else None

    def _made(self) -> Iterator[tuple[slice, _Numbers]]:
        for rows, block in self._table.blocks(self._elements):
            yield rows, block / self._scales

    def step(self, weights: _Numbers, residuals: _Numbers) -> _Numbers:
        """Do one weighted least-squares step: update the residuals in place, return the change of the energies.

        The change has shape (k + 2,). Solving for it keeps more digits: the energies' own sums of squares would leave
        few for the residuals.
        """
        size = len(self._scales)
        gram, moment = np.zeros((size, size)), np.zeros(size)
        for rows, block in self._kept or self._made():
            weighted = block * weights[rows, None]
            gram += weighted.T @ block
            moment += weighted.T @ residuals[rows]
        change = np.linalg.solve(_ridged(gram), moment)
        for rows, block in self._kept or self._made():
            residuals[rows] -= block @ change
        energies: _Numbers = change / self._scales
        return energies


def _huber(residuals: _Numbers, sigma: float) -> _Numbers:
    return _HUBER / np.maximum(np.abs(residuals) / sigma, _HUBER)


def _tukey(residuals: _Numbers, sigma: float) -> _Numbers:
    weights: _Numbers = np.maximum(0.0, 1 - (residuals / (_TUKEY * sigma)) ** 2) ** 2
    return weights


def _spread(residuals: _Numbers) -> Spread:
    if not len(residuals):
        return Spread(0.0, 0.0, 0)
    median = float(np.median(residuals))
    sigma = PER_SIGMA * float(np.median(np.abs(residuals - median)))
    # If the fit reproduces most energies exactly, the spread is only rounding.
    return Spread(median, max(sigma, _NOISE), len(residuals))

"""Geometry relaxation: BFGS in Cartesian coordinates from a model Hessian, with ORCA's convergence criteria."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tolerances:
    """Convergence criteria in Eh, Eh/bohr and bohr, as in ORCA 6.1's manual under ``%geom``."""

    energy: float
    max_gradient: float
    rms_gradient: float
    max_step: float
    rms_step: float


NORMAL_THRESHOLDS: Final = Tolerances(5e-6, 3e-4, 1e-4, 4e-3, 2e-3)
TOLERANCES: Final = {
    "LOOSEOPT": Tolerances(3e-5, 2e-3, 5e-4, 1e-2, 7e-3),
    "TIGHTOPT": Tolerances(1e-6, 1e-4, 3e-5, 1e-3, 6e-4),
    "VERYTIGHTOPT": Tolerances(2e-7, 3e-5, 8e-6, 2e-4, 1e-4),
}
"""Criteria of the keywords that differ from ``Opt``."""


@dataclass(frozen=True)
class Criterion:
    """One row of ORCA's convergence table."""

    name: str
    value: float
    tolerance: float

    @property
    def met(self) -> bool:
        """Whether the value is within its tolerance."""
        return abs(self.value) <= self.tolerance


@dataclass(frozen=True)
class RelaxationStep:
    """The step from one gradient: displacements in bohr, shape (N, 3), and the convergence table."""

    displacement: Array
    criteria: tuple[Criterion, ...]

    @property
    def converged(self) -> bool:
        """Whether every criterion is met."""
        return all(criterion.met for criterion in self.criteria)


# Stretching force constant (Eh/bohr²), range (1/bohr²) and reference distance (bohr) for pairs of rows of the
# periodic table (H-He, Li-Ne, all below): R. Lindh et al., Chem. Phys. Lett. 1995, 241, 423.
_STRETCH: Final = 0.45
_RANGE: Final = np.array([[1.0, 0.3949, 0.3949], [0.3949, 0.28, 0.28], [0.3949, 0.28, 0.28]])
_REFERENCE: Final = np.array([[1.35, 2.10, 2.53], [2.10, 2.87, 3.40], [2.53, 3.40, 3.40]])

# These replace bends and torsions: a bonded pair resists sideways moves with a tenth of its stretching constant, and
# every coordinate has a small constant of its own (Eh/bohr²), which makes the matrix positive definite.
_SIDEWAYS: Final = 0.1
_FLOOR: Final = 0.01

_LARGEST_STEP: Final = 0.3
_SMALLEST_TRUST: Final = 0.02


def model_hessian(numbers: npt.NDArray[np.int64], positions: Array) -> Array:
    """Return a positive definite guess of the Hessian, shape (3N, 3N) in Eh/bohr², from positions (N, 3) in bohr."""
    row = (numbers > 2).astype(int) + (numbers > 10)
    pair = np.ix_(row, row)
    difference = positions[:, None, :] - positions[None, :, :]
    squared = np.einsum("ijx,ijx->ij", difference, difference)
    constant = _STRETCH * np.exp(_RANGE[pair] * (_REFERENCE[pair] ** 2 - squared))
    np.fill_diagonal(constant, 0.0)
    squared[squared == 0] = 1.0  # an atom and itself
    along = difference[..., :, None] * difference[..., None, :] / squared[..., None, None]
    blocks = constant[..., None, None] * ((1 - _SIDEWAYS) * along + _SIDEWAYS * np.eye(3))
    n = len(numbers)
    hessian = -blocks
    hessian[range(n), range(n)] = blocks.sum(axis=1)
    matrix: Array = hessian.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n) + _FLOOR * np.eye(3 * n)
    return matrix


class Relaxation:
    """Proposes steps from energies and gradients, and updates the Hessian between them."""

    def __init__(self, numbers: npt.NDArray[np.int64], positions: Array, tolerances: Tolerances) -> None:
        """Start at ``positions``, shape (N, 3), in bohr."""
        self._hessian = model_hessian(numbers, positions)
        self._tolerances = tolerances
        self._trust = _LARGEST_STEP
        self._previous: tuple[float, Array, Array] | None = None

    def next_step(self, energy: float, gradient: Array) -> RelaxationStep:
        """Return the step from the current geometry, whose energy is in Eh and gradient, shape (N, 3), in Eh/bohr."""
        g: Array = gradient.ravel()
        criteria = []
        if self._previous is not None:
            last_energy, last_gradient, last_step = self._previous
            self._learn(energy - last_energy, g - last_gradient, last_gradient, last_step)
            criteria.append(Criterion("Energy change", energy - last_energy, self._tolerances.energy))
        step = self._quasi_newton_step(g)
        self._previous = energy, g, step
        tolerances = self._tolerances
        criteria += [
            Criterion("RMS gradient", float(np.sqrt(np.mean(g**2))), tolerances.rms_gradient),
            Criterion("MAX gradient", float(np.abs(g).max()), tolerances.max_gradient),
            Criterion("RMS step", float(np.sqrt(np.mean(step**2))), tolerances.rms_step),
            Criterion("MAX step", float(np.abs(step).max()), tolerances.max_step),
        ]
        return RelaxationStep(step.reshape(gradient.shape), tuple(criteria))

    def _quasi_newton_step(self, gradient: Array) -> Array:
        step: Array = np.linalg.solve(self._hessian, -gradient).astype(np.float64)
        # No coordinate moves further than the trust radius.
        return step / max(1.0, float(np.abs(step).max()) / self._trust)

    def _learn(self, energy_change: float, gradient_change: Array, last_gradient: Array, step: Array) -> None:
        """Update the trust radius from the predicted energy change, and the Hessian by BFGS."""
        image = self._hessian @ step
        curvature = float(step @ image)
        ratio = energy_change / (float(step @ last_gradient) + 0.5 * curvature)
        if ratio < 0.1:
            self._trust = max(self._trust / 2, _SMALLEST_TRUST)
        elif ratio > 0.6:
            self._trust = min(self._trust * 1.5, _LARGEST_STEP)
        new_curvature = float(step @ gradient_change)
        # With a step of negative curvature, the update would make the Hessian indefinite.
        if new_curvature > 1e-10:
            self._hessian += np.outer(gradient_change, gradient_change) / new_curvature
            self._hessian -= np.outer(image, image) / curvature

"""Conversion from ORCA's units (Eh, bohr) to those of the training set (eV, Å).

The constants are CODATA 2018 (E. Tiesinga, P. J. Mohr, D. B. Newell, B. N. Taylor, Rev. Mod. Phys. 93, 025010, 2021).
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from oact_dagster.orca.energy_units import (
    ANGSTROM_PER_BOHR,
    EV_PER_ANGSTROM_PER_HARTREE_PER_BOHR,
    EV_PER_HARTREE,
)
from oact_dagster.orca.outputs.evaluations import Vector

ENERGY_UNIT: Final = "eV"
LENGTH_UNIT: Final = "Angstrom"
FORCE_UNIT: Final = "eV/Angstrom"
"""ASCII, because some readers of extended XYZ accept nothing else."""

UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {"energy": ENERGY_UNIT, "positions": LENGTH_UNIT, "forces": FORCE_UNIT}
)
"""The unit of each quantity of a frame."""

UNITS_TEXT: Final = f"energy {ENERGY_UNIT}, positions {LENGTH_UNIT}, forces {FORCE_UNIT}"

CONSTANTS_TEXT: Final = (
    f"CODATA 2018: 1 Eh = {EV_PER_HARTREE!r} eV, 1 bohr = {ANGSTROM_PER_BOHR!r} Angstrom;"
    " forces are minus the gradient"
)
"""How energies and forces were converted from ORCA's."""


def energy_in_ev(energy: float) -> float:
    """Convert an energy from Eh to eV."""
    return energy * EV_PER_HARTREE


def forces_of(gradient: tuple[Vector, ...]) -> tuple[Vector, ...]:
    """Convert a gradient in Eh/bohr to forces in eV/Å, both n_atoms times (x, y, z). Forces are minus the gradient."""
    # Subtracting from zero keeps a zero component from becoming -0.0.
    unit = EV_PER_ANGSTROM_PER_HARTREE_PER_BOHR
    return tuple((0.0 - x * unit, 0.0 - y * unit, 0.0 - z * unit) for x, y, z in gradient)


def all_finite(vectors: tuple[Vector, ...]) -> bool:
    """Return whether no component of n_atoms times (x, y, z) is NaN or infinite."""
    return all(math.isfinite(x) and math.isfinite(y) and math.isfinite(z) for x, y, z in vectors)

"""Check whether the metals of a complex are still bound to their ligands."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from oact_dagster.orca.covalent_radii import COVALENT_RADII
from oact_dagster.orca.metals import METALS
from oact_dagster.orca.outputs.evaluations import Vector

REACH: Final = 1.3
"""Atoms are neighbours within this many times the sum of their covalent radii."""


@dataclass(frozen=True, slots=True)
class BondChange:
    """Changes in the bonds of all metals of a structure."""

    before: int
    """First neighbours of the metals in the former geometry; two neighbouring metals count twice."""
    stretch: float
    """Largest ratio of such a neighbour's present distance to its former one."""
    bond: str
    """The bond with that ratio, such as ``U1-O4``; atoms are counted from 1."""
    alone: int
    """Metals that had neighbours and now have none at all."""


def bond_change(
    symbols: Sequence[str], former: Sequence[Vector], present: Sequence[Vector]
) -> BondChange | None:
    """Compare the distances of each metal's first neighbours in two geometries (Å) of the same atoms in the same order.

    First neighbours are the atoms within 1.3 times the sum of the covalent radii (Cordero et al. 2008) in the former
    geometry.

    Returns:
        The change; None if there is no metal, no metal has a neighbour, the numbers of atoms differ, or a present
        coordinate is not finite.
    """
    if not len(symbols) == len(former) == len(present):
        return None
    metals = [atom for atom, symbol in enumerate(symbols) if symbol in METALS]
    if not metals or not all(map(math.isfinite, (c for atom in present for c in atom))):
        return None
    radii = [COVALENT_RADII.get(symbol, 0.0) for symbol in symbols]
    before = alone = 0
    stretch, bond = 0.0, ""
    for metal in metals:
        reaches = [REACH * (radii[metal] + radius) for radius in radii]
        neighbours = _within(former, metal, reaches)
        before += len(neighbours)
        alone += bool(neighbours) and not _within(present, metal, reaches)
        for atom, distance in neighbours:
            ratio = math.dist(present[metal], present[atom]) / distance
            if ratio > stretch:
                stretch, bond = ratio, f"{symbols[metal]}{metal + 1}-{symbols[atom]}{atom + 1}"
    return BondChange(before, stretch, bond, alone) if before else None


def _within(atoms: Sequence[Vector], metal: int, reaches: Sequence[float]) -> list[tuple[int, float]]:
    """Return the other atoms within reach of a metal, and their distances."""
    centre = atoms[metal]
    distances = [math.dist(centre, atom) for atom in atoms]
    return [
        (atom, distance)
        for atom, (distance, reach) in enumerate(zip(distances, reaches, strict=True))
        if atom != metal and 0.0 < distance <= reach
    ]

"""Bonds that a picture of a molecule draws."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from oact_dagster.orca.covalent_radii import COVALENT_RADII

_REACH: Final = 1.25
"""Two atoms are bonded if their distance is less than this multiple of the sum of their covalent radii."""

BEHIND: Final = 0.3
"""Å. A metal gets no line to an atom that is bonded to another of its neighbours, a donor nearer by this much."""

_NON_METALS: Final = "H He B C N O F Ne Si P S Cl Ar Ge As Se Br Kr Te I Xe At Rn"

NON_METALS: Final = frozenset(_NON_METALS.split())
"""Non-metals, including the metalloids of ligands."""

UNKNOWN_RADIUS: Final = 0.76

Bond = tuple[int, int]


def bonds(symbols: Sequence[str], coordinates: npt.NDArray[np.float64]) -> list[Bond]:
    """Find the bonds of a molecule: ascending pairs of indices, from coordinates of shape (n, 3) in Å.

    Distances alone would also join a large metal to the carbon of a carboxylate, or to the nitrogen of a nitrate, whose
    oxygens bind it. Those are left out (``BEHIND``), and so are hydrogens bonded to another atom.
    """
    radii = np.array([COVALENT_RADII.get(symbol, UNKNOWN_RADIUS) for symbol in symbols])
    squares = np.sum(coordinates**2, axis=1)
    # |a - b|^2 = |a|^2 + |b|^2 - 2 a.b needs (n, n) numbers, not (n, n, 3).
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * coordinates @ coordinates.T, 0))
    bonded = distances < _REACH * (radii[:, None] + radii[None, :])
    np.fill_diagonal(bonded, val=False)
    metal = np.array(
        [symbol not in NON_METALS and symbol in COVALENT_RADII for symbol in symbols], dtype=bool
    )
    hydrogen = np.array([symbol == "H" for symbol in symbols], dtype=bool)
    held = hydrogen & (bonded & ~metal[None, :]).any(axis=1)
    for centre in np.flatnonzero(metal):
        around = np.flatnonzero(bonded[centre] & ~metal)
        away = distances[centre, around]
        joined = bonded[np.ix_(around, around)]
        behind = (joined & (away[None, :] < away[:, None] - BEHIND)).any(axis=1) | held[around]
        bonded[centre, around[behind]] = bonded[around[behind], centre] = False
    return [(int(one), int(other)) for one, other in np.argwhere(np.triu(bonded))]


def trails(pairs: Iterable[Bond]) -> list[list[int]]:
    """Join bonds to lines of atoms that are as long as possible, since fewer lines make a shorter SVG path.

    Each bond is in exactly one line.
    """
    neighbours: defaultdict[int, set[int]] = defaultdict(set)
    for one, other in pairs:
        neighbours[one].add(other)
        neighbours[other].add(one)
    lines: list[list[int]] = []
    # Lines end where an odd number of bonds meet, so begin there.
    begins = sorted(neighbours, key=lambda atom: (len(neighbours[atom]) % 2 == 0, atom))
    for begin in begins:
        while neighbours[begin]:
            line = [begin]
            while neighbours[line[-1]]:
                here = line[-1]
                there = min(neighbours[here])
                neighbours[here].remove(there)
                neighbours[there].remove(here)
                line.append(there)
            lines.append(line)
    return lines

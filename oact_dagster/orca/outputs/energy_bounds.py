"""Check for unphysical energies: ORCA may end normally although the SCF diverged.

An energy is unphysical if it is not finite, not negative, below -1.2 * 0.7687 * sum(Z^(7/3)) Eh, or more than 10 Eh
away from the last iteration of the first SCF. The bound is the Thomas-Fermi energy of the neutral atoms,
-0.7687 Z^(7/3) Eh each (E. H. Lieb and B. Simon, Adv. Math. 23 (1977) 22), with a margin for binding and relativity; an
effective core potential only makes an energy smaller in magnitude. Semiempirical methods (ZINDO, AM1) have another zero
of energy, so neither sign nor bound counts for them. A correlation energy may exceed 10 Eh, so for correlated methods
the last SCF's energy is compared with the first's.
"""

import math
from collections.abc import Iterable
from typing import Final

from oact_dagster.orca.elements import ATOMIC_NUMBERS

THOMAS_FERMI: Final = 0.7687
"""Minus the energy of a neutral Thomas-Fermi atom with Z = 1, Eh."""

ROOM: Final = 1.2
"""Factor by which an energy may exceed the Thomas-Fermi energy in magnitude."""

LARGEST_CHANGE: Final = 10.0
"""Largest allowed difference between the first SCF's energy and the final one, Eh."""


def lowest_energy(symbols: Iterable[str]) -> float | None:
    """Return the lowest plausible energy of these atoms in Eh; None without atoms or with an unknown element."""
    total = 0.0
    for symbol in symbols:
        number = ATOMIC_NUMBERS.get(symbol.capitalize())
        if number is None:
            return None
        total += number ** (7 / 3)
    return -ROOM * THOMAS_FERMI * total if total else None


def why_unphysical(
    energy: float,
    symbols: Iterable[str],
    first_scf_energy: float | None,
    *,
    scf_energy: float | None,
    semiempirical: bool = False,
) -> str | None:
    """Return why a final energy is unphysical, in one line, or None. Energies are in Eh, and None if not known.

    ``first_scf_energy`` is that of the last iteration of the first SCF; ``scf_energy``, without any correlation energy,
    is compared with it. Without symbols the bound is not checked; for a semiempirical method, neither sign nor bound.
    """
    if not math.isfinite(energy):
        return f"the energy is {energy}"
    if energy >= 0 and not semiempirical:
        return f"the energy is {energy:.6f} Eh, not negative"
    lowest = lowest_energy(symbols)
    if lowest is not None and energy < lowest and not semiempirical:
        return f"the energy is {energy:.6f} Eh, below {lowest:.1f} Eh, the lowest plausible energy of these atoms"
    if first_scf_energy is None or scf_energy is None:
        return None
    if abs(scf_energy - first_scf_energy) > LARGEST_CHANGE:
        return (
            f"the energy is {scf_energy:.6f} Eh, more than {LARGEST_CHANGE:g} Eh from that of the first SCF"
        )
    return None

"""When an energy is nonsense although ORCA ended normally: an SCF that blew up.

The rule: the energy is not finite, or not negative, or below the Thomas-Fermi energy of the atoms with room for
binding and relativity, -1.2 * 0.7687 * sum(Z^(7/3)) Eh, or more than 10 Eh away from the last iteration of the first
SCF. The Thomas-Fermi energy of a neutral atom is -0.7687 Z^(7/3) Eh (E. H. Lieb and B. Simon, Adv. Math. 23 (1977) 22);
an effective core potential only makes the energy smaller in size. The energies of semiempirical methods (ZINDO, AM1)
have another zero, so neither sign nor bound counts for them; and a correlation energy may be more than 10 Eh, so for
methods that have one it is the last SCF's energy that is compared with the first's.
"""

import math
from collections.abc import Iterable
from typing import Final

from oact_dagster.orca.elements import ATOMIC_NUMBERS

THOMAS_FERMI: Final = 0.7687
"""Eh: the energy of a neutral Thomas-Fermi atom of Z = 1, with the sign changed."""

ROOM: Final = 1.2
"""Factor by which an energy may lie below the Thomas-Fermi energy."""

LARGEST_CHANGE: Final = 10.0
"""Eh between the first SCF and the final energy."""


def lowest_energy(symbols: Iterable[str]) -> float | None:
    """The energy below which no calculation on these atoms makes sense.

    Args:
        symbols: Element symbols, in any case.

    Returns:
        Eh; None where there is no atom, or one whose element is not known.
    """
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
    """Judge an energy.

    Args:
        energy: Eh.
        symbols: Element symbols of the molecule; empty where they are not known, and then the bound does not count.
        first_scf_energy: Eh of the last iteration of the first SCF; None where it is not known.
        scf_energy: Eh: the energy without the part that is no SCF's, to compare with the first; None where it is not
            known.
        semiempirical: Whether the method's energies have another zero: then neither sign nor bound counts.

    Returns:
        Why it cannot be, in a line, or None.
    """
    if not math.isfinite(energy):
        return f"the energy is {energy}"
    if energy >= 0 and not semiempirical:
        return f"the energy is {energy:.6f} Eh, not negative"
    lowest = lowest_energy(symbols)
    if lowest is not None and energy < lowest and not semiempirical:
        return f"the energy is {energy:.6f} Eh, below {lowest:.1f} Eh, the least that these atoms can have"
    if first_scf_energy is None or scf_energy is None:
        return None
    if abs(scf_energy - first_scf_energy) > LARGEST_CHANGE:
        return f"the energy is {scf_energy:.6f} Eh, more than {LARGEST_CHANGE:g} Eh from the first SCF's"
    return None

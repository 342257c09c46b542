"""How far a result may go before a rule calls it doubtful."""

from dataclasses import dataclass
from typing import Final

from oact_dagster.orca.energy_units import EV_PER_ANGSTROM_PER_HARTREE_PER_BOHR

MAX_GRADIENT: Final = round(50 / EV_PER_ANGSTROM_PER_HARTREE_PER_BOHR, 2)
"""Eh/bohr: 50 eV/Å, above which collections of training data commonly drop a structure as unphysical."""

MAX_SPIN_CONTAMINATION: Final = 0.5
"""Of <S²>. The next higher spin raises it by 2(S + 1) times its weight: a quarter in a singlet, a sixth in a doublet. A
broken-symmetry singlet of two electrons has 1: who wants those takes 1.1."""

MAX_ENERGY_DEVIATION: Final = 8.0
"""Robust standard deviations. Residuals of molecules have long tails: 3, as for normal ones, would flag isomers."""

MAX_BOND_STRETCH: Final = 1.5
"""Times the former length: a bond to a metal relaxes by some 10 %, and at half as much again it is gone."""


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """The limits of the rules that have one; None switches a rule off."""

    max_gradient: float | None = MAX_GRADIENT
    """Of the largest gradient component, Eh/bohr."""
    max_spin_contamination: float | None = MAX_SPIN_CONTAMINATION
    """Of |<S²> - S(S+1)|."""
    max_energy_deviation: float | None = MAX_ENERGY_DEVIATION
    """Of an energy from that of its like, in robust standard deviations."""
    max_bond_stretch: float | None = MAX_BOND_STRETCH
    """Of the distance of a metal's first neighbour, as a ratio to the former one."""

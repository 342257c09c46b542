"""Limits beyond which a rule calls a result doubtful."""

from dataclasses import dataclass
from typing import Final

from oact_dagster.orca.energy_units import EV_PER_ANGSTROM_PER_HARTREE_PER_BOHR

MAX_GRADIENT: Final = round(50 / EV_PER_ANGSTROM_PER_HARTREE_PER_BOHR, 2)
"""50 eV/Å in Eh/bohr, above which training sets commonly drop a structure as unphysical."""

MAX_SPIN_CONTAMINATION: Final = 0.5
"""Limit of the deviation of <S²>. The next higher spin adds 2(S + 1) times its weight, so the limit is reached at a
weight of a quarter in a singlet and a sixth in a doublet. A broken-symmetry singlet of two electrons has 1; set 1.1 to
accept those."""

MAX_ENERGY_DEVIATION: Final = 8.0
"""Limit in robust standard deviations. The residuals of molecules have long tails; the usual 3 would flag isomers."""

MAX_BOND_STRETCH: Final = 1.5
"""Limit as a multiple of the former length. A bond to a metal relaxes by about 10 %; at 1.5 times its length it is
broken."""


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """The limits of those rules that have one; None switches a rule off."""

    max_gradient: float | None = MAX_GRADIENT
    """Largest gradient component, Eh/bohr."""
    max_spin_contamination: float | None = MAX_SPIN_CONTAMINATION
    """Largest |<S²> - S(S+1)|."""
    max_energy_deviation: float | None = MAX_ENERGY_DEVIATION
    """Largest deviation of an energy from similar structures, in robust standard deviations."""
    max_bond_stretch: float | None = MAX_BOND_STRETCH
    """Largest ratio of a first neighbour's distance from a metal to the former distance."""

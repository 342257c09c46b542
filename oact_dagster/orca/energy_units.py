"""Conversion between ORCA's units (Eh, bohr) and those of ASE and Sella (eV, Å). Values: CODATA 2018."""

from typing import Final

EV_PER_HARTREE: Final = 27.211386245988
"""Electronvolts in one hartree (Eh)."""

ANGSTROM_PER_BOHR: Final = 0.529177210903
"""Ångström in one bohr."""

EV_PER_ANGSTROM_PER_HARTREE_PER_BOHR: Final = EV_PER_HARTREE / ANGSTROM_PER_BOHR
"""A gradient of 1 Eh/bohr in eV/Å: 51.422."""

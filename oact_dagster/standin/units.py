"""The conversion factors that ORCA 6.1 uses, read off its outputs."""

from typing import Final

BOHR_IN_ANGSTROM: Final = 0.5291772083
"""Length of one bohr in Å: ORCA prints 2 Å as 3.779452267843 bohr."""

HARTREE_IN_EV: Final = 27.2113834
"""Energy of one Eh in eV: ORCA prints -626.44078718 Eh as -17046.32044 eV."""

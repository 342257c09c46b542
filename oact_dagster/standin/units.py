"""Conversion factors of ORCA 6.1, inferred from its outputs."""

from typing import Final

BOHR_IN_ANGSTROM: Final = 0.5291772083
"""One bohr in Å: ORCA prints 2 Å as 3.779452267843 bohr."""

HARTREE_IN_EV: Final = 27.2113834
"""One Eh in eV: ORCA prints -626.44078718 Eh as -17046.32044 eV."""

"""The periodic table as far as ORCA has basis sets: symbols and atomic numbers, H to Lr."""

from typing import Final

_ROWS: Final = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar
K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe
Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn
Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr
"""

SYMBOLS: Final[tuple[str, ...]] = tuple(_ROWS.split())
"""Element symbols in the order of their atomic numbers; ``SYMBOLS[0]`` is hydrogen."""

ATOMIC_NUMBERS: Final[dict[str, int]] = {symbol: z for z, symbol in enumerate(SYMBOLS, start=1)}
"""Atomic number of each symbol, H (1) to Lr (103)."""

LANTHANIDES: Final[frozenset[str]] = frozenset(SYMBOLS[56:71])
"""La to Lu."""

ACTINIDES: Final[frozenset[str]] = frozenset(SYMBOLS[88:103])
"""Ac to Lr."""

"""The metals of complexes."""

from collections.abc import Iterable
from typing import Final

from oact_dagster.orca.elements import ACTINIDES, ATOMIC_NUMBERS, LANTHANIDES, SYMBOLS

_TRANSITION_METALS: Final[frozenset[str]] = frozenset((*SYMBOLS[20:30], *SYMBOLS[38:48], *SYMBOLS[71:80]))
"""Groups 3 to 12: Sc to Zn, Y to Cd, Hf to Hg."""

_P_BLOCK: Final[frozenset[str]] = frozenset(("Al", "Ga", "In", "Sn", "Tl", "Pb", "Bi", "Po"))

METALS: Final[frozenset[str]] = ACTINIDES | LANTHANIDES | _TRANSITION_METALS | _P_BLOCK
"""Metals that ligands bind to. Alkali and alkaline earth metals are left out: they are counter-ions."""

_RANKS: Final = (ACTINIDES, LANTHANIDES, _TRANSITION_METALS, _P_BLOCK)


def main_metal(symbols: Iterable[str]) -> str | None:
    """Return the metal that a complex is named after, or None if it has none.

    This is the heaviest actinide, else lanthanide, else transition metal, else p-block metal.
    """
    found = METALS.intersection(symbols)
    for rank in _RANKS:
        if here := found & rank:
            return max(here, key=ATOMIC_NUMBERS.__getitem__)
    return None

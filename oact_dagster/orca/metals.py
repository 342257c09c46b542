"""The metal of a complex."""

from collections.abc import Iterable
from typing import Final

from oact_dagster.orca.elements import ACTINIDES, ATOMIC_NUMBERS, LANTHANIDES, SYMBOLS

TRANSITION_METALS: Final[frozenset[str]] = frozenset((*SYMBOLS[20:30], *SYMBOLS[38:48], *SYMBOLS[71:80]))
"""Groups 3 to 12: Sc to Zn, Y to Cd, Hf to Hg."""

CENTRES: Final[frozenset[str]] = ACTINIDES | LANTHANIDES | TRANSITION_METALS
"""What may be the centre of a complex."""


def main_metal(symbols: Iterable[str]) -> str | None:
    """The heaviest actinide, lanthanide or transition metal among some atoms; None where there is none.

    Args:
        symbols: of the atoms.
    """
    return max(CENTRES.intersection(symbols), key=ATOMIC_NUMBERS.__getitem__, default=None)

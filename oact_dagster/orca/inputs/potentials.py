"""Effective core potentials: which one a basis set's name implies, and how many electrons each replaces."""

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

from oact_dagster.orca.elements import SYMBOLS
from oact_dagster.orca.spans import by_element

_RB_TO_RN: Final = "Rb-Xe 28, Cs-La 46, Ce-Lu 28, Hf-Rn 60"

CORE_ELECTRONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # Source: Basis Set Exchange 0.12. Lanthanides have a small core, unlike their neighbours Cs to La.
        "def2-ECP": _RB_TO_RN,
        # Fr and Ra: Lim et al., J. Chem. Phys. 122, 104103 (2005). Actinides: the small core of Cao and Dolg
        # (2004); ORCA 6.1 prints "replacing 60 core electrons" for U, Np and Am, not the 78 of Fr and Ra.
        "def-ECP": f"{_RB_TO_RN}, Fr-Ra 78, Ac-Lr 60",
        # The multiconfiguration Dirac-Fock potentials ECP10MDF to ECP78MDF, for which cc-pVnZ-PP was made.
        "SK-MCDHF-RSC": "Ca 10, Cu-Kr 10, Sr-Xe 28, Ba 46, Hf-Rn 60, Ra 78, U 60",
    }
)
"""Electrons replaced, by potential and element. A potential does not cover an element it omits."""

_SAME: Final[tuple[tuple[str, ...], ...]] = (
    ("def2-ECP", "def2ECP", "def2-SD"),
    # On the actinides SD(60,MWB), the Stuttgart group's name, is the same potential (Küchle and others).
    ("def-ECP", "defECP", "def-SD", "SD(60,MWB)"),
    ("dhf-ECP", "dhfECP", "dhf-SD"),
    ("HayWadt", "LANL2", "LANL1"),
    ("SK-MCDHF-RSC",),
    ("SDD",),
    ("CRENBL-ECP", "CRENBL"),
    ("vDZP-ECP",),
    ("def2ECP/defECP/r2SCAN3c",),
)
"""The names of each of ORCA's potentials. The first is the one that the tables use."""

_ABOVE_HE: Final = frozenset(SYMBOLS[2:])
_RB_RN: Final = frozenset(SYMBOLS[36:86])
_RB_LR: Final = frozenset(SYMBOLS[36:])

# The potential that a basis on the "!" line implies: manual of ORCA 6.0, footnotes of table 7.10.
_BROUGHT_BY: Final[tuple[tuple[re.Pattern[str], str, frozenset[str]], ...]] = (
    (re.compile(r"(ma-)?def2-", re.IGNORECASE), "def2-ECP", _RB_RN),
    (re.compile(r"(ma-)?def-", re.IGNORECASE), "def-ECP", _RB_LR),
    (re.compile(r"dhf-", re.IGNORECASE), "dhf-ECP", _RB_RN),
    (
        re.compile(r"lanl|haywadt", re.IGNORECASE),
        "HayWadt",
        frozenset(by_element("Na-La 0, Hf-Bi 0, U-Pu 0")),
    ),
    (
        re.compile(r".*-pp(-|$)", re.IGNORECASE),
        "SK-MCDHF-RSC",
        frozenset(by_element("Ca 0, Cu-Kr 0, Sr-Xe 0, Ba 0, Hf-Ra 0, U 0")),
    ),
    # Large cores from boron on. Which elements have none is not tabulated, so assume that all have one.
    (re.compile(r"vdzp$", re.IGNORECASE), "vDZP-ECP", _ABOVE_HE),
    (re.compile(r"sdd", re.IGNORECASE), "SDD", _ABOVE_HE),
    (re.compile(r"crenb", re.IGNORECASE), "CRENBL-ECP", _ABOVE_HE),
    (re.compile(r"stuttgart|sd\(|ecp\d+m", re.IGNORECASE), "a Stuttgart potential", _ABOVE_HE),
)
_STUTTGART: Final = re.compile(r"SD\((\d+),\w+\)$", re.IGNORECASE)


def canonical(potential: str) -> str | None:
    """Return the name that the tables use for a potential, or None for an unknown one."""
    for names in _SAME:
        if potential.lower() in map(str.lower, names):
            return names[0]
    return None


def is_potential(word: str) -> bool:
    """Return whether an ORCA keyword chooses core potentials or switches them off (``NoECP``)."""
    # No other keyword ends in "ecp".
    return word.lower().endswith("ecp") or canonical(word) is not None or _STUTTGART.match(word) is not None


def belong_together(basis_potential: str, named: str) -> bool:
    """Return whether a basis may have been made for the named potential; an unknown potential always fits."""
    first, second = canonical(basis_potential), canonical(named)
    if second is None:
        return _STUTTGART.match(named) is None
    return first is None or first == second


def brought_by(basis: str, element: str) -> str | None:
    """Return the potential that a basis set's name implies for an element, or None."""
    for pattern, potential, elements in _BROUGHT_BY:
        if element in elements and pattern.match(basis):
            return potential
    return None


@cache
def covered_by(potential: str) -> Mapping[str, int] | None:
    """Return the electrons that a potential replaces, by element, or None if they are not tabulated."""
    for name, spans in CORE_ELECTRONS.items():
        if name.lower() == potential.lower():
            return MappingProxyType(by_element(spans))
    if stuttgart := _STUTTGART.match(potential):
        # The name gives the number of electrons. Which elements have such a potential is not known here.
        return MappingProxyType(dict.fromkeys(SYMBOLS, int(stuttgart[1])))
    return None


def core_electrons(potential: str, element: str) -> int | None:
    """Return the number of electrons that a potential replaces on an element, or None if not tabulated."""
    covered = covered_by(potential)
    return None if covered is None else covered.get(element)

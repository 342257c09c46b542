"""Effective core potentials: which a basis set's name brings along, and how many electrons each replaces."""

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
        # Source: Basis Set Exchange 0.12. Lanthanides have the small core, unlike their neighbours Cs to La.
        "def2-ECP": _RB_TO_RN,
        # Fr and Ra: Lim et al., J. Chem. Phys. 122, 104103 (2005). Actinides: the small core of Cao and Dolg
        # (2004); ORCA 6.1 prints "replacing 60 core electrons" for U, Np and Am, not the 78 of Fr and Ra.
        "def-ECP": f"{_RB_TO_RN}, Fr-Ra 78, Ac-Lr 60",
        # The multi-configuration Dirac-Fock potentials ECP10MDF to ECP78MDF that cc-pVnZ-PP was made for.
        "SK-MCDHF-RSC": "Ca 10, Cu-Kr 10, Sr-Xe 28, Ba 46, Hf-Rn 60, Ra 78, U 60",
    }
)
"""Electrons that a potential replaces, by its name and the element; an element that is missing has none."""

_SAME: Final[tuple[tuple[str, ...], ...]] = (
    ("def2-ECP", "def2ECP", "def2-SD"),
    # On the actinides it is that of Küchle and others under the name of the Stuttgart group.
    ("def-ECP", "defECP", "def-SD", "SD(60,MWB)"),
    ("dhf-ECP", "dhfECP", "dhf-SD"),
    ("HayWadt", "LANL2", "LANL1"),
    ("SK-MCDHF-RSC",),
    ("SDD",),
    ("CRENBL-ECP", "CRENBL"),
    ("vDZP-ECP",),
    ("def2ECP/defECP/r2SCAN3c",),
)
"""The names of ORCA's potentials, those of the same one together, the one that the tables use first."""

_ABOVE_HE: Final = frozenset(SYMBOLS[2:])
_RB_RN: Final = frozenset(SYMBOLS[36:86])
_RB_LR: Final = frozenset(SYMBOLS[36:])

# Manual of ORCA 6.0, footnotes of table 7.10: the potential that comes with a basis named on the "!" line.
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
    # Large cores from boron on; which element has none is not tabulated, so none is trusted.
    (re.compile(r"vdzp$", re.IGNORECASE), "vDZP-ECP", _ABOVE_HE),
    (re.compile(r"sdd", re.IGNORECASE), "SDD", _ABOVE_HE),
    (re.compile(r"crenb", re.IGNORECASE), "CRENBL-ECP", _ABOVE_HE),
    (re.compile(r"stuttgart|sd\(|ecp\d+m", re.IGNORECASE), "a Stuttgart potential", _ABOVE_HE),
)
_STUTTGART: Final = re.compile(r"SD\((\d+),\w+\)$", re.IGNORECASE)


def canonical(potential: str) -> str | None:
    """Return a potential's name as the tables spell it, the same one for all its names, or None for an unknown one."""
    for names in _SAME:
        if potential.lower() in map(str.lower, names):
            return names[0]
    return None


def is_potential(word: str) -> bool:
    """Return whether a keyword of ORCA chooses core potentials, or that there are none (``NoECP``)."""
    # No other keyword ends like that.
    return word.lower().endswith("ecp") or canonical(word) is not None or _STUTTGART.match(word) is not None


def belong_together(basis_potential: str, named: str) -> bool:
    """Return whether a potential may be the one that a basis was made for; an unknown one may be any."""
    first, second = canonical(basis_potential), canonical(named)
    if second is None:
        return _STUTTGART.match(named) is None
    return first is None or first == second


def brought_by(basis: str, element: str) -> str | None:
    """Return the name of the potential that a basis set's name brings along for an element, or None."""
    for pattern, potential, elements in _BROUGHT_BY:
        if element in elements and pattern.match(basis):
            return potential
    return None


@cache
def covered_by(potential: str) -> Mapping[str, int] | None:
    """Return the electrons that a potential replaces, by element, or None where they are not tabulated."""
    for name, spans in CORE_ELECTRONS.items():
        if name.lower() == potential.lower():
            return MappingProxyType(by_element(spans))
    if stuttgart := _STUTTGART.match(potential):
        # The number of electrons is part of the name; which elements have one of that size is not known here.
        return MappingProxyType(dict.fromkeys(SYMBOLS, int(stuttgart[1])))
    return None


def core_electrons(potential: str, element: str) -> int | None:
    """Return how many electrons a potential replaces on an element, or None where that is not tabulated."""
    covered = covered_by(potential)
    return None if covered is None else covered.get(element)

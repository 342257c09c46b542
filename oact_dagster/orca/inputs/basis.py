"""What the name of a basis set implies: elements, number of functions, the Hamiltonian it was contracted for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from oact_dagster.orca.inputs import basis_tables
from oact_dagster.orca.spans import by_element

_RELATIVISTIC: Final = re.compile(r"(ma-|old-)?(dkh|zora)-|sarc2?-|x2c-|ano-rcc-|.*-dk3?$", re.IGNORECASE)
_ALL_ELECTRON: Final = re.compile(r"(a?hgbs|ugbs|dyall|jorge|sapporo|partridge)", re.IGNORECASE)
_CONTRACTIONS: Final = (
    (re.compile(r"(ma-|old-)?zora-|sarc2?-zora-", re.IGNORECASE), "ZORA"),
    # SARC-DKH sets are left out: they are contracted so loosely that they serve X2C too, which has no SARC sets.
    (re.compile(r"(ma-|old-)?dkh-", re.IGNORECASE), "DKH"),
    (re.compile(r"x2c-", re.IGNORECASE), "X2C"),
)
_FAMILIES: Final = re.compile(
    r"(ma-|old-)?(dkh-|zora-)?(ma-)?def2?-(?!ecp|sd$)|dhf-(?!ecp|sd$)|(\w+-)?cc-p|sto-\dg|[346]-\d{2,3}\+*g|m6-31g"
    r"|(dkh|zora|old)-|x2c-|sarc2?-|(aug-)?ano-|lanl(08|2[dt])|crenbl$|vdzp$|minix?$|minis$|midi$|minao|d95"
    r"|(aug-)?pc(seg|sseg|j|h|x)?-\d|epr-ii|iglo-ii|a?hgbs|ugbs|sapporo|partridge|jorge|ha?v[tq5(]|w1-",
    re.IGNORECASE,
)
_FITTING: Final = re.compile(r"-(cabs|optri)$", re.IGNORECASE)
_FILE: Final = re.compile(r".*/|.*\.(bas|gbs)$", re.IGNORECASE)
_AUXILIARY: Final = re.compile(r"[^/]+/(jk?|jksmall|c)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BasisSet:
    """A basis set of ORCA's library."""

    name: str
    """In ORCA's spelling."""
    functions: Mapping[str, int]
    """Number of contracted spherical functions for each element that the set covers."""

    @property
    def elements(self) -> frozenset[str]:
        """The elements that the set covers."""
        return frozenset(self.functions)


@cache
def library() -> Mapping[str, BasisSet]:
    """Return the basis sets with known coverage, by lower-case name (ORCA ignores case)."""
    sets = {name: by_element(spans) for name, spans in basis_tables.COVERAGE.items()}
    for name in basis_tables.MINIMALLY_AUGMENTED:
        sets[f"ma-{name}"] = {element: functions + 4 for element, functions in sets[name].items()}
    return MappingProxyType(
        {name.lower(): BasisSet(name, MappingProxyType(rows)) for name, rows in sets.items()}
    )


def known_basis(name: str) -> BasisSet | None:
    """Return the basis set of this name, or None if its coverage is not known."""
    return library().get(name.lower())


def is_file(value: str) -> bool:
    """Return whether a basis is a file rather than a name: a path, or anything ending in .bas or .gbs."""
    return _FILE.match(value) is not None and not is_auxiliary(value)


def is_auxiliary(value: str) -> bool:
    """Return whether a name is a fitting basis such as ``def2/J``, which looks like a path."""
    return _AUXILIARY.match(value) is not None


def is_relativistic(name: str) -> bool:
    """Return whether the set is all-electron and contracted for a scalar-relativistic Hamiltonian."""
    return _RELATIVISTIC.match(name) is not None


def is_all_electron(name: str) -> bool:
    """Return whether the set is known to describe all electrons of heavy elements, for any Hamiltonian."""
    return is_relativistic(name) or _ALL_ELECTRON.match(name) is not None


def contracted_for(name: str) -> str | None:
    """Return the only Hamiltonian (DKH, ZORA or X2C) that a set's contraction suits, or None."""
    for pattern, hamiltonian in _CONTRACTIONS:
        if pattern.match(name):
            return hamiltonian
    return None


def looks_like_a_basis(word: str) -> bool:
    """Return whether a keyword names an orbital basis: one in the tables, or of one of ORCA's families."""
    if known_basis(word) is not None:
        return True
    return not is_auxiliary(word) and not _FITTING.search(word) and _FAMILIES.match(word) is not None


def sets_covering(elements: frozenset[str], *, relativistic: bool) -> list[str]:
    """Return the known sets that cover all these elements, for a relativistic Hamiltonian or for none."""
    return [
        basis.name
        for basis in library().values()
        if elements <= basis.elements and is_relativistic(basis.name) == relativistic
    ]


@cache
def _upper_estimates() -> Mapping[str, int]:
    return MappingProxyType(by_element(basis_tables.UNKNOWN_SET))


def functions_of(basis: str, element: str) -> int:
    """Return the number of functions for an element: tabulated, or an upper estimate for an unknown set."""
    known = known_basis(basis)
    if known is None:
        return _upper_estimates()[element]
    return known.functions[element]

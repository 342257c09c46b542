"""What the rules look at: a structure as the ledger has it, and what its output held."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from oact_dagster.orca.elements import ATOMIC_NUMBERS
from oact_dagster.orca.metals import METALS


@dataclass(frozen=True, slots=True)
class Composition:
    """The atoms of a structure."""

    counts: Mapping[str, int]
    """Atoms of each element."""
    n_atoms: int
    nuclear_charge: int | None
    """Sum of the atomic numbers; None where an element is unknown, or there is none."""
    metals: str
    """The metals, each once, in the order of the alphabet: ``U``, ``Fe+U``; empty without any."""


@lru_cache(maxsize=4096)
def composition_of(elements: str) -> Composition:
    """The atoms of a structure.

    Args:
        elements: semicolon-separated symbols, one per atom, as the ledger has them.
    """
    counts = Counter(elements.split(";"))
    del counts[""]
    known = bool(counts) and counts.keys() <= ATOMIC_NUMBERS.keys()
    return Composition(
        MappingProxyType(counts),
        counts.total(),
        sum(ATOMIC_NUMBERS[symbol] * n for symbol, n in counts.items()) if known else None,
        "+".join(sorted(METALS & counts.keys())),
    )


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far an energy is from that of its like."""

    sigmas: float
    """Robust standard deviations, with its sign; infinite where all its like agree."""
    total: float
    """Eh, with its sign, of the whole structure."""


@dataclass(slots=True)
class Measured:
    """One completed structure. Energies in Eh, gradients in Eh/bohr; None for what was not measured.

    Results that were recorded by older versions, or by other tools, lack some of it.
    """

    composition: Composition
    charge: int
    """As the ledger has it."""
    multiplicity: int
    """Likewise."""
    energy: float | None
    max_gradient: float | None
    """Largest Cartesian component."""
    result: Mapping[str, Any] = field(default_factory=dict)
    """What the attempt's output held, as ``attempts.result`` keeps it."""
    deviation: Deviation | None = None

    def number(self, name: str) -> float | None:
        """A number of the result; None where there is none."""
        value = self.result.get(name)
        return None if value is None or isinstance(value, (str, bool)) else float(value)

    @property
    def ideal_s2(self) -> float:
        """S(S+1) of the ledger's multiplicity 2S+1."""
        return (self.multiplicity**2 - 1) / 4

    @property
    def spin_contamination(self) -> float | None:
        """|<S²> - S(S+1)|."""
        s2 = self.number("s2")
        return None if s2 is None or not math.isfinite(s2) else abs(s2 - self.ideal_s2)

"""What the rules judge: a structure's data from the ledger and from its output."""

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
    n_atoms: int
    nuclear_charge: int | None
    """Sum of the atomic numbers; None without atoms or with an unknown element."""
    metals: str
    """The distinct metals in alphabetical order, such as ``U`` or ``Fe+U``; empty without any."""


@lru_cache(maxsize=4096)
def composition_of(elements: str) -> Composition:
    """Return the composition of a structure from its symbols, one per atom, separated by semicolons."""
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
    """Deviation of an energy from that of similar structures."""

    sigmas: float
    """Robust standard deviations, signed; infinite if all similar structures agree exactly."""
    total: float
    """Eh for the whole structure, signed."""


@dataclass(slots=True)
class Measured:
    """One completed structure, with the ledger's charge. Energies in Eh, gradients in Eh/bohr; None if not measured.

    Results recorded by older versions or other tools lack some values.
    """

    composition: Composition
    charge: int
    multiplicity: int
    energy: float | None
    max_gradient: float | None
    result: Mapping[str, Any] = field(default_factory=dict)
    """Values from the attempt's output, as in the column ``attempts.result``."""
    deviation: Deviation | None = None

    def number(self, name: str) -> float | None:
        """Return a number from the result, or None."""
        value = self.result.get(name)
        return None if value is None or isinstance(value, (str, bool)) else float(value)

    @property
    def ideal_s2(self) -> float:
        """S(S+1) for the ledger's multiplicity 2S+1."""
        return (self.multiplicity**2 - 1) / 4

    @property
    def spin_contamination(self) -> float | None:
        """|<S²> - S(S+1)|."""
        s2 = self.number("s2")
        return None if s2 is None or not math.isfinite(s2) else abs(s2 - self.ideal_s2)

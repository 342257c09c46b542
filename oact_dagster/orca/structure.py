"""A structure: the atoms, charge and number of unpaired electrons of one calculation."""

import hashlib
from dataclasses import dataclass

from oact_dagster.errors import StructureError
from oact_dagster.orca.elements import ATOMIC_NUMBERS
from oact_dagster.orca.formula import hill_formula
from oact_dagster.orca.geometry import Geometry


@dataclass(frozen=True, slots=True)
class Structure:
    """Atoms with a charge and a number of unpaired electrons, checked against each other.

    Raises:
        StructureError: ``charge`` or ``uhf`` is not a whole number, no electron is left, or ``uhf`` is negative, has
            the wrong parity, or exceeds the number of electrons.
    """

    geometry: Geometry
    charge: int
    """Total charge in units of the elementary charge."""
    uhf: int
    """Number of unpaired electrons (NOT the multiplicity, which is one more)."""

    def __post_init__(self) -> None:
        """Check the electrons."""
        for what, value in (("charge", self.charge), ("uhf", self.uhf)):
            # bool is a subclass of int; True as a charge is a mistake upstream.
            if not isinstance(value, int) or isinstance(value, bool):
                raise StructureError(
                    f"{what} is {value!r}; expected a whole number",
                    kind=f"{what} is not a whole number",
                )
        electrons = self.electrons
        if electrons < 1:
            raise StructureError(
                f"charge {self.charge:+d} leaves {electrons} electrons in {self.formula()}; "
                "expected at least one",
                kind="too few electrons",
            )
        if self.uhf < 0:
            raise StructureError(
                f"uhf is {self.uhf}; expected the number of unpaired electrons, 0 or more",
                kind="negative uhf",
            )
        if (electrons - self.uhf) % 2:
            raise StructureError(
                f"uhf {self.uhf} does not fit {self.formula()} with charge {self.charge:+d}: "
                f"{electrons} electrons need an {'odd' if electrons % 2 else 'even'} number of unpaired ones",
                kind="electron parity",
            )
        if self.uhf > electrons:
            raise StructureError(
                f"uhf is {self.uhf}, but {self.formula()} has only {electrons} electrons; "
                f"expected at most {electrons}",
                kind="too few electrons",
            )

    @property
    def electrons(self) -> int:
        """Number of all electrons, including those that a core potential replaces."""
        return sum(map(ATOMIC_NUMBERS.__getitem__, self.geometry.symbols)) - self.charge

    @property
    def multiplicity(self) -> int:
        """Spin multiplicity 2S + 1, which is ``uhf + 1``."""
        return self.uhf + 1

    @property
    def elements(self) -> frozenset[str]:
        """The elements of the structure."""
        return frozenset(self.geometry.symbols)

    def calculation_hash(self) -> str:
        """Return 16 hexadecimal digits that two structures share if they are the same calculation.

        The hash covers charge, ``uhf``, and elements and coordinates as an input has them. The order of the atoms
        counts, because gradients are only comparable in the same order. The CSV's spelling of a number or an element
        does not.
        """
        text = f"{self.charge} {self.uhf}\n{self.geometry.text()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def formula(self) -> str:
        """Return the formula in Hill order; see ``hill_formula``."""
        return hill_formula(self.geometry.symbols)

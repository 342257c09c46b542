"""The section ``quality``: when a result is doubtful."""

from typing import Annotated

from pydantic import Field

from oact_dagster.quality.limits import (
    MAX_BOND_STRETCH,
    MAX_ENERGY_DEVIATION,
    MAX_GRADIENT,
    MAX_SPIN_CONTAMINATION,
    QualityLimits,
)
from oact_dagster.settings.base import Number, Settings

_Limit = Annotated[Number, Field(gt=0)]


class QualitySettings(Settings):
    """The limits of the quality rules. They change no input and no result."""

    max_gradient: _Limit | None = Field(
        default=MAX_GRADIENT,
        description=f"limit of the largest gradient component, Eh/bohr; {MAX_GRADIENT:g} is 50 eV/Å; null: not checked",
    )
    max_spin_contamination: _Limit | None = Field(
        default=MAX_SPIN_CONTAMINATION,
        description="limit of the difference between <S²> and S(S+1); 1.1 allows broken-symmetry singlets; null: not"
        " checked",
    )
    max_energy_deviation: _Limit | None = Field(
        default=MAX_ENERGY_DEVIATION,
        description="limit of the difference between an energy and that of similar structures, in robust standard"
        " deviations; null: not checked",
    )
    max_bond_stretch: Annotated[Number, Field(gt=1)] | None = Field(
        default=MAX_BOND_STRETCH,
        description="limit of the distance of a metal's first neighbour, as a ratio to the distance in the CSV; null:"
        " not checked",
    )

    @property
    def limits(self) -> QualityLimits:
        """The limits as the rules take them."""
        return QualityLimits(**self.model_dump())

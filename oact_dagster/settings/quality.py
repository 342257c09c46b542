"""When a result is called doubtful."""

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
    """The limits of the quality rules; they change no input and no result."""

    max_gradient: _Limit | None = Field(
        default=MAX_GRADIENT,
        description="limit of the largest gradient component, Eh/bohr; null: not looked at",
    )
    max_spin_contamination: _Limit | None = Field(
        default=MAX_SPIN_CONTAMINATION,
        description="how far <S²> may be from S(S+1); null: not looked at",
    )
    max_energy_deviation: _Limit | None = Field(
        default=MAX_ENERGY_DEVIATION,
        description="how far an energy may be from that of its like, in robust standard deviations; null: not looked"
        " at",
    )
    max_bond_stretch: Annotated[Number, Field(gt=1)] | None = Field(
        default=MAX_BOND_STRETCH,
        description="how far a metal's first neighbour may move away, as a ratio to its former distance; null: not"
        " looked at",
    )

    @property
    def limits(self) -> QualityLimits:
        """The same for the rules."""
        return QualityLimits(**self.model_dump())

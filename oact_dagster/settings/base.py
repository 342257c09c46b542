"""What all sections of the settings have in common: no unknown keys, no changes, and kinds of numbers."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _no_truth(value: Any) -> Any:
    """Refuse YAML's yes and no, which Python takes for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


# YAML's true is no number of cores.
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, BeforeValidator(_no_truth), Field(allow_inf_nan=False)]
Seconds = Number
Megabytes = Number
Hours = Number


class Settings(BaseModel):
    """A section of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

"""The base of all settings sections, and the types of their numbers."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _not_bool(value: Any) -> Any:
    """Refuse YAML's true and false, which Python accepts as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


# Strict: pydantic would accept true as 1.
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, BeforeValidator(_not_bool), Field(allow_inf_nan=False)]
Seconds = Number
Megabytes = Number
Hours = Number


class Settings(BaseModel):
    """A section of the settings, immutable and without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

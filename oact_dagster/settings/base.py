"""What all sections of the settings have in common: no unknown keys, no changes, and kinds of numbers."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# YAML's true is no number of cores.
Whole = Annotated[int, Field(strict=True)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
Megabytes = Annotated[float, Field(allow_inf_nan=False)]
Hours = Annotated[float, Field(allow_inf_nan=False)]


class Settings(BaseModel):
    """A section of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

"""How a campaign feeds itself."""

from typing import Annotated, Literal

from pydantic import Field

from oact_dagster.settings.base import Number, Settings, Whole


class FeedSettings(Settings):
    """How a campaign feeds itself, and when it stops doing so."""

    order: Literal["given", "cheap_first", "dear_first"] = Field(
        default="given", description="in which order structures of one priority are run"
    )
    priority_column: str | None = Field(
        default=None,
        description="column of the CSV with a number for each structure; the largest is run first",
    )
    trial: Whole = Field(
        default=20, ge=0, description="structures that are tried before the others are begun; 0: no trial"
    )
    pause_at_failure_rate: Annotated[Number, Field(gt=0, le=1)] = Field(
        default=0.5, description="pause when a larger share of the trial, or of the last attempts, has failed"
    )
    window: Whole = Field(default=50, ge=5, description="how many of the last attempts are looked at")
    core_hours: Annotated[Number, Field(gt=0)] | None = Field(
        default=None,
        description="budget of all attempts; when it is spent nothing more is begun; null: no budget",
    )
    interval_s: Whole = Field(
        default=60,
        ge=5,
        description="time between two ticks of a sensor, s; of timeouts and harvest five times that",
    )
    bad_host_after: Whole = Field(
        default=3,
        ge=1,
        description="a host on which so many different structures were lost or crashed, and fewer completed, is left"
        " out",
    )

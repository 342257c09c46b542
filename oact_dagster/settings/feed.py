"""The section ``feed``: the work that sensors start, and when they pause."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from oact_dagster.settings.base import Number, Settings, Whole

OLD_ORDERS: Final = {"cheap_first": "cheapest_first", "dear_first": "costliest_first"}
"""Old values of ``order``, which still work."""


class FeedSettings(Settings):
    """The work that sensors start, and when they pause."""

    order: Literal["given", "cheapest_first", "costliest_first"] = Field(
        default="given",
        description="order of structures with the same priority; given: as in the CSV; cheapest_first, costliest_first:"
        " by their number of basis functions",
    )
    priority_column: str | None = Field(
        default=None,
        description="column of the CSV with a number for each structure; the largest runs first; null: none",
    )
    trial: Whole = Field(
        default=20, ge=0, description="structures to try before the sensors start the others; 0: no trial"
    )
    pause_at_failure_rate: Annotated[Number, Field(gt=0, le=1)] = Field(
        default=0.5, description="pause when a larger share of the trial, or of the last attempts, has failed"
    )
    window: Whole = Field(default=50, ge=5, description="how many of the last attempts count")
    core_hours: Annotated[Number, Field(gt=0)] | None = Field(
        default=None,
        description="budget of all attempts, core-hours; once it is spent, the sensors start nothing more; null: none",
    )
    interval_s: Whole = Field(
        default=60,
        ge=5,
        description="time between two ticks of a sensor, s; five times as long for timeout_sensor and harvest_sensor",
    )
    bad_host_after: Whole = Field(
        default=3,
        ge=1,
        description="avoid a host once this many different structures were lost or crashed on it, and fewer completed",
    )

    _old_order: str | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _old_orders_work(
        cls, values: Any, handler: ModelWrapValidatorHandler["FeedSettings"]
    ) -> "FeedSettings":
        old = values.get("order") if isinstance(values, dict) else None
        if not isinstance(old, str) or old not in OLD_ORDERS:
            return handler(values)
        settings = handler({**values, "order": OLD_ORDERS[old]})
        settings._old_order = old
        return settings

    @property
    def notices(self) -> list[str]:
        """Effects of the settings that their author may not expect."""
        old = self._old_order
        if old is None:
            return []
        return [f"feed.order: {old} is now called {OLD_ORDERS[old]}; the old name still works"]

"""How often a structure is tried, and how long it rests."""

from pydantic import Field

from oact_dagster.settings.base import Seconds, Settings, Whole


class RetrySettings(Settings):
    """The budgets of a structure; the ledger counts them."""

    max_failures: Whole = Field(default=3, ge=1, description="failed and timed-out attempts in all")
    max_losses: Whole = Field(default=5, ge=1, description="lost attempts (killed, node died) in all")
    delay_s: Seconds = Field(
        default=300.0,
        ge=0,
        description="time before a first retry that nobody asked for, s; it doubles each time",
    )
    # 7 days: the queue takes a later time for one that was set by a clock since set back.
    longest_delay_s: Seconds = Field(
        default=21600.0, ge=0, le=604800, description="that time at most, s; up to 7 days"
    )

    def delay_after(self, attempts: int) -> float:
        """How long a structure rests after so many attempts that failed or were lost, s."""
        return min(self.longest_delay_s, self.delay_s * 2.0 ** min(max(0, attempts - 1), 60))

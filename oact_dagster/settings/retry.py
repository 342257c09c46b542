"""The section ``retry``: how often a structure is tried, and how long it rests in between."""

from pydantic import Field

from oact_dagster.settings.base import Seconds, Settings, Whole


class RetrySettings(Settings):
    """The budgets of a structure, which the ledger counts."""

    max_failures: Whole = Field(
        default=3, ge=1, description="failed and timed-out attempts after which a structure is set aside"
    )
    max_losses: Whole = Field(
        default=5, ge=1, description="lost attempts (killed, node died) after which a structure is set aside"
    )
    delay_s: Seconds = Field(
        default=300.0,
        ge=0,
        description="wait before the first automatic retry, s; it doubles with each retry",
    )
    # At most 7 days: the queue takes a later time as a sign that the clock has been set back since.
    longest_delay_s: Seconds = Field(
        default=21600.0, ge=0, le=604800, description="longest wait before an automatic retry, s"
    )

    def delay_after(self, attempts: int) -> float:
        """Rest of a structure after this many failed or lost attempts, s."""
        return min(self.longest_delay_s, self.delay_s * 2.0 ** min(max(0, attempts - 1), 60))

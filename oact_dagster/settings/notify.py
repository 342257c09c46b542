"""The section ``notify``: who is told about the campaign."""

from typing import Final

from pydantic import Field

from oact_dagster.settings.base import Settings

COMMAND: Final = "command"
WEBHOOK: Final = "webhook"


class NotifySettings(Settings):
    """Who is told when a campaign pauses, has spent its budget, or is done."""

    command: tuple[str, ...] = Field(
        default=(),
        description='program that gets the message on stdin, such as ["mail", "-s", "ORCA", "me"]',
    )
    webhook: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="address that the message is posted to as JSON, such as https://example.org/hook; null: none",
    )

    @property
    def ways(self) -> tuple[str, ...]:
        """The channels that are set: ``command``, ``webhook``."""
        return (COMMAND,) * bool(self.command) + (WEBHOOK,) * (self.webhook is not None)

    def only(self, way: str) -> "NotifySettings":
        """A copy with one channel only."""
        return self.model_copy(update={"webhook": None} if way == COMMAND else {"command": ()})

"""Who is told."""

from typing import Final

from pydantic import Field

from oact_dagster.settings.base import Settings

COMMAND: Final = "command"
WEBHOOK: Final = "webhook"


class NotifySettings(Settings):
    """Who is told when a campaign pauses, has spent its budget, or is done."""

    command: tuple[str, ...] = Field(
        default=(),
        description='a program with arguments that gets the text on stdin: ["mail", "-s", "ORCA", "me"]',
    )
    webhook: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="address to which the text is posted as JSON, such as https://example.org/hook",
    )

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways of telling that are set: ``command``, ``webhook``."""
        return (COMMAND,) * bool(self.command) + (WEBHOOK,) * (self.webhook is not None)

    def only(self, way: str) -> "NotifySettings":
        """The settings with one of the ways, and without the other."""
        return self.model_copy(update={"webhook": None} if way == COMMAND else {"command": ()})

"""Who is told."""

from pydantic import Field

from oact_dagster.settings.base import Settings


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
    def ways(self) -> int:
        """How many ways of telling are set."""
        return bool(self.command) + (self.webhook is not None)

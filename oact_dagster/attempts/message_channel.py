"""What a batch asks of whoever listens to its payloads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class MessageChannel(Protocol):
    """Follows the message files of a batch's payloads."""

    def parameters(self) -> Mapping[str, str]:
        """What a payload needs to write messages into its folder's ``messages.jsonl``."""

    def follow(self, file: Path) -> None:
        """Read this file from now on."""

    def finish(self, file: Path) -> None:
        """No more will be written: read what is left."""

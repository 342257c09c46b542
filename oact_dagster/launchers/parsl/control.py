"""How a batch tells its workers to end calculations: a folder that both of them see.

A Parsl task cannot be cancelled once a worker has it, and the worker may be on another node. So the batch leaves a
file for each attempt that is to end, and the worker looks for it. The folder itself says that the batch is there:
when it is gone, everything that belongs to it ends. Standard library only.
"""

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_STOP: Final = "stop"


class ControlFolder:
    """The orders of one pool of workers.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def open(self) -> None:
        """Make the folder: from now on the pool's workers may start calculations.

        Raises:
            OSError: it cannot be made.
        """
        self.path.mkdir(parents=True, exist_ok=True)

    def cancel(self, tokens: Iterable[str]) -> None:
        """Order the end of these attempts, or that they are not started."""
        with contextlib.suppress(FileNotFoundError):
            for token in tokens:
                (self.path / token).touch()

    def stop(self) -> None:
        """Order the end of all."""
        self.cancel([_STOP])

    def forget(self, token: str) -> None:
        """Take back an order: its attempt has ended."""
        (self.path / token).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the folder, which is an order to all."""
        shutil.rmtree(self.path, ignore_errors=True)

    def ends(self, token: str) -> bool:
        """Whether an attempt is to end, or not to begin."""
        return (self.path / token).exists() or (self.path / _STOP).exists() or not self.path.exists()

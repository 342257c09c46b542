"""Tickets and orders by which a batch and its workers decide what begins and what ends, in a folder that both see.

Once Parsl has a task it cannot be cancelled, and its worker may be on another node. So each task has a ticket, which
names files in this folder. Either the worker takes the ticket before it begins, or the batch withdraws it; the file
system lets only one of them succeed. For a calculation that has begun, another file orders its end, and the worker
looks for it. If the folder itself is gone, so is the batch, and everything that belongs to it ends. Standard library
only.
"""

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_STOP: Final = "stop"
_TAKEN: Final = ".taken"


class ControlFolder:
    """The tickets and orders of one pool of workers."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def open(self) -> None:
        """Make the folder, so that the pool's workers may start calculations."""
        self.path.mkdir(parents=True, exist_ok=True)

    def begin(self, ticket: str) -> bool:
        """Take a ticket, as the worker that is about to begin.

        Returns:
            False if it was taken or withdrawn, or the folder is gone: nothing must begin.

        Raises:
            OSError: the folder cannot be written.
        """
        try:
            self._take(ticket)
        except (FileExistsError, FileNotFoundError):
            return False
        return True

    def withdraw(self, ticket: str) -> bool:
        """Withdraw a ticket, so that no worker can begin with it.

        Returns:
            False if a worker has taken it, or may have.
        """
        try:
            self._take(ticket)
        except FileNotFoundError:
            return True  # nothing begins without the folder
        except OSError:
            return False
        return True

    def _take(self, ticket: str) -> None:
        # One step that fails if the file exists, also on a network file system.
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        os.close(os.open(self.path / f"{ticket}{_TAKEN}", flags, 0o644))

    def cancel(self, tickets: Iterable[str]) -> None:
        """Order the end of what began with these tickets."""
        # On a full disk an order may be lost; the launcher checks whether it is followed.
        with contextlib.suppress(OSError):
            for ticket in tickets:
                (self.path / ticket).touch()

    def stop(self) -> None:
        """Order the end of everything."""
        self.cancel([_STOP])

    def forget(self, ticket: str) -> None:
        """Remove the files of a ticket, once its task's end is known."""
        for name in (ticket, f"{ticket}{_TAKEN}"):
            (self.path / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the folder, which orders the end of everything."""
        # Renamed first: else a worker could take a withdrawn ticket while the files are being removed.
        gone = self.path.with_name(f"{self.path.name}.closed")
        with contextlib.suppress(OSError):
            self.path.rename(gone)
        for folder in (self.path, gone):
            shutil.rmtree(folder, ignore_errors=True)

    def ends(self, ticket: str) -> bool:
        """Whether the task with this ticket must end, or not begin."""
        return (self.path / ticket).exists() or (self.path / _STOP).exists() or not self.path.exists()

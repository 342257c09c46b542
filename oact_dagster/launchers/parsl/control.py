"""How a batch tells its workers to end calculations, and who may begin one: a folder that both of them see.

A Parsl task cannot be cancelled once Parsl has it, and the worker may be on another node. So each task has a ticket,
which is the name of files in this folder. The worker takes the ticket before it begins, or the batch withdraws it, and
the file system lets only one of them do so. Of a calculation that has begun the batch orders the end by another file,
and the worker looks for it. The folder itself says that the batch is there: when it is gone, everything that belongs
to it ends. Standard library only.
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

    def begin(self, ticket: str) -> bool:
        """Take a ticket, as the worker that is about to begin.

        Returns:
            False where it has been taken or withdrawn, or the folder is gone: nothing is to be begun.

        Raises:
            OSError: it cannot be known.
        """
        try:
            self._take(ticket)
        except (FileExistsError, FileNotFoundError):
            return False
        return True

    def withdraw(self, ticket: str) -> bool:
        """Withdraw a ticket: from now on no worker can begin with it.

        Returns:
            False where a worker has taken it, or where that cannot be known.
        """
        try:
            self._take(ticket)
        except FileNotFoundError:
            return True  # without the folder nothing begins either
        except OSError:
            return False
        return True

    def _take(self, ticket: str) -> None:
        # In one step that fails where the file exists, also on a network file system.
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        os.close(os.open(self.path / f"{ticket}{_TAKEN}", flags, 0o644))

    def cancel(self, tickets: Iterable[str]) -> None:
        """Order the end of what began with these tickets."""
        # On a disk that is full no order can be left; whoever gives it looks whether it is followed.
        with contextlib.suppress(OSError):
            for ticket in tickets:
                (self.path / ticket).touch()

    def stop(self) -> None:
        """Order the end of all."""
        self.cancel([_STOP])

    def forget(self, ticket: str) -> None:
        """Remove the files of a ticket: Parsl has told what became of its task."""
        for name in (ticket, f"{ticket}{_TAKEN}"):
            (self.path / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the folder, which is an order to all."""
        # Under another name first: while its files are removed no worker can take a ticket that was withdrawn.
        gone = self.path.with_name(f"{self.path.name}.closed")
        with contextlib.suppress(OSError):
            self.path.rename(gone)
        for folder in (self.path, gone):
            shutil.rmtree(folder, ignore_errors=True)

    def ends(self, ticket: str) -> bool:
        """Whether what has this ticket is to end, or not to begin."""
        return (self.path / ticket).exists() or (self.path / _STOP).exists() or not self.path.exists()

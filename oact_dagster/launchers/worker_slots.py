"""How many calculations run on this machine at once, whichever runs of a campaign have started them."""

import socket
from pathlib import Path
from typing import Final

from oact_dagster.files import FileLock

_FOLDER: Final = ".workers"
"""In the jobs folder."""


class WorkerSlots:
    """Places for calculations, each a lock on a file: it is free again when the process that holds it dies, however.

    Where the file system has no locks, every place is free, and :attr:`trouble` says so.

    Args:
        jobs_dir: the campaign's; all that it runs on this machine shares the places. None: nothing is shared.
        kind: what takes them.
        count: how many there are.
    """

    def __init__(self, jobs_dir: Path | None, kind: str, count: int) -> None:
        # Another host has places of its own: the jobs folder may be seen by many.
        self._folder = None if jobs_dir is None else jobs_dir / _FOLDER / socket.gethostname()
        self._kind = kind
        self._count = count
        self._held: dict[int, FileLock | None] = {}
        self.trouble = ""
        """Why there are no locks; empty where there are."""

    def take(self) -> int | None:
        """Take a place.

        Returns:
            Its number; None where all are taken.
        """
        for number in range(self._count):
            if number in self._held:
                continue
            try:
                self._held[number] = self._lock(number)
            except BlockingIOError:
                continue
            return number
        return None

    def give_back(self, number: int) -> None:
        """Leave a place to others."""
        if lock := self._held.pop(number):
            lock.close()

    def give_all_back(self) -> None:
        """Leave every place to others."""
        for number in list(self._held):
            self.give_back(number)

    def _lock(self, number: int) -> FileLock | None:
        """The lock of a place, None where there can be none; BlockingIOError where another process holds it."""
        if self._folder is None:
            return None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._folder / f"{self._kind}-{number}")
        except BlockingIOError:
            raise
        except OSError as error:
            self.trouble = f"{self._folder}: {error.strerror or error}"
            return None
        if lock.trouble:
            self.trouble = f"{self._folder}: {lock.trouble}"
        return lock

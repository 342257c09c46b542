"""How many calculations run on this machine at once, whichever runs of a campaign have started them."""

import fcntl
import os
import socket
from pathlib import Path
from typing import Final

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
        self._held: dict[int, int] = {}
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
            lock = self._lock(number)
            if lock is not None:
                self._held[number] = lock
                return number
        return None

    def give_back(self, number: int) -> None:
        """Leave a place to others."""
        lock = self._held.pop(number)
        if lock >= 0:
            os.close(lock)

    def give_all_back(self) -> None:
        """Leave every place to others."""
        for number in list(self._held):
            self.give_back(number)

    def _lock(self, number: int) -> int | None:
        """An open file that is locked, -1 where there are no locks, None where another process has it."""
        if self._folder is None:
            return -1
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._folder / f"{self._kind}-{number}", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            self.trouble = f"{self._folder}: {error.strerror or error}"
            return -1
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        except OSError as error:
            os.close(file)
            self.trouble = f"{self._folder}: {error.strerror or error}"
            return -1
        return file

"""Limits how many calculations of a campaign run on this machine at once, across all its runs."""

import socket
from pathlib import Path
from typing import Final

from oact_dagster.files import FileLock

_FOLDER: Final = ".workers"
"""Folder in the jobs folder, for the locks of each host."""


class WorkerSlots:
    """Slots for calculations, each a lock on a file, which is released even if the process that holds it is killed.

    If the file system has no locks, every slot is free, and :attr:`trouble` says so.

    Args:
        jobs_dir: jobs folder whose runs on this machine share the slots; None: nothing is shared.
        kind: kind of the launcher that takes them.
        count: number of slots.
    """

    def __init__(self, jobs_dir: Path | None, kind: str, count: int) -> None:
        # Each host has its own slots, since many may see the jobs folder.
        self._folder = None if jobs_dir is None else jobs_dir / _FOLDER / socket.gethostname()
        self._kind = kind
        self._count = count
        self._held: dict[int, FileLock | None] = {}
        self.trouble = ""
        """Why files cannot be locked; empty if they can."""

    def take(self) -> int | None:
        """Take a slot and return its number; None if all are taken."""
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
        """Release a slot."""
        if lock := self._held.pop(number):
            lock.close()

    def give_all_back(self) -> None:
        """Release all slots."""
        for number in list(self._held):
            self.give_back(number)

    def _lock(self, number: int) -> FileLock | None:
        """Lock a slot; None if it cannot be locked. Raises BlockingIOError if another process holds it."""
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

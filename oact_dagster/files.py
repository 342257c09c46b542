"""Atomic writes, and locks on files; standard library only, since compute nodes import it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Write to a temporary file beside ``target``, which it replaces at the end of the block.

    After an error, or if the block removes the file, the target stays as it was.

    Yields:
        The path to write to; it does not exist yet.

    Raises:
        OSError: the file cannot be synced to the disk, or cannot replace the target.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    try:
        yield part
        if part.exists():
            with part.open("rb") as stream:
                os.fsync(stream.fileno())
            part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def atomic_write(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


class FileLock:
    """A lock on a file, held until it is closed or this process ends in any way.

    On a file system without locks it counts as held, and :attr:`trouble` says why there is none.

    Args:
        path: the file; it is made if missing, and its content does not matter.
        wait: wait until no other process holds the lock.
        across_hosts: use the kind of lock that most network file systems share between hosts. It does not exclude other
            parts of the same process, and is lost when this process closes the file anywhere else.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, *, wait: bool = False, across_hosts: bool = False) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self.trouble = ""
        """Why the file system has no locks; empty if it has."""
        lock = fcntl.lockf if across_hosts else fcntl.flock
        try:
            lock(self._file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # POSIX allows either for a lock that another process holds. Neither means that if we wait for the lock.
            if not wait and isinstance(error, BlockingIOError | PermissionError):
                os.close(self._file)
                raise BlockingIOError(error.errno, error.strerror, str(path)) from None
            self.trouble = error.strerror or str(error)

    def close(self) -> None:
        """Release the lock."""
        os.close(self._file)

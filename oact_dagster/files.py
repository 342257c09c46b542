"""Files that are there whole or not at all, also after a crash; standard library only, as compute nodes import it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """A file in the making, beside the one that it takes the place of at the end.

    After an error nothing is left of it, and the target is as it was; so it is where the file was removed.

    Args:
        target: what it is to be.

    Yields:
        The path to write to; nothing is there yet.

    Raises:
        OSError: it cannot be brought to the disk, or cannot take its place.
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
    """Write a text, in UTF-8.

    Raises:
        OSError: it cannot be written.
    """
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")

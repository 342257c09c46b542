"""A disk without space: it is no fault of the structure that met it, and everything else would meet it, too."""

import shutil
from pathlib import Path
from typing import Final

from oact_dagster.launchers.attempt_files import OUTPUT_FILE, is_full, left_no_room

LEAST_SPACE_B: Final = 1_000_000
"""With less free space than this the disk of the job folders counts as full, bytes."""


def no_space_in(error: BaseException | None) -> OSError | None:
    """What says that a disk is full: an error itself, or one that it was raised from; None where none does."""
    while error is not None:
        if isinstance(error, OSError) and is_full(error):
            return error
        error = error.__cause__
    return None


def too_little_space(folder: Path) -> int | None:
    """The free space of a folder's disk in bytes, where that counts as full; None where not, or where nothing tells."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return None
    return free if free < LEAST_SPACE_B else None


def found_no_space(folder: Path) -> bool:
    """Tell whether an attempt without a record never began for want of space.

    Its payload makes ``started.json`` before anything else, and the output before it starts the engine.

    Args:
        folder: of an attempt whose job has ended.
    """
    if (folder / OUTPUT_FILE).exists():
        return False
    return left_no_room(folder) or too_little_space(folder) is not None

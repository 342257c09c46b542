"""A disk without space: it is no fault of the structure that met it, and everything else would meet it, too."""

import os
from pathlib import Path
from typing import Final

from oact_dagster.launchers.attempt_files import (
    EXIT_NO_SPACE,
    OUTPUT_FILE,
    is_full,
    left_no_room,
    no_space_line,
)
from oact_dagster.schedulers.jobs import JobState

LEAST_SPACE_B: Final = 1_000_000
"""With less free space than this the disk of the job folders counts as full, bytes."""


def no_space_in(error: BaseException | None) -> OSError | None:
    """What says that a disk is full: an error itself, or one that it was raised from; None where none does."""
    while error is not None:
        if isinstance(error, OSError) and is_full(error):
            return error
        error = error.__cause__
    return None


def why_full(folder: Path) -> str:
    """Why a folder's disk counts as full, as a clause; empty where it does not, or where nothing tells."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return ""
    free = disk.f_bavail * disk.f_frsize
    if free < LEAST_SPACE_B:
        return f"no space left on the disk ({free} bytes)"
    # Some file systems do not count their files.
    return "no space left on the disk (no more files)" if disk.f_files and not disk.f_favail else ""


def found_no_space(folder: Path, token: str, job: JobState) -> bool:
    """Tell whether an attempt without a record never began for want of space.

    Its payload makes ``started.json`` before anything else, and the output before it starts the engine. Where it can
    make neither it says so in its job's log, and by its exit code.

    Args:
        folder: of an attempt whose job has ended.
        token: of it.
        job: what the launcher says of its job.
    """
    if (folder / OUTPUT_FILE).exists():
        return False
    said = job.returncode == EXIT_NO_SPACE or no_space_line(token) in job.log
    return said or left_no_room(folder) or bool(why_full(folder))

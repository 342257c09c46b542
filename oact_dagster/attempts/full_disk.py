"""Detection of a full disk, which is not the structure's fault and would stop every other structure too."""

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
"""Free space below which the disk of the job folders counts as full, bytes."""


def no_space_in(error: BaseException | None) -> OSError | None:
    """Return the error in a chain of causes that says that a disk is full, or None."""
    while error is not None:
        if isinstance(error, OSError) and is_full(error):
            return error
        error = error.__cause__
    return None


def why_full(folder: Path) -> str:
    """Return why a folder's disk counts as full; empty if it does not, or if that is unknown."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return ""
    free = disk.f_bavail * disk.f_frsize
    if free < LEAST_SPACE_B:
        return f"no space left on the disk ({free} bytes)"
    # Some file systems do not count inodes.
    return "no space left on the disk (no more files)" if disk.f_files and not disk.f_favail else ""


def found_no_space(folder: Path, token: str, job: JobState) -> bool:
    """Return whether an attempt without a record could not begin because the disk was full.

    The payload makes ``started.json`` first, and the output before it starts the engine. If it can make neither, it
    says so in the job's log and by its exit code.
    """
    if (folder / OUTPUT_FILE).exists():
        return False
    said = job.returncode == EXIT_NO_SPACE or no_space_line(token) in job.log
    return said or left_no_room(folder) or bool(why_full(folder))

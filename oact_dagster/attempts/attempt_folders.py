"""The folders of a structure's attempts: the newest in the job folder, earlier ones beside it under other names."""

import json
import shutil
import stat
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from oact_dagster.launchers.attempt_files import (
    ATTEMPT_FILE,
    EXIT_FILE,
    INPUT_FILE,
    OUTPUT_FILE,
    PAYLOAD_LOG,
    START_FILE,
    read_spec,
)
from oact_dagster.schedulers.job_files import job_file_names

INPUT_ONLY: Final = ".input_only"
"""Beside an input to look at: what was written with it, the files of the user's own function, too."""


def attempt_folders(job_dir: Path, number: int, token: str) -> list[Path]:
    """The folder that holds an attempt's files now: the job folder, or what that was renamed to; empty if none does.

    Args:
        job_dir: the job folder.
        number: of the attempt, from 1.
        token: of the attempt.
    """
    for candidate in chain((job_dir,), _names(job_dir, number)):
        spec = read_spec(candidate)
        if spec is not None and spec.token == token:
            return [candidate]
        if candidate is not job_dir and not candidate.exists():
            break
    return []


def may_be_run_by_hand(job_dir: Path) -> bool:
    """Whether a folder holds a script that somebody may have submitted, and no attempt of ours."""
    return (
        any((job_dir / name).is_file() for name in job_file_names()) and not (job_dir / ATTEMPT_FILE).exists()
    )


def retire(job_dir: Path) -> None:
    """Rename a job folder as a whole after the attempt that is in it, so that a new one can take its place.

    What still runs in it goes on writing there, since engines are started with relative paths.

    Raises:
        OSError: it cannot be renamed.
    """
    if not job_dir.is_dir():
        return
    names = {entry.name for entry in job_dir.iterdir()}
    never_began = ATTEMPT_FILE in names and names.isdisjoint({START_FILE, OUTPUT_FILE, EXIT_FILE})
    if never_began or names <= {INPUT_FILE, PAYLOAD_LOG, *job_file_names()} or _only_looked_at(job_dir):
        # An attempt that was given back before it began, or an input to look at: nothing that anybody computed.
        shutil.rmtree(job_dir)
        return
    spec = read_spec(job_dir)
    for target in _names(job_dir, spec.attempt if spec is not None else 0):
        if not target.exists():
            job_dir.rename(target)
            return


def mark_input_only(job_dir: Path) -> None:
    """Say of a folder that has just been written that nothing ran in it, and that all in it can be made again."""
    (job_dir / INPUT_ONLY).write_text(_contents(job_dir), encoding="utf-8")


def _only_looked_at(job_dir: Path) -> bool:
    """Whether nothing was added, changed or taken away since an input to look at was written."""
    try:
        return (job_dir / INPUT_ONLY).read_text(encoding="utf-8") == _contents(job_dir)
    except (OSError, UnicodeError):
        return False


def _contents(job_dir: Path) -> str:
    """Every file and folder in a job folder, with size and time of change."""
    found = {}
    for path in job_dir.rglob("*"):
        status = path.lstat()
        times = [] if stat.S_ISDIR(status.st_mode) else [status.st_size, status.st_mtime_ns]
        found[str(path.relative_to(job_dir))] = times
    found.pop(INPUT_ONLY, None)
    return json.dumps(found, sort_keys=True)


def _names(job_dir: Path, number: int) -> Iterator[Path]:
    """Names for the folder of an attempt that is over; without end, as an old tool may have left any of them."""
    name = f"{job_dir.name}.attempt-{number}"
    yield job_dir.with_name(name)
    again = 2
    while True:
        yield job_dir.with_name(f"{name}-{again}")
        again += 1

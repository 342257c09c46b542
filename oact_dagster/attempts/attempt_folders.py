"""Folders of a structure's attempts: the newest is the job folder, earlier ones lie beside it under other names."""

import json
import shutil
import stat
from collections.abc import Iterator
from itertools import chain, count
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
"""File beside an input-only preview that lists what was written with it, including the files of ``setup_func``."""


def attempt_folders(job_dir: Path, number: int, token: str) -> list[Path]:
    """Return the folder that now holds an attempt's files (the job folder or its later name), or an empty list."""
    for candidate in chain((job_dir,), _names(job_dir, number)):
        spec = read_spec(candidate)
        if spec is not None and spec.token == token:
            return [candidate]
        if candidate is not job_dir and not candidate.exists():
            break
    return []


def may_be_run_by_hand(job_dir: Path) -> bool:
    """Return whether a folder holds a script that the user may have submitted, and no attempt of ours."""
    return (
        any((job_dir / name).is_file() for name in job_file_names()) and not (job_dir / ATTEMPT_FILE).exists()
    )


def retire(job_dir: Path) -> None:
    """Rename a job folder after the attempt in it, so that a new one can take its place.

    A folder in which nothing was computed is deleted instead. An engine that still runs keeps writing into the
    renamed folder, since engines are started with relative paths.

    Raises:
        OSError: The folder cannot be renamed.
    """
    if not job_dir.is_dir():
        return
    names = {entry.name for entry in job_dir.iterdir()}
    never_began = ATTEMPT_FILE in names and names.isdisjoint({START_FILE, OUTPUT_FILE, EXIT_FILE})
    if never_began or names <= {INPUT_FILE, PAYLOAD_LOG, *job_file_names()} or _only_looked_at(job_dir):
        # An attempt given back before it began, or an input-only preview: nothing was computed here.
        shutil.rmtree(job_dir)
        return
    spec = read_spec(job_dir)
    for target in _names(job_dir, spec.attempt if spec is not None else 0):
        if not target.exists():
            job_dir.rename(target)
            return


def mark_input_only(job_dir: Path) -> None:
    """Mark a folder just written as input only: nothing ran in it, and everything in it can be made again."""
    (job_dir / INPUT_ONLY).write_text(_contents(job_dir), encoding="utf-8")


def _only_looked_at(job_dir: Path) -> bool:
    """Return whether the folder is an unchanged input-only preview."""
    try:
        return (job_dir / INPUT_ONLY).read_text(encoding="utf-8") == _contents(job_dir)
    except (OSError, UnicodeError):
        return False


def _contents(job_dir: Path) -> str:
    """List every file and folder in a job folder as JSON, files with size and modification time."""
    found = {}
    for path in job_dir.rglob("*"):
        status = path.lstat()
        times = [] if stat.S_ISDIR(status.st_mode) else [status.st_size, status.st_mtime_ns]
        found[str(path.relative_to(job_dir))] = times
    found.pop(INPUT_ONLY, None)
    return json.dumps(found, sort_keys=True)


def _names(job_dir: Path, number: int) -> Iterator[Path]:
    """Yield names for the folder of a finished attempt; endlessly, since an old tool may have left any of them."""
    name = f"{job_dir.name}.attempt-{number}"
    yield job_dir.with_name(name)
    yield from (job_dir.with_name(f"{name}-{again}") for again in count(2))

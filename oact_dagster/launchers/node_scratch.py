"""Running a calculation on a disk of the node: what goes there first, and what comes back.

Only the output is written into the job folder from the start: whoever follows sees it grow and knows its age, and a
node that dies leaves it. Everything else that the engine writes comes back when it has ended, however it ended: what
a result or the next attempt needs first, whole files only. Standard library only.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oact_dagster.launchers.attempt_files import (
    ATTEMPT_FILE,
    ERRORS_FILE,
    EXIT_FILE,
    MESSAGES_FILE,
    OUTPUT_FILE,
    PAYLOAD_LOG,
    START_FILE,
)

_OURS: Final = frozenset(
    {ATTEMPT_FILE, START_FILE, EXIT_FILE, MESSAGES_FILE, PAYLOAD_LOG, OUTPUT_FILE, ERRORS_FILE}
)
_FIRST: Final = (".engrad", ".xyz", ".gbw", ".property.txt", ".property.json", ".hess")
"""Ends of names, in the order in which files come back; the others follow, small ones first."""


@dataclass(frozen=True, slots=True)
class NodeScratch:
    """A folder on the node that stands in for the job folder.

    Attributes:
        job_folder: where the attempt belongs.
        folder: where its engine runs.
        brought: size and modification time (ns) of each file that was there before the engine began.
    """

    job_folder: Path
    folder: Path
    brought: dict[Path, tuple[int, int]]

    @classmethod
    def of(cls, job_folder: Path, folder: Path) -> "NodeScratch":
        """Bring what the engine may read: the input, orbitals to start from, and files of the user's own.

        Raises:
            OSError: it could not be brought.
        """
        folder.mkdir()
        for entry in job_folder.iterdir():
            if entry.name in _OURS or entry.name.startswith("."):
                continue
            if entry.is_dir():
                shutil.copytree(entry, folder / entry.name)
            else:
                shutil.copy2(entry, folder / entry.name)
        return cls(job_folder, folder, {path: _mark(path) for path in _files(folder)})

    def save(self, limit_bytes: int) -> list[str]:
        """Copy what the engine has written into the job folder.

        Args:
            limit_bytes: at most so much in all; a file that goes over it stays out, smaller ones may still fit.

        Returns:
            Names of files that did not come back, each with the reason.
        """
        left_out = []
        room = limit_bytes
        for path in sorted(self._written(), key=_order):
            name = path.relative_to(self.folder)
            target = self.job_folder / name
            part = target.with_name(f".{target.name}.part")
            try:
                size = path.stat().st_size
                if size > room:
                    left_out.append(f"{name} ({size} bytes are over the limit)")
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, part)
                part.replace(target)
                room -= size
            except OSError as error:
                part.unlink(missing_ok=True)
                left_out.append(f"{name} ({error.strerror or error})")
        return left_out

    def _written(self) -> Iterator[Path]:
        for path in _files(self.folder):
            with contextlib.suppress(OSError):
                # ORCA's temporary files are large, and nothing to anybody else.
                if ".tmp" not in path.name and self.brought.get(path) != _mark(path):
                    yield path


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _mark(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _order(path: Path) -> tuple[int, int]:
    rank = next((place for place, end in enumerate(_FIRST) if path.name.endswith(end)), len(_FIRST))
    try:
        return rank, path.stat().st_size
    except OSError:
        return rank, 0

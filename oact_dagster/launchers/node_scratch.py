"""Runs a calculation on a node's disk: what is copied there, and what is copied back.

Only the output goes to the job folder from the start, so that it can be watched, and survives the node. Everything
else is copied back once the engine has ended, however it ended: whole files only, and first what a result or the next
attempt needs. Standard library only.
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
"""Suffixes in the order in which files are copied back; the others follow, the smallest first."""


@dataclass(frozen=True, slots=True)
class NodeScratch:
    """A folder on the node in which the engine runs instead of the job folder."""

    job_folder: Path
    folder: Path
    copied: dict[Path, tuple[int, int]]
    """Size (bytes) and modification time (ns) of each file that was there before the engine began."""

    @classmethod
    def of(cls, job_folder: Path, folder: Path) -> "NodeScratch":
        """Copy what the engine may read: the input, orbitals to start from, and the user's own files."""
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
        """Copy what the engine has written into the job folder, up to a limit for all files together.

        A file that exceeds the limit is left out; smaller ones may still fit.

        Returns:
            Names of the files left out, each with the reason.
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
                # ORCA's temporary files are large, and nothing else can use them.
                if ".tmp" not in path.name and self.copied.get(path) != _mark(path):
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

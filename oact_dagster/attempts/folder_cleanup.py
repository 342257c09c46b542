"""Cleaning job folders: remove the files that nobody needs once the calculation has ended.

Only files on a list are removed. Inputs, outputs, ``.engrad`` files and basis files named by the input are never on it.
A folder is opened once, and everything is done through that handle, so that a new folder that takes its place
meanwhile is not touched. Links are never followed.
"""

import contextlib
import json
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from oact_dagster.launchers.attempt_files import ATTEMPT_FILE, EXIT_FILE, INPUT_FILE
from oact_dagster.settings.campaign import Campaign

FAILURE_FILE: Final = "failure.json"
"""Account of a failure that stays when the failed attempt is purged."""


class Kind(StrEnum):
    """Why a file may be removed."""

    SCRATCH = "scratch"
    """Temporary files of ORCA, files of its atomic guesses, and core dumps."""
    BASIS = "basis"
    """Basis sets that ORCA or a tool has written for itself."""
    ORBITALS = "orbitals"
    """``.gbw`` files and densities; the setting ``keep`` decides."""
    PURGED = "purged"
    """Any other file of a failed attempt."""


@dataclass(frozen=True, slots=True)
class Removed:
    """A file that was removed, or would be; size in bytes."""

    folder: Path
    name: str
    kind: Kind
    size: int


_NEVER: Final = re.compile(r".*\.(?:inp|out|log|engrad|xyz)(?:\.gz)?\Z", re.IGNORECASE)
_SCRATCH: Final = re.compile(
    r".*\.tmp(?:\.?\d+)?\Z|.*\.tmp\.[\w.]*\Z|.*\.proc\d+(?:\..*)?\Z|.*\.(?:ges|lastscf|lastint|lastgrad|lastloc)\Z"
    r"|.*_atom\d+\.(?:gbw|densities|densitiesinfo|property\.txt|bibtex)\Z|core(?:\.\d+)?\Z",
    re.IGNORECASE,
)
_BASIS: Final = re.compile(r".*\.(?:bas\d*|gbs|basis)\Z", re.IGNORECASE)
_ORBITALS: Final = re.compile(r".*\.(?:gbw|densities|densitiesinfo)\Z", re.IGNORECASE)
_GBW: Final = re.compile(r".*\.gbw\Z", re.IGNORECASE)
_OF_A_FAILURE: Final = frozenset({ATTEMPT_FILE, EXIT_FILE, FAILURE_FILE})
_OUTPUT: Final = re.compile(r".*\.(?:out|log)(?:\.gz)?\Z", re.IGNORECASE)
_INPUT_READ: Final = 4 << 20


def kind_of(name: str, *, keep_orbitals: bool, named_by_input: Collection[str] = ()) -> Kind | None:
    """Return why a file of an ended job may be removed, or None if it stays.

    Args:
        name: Name of the file.
        keep_orbitals: Whether orbital files stay.
        named_by_input: File names in the input; scratch and basis files among them stay.
    """
    if _NEVER.match(name):
        return None
    if _SCRATCH.match(name):
        return Kind.SCRATCH if name not in named_by_input else None
    if _BASIS.match(name):
        return Kind.BASIS if name not in named_by_input else None
    if _ORBITALS.match(name) and not keep_orbitals:
        return Kind.ORBITALS
    return None


def clean_folder(
    folder: Path, inside: Path, *, keep_orbitals: bool = True, execute: bool = False
) -> Iterator[Removed]:
    """Remove scratch and basis files from the folder of a job that has ended.

    Args:
        folder: The job folder.
        inside: Folder that must contain the job folder once all links are resolved.
        keep_orbitals: Whether ``.gbw`` files and densities stay.
        execute: Whether to remove the files; otherwise they are only reported.

    Yields:
        Each file, once it is removed.

    Raises:
        OSError: The folder is not a folder or lies elsewhere, or a file cannot be removed.
    """
    with _opened(folder, inside) as handle:
        named = _named_by_input(handle)
        for name, size in _files(handle):
            kind = kind_of(name, keep_orbitals=keep_orbitals, named_by_input=named)
            if kind is not None:
                if execute:
                    os.unlink(name, dir_fd=handle)
                yield Removed(folder, name, kind, size)


def purge_folder(
    folder: Path, inside: Path, record: Mapping[str, Any], *, keep_orbitals: bool, execute: bool = False
) -> Iterator[Removed]:
    """Remove a failed attempt except its input, its gradient, its records and a short account of the failure.

    Args:
        folder: The job folder.
        inside: As for :func:`clean_folder`.
        record: Content of ``failure.json``, which is written before anything is removed.
        keep_orbitals: Whether ``.gbw`` files stay, since the next attempt may start from them.
        execute: As for :func:`clean_folder`.

    Yields:
        Each file, once it is removed.

    Raises:
        OSError: As for :func:`clean_folder`; or the account cannot be written, and nothing was removed.
    """
    with _opened(folder, inside) as handle:
        named = _named_by_input(handle)
        gone = []
        for name, size in _files(handle):
            orbitals = keep_orbitals and _GBW.match(name) and not _SCRATCH.match(name)
            if name in _OF_A_FAILURE or name in named or orbitals:
                continue
            if _NEVER.match(name) and not _OUTPUT.match(name):
                continue
            gone.append((name, size))
        if not gone:
            return
        if execute and not _exists(handle, FAILURE_FILE):
            _write(handle, FAILURE_FILE, json.dumps(dict(record), indent=1, ensure_ascii=False))
        for name, size in gone:
            if execute:
                os.unlink(name, dir_fd=handle)
            yield Removed(folder, name, Kind.PURGED, size)


def apply_keep(campaign: Campaign, folder: Path) -> int:
    """Clean the folder of a recorded result as the setting ``keep`` says, and return the bytes that were freed.

    A file that cannot be removed stays: no such error may cost a result.
    """
    keep_orbitals, freed = "gbw" in campaign.keep, 0
    with contextlib.suppress(OSError):
        for removed in clean_folder(folder, campaign.jobs_dir, keep_orbitals=keep_orbitals, execute=True):
            freed += removed.size
    return freed


@contextmanager
def _opened(folder: Path, inside: Path) -> Iterator[int]:
    real = folder.resolve(strict=True)
    if folder.is_symlink() or not real.is_relative_to(inside.resolve()) or real == inside.resolve():
        raise PermissionError(1, f"does not lie inside {inside} and is left alone", str(folder))
    handle = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield handle
    finally:
        os.close(handle)


def _files(handle: int) -> Iterator[tuple[str, int]]:
    """Yield names and sizes of the regular files, without links and folders."""
    with os.scandir(handle) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        status = os.stat(name, dir_fd=handle, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            yield name, status.st_size


def _named_by_input(handle: int) -> frozenset[str]:
    """Return the words of the input that may be file names; a file named by the input is an input too."""
    try:
        file = os.open(INPUT_FILE, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=handle)
    except OSError:
        return frozenset()
    with os.fdopen(file, "rb") as stream:
        text = stream.read(_INPUT_READ).decode(errors="replace")
    return frozenset(word.rpartition("/")[2] for word in re.split(r"[\s\"']+", text) if "." in word)


def _exists(handle: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=handle, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _write(handle: int, name: str, text: str) -> None:
    """Write a file completely or not at all."""
    part = f".{name}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(part, flags, 0o644, dir_fd=handle), "w", encoding="utf-8") as stream:
        try:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        except OSError:
            os.unlink(part, dir_fd=handle)
            raise
    os.rename(part, name, src_dir_fd=handle, dst_dir_fd=handle)

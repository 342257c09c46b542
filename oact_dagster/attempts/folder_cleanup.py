"""Removing from a job folder what nobody needs once its calculation has ended.

What is removed is on a list; whatever is not on it stays. Inputs, outputs, ``.engrad`` files and basis files that the
input names are never on it. A folder is opened once, and everything is done through that handle: when a run renames it
in the meantime to begin the next attempt in a fresh one, the fresh one is not touched. Links are never followed.
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
"""What is left of the output of a failed attempt that was purged."""


class Kind(StrEnum):
    """Why a file may go."""

    SCRATCH = "scratch"
    """ORCA's temporary files, those of its atomic guesses, and core dumps."""
    BASIS = "basis"
    """Basis sets that ORCA or a tool has written for itself."""
    ORBITALS = "orbitals"
    """``.gbw`` and densities, which ``keep`` decides on."""
    PURGED = "purged"
    """All else of a failed attempt."""


@dataclass(frozen=True, slots=True)
class Removed:
    """A file that was removed, or would be."""

    folder: Path
    name: str
    kind: Kind
    size: int
    """Bytes."""


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
    """Why a file of a job that has ended may go; None where it stays.

    Args:
        name: of the file.
        keep_orbitals: orbitals stay.
        named_by_input: names that stand in the input.
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
        folder: the job folder.
        inside: it must lie in this folder, all links followed.
        keep_orbitals: ``.gbw`` files and densities stay.
        execute: remove them; otherwise they are only told.

    Yields:
        Each file, once it is removed.

    Raises:
        OSError: the folder is no folder, or lies elsewhere, or a file cannot be removed.
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
    folder: Path,
    inside: Path,
    record: Mapping[str, Any],
    *,
    keep_orbitals: bool,
    execute: bool = False,
) -> Iterator[Removed]:
    """Remove all of a failed attempt but its input, its gradient, the records, and a short account of the failure.

    Args:
        folder: the job folder.
        inside: it must lie in this folder, all links followed.
        record: what ``failure.json`` is to hold; it is written before anything is removed.
        keep_orbitals: ``.gbw`` files stay, since the next attempt may start from them.
        execute: do it; otherwise it is only told.

    Yields:
        Each file, once it is removed.

    Raises:
        OSError: as for :func:`clean_folder`; also when the account cannot be written, and nothing is removed then.
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
    """Apply a campaign's ``keep`` to the folder of a structure whose result has been recorded.

    Nothing that goes wrong here is worth a result: a file that cannot be removed stays.

    Args:
        campaign: its settings.
        folder: the job folder.

    Returns:
        The bytes that were freed.
    """
    freed = 0
    with contextlib.suppress(OSError):
        for removed in clean_folder(
            folder, campaign.jobs_dir, keep_orbitals="gbw" in campaign.keep, execute=True
        ):
            freed += removed.size
    return freed


@contextmanager
def _opened(folder: Path, inside: Path) -> Iterator[int]:
    real = folder.resolve(strict=True)
    if folder.is_symlink() or not real.is_relative_to(inside.resolve()) or real == inside.resolve():
        raise PermissionError(1, f"does not lie inside {inside}, and is left alone", str(folder))
    handle = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield handle
    finally:
        os.close(handle)


def _files(handle: int) -> Iterator[tuple[str, int]]:
    """Names and sizes of the plain files: no links, no folders."""
    with os.scandir(handle) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        status = os.stat(name, dir_fd=handle, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            yield name, status.st_size


def _named_by_input(handle: int) -> frozenset[str]:
    """Words of the input that may be names of files; whatever it names is an input, too."""
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
    """Write a file whole or not at all."""
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

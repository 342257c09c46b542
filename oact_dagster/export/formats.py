"""The formats, and what writes a file of each of them."""

import importlib.util
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from oact_dagster.export.frame import About, Frame

EXTXYZ: Final = "extxyz"
PARQUET: Final = "parquet"
ASE_DB: Final = "ase-db"

SUFFIXES: Final = {EXTXYZ: ".extxyz", PARQUET: ".parquet", ASE_DB: ".db"}
"""The formats, and what their files are called."""

_OTHER_SUFFIXES: Final = {".xyz": EXTXYZ}


class ExportError(Exception):
    """Nothing can be exported; the text is one line that says why and what would be right."""


class FrameWriter(Protocol):
    """Writes frames into a file; leaving its context without an error finishes the file."""

    def __enter__(self) -> Self:
        """Begin the file."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file, or leave it as it is after an error."""

    def write(self, frame: Frame) -> None:
        """Write one frame."""


def format_of(path: Path) -> str | None:
    """The format that a file's name stands for; None where it stands for none."""
    ending = path.suffix.lower()
    by_ending = {suffix: name for name, suffix in SUFFIXES.items()} | _OTHER_SUFFIXES
    return by_ending.get(ending)


def check_format(name: str) -> None:
    """Make sure that a format can be written here, before anything is read.

    Raises:
        ExportError: what it needs is not installed.
    """
    if name == ASE_DB and importlib.util.find_spec("ase") is None:
        raise ExportError("--format ase-db needs ASE: pip install 'oact-dagster[ase]'")


def open_writer(name: str, path: Path, about: About) -> FrameWriter:
    """The writer of a format.

    Args:
        name: of the format, one of :data:`SUFFIXES`.
        path: the file, which is not there yet.
        about: what is the same for all frames.
    """
    if name == EXTXYZ:
        from oact_dagster.export.extxyz import ExtxyzWriter

        return ExtxyzWriter(path)
    if name == PARQUET:
        from oact_dagster.export.parquet import ParquetFrameWriter

        return ParquetFrameWriter(path, about)
    if name == ASE_DB:
        from oact_dagster.export.ase_db import AseDbWriter

        return AseDbWriter(path, about)
    raise ValueError(f"no such format: {name}")

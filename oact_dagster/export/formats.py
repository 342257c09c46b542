"""The export formats and their writers."""

import importlib.util
from pathlib import Path
from typing import Final, Protocol, Self

from oact_dagster.errors import OactError
from oact_dagster.export.frame import About, Frame

EXTXYZ: Final = "extxyz"
PARQUET: Final = "parquet"
ASE_DB: Final = "ase-db"

SUFFIXES: Final = {EXTXYZ: ".extxyz", PARQUET: ".parquet", ASE_DB: ".db"}

_OTHER_SUFFIXES: Final = {".xyz": EXTXYZ}


class ExportError(OactError):
    """Nothing can be exported. The message is one line that says why and what would be right."""


class FrameWriter(Protocol):
    """Writes frames into a file, which leaving the context without an error completes."""

    def __enter__(self) -> Self:
        """Begin the file."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Complete the file, or leave it as it is after an error."""

    def write(self, frame: Frame) -> None:
        """Write one frame."""


def format_of(path: Path) -> str | None:
    """Return the format that a file's suffix implies, or None."""
    ending = path.suffix.lower()
    by_ending = {suffix: name for name, suffix in SUFFIXES.items()} | _OTHER_SUFFIXES
    return by_ending.get(ending)


def check_format(name: str) -> None:
    """Check that the package that a format needs is installed, before anything is read.

    Raises:
        ExportError: It is not installed.
    """
    if name == ASE_DB and importlib.util.find_spec("ase") is None:
        raise ExportError("--format ase-db needs ASE: pip install 'oact-dagster[ase]'")


def open_writer(name: str, path: Path, about: About) -> FrameWriter:
    """Return the writer of a format in :data:`SUFFIXES` for a new file."""
    if name == EXTXYZ:
        from oact_dagster.export.extxyz import ExtxyzWriter

        return ExtxyzWriter(path)
    if name == PARQUET:
        from oact_dagster.export.parquet import ParquetFrameWriter

        return ParquetFrameWriter(path, about)
    if name == ASE_DB:
        from oact_dagster.export.ase_db import AseDbWriter

        return AseDbWriter(path, about)
    raise ValueError(f"unknown format: {name}")

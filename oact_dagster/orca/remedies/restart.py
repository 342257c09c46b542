"""What earlier attempts left to restart from: complete orbitals, and the last geometry of an optimisation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oact_dagster.errors import GeometryError
from oact_dagster.orca.geometry import Geometry, parse_geometry
from oact_dagster.orca.inputs.writer import RESTART_FILE
from oact_dagster.orca.outputs.file_blocks import FileBlocks, UnreadableFileError
from oact_dagster.orca.outputs.gbw import is_whole_gbw
from oact_dagster.orca.outputs.reader import Output, read_output
from oact_dagster.orca.structure import Structure

_HEAD: Final = 2 << 20
_DIMENSIONS: Final = (
    # In the settings of every SCF since ORCA 2. The next two may also belong to an auxiliary basis.
    re.compile(rb"^[ \t]*Basis Dimension[ \t]+Dim[ \t]+\.+[ \t]+(\d{1,6})[ \t]*\r?$", re.MULTILINE),
    re.compile(rb"^[ \t]*# of contracted basis functions[ \t]+\.+[ \t]+(\d{1,6})[ \t]*\r?$", re.MULTILINE),
    re.compile(rb"^[ \t]*Number of basis functions[ \t]+\.+[ \t]+(\d{1,6})[ \t]*\r?$", re.MULTILINE),
)
_UNRESTRICTED: Final = re.compile(
    rb"^[ \t]*Hartree-Fock type[ \t]+HFTyp[ \t]+\.+[ \t]+U(?:HF|KS)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What earlier attempts left to restart from."""

    gbw: Path | None = None
    """A complete file of orbitals, or None."""
    geometry: Geometry | None = None
    """The last geometry with a gradient, or None if there is only the one given."""


def find_leftovers(folders: Sequence[Path], structure: Structure) -> Leftovers:
    """Find what earlier attempts at a structure left to restart from.

    ``folders`` are the attempts' job folders, newest first. The search stops at an attempt with an unphysical energy,
    because its orbitals would lead to the same energy again.

    Returns:
        The newest complete ``.gbw`` (``orca.gbw`` before the ``restart.gbw`` that the attempt began with), and the
        newest geometry that has a gradient, has the structure's elements in order and passes ``parse_geometry``. A
        geometry equal to the given one is no progress and does not count.
    """
    gbw: Path | None = None
    geometry: Geometry | None = None
    for folder in folders:
        if gbw is not None and geometry is not None:
            break
        output = read_output(folder)
        failure = output.termination.failure_class
        if failure is not None and failure.facts.from_scratch:
            break
        gbw = gbw or _whole_gbw(folder, output, structure)
        geometry = geometry or _geometry(output, structure)
    return Leftovers(gbw, geometry)


def _whole_gbw(folder: Path, output: Output, structure: Structure) -> Path | None:
    candidates = [path for name in ("orca.gbw", RESTART_FILE) if (path := folder / name).is_file()]
    if not candidates:
        return None
    head = _head(output.file) if output.file is not None else b""
    functions = next((int(found.group(1)) for line in _DIMENSIONS if (found := line.search(head))), None)
    spins = 2 if structure.uhf or _UNRESTRICTED.search(head) else 1
    for path in candidates:
        if is_whole_gbw(path, basis_functions=functions, spins=spins):
            return path
    return None


def _head(file: Path) -> bytes:
    try:
        return next(FileBlocks(file, first_block=_HEAD).text(), b"")
    except UnreadableFileError:
        return b""


def _geometry(output: Output, structure: Structure) -> Geometry | None:
    if output.symbols != structure.geometry.symbols or output.coordinates is None:
        return None
    found = Geometry(output.symbols, output.coordinates)
    try:
        # A round trip through text checks the geometry and rounds it as an input does.
        checked = parse_geometry(found.text())
    except GeometryError:
        return None
    return None if checked.text() == structure.geometry.text() else checked

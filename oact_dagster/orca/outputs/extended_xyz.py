"""Reader of extended XYZ: text frames whose comment line gives the energy and the meaning of the columns.

``Properties=species:S:1:pos:R:3:forces:R:3 energy=-17046.3`` describes the columns; the default is symbol, x, y, z.
Energies are in eV, forces in eV/Å and coordinates in Å, as ASE writes them.
"""

import math
import re
from typing import Final

from oact_dagster.orca.outputs.evaluations import Vector
from oact_dagster.orca.outputs.trajectory_frame import TrajectoryFrame

_PROPERTIES: Final = re.compile(r"\bProperties=\"?([A-Za-z0-9_:]+)", re.IGNORECASE)
_ENERGY: Final = re.compile(r"(?:^|\s)energy=\"?([-+]?\d[-+.\deE]*)", re.IGNORECASE)
_PLAIN: Final = "species:S:1:pos:R:3"


def read_extended_xyz(data: bytes) -> tuple[TrajectoryFrame, ...]:
    """Read the frames of a whole extended XYZ file, up to the first damaged or truncated one."""
    # A last line without a newline may end in the middle of a number.
    lines = data[: data.rfind(b"\n") + 1].decode("latin-1").splitlines()
    frames: list[TrajectoryFrame] = []
    position = 0
    try:
        while position < len(lines) and lines[position].strip():
            n_atoms = int(lines[position][:20])
            atoms = lines[position + 2 : position + 2 + n_atoms]
            if n_atoms < 1 or len(atoms) != n_atoms:
                break
            frames.append(_frame(lines[position + 1], [line.split() for line in atoms]))
            position += 2 + n_atoms
    except (ValueError, IndexError):
        pass
    return tuple(frames)


def _frame(comment: str, atoms: list[list[str]]) -> TrajectoryFrame:
    named = _PROPERTIES.search(comment)
    words = (named.group(1) if named else _PLAIN).split(":")
    columns: dict[str, int] = {}
    column = 0
    for name, width in zip(words[::3], words[2::3], strict=True):
        columns[name.lower()] = column
        column += int(width[:4])
    forces = columns.get("forces", columns.get("force"))
    energy = _ENERGY.search(comment)
    value = float(energy.group(1)) if energy else None
    return TrajectoryFrame(
        symbols=tuple(atom[columns.get("species", 0)] for atom in atoms),
        coordinates_angstrom=tuple(_vector(atom, columns.get("pos", 1)) for atom in atoms),
        energy_ev=value if value is not None and math.isfinite(value) else None,
        forces_ev_per_angstrom=None if forces is None else tuple(_vector(atom, forces) for atom in atoms),
    )


def _vector(words: list[str], column: int) -> Vector:
    return float(words[column]), float(words[column + 1]), float(words[column + 2])

"""Readers of trajectories: ASE's ``.traj``, without ASE, and extended XYZ."""

import json
import math
import re
import struct
from array import array
from typing import Any, Final, NamedTuple

from oact_dagster.orca.elements import SYMBOLS
from oact_dagster.orca.outputs.evaluations import Vector

_MAGIC: Final = b"- of Ulm"
_HEADER: Final = struct.Struct("<8s16sqqq")
_INT64: Final = struct.Struct("<q")
_DTYPES: Final = {"float64": "d", "float32": "f", "int64": "q", "int32": "i"}
_MOST_FRAMES: Final = 1_000_000

_PROPERTIES: Final = re.compile(r"\bProperties=\"?([A-Za-z0-9_:]+)", re.IGNORECASE)
_XYZ_ENERGY: Final = re.compile(r"(?:^|\s)energy=\"?([-+]?\d[-+.\deE]*)", re.IGNORECASE)
_PLAIN: Final = "species:S:1:pos:R:3"


class TrajectoryFrame(NamedTuple):
    """A geometry with its energy and forces."""

    symbols: tuple[str, ...]
    coordinates_angstrom: tuple[Vector, ...]
    """n_atoms times (x, y, z), Å."""
    energy_ev: float | None
    forces_ev_per_angstrom: tuple[Vector, ...] | None
    """n_atoms times (x, y, z), eV/Å, or None."""


def read_ase_trajectory(data: bytes) -> tuple[TrajectoryFrame, ...]:
    """Read the frames of a whole ``.traj`` file, up to the first damaged or truncated one.

    The container (ASE calls it Ulm) holds the magic ``- of Ulm``, a tag of 16 bytes, three little-endian int64
    (version, number of items, position of the table of items), then arrays and items. An item is an int64 length and
    that many bytes of JSON, in which ``{"ndarray": [shape, dtype, position]}`` refers to an array in the file. The
    first frame has atomic numbers; a later one has them only if they change. Energy and forces are those of the frame's
    calculator.
    """
    frames: list[TrajectoryFrame] = []
    numbers: tuple[int, ...] = ()
    try:
        magic, _, _, n_items, table = _HEADER.unpack_from(data)
        if magic != _MAGIC or not 0 <= n_items <= _MOST_FRAMES:
            return ()
        for index in range(n_items):
            position = _INT64.unpack_from(data, table + 8 * index)[0]
            length = _INT64.unpack_from(data, position)[0]
            item = json.loads(data[position + 8 : position + 8 + length])
            stored = _array(data, item.get("numbers."))
            numbers = tuple(int(number) for number in stored) if stored is not None else numbers
            frames.append(_ase_frame(data, item, numbers))
    except (struct.error, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
        pass
    return tuple(frames)


def _ase_frame(data: bytes, item: dict[str, Any], numbers: tuple[int, ...]) -> TrajectoryFrame:
    coordinates = _array_vectors(_array(data, item["positions."]), len(numbers))
    if coordinates is None:
        raise ValueError("the frame has no coordinates")
    calculator = item.get("calculator.", {})
    energy = calculator.get("energy")
    return TrajectoryFrame(
        symbols=tuple(SYMBOLS[number - 1] if 1 <= number <= len(SYMBOLS) else "X" for number in numbers),
        coordinates_angstrom=coordinates,
        energy_ev=float(energy) if isinstance(energy, int | float) and math.isfinite(energy) else None,
        forces_ev_per_angstrom=_array_vectors(_array(data, calculator.get("forces.")), len(numbers)),
    )


def _array(data: bytes, reference: Any) -> list[float] | None:
    """Return the flattened array that a reference points to."""
    if reference is None:
        return None
    shape, dtype, position = reference["ndarray"]
    values = array(_DTYPES[dtype])
    end = position + math.prod(shape) * values.itemsize
    if position < 0 or end > len(data):
        raise ValueError("the array extends beyond the end of the file")
    values.frombytes(data[position:end])
    return [float(value) for value in values]


def _array_vectors(flat: list[float] | None, n_atoms: int) -> tuple[Vector, ...] | None:
    if flat is None or len(flat) != 3 * n_atoms or not n_atoms:
        return None
    return tuple((flat[i], flat[i + 1], flat[i + 2]) for i in range(0, 3 * n_atoms, 3))


def read_extended_xyz(data: bytes) -> tuple[TrajectoryFrame, ...]:
    """Read the frames of a whole extended XYZ file, up to the first damaged or truncated one.

    The comment line gives the energy and the columns: ``Properties=species:S:1:pos:R:3:forces:R:3 energy=-17046.3``; by
    default these are symbol, x, y, z. Energies are in eV, forces in eV/Å and coordinates in Å, as ASE writes them.
    """
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
            frames.append(_xyz_frame(lines[position + 1], [line.split() for line in atoms]))
            position += 2 + n_atoms
    except (ValueError, IndexError):
        pass
    return tuple(frames)


def _xyz_frame(comment: str, atoms: list[list[str]]) -> TrajectoryFrame:
    named = _PROPERTIES.search(comment)
    words = (named.group(1) if named else _PLAIN).split(":")
    columns: dict[str, int] = {}
    column = 0
    for name, width in zip(words[::3], words[2::3], strict=True):
        columns[name.lower()] = column
        column += int(width[:4])
    forces = columns.get("forces", columns.get("force"))
    energy = _XYZ_ENERGY.search(comment)
    value = float(energy.group(1)) if energy else None
    return TrajectoryFrame(
        symbols=tuple(atom[columns.get("species", 0)] for atom in atoms),
        coordinates_angstrom=tuple(_vector(atom, columns.get("pos", 1)) for atom in atoms),
        energy_ev=value if value is not None and math.isfinite(value) else None,
        forces_ev_per_angstrom=None if forces is None else tuple(_vector(atom, forces) for atom in atoms),
    )


def _vector(words: list[str], column: int) -> Vector:
    return float(words[column]), float(words[column + 1]), float(words[column + 2])

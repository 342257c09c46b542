"""ASE's ``.traj`` format, read without ASE.

The container (ASE calls it Ulm) holds the magic ``- of Ulm``, a tag of 16 bytes, three little-endian int64 (version,
number of items, position of the table of items), then arrays and items. An item is an int64 length and that many bytes
of JSON, in which ``{"ndarray": [shape, dtype, position]}`` refers to an array in the file. The first frame has atomic
numbers; a later one has them only if they change. Energy and forces are those of the frame's calculator.
"""

import json
import math
import struct
from array import array
from typing import Any, Final

from oact_dagster.orca.elements import SYMBOLS
from oact_dagster.orca.outputs.evaluations import Vector
from oact_dagster.orca.outputs.trajectory_frame import TrajectoryFrame

_MAGIC: Final = b"- of Ulm"
_HEADER: Final = struct.Struct("<8s16sqqq")
_INT64: Final = struct.Struct("<q")
_DTYPES: Final = {"float64": "d", "float32": "f", "int64": "q", "int32": "i"}
_MOST_FRAMES: Final = 1_000_000


def read_ase_trajectory(data: bytes) -> tuple[TrajectoryFrame, ...]:
    """Read the frames of a whole ``.traj`` file, up to the first damaged or truncated one."""
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
            frames.append(_frame(data, item, numbers))
    except (
        struct.error,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        RecursionError,
        OverflowError,
    ):
        pass
    return tuple(frames)


def _frame(data: bytes, item: dict[str, Any], numbers: tuple[int, ...]) -> TrajectoryFrame:
    coordinates = _vectors(_array(data, item["positions."]), len(numbers))
    if coordinates is None:
        raise ValueError("the frame has no coordinates")
    calculator = item.get("calculator.", {})
    energy = calculator.get("energy")
    return TrajectoryFrame(
        symbols=tuple(SYMBOLS[number - 1] if 1 <= number <= len(SYMBOLS) else "X" for number in numbers),
        coordinates_angstrom=coordinates,
        energy_ev=float(energy) if isinstance(energy, int | float) and math.isfinite(energy) else None,
        forces_ev_per_angstrom=_vectors(_array(data, calculator.get("forces.")), len(numbers)),
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


def _vectors(flat: list[float] | None, n_atoms: int) -> tuple[Vector, ...] | None:
    if flat is None or len(flat) != 3 * n_atoms or not n_atoms:
        return None
    return tuple((flat[i], flat[i + 1], flat[i + 2]) for i in range(0, 3 * n_atoms, 3))

"""Writer of Parquet, one row for each frame, for pandas, pyarrow, DuckDB and others."""

from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from oact_dagster.export.frame import FIELDS, About, Frame
from oact_dagster.export.units import (
    CONSTANTS_TEXT,
    ENERGY_UNIT,
    FORCE_UNIT,
    LENGTH_UNIT,
    UNITS_TEXT,
)
from oact_dagster.orca.elements import ATOMIC_NUMBERS
from oact_dagster.orca.outputs.evaluations import Vector

FRAMES_AT_ONCE: Final = 1000
"""Largest number of frames in a row group, which is held in memory."""
ATOMS_AT_ONCE: Final = 100_000
"""Number of atoms after which a row group ends."""

_VECTORS: Final = pa.list_(pa.list_(pa.float64(), 3))


class ParquetFrameWriter:
    """Writes Parquet into a new file, a row group at a time."""

    def __init__(self, path: Path, about: About) -> None:
        self._path = path
        self._columns = tuple(about.columns)
        self._schema = schema_of(about)
        self._writer: Any = None
        self._frames: list[Frame] = []
        self._atoms = 0

    def __enter__(self) -> Self:
        texts = [field.name for field in self._schema if field.type == pa.string()]
        self._writer = pq.ParquetWriter(
            self._path, self._schema, compression="zstd", use_dictionary=[*texts, "symbols", "numbers"]
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._writer.close()

    def write(self, frame: Frame) -> None:
        """Write one frame."""
        self._frames.append(frame)
        self._atoms += len(frame.symbols)
        if len(self._frames) >= FRAMES_AT_ONCE or self._atoms >= ATOMS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._frames:
            self._writer.write_table(_table(self._frames, self._columns, self._schema))
        self._frames, self._atoms = [], 0


def schema_of(about: About) -> pa.Schema:
    """Return the columns with their units, and the file's metadata."""
    fields = [
        _field("symbols", pa.list_(pa.string()), "element symbols"),
        _field("numbers", pa.list_(pa.int16()), "atomic numbers"),
        _field("positions", _VECTORS, "n_atoms times (x, y, z)", LENGTH_UNIT),
        _field("energy", pa.float64(), "from the same gradient evaluation as the forces", ENERGY_UNIT),
        _field("forces", _VECTORS, "n_atoms times (x, y, z); minus the gradient", FORCE_UNIT),
    ]
    types = {str: pa.string(), int: pa.int64()}
    fields += [_field(field.name, types[field.kind], field.about) for field in FIELDS]
    fields += [_field(key, pa.string(), f"column {name} of the CSV") for key, name in about.columns.items()]
    metadata = {
        "units": UNITS_TEXT,
        "constants": CONSTANTS_TEXT,
        "campaign": about.campaign,
        "level_of_theory": about.level_of_theory,
        "oact_dagster_version": about.version,
    }
    return pa.schema(fields, metadata=metadata | ({"warning": about.warning} if about.warning else {}))


def _field(name: str, kind: pa.DataType, about: str, unit: str | None = None) -> pa.Field:
    return pa.field(name, kind, metadata={"about": about} | ({"unit": unit} if unit else {}))


def _table(frames: list[Frame], columns: tuple[str, ...], schema: pa.Schema) -> pa.Table:
    sizes = [len(frame.symbols) for frame in frames]
    offsets = pa.array(np.concatenate(([0], np.cumsum(sizes))), pa.int32())
    symbols = [symbol for frame in frames for symbol in frame.symbols]
    numbers = pa.array([ATOMIC_NUMBERS[symbol] for symbol in symbols], pa.int16())
    values: list[Any] = [
        pa.ListArray.from_arrays(offsets, pa.array(symbols, pa.string())),
        pa.ListArray.from_arrays(offsets, numbers),
        _vectors([frame.positions for frame in frames], offsets),
        pa.array([frame.energy for frame in frames], pa.float64()),
        _vectors([frame.forces for frame in frames], offsets),
    ]
    values += [
        pa.array([frame.fields.get(field.name) for frame in frames], schema.field(field.name).type)
        for field in FIELDS
    ]
    values += [pa.array([frame.annotations.get(key) for frame in frames], pa.string()) for key in columns]
    return pa.Table.from_arrays(values, schema=schema)


def _vectors(rows: list[tuple[Vector, ...]], offsets: pa.Array) -> pa.Array:
    flat = np.array([vector for row in rows for vector in row], dtype=np.float64).reshape(-1)
    return pa.ListArray.from_arrays(offsets, pa.FixedSizeListArray.from_arrays(pa.array(flat), 3))

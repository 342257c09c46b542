"""Writer of ASE's SQLite database: rows with energy and forces, selected by keys (``connect(...).select(...)``).

ASE is LGPL-2.1-or-later and installed only with the extra ``ase``.
"""

import errno
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from oact_dagster.export.frame import FIELDS, About, Frame
from oact_dagster.export.units import CONSTANTS_TEXT, UNITS, UNITS_TEXT

_IN_DATA_ONLY: Final = frozenset({"charge", "level_of_theory", "input_hash", "settings_hash"})
"""Fields without a key: ``charge`` is ASE's own column, the sum of atomic charges; nobody selects by the others."""

TOTAL_CHARGE: Final = "total_charge"


class AseDbWriter:
    """Writes an ASE database into a new file."""

    def __init__(self, path: Path, about: About) -> None:
        self._path = path
        self._about = about
        self._database: Any = None

    def __enter__(self) -> Self:
        from ase.db import connect

        with self._telling():
            # Nobody else knows the file, and a lock would leave another file beside it.
            self._database = connect(str(self._path), type="db", use_lock_file=False)
            self._database.__enter__()
            self._database.metadata = self._metadata()
        return self

    def __exit__(self, *error: object) -> None:
        with self._telling():
            self._database.__exit__(*error)

    def write(self, frame: Frame) -> None:
        """Write one frame as a row: all facts into ``data``, and most of them into its keys."""
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator

        atoms = Atoms(symbols=frame.symbols, positions=frame.positions)
        calculator = SinglePointCalculator(atoms, energy=frame.energy, forces=frame.forces)
        calculator.name = str(frame.fields["engine"])
        atoms.calc = calculator
        said = {name: value for name, value in frame.fields.items() if value is not None}
        with self._telling():
            self._database.write(
                atoms,
                key_value_pairs=_keys(frame),
                data={**said, **frame.annotations, "units": dict(UNITS)},
            )

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Turn SQLite's errors, such as a full disk, into an OSError of the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise OSError(errno.EIO, str(error), str(self._path)) from error

    def _metadata(self) -> dict[str, Any]:
        about = self._about
        descriptions = {
            field.name: [field.about, field.about, ""] for field in FIELDS if field.name not in _IN_DATA_ONLY
        }
        descriptions[TOTAL_CHARGE] = ["total charge", "total charge", "e"]
        descriptions |= {key: [name, f"column {name} of the CSV", ""] for key, name in about.columns.items()}
        return {
            "title": f"{about.campaign}{f' ({about.warning})' if about.warning else ''}",
            "key_descriptions": descriptions,
            "units": UNITS_TEXT,
            "constants": CONSTANTS_TEXT,
            "campaign": about.campaign,
            "level_of_theory": json.loads(about.level_of_theory),
            "oact_dagster_version": about.version,
            **({"warning": about.warning} if about.warning else {}),
        }


def _keys(frame: Frame) -> dict[str, str | int | float | bool]:
    """Return the keys of a row. ASE refuses text that could be a number, so such text is only in ``data``."""
    found: dict[str, str | int | float | bool] = {}
    for name, value in frame.fields.items():
        if name in _IN_DATA_ONLY or value is None or value == "":
            continue
        if isinstance(value, int) or isinstance(_as_ase_reads(value), str):
            found[name] = value
    charge = frame.fields.get("charge")
    if charge is not None:
        found[TOTAL_CHARGE] = int(charge)
    for key, annotation in frame.annotations.items():
        if annotation:
            found[key] = _as_ase_reads(annotation)
    return found


def _as_ase_reads(value: str) -> str | int | float | bool:
    """Return text as ASE would read it: as text, a number or a truth value."""
    from ase.db.core import convert_str_to_int_float_bool_or_str

    read: str | int | float | bool = convert_str_to_int_float_bool_or_str(value)
    return read

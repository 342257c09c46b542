"""Conversion of a row of the CSV to a row of the ledger, or to its rejection."""

import hashlib
import math
import re
from functools import lru_cache
from typing import Final

from oact_dagster.errors import GeometryError, StructureError
from oact_dagster.intake.columns import Columns
from oact_dagster.intake.csv_rows import CsvRow
from oact_dagster.ledger.states import NewStructure, Place, Rejection, Status, StructureRecord
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.structure import Structure

_LONGEST_REASON: Final = 300
_WHOLE: Final = re.compile(rb"\s*([+-]?[0-9]{1,9})(?:\.0*)?\s*")


def row_hash(row: CsvRow, columns: Columns) -> str:
    """Return 16 hexadecimal digits that change when a row becomes another calculation.

    The hash covers geometry, charge and unpaired electrons, whatever the names of their columns. Line ends, and whether
    a whole number is written ``3`` or ``3.0``, do not count. Other columns do not count either: a new column, or other
    digits in an unused one, change no calculation and must not make a campaign refuse its own CSV. Annotations are
    compared column by column with the values in the ledger, so that another choice of columns is no change of the rows.
    """
    geometry = row.fields[columns.geometry].strip()
    if b"\r" in geometry:
        geometry = geometry.replace(b"\r\n", b"\n")
    charge, spin = _number(row, columns.charge), _number(row, columns.spin)
    return hashlib.blake2b(b"%b\0%b\0%b" % (geometry, charge, spin), digest_size=8).hexdigest()


def annotations(row: CsvRow, columns: Columns) -> dict[str, str]:
    """Return the row's values that become comments in inputs, by column."""
    return {name: row.fields[place].decode().strip() for name, place in columns.annotate}


def check_row(row: CsvRow, columns: Columns) -> NewStructure | Rejection:
    """Check a row's geometry, whole numbers and electrons; return the row for the ledger, or its rejection.

    Without a column for it, charge or spin is 0. A rejection has all problems on one line.
    """
    problems = []
    numbers = []
    for place, name in ((columns.charge, columns.charge_name), (columns.spin, columns.spin_name)):
        value = 0 if place is None else whole_number(row.fields[place])
        if value is None and place is not None:
            problems.append(
                f"{name}: {_shown(row.fields[place])} is not a whole number (expected one such as 0 or 2)"
            )
        numbers.append(value or 0)
    priority = priority_of(row, columns)
    if priority is None:
        shown = _shown(row.fields[columns.priority or 0])
        problems.append(
            f"{columns.priority_name}: {shown} is not a finite number (feed.priority_column); append a corrected row"
        )
    text = row.fields[columns.geometry].decode()
    structure = None
    try:
        geometry = parse_geometry(text)
        if not problems:
            structure = Structure(geometry, *numbers)
    except GeometryError as error:
        problems.append(f"{columns.geometry_name}: {error}")
    except StructureError as error:
        problems.append(str(error))
    digest = row_hash(row, columns)
    if structure is None or priority is None:
        reason = " ".join("; ".join(problems).split())
        if len(reason) > _LONGEST_REASON:
            reason = reason[: _LONGEST_REASON - 3] + "..."
        return Rejection(row.number, row.line, reason, digest)
    return NewStructure(
        orig_index=row.number,
        elements=";".join(structure.geometry.symbols),
        natoms=len(structure.geometry),
        charge=structure.charge,
        multiplicity=structure.multiplicity,
        geometry=_atom_lines(text),
        row_hash=digest,
        calculation_hash=structure.calculation_hash(),
        annotations=annotations(row, columns),
        place=Place(priority),
    )


def priority_of(row: CsvRow, columns: Columns) -> float | None:
    """Return a row's priority, 0 without a column for it, or None if it is not a finite number."""
    if columns.priority is None:
        return 0.0
    field = row.fields[columns.priority]
    try:
        # float() also accepts 1_0.
        value = float(field) if b"_" not in field else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def record_of(new: NewStructure) -> StructureRecord:
    """Return a new structure as the ledger would hold it."""
    return StructureRecord(
        id=new.orig_index + 1,
        orig_index=new.orig_index,
        elements=new.elements,
        natoms=new.natoms,
        status=Status.TO_RUN,
        charge=new.charge,
        multiplicity=new.multiplicity,
        geometry=new.geometry,
        job_dir=None,
        fail_count=0,
        error_message=None,
        loss_count=0,
        held=False,
        row_hash=new.row_hash,
        annotations=new.annotations,
    )


@lru_cache(maxsize=4096)
def whole_number(field: bytes) -> int | None:
    """Return the whole number that a field holds (``3``, ``3.0``, `` 3 ``), or None for anything else."""
    match = _WHOLE.fullmatch(field)
    return None if match is None else int(match[1])


def _number(row: CsvRow, place: int | None) -> bytes:
    """Return a number as it is hashed; it is 0 without a column, as in the calculation."""
    if place is None:
        return b"0"
    field = row.fields[place]
    value = whole_number(field)
    return field.strip() if value is None else b"%d" % value


def _atom_lines(text: str) -> str:
    """Return the atoms' lines as they are in the CSV, without the two header lines of XYZ."""
    text = text.strip()
    with_head = text.split(None, 1)[0].isdecimal()
    if not with_head and "\r" not in text and text.isascii():
        return text
    lines = text.splitlines()
    return "\n".join(lines[2:] if with_head else lines).strip()


def _shown(field: bytes) -> str:
    text = field.decode()
    return ascii(text if len(text) <= 40 else text[:37] + "...")

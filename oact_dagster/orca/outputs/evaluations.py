"""Evaluations of the energy surface: energy, gradient and geometry that belong together.

Each cycle of an optimisation prints its geometry, then its energy, then its gradient. (The MP2 module prints the
gradient before the energy.) After the last cycle ORCA prints the final geometry and one more energy, without a
gradient. Everything between two prints of the coordinates is one evaluation.
"""

import math
import re
from dataclasses import dataclass
from typing import Final

Vector = tuple[float, float, float]

_NUMBER: Final = rb"([-+]?(?:\d+\.\d*(?:[eE][-+]?\d+)?|nan|inf))"
# A dummy atom is labelled "-" (DA or X in other versions). Semiempirical runs print no colon.
_GRADIENT_ROW: Final = (
    rb"[ \t]*\d+(?:(?:[ \t]*(?:-|[A-Za-z][^:\n]*))?[ \t]*:[ \t]*|[ \t]+(?:(?:-|[A-Za-z]{1,3})[ \t]+)?)"
    + rb"[ \t]+".join([_NUMBER] * 3)
    + rb"[ \t]*\r?\n"
)
_COORDINATE_ROW: Final = (
    rb"[ \t]*(-|[A-Za-z]{1,3})[ \t:>(\d)]*?[ \t]+" + rb"[ \t]+".join([_NUMBER] * 3) + rb"[ \t]*\r?\n"
)
# A blank line, a rule or a heading follows the last row. Any other line is an unreadable row.
_TABLE_ENDS: Final = rb"[ \t]*(?:[-=*]{3}[^\n]*|[A-Za-z(](?![^\n]*\d\.\d[^\n]*\d\.\d)[ -~]*)?[ \t]*\r?\n"
_HEADING_LINES: Final = 12
"""Most lines between a heading and its table: a rule, a blank line, a warning about frozen coordinates."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Energy, gradient and geometry of one point."""

    energy: float | None
    """Eh; None if the output prints none for this point."""
    energy_flag: str | None
    """Suffix that ORCA prints after an energy that is not fully converged, else None. Such an energy and its gradient
    are not fit for training."""
    gradient: tuple[Vector, ...]
    """n_atoms times (x, y, z), Eh/bohr."""
    symbols: tuple[str, ...] | None
    """n_atoms element symbols (``-``, ``DA`` or ``X`` for a dummy atom); None if the geometry is not printed."""
    coordinates: tuple[Vector, ...] | None
    """n_atoms times (x, y, z), Å; None if the geometry is not printed."""


def largest_component(gradient: tuple[Vector, ...]) -> float | None:
    """Return the largest absolute component, which ORCA prints as MAX gradient.

    It is NaN if any component is, and None for an empty gradient.
    """
    return _largest([abs(component) for row in gradient for component in row])


def largest_norm(gradient: tuple[Vector, ...]) -> float | None:
    """Return the largest Euclidean norm of one atom's gradient, which ASE and Sella call fmax.

    It is NaN if any component is, and None for an empty gradient.
    """
    return _largest([math.sqrt(x * x + y * y + z * z) for x, y, z in gradient])


def _largest(values: list[float]) -> float | None:
    if not values:
        return None
    return math.nan if any(math.isnan(value) for value in values) else max(values)


def gradient_table(data: bytes, heading: int) -> tuple[tuple[Vector, ...], int | None]:
    """Read the rows of the gradient table (``CARTESIAN GRADIENT``, ``The final MP2 gradient``) headed at ``heading``.

    Returns:
        The rows in Eh/bohr (none if any row is unreadable), and the position where the table ends, or None if ``data``
        ends before a complete line that is not a row.
    """
    pattern = re.compile(_GRADIENT_ROW)
    position = _first_row(data, heading, pattern)
    rows: list[Vector] = []
    while row := pattern.match(data, position):
        rows.append((float(row.group(1)), float(row.group(2)), float(row.group(3))))
        position = row.end()
    if data.find(b"\n", position) < 0:
        return tuple(rows), None
    return tuple(rows) if re.compile(_TABLE_ENDS).match(data, position) else (), position


def coordinate_table(data: bytes, heading: int) -> tuple[tuple[str, ...], tuple[Vector, ...]]:
    """Read the table ``CARTESIAN COORDINATES (ANGSTROEM)`` whose heading begins at ``heading``.

    Returns element symbols, and coordinates in Å, one row for each atom; both empty without a table or if a row is
    unreadable.
    """
    pattern = re.compile(_COORDINATE_ROW)
    position = _first_row(data, heading, pattern)
    symbols: list[str] = []
    rows: list[Vector] = []
    while row := pattern.match(data, position):
        symbols.append(row.group(1).decode())
        rows.append((float(row.group(2)), float(row.group(3)), float(row.group(4))))
        position = row.end()
    if data.find(b"\n", position) >= 0 and not re.compile(_TABLE_ENDS).match(data, position):
        return (), ()
    return tuple(symbols), tuple(rows)


def _first_row(data: bytes, heading: int, row: re.Pattern[bytes]) -> int:
    """Return the position of the first row below a heading, or of the heading if there is no row."""
    position = heading
    for _ in range(_HEADING_LINES):
        position = data.find(b"\n", position) + 1
        if position == 0:
            break
        if row.match(data, position):
            return position
    return heading

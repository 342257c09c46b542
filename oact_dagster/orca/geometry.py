"""Cartesian geometries: read from text, checked, and written back the same way on every machine.

Accepts bare ``El x y z`` lines (Architector's ``aligned_csd_core``) and XYZ files with a count and a comment line.
The intake parses every row of a CSV, so a valid geometry takes a fast path over whole columns. Lines are checked one
by one only to find the faulty one.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Final

from oact_dagster.errors import GeometryError
from oact_dagster.orca.elements import ATOMIC_NUMBERS

CLOSEST_ALLOWED: Final = 0.5
"""Shortest allowed distance between two nuclei, in Å (H2 has 0.74 Å). A shorter one means a duplicated atom."""

_AN_ATOM: Final = "'El x y z' in Å, such as 'O 0.0 0.0 1.76'"


@dataclass(frozen=True, slots=True)
class Geometry:
    """Atoms in the order in which they were given."""

    symbols: tuple[str, ...]
    """Element symbols, n of them, each as in the periodic table (``U``, ``Cl``)."""
    coordinates: tuple[tuple[float, float, float], ...]
    """n rows of x, y and z in Å."""

    def __len__(self) -> int:
        """Return the number of atoms."""
        return len(self.symbols)

    def text(self) -> str:
        """Return the atoms as ``El x y z`` lines, in order, each ending in a newline.

        Numbers have six decimals, as ORCA prints them; a coordinate that rounds to zero has no sign. Coordinates
        become text only here, so the inputs and hashes of the same atoms are the same bytes on every machine.
        """
        lines = "%s %.6f %.6f %.6f\n" * len(self.symbols)
        columns = zip(*self.coordinates, strict=True)
        filled = lines % tuple(chain.from_iterable(zip(self.symbols, *columns, strict=True)))
        return filled.replace(" -0.000000", " 0.000000")


def parse_geometry(text: str) -> Geometry:
    """Read a geometry in Å: bare ``El x y z`` lines, or XYZ with its count and comment line.

    Lines end in LF or CRLF. Element symbols may be in any case. Empty lines before and after the atoms are ignored.

    Raises:
        GeometryError: There are no atoms, a line is not an atom, an element is unknown, a coordinate is not a finite
            number, the count does not match the atoms, or two atoms are closer than ``CLOSEST_ALLOWED``.
    """
    lines = text.splitlines()
    first, end = _atom_lines(lines)
    rows = [line.split() for line in lines[first:end]]
    try:
        symbols, x, y, z = zip(*rows, strict=True)
        coordinates = tuple(zip(map(float, x), map(float, y), map(float, z), strict=True))
    except ValueError:
        raise _first_fault(rows, first) from None
    if not ATOMIC_NUMBERS.keys() >= set(symbols):
        symbols = tuple(symbol.capitalize() for symbol in symbols)
    # float() also accepts nan, inf, 1_000 and the digits of other scripts, none of which is a coordinate.
    if (
        not ATOMIC_NUMBERS.keys() >= set(symbols)
        or not all(map(math.isfinite, chain.from_iterable(coordinates)))
        or (("_" in text or not text.isascii()) and not all(map(_is_plain, chain(x, y, z))))
    ):
        raise _first_fault(rows, first)
    _check_distances(symbols, coordinates)
    return Geometry(symbols, coordinates)


def _atom_lines(lines: list[str]) -> tuple[int, int]:
    """Return the slice indices of the atoms in ``lines``."""
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    first = 0
    while first < end and not lines[first].strip():
        first += 1
    if first == end:
        raise GeometryError(
            f"the geometry is empty; expected lines {_AN_ATOM}", kind="geometry without atoms"
        )
    head = lines[first].split()
    if len(head) > 1:
        return first, end
    # The comment line of an XYZ file may be empty, so only the count tells where the atoms begin.
    if not (head[0].isascii() and head[0].isdecimal() and len(head[0]) < 10):
        raise GeometryError(
            f"line {first + 1} reads {_shown(head[0])}; expected {_AN_ATOM}, or a count of atoms"
        )
    count, first = int(head[0]), first + 2
    if count == 0:
        raise GeometryError(
            f"line {first - 1} counts 0 atoms; expected at least 1", kind="geometry without atoms"
        )
    if max(end - first, 0) != count:
        raise GeometryError(
            f"line {first - 1} counts {count} atoms, but {max(end - first, 0)} lines follow the comment line; "
            "expected one line for each atom",
            kind="wrong atom count",
        )
    return first, end


def _check_distances(symbols: tuple[str, ...], coordinates: tuple[tuple[float, float, float], ...]) -> None:
    """Raise GeometryError for two atoms closer than ``CLOSEST_ALLOWED``.

    Sweeps along the axis on which the atoms spread most and compares each atom only with those within reach on that
    axis: about a tenth of all pairs for a complex of 60 atoms.
    """
    x, y, z = zip(*coordinates, strict=True)
    widest = max((x, y, z), key=lambda values: max(values) - min(values))
    order = sorted(range(len(widest)), key=widest.__getitem__)
    along = [widest[atom] for atom in order]
    points = [coordinates[atom] for atom in order]
    distance, limit, near = math.dist, CLOSEST_ALLOWED, []
    for here, position in enumerate(along):
        reach, point = position + limit, points[here]
        for there in range(here + 1, len(along)):
            if along[there] >= reach:
                break
            if distance(point, points[there]) < limit:
                near.append(tuple(sorted((order[here], order[there]))))
    if near:
        one, other = min(near)
        raise GeometryError(
            f"atoms {one + 1} ({symbols[one]}) and {other + 1} ({symbols[other]}) are "
            f"{distance(coordinates[one], coordinates[other]):.3f} Å apart; expected at least {limit} Å",
            kind="two atoms on one spot",
        )


def _first_fault(rows: Iterable[list[str]], first: int) -> GeometryError:
    """Return the error for the first row that is not an atom; rows begin at index ``first``."""
    for number, row in enumerate(rows, start=first + 1):
        if len(row) != 4:
            return GeometryError(f"line {number} reads {_shown(' '.join(row))}; expected {_AN_ATOM}")
        if row[0].capitalize() not in ATOMIC_NUMBERS:
            return GeometryError(
                f"line {number} has the unknown element {_shown(row[0])}; expected a symbol from H to Lr",
                kind="unknown element",
            )
        for number_text in row[1:]:
            if not _is_plain(number_text):
                return GeometryError(
                    f"line {number} has the coordinate {_shown(number_text)}; expected a finite number in Å",
                    kind="invalid coordinate",
                )
    raise AssertionError("no fault in these rows")


def _is_plain(text: str) -> bool:
    """Return whether ``text`` is a finite number written with plain digits."""
    try:
        return math.isfinite(float(text)) and text.isascii() and "_" not in text
    except ValueError:
        return False


def _shown(text: str) -> str:
    """Return ``text`` quoted, on one line and short enough for a message."""
    return ascii(text if len(text) <= 40 else text[:37] + "...")

"""Check that a ``.gbw`` file is complete. A job that dies while writing one leaves a part, which stops the next ORCA.

The layout follows several public readers of the file (none is ORCA's own). Bytes 0 to 40 hold five little-endian
64-bit pointers into the file; the fourth (byte 24) leads to the orbitals. These begin with two 32-bit numbers, the
number of operators (spins) and the dimension n. For each operator follow n*n coefficients, n occupations and n
energies as doubles, then n irreducible representations and n core flags as 32-bit numbers.
"""

import math
import struct
from pathlib import Path
from typing import IO, Final

from oact_dagster.orca.outputs.file_blocks import UnreadableFileError, open_regular

_POINTERS: Final = struct.Struct("<5q")
_ORBITALS_HEAD: Final = struct.Struct("<2i")
_LARGEST_DIMENSION: Final = 200_000
_SLACK: Final = 1e-3
"""Largest rounding error by which an occupation may leave the range 0 to 2."""


def is_whole_gbw(path: Path, *, basis_functions: int | None = None, spins: int = 1) -> bool:
    """Return whether a ``.gbw`` holds all of its orbitals; False if it is missing or cannot be read.

    In the known layout the header tells how long the file must be, and occupations and orbital energies must be
    plausible (a file of zeros has the right length). In any other layout (of another ORCA version) the file must at
    least have room for the coefficients of one or two ``spins``; it is refused if the output does not print the
    ``basis_functions``.
    """
    try:
        file, status = open_regular(path)
        with file:
            layout = _read_layout(file, status.st_size, basis_functions)
            if layout is not None:
                begin, operators, dimension = layout
                size = begin + operators * _bytes_of_one_spin(dimension)
                return size <= status.st_size and _has_orbitals(file, begin, operators, dimension)
            return basis_functions is not None and status.st_size >= 8 * basis_functions**2 * spins
    except (OSError, UnreadableFileError):
        return False


def _bytes_of_one_spin(dimension: int) -> int:
    return 8 * dimension * dimension + (8 + 8 + 4 + 4) * dimension


def _read_layout(file: IO[bytes], size: int, basis_functions: int | None) -> tuple[int, int, int] | None:
    """Return the start of the orbitals, the number of operators and the dimension; None for another layout."""
    head = file.read(_POINTERS.size) or b""
    if len(head) < _POINTERS.size:
        return None
    _, geometry, basis, orbitals, _ = _POINTERS.unpack(head)
    if not all(0 < pointer < size for pointer in (geometry, basis, orbitals)):
        return None
    file.seek(orbitals)
    head = file.read(_ORBITALS_HEAD.size) or b""
    if len(head) < _ORBITALS_HEAD.size:
        return None
    operators, dimension = _ORBITALS_HEAD.unpack(head)
    if operators not in (1, 2) or not 0 < dimension <= _LARGEST_DIMENSION:
        return None
    if basis_functions is not None and dimension != basis_functions:
        return None
    return orbitals + _ORBITALS_HEAD.size, operators, dimension


def _has_orbitals(file: IO[bytes], begin: int, operators: int, dimension: int) -> bool:
    """Return whether all occupations are between 0 and 2, and all orbital energies are finite and not all zero."""
    numbers = struct.Struct(f"<{dimension}d")
    for operator in range(operators):
        file.seek(begin + operator * _bytes_of_one_spin(dimension) + 8 * dimension * dimension)
        data = file.read(2 * numbers.size) or b""
        if len(data) < 2 * numbers.size:
            return False
        occupations, energies = numbers.unpack_from(data), numbers.unpack_from(data, numbers.size)
        if not all(-_SLACK <= occupation <= 2 + _SLACK for occupation in occupations):
            return False
        if not all(map(math.isfinite, energies)) or not any(energies):
            return False
        # With a single electron the second spin has none.
        if operator == 0 and sum(occupations) < 0.5:
            return False
    return True

"""Reader of ORCA's ``.property.txt``, for values that the output may lack (with MiniPrint, for instance).

ORCA 6 writes ``&Charge [&Type "Integer"] 2`` in ``$Calculation_Info`` and ``&FinalEnergy [&Type "Double"] -6.2e+02``
in ``$Single_Point_Data``; ORCA 4 and 5 write ``Charge: 2`` below ``$ Calculation_Info``.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

from oact_dagster.orca.outputs.file_blocks import FileBlocks, UnreadableFileError

_ENTRY: Final = rb"(?im)^[ \t]*(?:&%s[ \t]*(?:\[[^\]\n]*\])?|%s[ \t]*:)[ \t]*(%s)[ \t]*(?:\"[^\n]*)?\r?\n"
_CHARGE: Final = _ENTRY % (b"charge", b"charge", rb"-?\d{1,6}")
_MULT: Final = _ENTRY % (b"mult", b"multiplicity", rb"\d{1,6}")
_ENERGY: Final = _ENTRY % (b"finalenergy", b"final energy", rb"[-+]?\d+\.\d+(?:[eE][-+]?\d+)?")


class Properties(NamedTuple):
    """Values from a property file (energy in Eh); None for those that are missing."""

    charge: int | None = None
    mult: int | None = None
    final_energy: float | None = None


def read_properties(path: Path) -> Properties:
    """Read the last values in the first 16 MB of a ``.property.txt``; all None for a file that cannot be read."""
    try:
        data = next(FileBlocks(path).text(), b"")
    except UnreadableFileError:
        return Properties()
    charge, mult, energy = _last(_CHARGE, data), _last(_MULT, data), _last(_ENERGY, data)
    return Properties(
        charge=None if charge is None else int(charge),
        mult=None if mult is None else int(mult),
        final_energy=None if energy is None else float(energy),
    )


def _last(pattern: bytes, data: bytes) -> bytes | None:
    found: list[bytes] = re.findall(pattern, data)
    return found[-1] if found else None

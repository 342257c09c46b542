"""Reader of the tables of SCF iterations in ORCA 3 to 6.1: DIIS, SOSCF and TRAH.

One SCF may have several tables below each other: ORCA begins with DIIS and goes on with SOSCF or TRAH. With a high
print level ORCA 3 to 5 print a small table for each iteration instead. ``bytes.rfind`` searches from the end, since
many MB of populations may follow the last table.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

# Headings of the tables. A line of the echoed input begins with "|" and does not count. ORCA 3 to 5 print fixed
# decimals, so large numbers run into each other: "0  -1076.6615662471   0.000000000000896279.28758374".
_MARKS: Final = (b"Max-DP", b"MaxDP", b"||Error||", b"!        ITERATION")
_HEADING: Final = re.compile(
    rb"[ \t]*(?:Iter(?:ation|\.)?[ \t]+(?=[^\n]*(?:Max-?DP|\|\|Error\|\|))|![ \t]+ITERATION[ \t]+\d)[^\n]*",
    re.IGNORECASE,
)
_TABLE_ENDS: Final = re.compile(
    rb"CONVERGED AFTER|TOTAL SCF ENERGY|ORCA finished by|FINAL SINGLE POINT ENERGY"
)
_COLUMN: Final = re.compile(r"Delta-E|Max-?DP|RMS-?DP", re.IGNORECASE)
_NUMBER: Final = rb"(-?\d+\.\d+(?:[eE][-+]?\d+)?|-?nan|-?inf)"
_ROW_DIIS: Final = re.compile(
    rb"^[ \t]*\d{1,6}[ \t]+(-?\d+\.\d{10})[ \t]*(-?\d+\.\d{12})[ \t]*(-?\d+\.\d{8})[ \t]*(-?\d+\.\d{8})",
    re.MULTILINE,
)
_ROW_SOSCF: Final = re.compile(
    rb"^[ \t]*\d{1,6}[ \t]+(-?\d+\.\d+)[ \t]+"
    + _NUMBER
    + rb"[ \t]+-?[\d.]+[ \t]+-?[\d.]+[ \t]+"
    + _NUMBER
    + rb"[ \t]+"
    + _NUMBER,
    re.MULTILINE,
)
_ROW_FROM_6: Final = re.compile(
    rb"^[ \t]*\d{1,6}[ \t]+(-?\d+\.\d+)[ \t]+" + rb"[ \t]+".join([_NUMBER] * 3), re.MULTILINE
)
# TRAH prints an energy, but no change, for each macro iteration (of its trust region, then Newton-Raphson).
_ROW_TRAH: Final = re.compile(
    rb"^[ \t]*\d{1,6}[ \t]+(-?\d+\.\d+)[ \t]+[^\n]*\([A-Z]+[ \t]+Macro\)", re.IGNORECASE | re.MULTILINE
)
# One iteration, if each has its own table.
_ROW_OF_ITS_OWN: Final = re.compile(
    rb"^[ \t]*Total Energy[ \t]*:[ \t]*(-?\d+\.\d+) Eh\r?\n"
    rb"[ \t]*Energy Change[ \t]*:[ \t]*" + _NUMBER + rb" Eh\r?\n"
    rb"[ \t]*MAX-DP[ \t]*:[ \t]*" + _NUMBER + rb"\r?\n"
    rb"[ \t]*RMS-DP[ \t]*:[ \t]*" + _NUMBER,
    re.MULTILINE,
)

_SMALLEST: Final = 1e-12
"""Eh; stands for a change that ORCA 6 prints as 0.00e+00."""


@dataclass(frozen=True, slots=True)
class ScfIteration:
    """One row of a table; None for what the table does not print."""

    energy: float
    change: float | None = None
    """Energy change as printed, Eh. In the first iteration it is meaningless: 0 or the energy itself."""
    least_change: float = _SMALLEST
    """One unit in the last printed digit of the change, Eh."""
    largest_density_change: float | None = None
    """MaxP."""
    rms_density_change: float | None = None


def last_scf(data: bytes) -> list[list[ScfIteration]]:
    """Read the iterations of each table of the last SCF in an output, in order.

    A table may be empty; without a heading there are no tables.
    """
    tables: list[list[ScfIteration]] = []
    end = len(data)
    for heading in _headings_from_the_end(data):
        ends = _TABLE_ENDS.search(data, heading.end(), end)
        if ends and tables:
            break
        tables.append(_rows(heading.group(), data[heading.end() : ends.start() if ends else end]))
        end = heading.start()
    tables.reverse()
    return tables


def _headings_from_the_end(data: bytes) -> Iterator[re.Match[bytes]]:
    """Yield the headings of all tables, last one first."""
    positions = {mark: data.rfind(mark) for mark in _MARKS}
    while True:
        mark, position = max(positions.items(), key=lambda found: found[1])
        if position < 0:
            return
        line = data.rfind(b"\n", 0, position) + 1
        if heading := _HEADING.match(data, line):
            yield heading
        positions[mark] = data.rfind(mark, 0, line)


def _rows(heading: bytes, table: bytes) -> list[ScfIteration]:
    if heading.lstrip().startswith(b"!"):
        rows = _ROW_OF_ITS_OWN.findall(table)
        return [_iteration(row) for row in rows[:1]]
    columns = [name.upper().replace("-", "") for name in _COLUMN.findall(heading.decode("latin-1"))]
    if columns == ["DELTAE", "RMSDP", "MAXDP"]:
        return [
            _iteration((energy, change, largest, rms))
            for energy, change, rms, largest in _ROW_FROM_6.findall(table)
        ]
    if columns == ["DELTAE", "MAXDP", "RMSDP"]:
        return [
            _iteration(row) for row in (_ROW_SOSCF if b"rot" in heading.lower() else _ROW_DIIS).findall(table)
        ]
    return [ScfIteration(float(energy)) for energy in _ROW_TRAH.findall(table)]


def _iteration(row: tuple[bytes, bytes, bytes, bytes]) -> ScfIteration:
    energy, change, largest, rms = row
    return ScfIteration(float(energy), float(change), _last_digit(change), float(largest), float(rms))


def _last_digit(number: bytes) -> float:
    """Return one unit in the last digit of a number with fixed decimals, such as 1e-10 for ``-0.0000000007``."""
    _, _, decimals = number.partition(b".")
    return float(10.0 ** -len(decimals)) if decimals.isdigit() else _SMALLEST

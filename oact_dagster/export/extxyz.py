"""Writer of extended XYZ, plain text that ASE, MACE, NequIP and others read.

A frame is the number of atoms, a line of ``key=value`` pairs, and a line for each atom. Quoting follows the
specification (https://github.com/libAtoms/extxyz): text other than a plain word is in double quotes, with a backslash
before quotes and backslashes. Line breaks in text become blanks, since the pairs must be on one line.
"""

import re
from pathlib import Path
from typing import Final, Self, TextIO

from oact_dagster.export.frame import FIELDS, Frame
from oact_dagster.export.units import CONSTANTS_TEXT, UNITS_TEXT

_BARE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:+/-]*")
_TRUTH: Final = frozenset({"T", "F", "true", "false", "True", "False", "TRUE", "FALSE"})
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9]\d{0,17})")
_REAL: Final = re.compile(r"[-+]?\d+\.\d+(?:[eE][-+]?\d{1,2})?")


class ExtxyzWriter:
    """Writes extended XYZ into a new file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: TextIO | None = None

    def __enter__(self) -> Self:
        self._stream = self._path.open("x", encoding="utf-8", newline="\n")
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def write(self, frame: Frame) -> None:
        """Write one frame."""
        assert self._stream is not None
        self._stream.write(frame_text(frame))


def frame_text(frame: Frame) -> str:
    """Return a frame as extended XYZ. Numbers have all digits, so that they are read back exactly."""
    pairs = ["Properties=species:S:1:pos:R:3:forces:R:3", f"energy={frame.energy!r}", 'pbc="F F F"']
    pairs += [
        f"{field.name}={value if isinstance(value, int) else text(value)}"
        for field in FIELDS
        if (value := frame.fields.get(field.name)) is not None and value != ""
    ]
    pairs += [f"{key}={annotation(value)}" for key, value in frame.annotations.items() if value.strip()]
    pairs += [f"units={text(UNITS_TEXT)}", f"constants={text(CONSTANTS_TEXT)}"]
    lines = [str(len(frame.symbols)), " ".join(pairs)]
    lines += [
        f"{symbol:<2} {x!r} {y!r} {z!r} {fx!r} {fy!r} {fz!r}"
        for symbol, (x, y, z), (fx, fy, fz) in zip(frame.symbols, frame.positions, frame.forces, strict=True)
    ]
    return "\n".join(lines) + "\n"


def annotation(value: str) -> str:
    """Return a value from the CSV: a number unquoted, anything else as text."""
    return value if _INTEGER.fullmatch(value) or _REAL.fullmatch(value) else text(value)


def text(value: str) -> str:
    """Return text quoted such that readers take it for this text."""
    line = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    if _would_be_a_number(line):
        # ASE takes "1234" for a number in spite of the quotes. This is ASE's own way to write it as text.
        return _quoted(f'_JSON "{line}"')
    return line if _BARE.fullmatch(line) else _quoted(line)


def _quoted(line: str) -> str:
    escaped = line.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _would_be_a_number(line: str) -> bool:
    """Return whether ASE reads every word of a text as a number or a truth value."""
    words = re.findall(r"[^\s,]+", line)
    return bool(words) and all(word in _TRUTH or _is_number(word) for word in words)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True

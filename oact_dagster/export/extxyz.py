"""Extended XYZ: plain text that ASE, MACE, NequIP and the like read.

A frame is the number of atoms, a line of ``key=value`` pairs, and a line an atom. How values are quoted is the
specification's (https://github.com/libAtoms/extxyz): a text that is not a plain word stands in double quotes, with a
backslash before a quote or a backslash. The line of pairs is one line: where a text has line breaks, they are blanks.
"""

import re
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO

from oact_dagster.export.frame import FIELDS, Frame
from oact_dagster.export.units import CONSTANTS_TEXT, UNITS_TEXT

_BARE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:+/-]*")
_TRUTH: Final = frozenset({"T", "F", "true", "false", "True", "False", "TRUE", "FALSE"})
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9]\d{0,17})")
_REAL: Final = re.compile(r"[-+]?\d+\.\d+(?:[eE][-+]?\d{1,2})?")


class ExtxyzWriter:
    """Writes extended XYZ.

    Args:
        path: the file, which is not there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: TextIO | None = None

    def __enter__(self) -> Self:
        self._stream = self._path.open("x", encoding="utf-8", newline="\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    def write(self, frame: Frame) -> None:
        """Write one frame."""
        assert self._stream is not None
        self._stream.write(frame_text(frame))


def frame_text(frame: Frame) -> str:
    """A frame as extended XYZ. Numbers have all their digits: what is read again is equal to the bit."""
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
    """What a column of the CSV says: a number as a number, all else as a text."""
    return value if _INTEGER.fullmatch(value) or _REAL.fullmatch(value) else text(value)


def text(value: str) -> str:
    """A text as a value that is read as this text."""
    line = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    if _would_be_a_number(line):
        # ASE takes "1234" for a number in spite of its quotes; this is its own way to say that it is a text.
        return _quoted(f'_JSON "{line}"')
    return line if _BARE.fullmatch(line) else _quoted(line)


def _quoted(line: str) -> str:
    escaped = line.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _would_be_a_number(line: str) -> bool:
    """Whether every word of a text is a number or a truth value, as ASE reads them."""
    words = re.findall(r"[^\s,]+", line)
    return bool(words) and all(word in _TRUTH or _is_number(word) for word in words)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True

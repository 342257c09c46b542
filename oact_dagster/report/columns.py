"""Columns of the report's tables: small in the file, quick to read in the browser.

Numbers keep their significant digits, a repeated word is stored once, and rising numbers are stored as steps.
``page.js`` reads what :meth:`json_parts` writes.
"""

import json
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Final, Literal

Shown = Literal["integer", "fixed", "significant", "duration", "time"]

_NAN: Final = float("nan")
_JOINED: Final = 10_000
"""Number of values that are written at once."""


@dataclass(slots=True)
class NumberColumn:
    """Numbers; 8 bytes each in memory.

    Attributes:
        key: name in searches (``scf>100``).
        label: heading.
        shown: ``integer``; ``fixed`` digits after the point; ``significant`` digits; ``duration`` (s, shown as
            h:mm:ss); ``time`` (Unix time in s, shown in the reader's time zone).
        digits: for ``fixed`` and ``significant``.
        width: in the table, in characters.
        title: meaning and unit, shown when the mouse is over the heading.
        steps: store the differences from row to row, for whole numbers that rise or hardly change.
    """

    key: str
    label: str
    shown: Shown = "integer"
    digits: int = 0
    width: int = 9
    title: str = ""
    steps: bool = False
    values: "array[float]" = field(init=False, default_factory=lambda: array("d"))

    def add(self, value: float | None) -> None:
        """Add the value of the next row; None and non-finite numbers are shown as nothing."""
        self.values.append(_NAN if value is None or not math.isfinite(value) else value)

    def json_parts(self) -> Iterator[str]:
        """The column as JSON, in parts."""
        yield f'{_head("number", self)[:-1]}, "values": ['
        numbers = self._steps() if self.steps else map(self._number, self.values)
        yield from _joined(numbers)
        yield "]}"

    def _number(self, value: float) -> str:
        if math.isnan(value):
            return "null"
        if self.shown in ("integer", "time"):
            return str(round(value))
        if self.shown == "duration":
            # Tenths of a second do not matter in durations of minutes.
            return str(round(value)) if value >= 100 else f"{value:.1f}"
        if self.shown == "significant":
            return repr(float(f"{value:.{self.digits}g}"))
        return repr(round(value, self.digits))

    def _steps(self) -> Iterator[str]:
        last = 0
        for value in self.values:
            if math.isnan(value):
                yield "null"
                continue
            whole = round(value)
            yield str(whole - last)
            last = whole


@dataclass(slots=True)
class WordColumn:
    """Texts; each distinct text is stored once.

    Attributes:
        key: name in searches (``status:failed``).
        label: heading.
        width: in the table, in characters.
        title: meaning, shown when the mouse is over the heading.
    """

    key: str
    label: str
    width: int = 12
    title: str = ""
    codes: "array[int]" = field(init=False, default_factory=lambda: array("i"))
    words: dict[str, int] = field(init=False, default_factory=dict)

    def add(self, text: str | None) -> None:
        """Add the text of the next row; None and empty texts are shown as nothing."""
        self.codes.append(self.words.setdefault(text, len(self.words)) if text else -1)

    def json_parts(self) -> Iterator[str]:
        """The column as JSON, in parts."""
        yield f'{_head("word", self)[:-1]}, "words": ['
        yield from _joined(json.dumps(word) for word in self.words)
        yield '], "codes": ['
        yield from _joined(map(str, self.codes))
        yield "]}"


@dataclass(slots=True)
class DerivedColumn:
    """A column that the browser computes from two others: a quotient, or a product times a factor.

    Attributes:
        key: name in searches.
        label: heading.
        first: key of the first column.
        second: key of the second column.
        operation: ``/`` or ``*``.
        factor: multiplies the result.
        shown: as in :class:`NumberColumn`.
        digits: as in :class:`NumberColumn`.
        width: in the table, in characters.
        title: meaning and unit.
    """

    key: str
    label: str
    first: str
    second: str
    operation: Literal["/", "*"]
    factor: float = 1.0
    shown: Shown = "fixed"
    digits: int = 0
    width: int = 9
    title: str = ""

    def json_parts(self) -> Iterator[str]:
        """The column as JSON, in parts."""
        yield _head("derived", self)


Column = NumberColumn | WordColumn | DerivedColumn


def _head(kind: str, column: Column) -> str:
    """The column's description for the browser, as JSON: all fields but the data."""
    described = {one.name: getattr(column, one.name) for one in fields(column) if one.init}
    return json.dumps({"kind": kind, **described})


def _joined(items: Iterator[str]) -> Iterator[str]:
    """The items separated by commas, many at a time."""
    comma = ""
    while chunk := list(islice(items, _JOINED)):
        yield comma + ",".join(chunk)
        comma = ","

"""Reading a CSV strictly, in one pass and in little memory, with the line on which each row begins.

The rows are those that pandas reads (quoted fields with commas, quotes and line ends in them; blank lines
skipped; UTF-8 with or without a byte order mark; LF or CRLF), so a row's number is its index in pandas.

pandas itself fills short rows silently and knows no line numbers. The csv module, with the same checks around it, takes
over twice as long for geometries, which have many lines: a tenth more CPU for an intake. Where quotes are doubled, as
in a column of JSON, this module takes 1.4 times as long as the csv module (benchmarks/csv_reading.py measures both).
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

from oact_dagster.errors import CsvError

_CHUNK_BYTES: Final = 1 << 20

MAX_ROW_BYTES: Final = 16 << 20
"""A longer row is refused: a quote that is never closed would otherwise take the whole file into memory."""

_QUOTE: Final = ord('"')
_DOUBLED_QUOTES: Final = re.compile(rb'(?:""[^"]*+)++')
_BOM: Final = b"\xef\xbb\xbf"


class CsvRow(NamedTuple):
    """One row below the header."""

    number: int
    """Number of the row, from 0, as in pandas."""
    line: int
    """Line of the file on which the row begins, from 1."""
    offset: int
    """Byte of the file at which the row begins."""
    fields: list[bytes]
    """One value for each column, UTF-8, without the quotes around it."""


class CsvFile:
    """An open CSV whose header has been read.

    Raises:
        CsvError: it is missing, unreadable or empty, or its header cannot be read.
    """

    columns: tuple[str, ...]

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            what = "is not a file" if path.exists() else "no such file"
            raise CsvError(f"{path}: {what}; name your CSV (in a campaign.yaml: `csv`)")
        try:
            self._stream = path.open("rb")
        except OSError as error:
            raise CsvError(f"{path}: cannot be read: {error.strerror or error}") from None
        try:
            self._seen = self._stamp()
            self.columns, self._start = self._header()
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    @property
    def size(self) -> int:
        """Size of the file when it was opened, in bytes."""
        return self._seen[0]

    def check_unchanged(self) -> None:
        """Check that nobody has written to the file since it was opened.

        A file replaced by another of the same name does no harm: reading goes on in the one that was opened.

        Raises:
            CsvError: the file has another size or time of change now.
        """
        if self._stamp() != self._seen:
            raise CsvError(f"{self.path}: was changed while it was read; run again when nobody writes to it")

    def rows(self, start: CsvRow | None = None) -> Iterator[CsvRow]:
        """Yield the rows below the header, from ``start`` on if given. Read one call to its end before the next.

        Raises:
            CsvError: a row has another number of fields than the header, a quote is not closed or followed by
                text, a byte is not UTF-8, or a row is longer than ``MAX_ROW_BYTES``.
        """
        width = len(self.columns)
        index, line, offset = (0, *self._start) if start is None else (start.number, start.line, start.offset)
        for record_line, record_offset, fields in self._records(offset, line):
            if len(fields) != width:
                raise CsvError(
                    f"{self.path}, line {record_line}: the row that begins here has {len(fields)} fields and "
                    f"the header {width}; every row must have as many as the header, and fields that hold "
                    "commas or line ends must be quoted"
                )
            yield CsvRow(index, record_line, record_offset, fields)
            index += 1

    def _stamp(self) -> tuple[int, int]:
        stat = os.fstat(self._stream.fileno())
        return stat.st_size, stat.st_mtime_ns

    def _header(self) -> tuple[tuple[str, ...], tuple[int, int]]:
        """Return the column names, and the line and offset at which the rows begin."""
        with_bom = self._stream.read(len(_BOM)) == _BOM
        records = self._records(len(_BOM) if with_bom else 0, 1)
        try:
            line, _, fields = next(records)
        except StopIteration:
            raise CsvError(f"{self.path}: is empty; expected a header with column names, and rows") from None
        following = next(records, None)
        columns = tuple(field.decode() for field in fields)
        return columns, (line, self.size) if following is None else following[:2]

    def _records(self, offset: int, line: int) -> Iterator[tuple[int, int, list[bytes]]]:
        """Yield line, offset and fields of every record from the one at ``offset`` on, blank lines left out."""
        self._stream.seek(offset)
        data, position, at_end = b"", 0, False
        while not at_end:
            chunk = self._stream.read(_CHUNK_BYTES)
            at_end = len(chunk) < _CHUNK_BYTES
            data, position = data[position:] + chunk, 0
            self._check_text(data, line, at_end)
            while position < len(data):
                parsed = self._record(data, position, line, at_end)
                if parsed is None:
                    break
                fields, end = parsed
                # pandas skips lines that are empty or hold only spaces and tabs.
                if len(fields) > 1 or fields[0].strip(b" \t") or data[position] == _QUOTE:
                    yield line, offset, fields
                line += data.count(b"\n", position, end)
                offset += end - position
                position = end
            if len(data) - position > MAX_ROW_BYTES:
                raise CsvError(
                    f"{self.path}, line {line}: the row that begins here is longer than "
                    f"{MAX_ROW_BYTES >> 20} MB; a quote in it is probably never closed"
                )

    def _record(self, data: bytes, start: int, line: int, at_end: bool) -> tuple[list[bytes], int] | None:
        """Return the fields of the record at ``start`` and where it ends; None if more must be read for that."""
        fields: list[bytes] = []
        position = start
        while True:
            if data[position : position + 1] != b'"':
                end = data.find(b"\n", position)
                if end < 0:
                    if not at_end:
                        return None
                    end = len(data)
                # The fields up to the next quoted one, at once; a quote inside an unquoted field opens nothing.
                quoted = data.find(b',"', position, end)
                plain = data[position : end if quoted < 0 else quoted]
                if quoted < 0 and plain.endswith(b"\r"):
                    plain = plain[:-1]
                if b"\r" in plain:
                    raise CsvError(
                        f"{self.path}, line {line}: a carriage return stands alone in the row that begins here; "
                        "lines must end with LF or CRLF"
                    )
                fields += plain.split(b",")
                if quoted < 0:
                    return fields, min(end + 1, len(data))
                position = quoted + 1
                continue
            close = data.find(b'"', position + 1)
            value = data[position + 1 : close]
            if close >= 0 and (doubled := _DOUBLED_QUOTES.match(data, close)):
                value = (value + doubled[0]).replace(b'""', b'"')
                close = doubled.end()
            if close in (-1, len(data)):
                if not at_end:
                    return None
                raise CsvError(
                    f"{self.path}, line {line}: unbalanced quote: one in the row that begins here is never "
                    "closed; expected a closing quote before the file ends"
                )
            fields.append(value)
            position = close + 1
            after = data[position : position + 2]
            if after[:1] == b",":
                position += 1
            elif after[:1] == b"\n":
                return fields, position + 1
            elif after == b"\r\n":
                return fields, position + 2
            elif after in (b"", b"\r"):
                # Without the bytes that follow, a closing quote may be the first half of a doubled one.
                return (fields, len(data)) if at_end else None
            else:
                there = line + data.count(b"\n", start, position)
                raise CsvError(
                    f"{self.path}, line {line}: unbalanced quote in the row that begins here: on line {there}, "
                    "text follows a closing quote; expected a comma or the line's end (a quote inside a quoted "
                    "field is written twice)"
                )

    def _check_text(self, data: bytes, line: int, at_end: bool) -> None:
        """Refuse bytes that are not UTF-8; ``line`` is the line of the first byte."""
        if data.isascii():
            return
        # A newline byte is never part of a longer character, so cutting there splits none.
        end = len(data) if at_end else data.rfind(b"\n") + 1
        try:
            data[:end].decode()
        except UnicodeDecodeError as error:
            there = line + data.count(b"\n", 0, error.start)
            utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
            hint = "it looks like UTF-16" if utf16 else "for example `iconv -f latin1 -t utf-8` converts it"
            raise CsvError(
                f"{self.path}, line {there}: the byte 0x{data[error.start]:02x} is not UTF-8; a CSV must "
                f"be UTF-8 text ({hint})"
            ) from None

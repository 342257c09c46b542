"""A ledger's open file, for queries."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from oact_dagster.ledger.connection import one_line_errors

_T = TypeVar("_T")

CHUNK: Final = 500
"""Values bound to one statement; old versions of SQLite allow 999."""


class LedgerFile:
    """An open SQLite file, with the time to wait for a lock, s; what cannot be read raises a LedgerError."""

    def __init__(self, path: Path, connection: sqlite3.Connection, timeout: float) -> None:
        self.path = path
        self.connection = connection
        self.timeout = timeout

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """The return value of a function that reads through the connection; it may be called twice."""
        with one_line_errors(self.path, self.timeout):
            return work(self.connection)

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self.read(lambda connection: connection.execute(query, values).fetchall())

    def rows_of(self, query: str, values: Iterable[Any]) -> Iterator[sqlite3.Row]:
        """The rows of a query with ``IN (...)``, run in chunks: the values replace the dots."""
        for chunk in chunks(values):
            yield from self.rows(query.replace("(...)", f"({marks(chunk)})"), chunk)

    def stream(self, query: str, values: Sequence[Any] = ()) -> Iterator[sqlite3.Row]:
        """The rows of a query one at a time, for queries that may return as many rows as there are structures."""
        with one_line_errors(self.path, self.timeout):
            # Not `yield from`: abandoning the stream would close the cursor, which fails once the file is closed.
            for row in self.connection.execute(query, values):  # noqa: UP028
                yield row

    def stream_integers(self, query: str, values: Sequence[Any] = ()) -> Iterator[int]:
        """The integers in the first column of a query, one at a time."""
        for row in self.stream(query, values):
            yield int(row[0])

    def one(self, query: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        rows = self.rows(query, values)
        return rows[0] if rows else None

    def number(self, query: str, values: Sequence[Any] = ()) -> int:
        """The number that a query returns; 0 if it returns no row or NULL."""
        row = self.one(query, values)
        return 0 if row is None or row[0] is None else int(row[0])


def chunks(values: Iterable[_T]) -> Iterator[list[_T]]:
    """The values in lists of at most :data:`CHUNK`."""
    iterator = iter(values)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def marks(values: Sequence[Any]) -> str:
    """A comma-separated question mark for each value."""
    return ",".join("?" * len(values))


def storable(text: str | None) -> str | None:
    """The text with what UTF-8 cannot encode replaced, so that it cannot make a transaction fail."""
    return None if text is None else text.encode(errors="replace").decode()

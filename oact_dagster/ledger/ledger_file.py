"""A ledger's open file: queries whose faults are told in one line, and its closing."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from oact_dagster.ledger.connection import telling

_T = TypeVar("_T")

CHUNK: Final = 500
"""Values bound to one statement: SQLite's oldest limit is 999."""


class LedgerFile:
    """An open SQLite file.

    Args:
        path: the file, for messages.
        connection: to it.
        timeout: how long a locked file is waited for, s.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, timeout: float) -> None:
        self.path = path
        self.connection = connection
        self.timeout = timeout

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """What a function reads through the connection; it may be called twice.

        Raises:
            LedgerError: the file cannot be read.
        """
        with telling(self.path, self.timeout):
            return work(self.connection)

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self.read(lambda connection: connection.execute(query, values).fetchall())

    def rows_of(self, query: str, values: Iterable[Any]) -> Iterator[sqlite3.Row]:
        """The rows of a query with ``IN (...)`` for any number of values, which take the place of the dots."""
        for chunk in chunks(values):
            yield from self.rows(query.replace("(...)", f"({marks(chunk)})"), chunk)

    def stream(self, query: str, values: Sequence[Any] = ()) -> Iterator[sqlite3.Row]:
        """The rows of a query, one at a time: for those that may be as many as the structures."""
        with telling(self.path, self.timeout):
            # Not `yield from`: a stream that is left half read would close its cursor, which a closed file refuses.
            for row in self.connection.execute(query, values):  # noqa: UP028
                yield row

    def one(self, query: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query."""
        rows = self.rows(query, values)
        return rows[0] if rows else None

    def number(self, query: str, values: Sequence[Any] = ()) -> int:
        """The number that a query gives; 0 where it gives none."""
        row = self.one(query, values)
        return 0 if row is None or row[0] is None else int(row[0])


def chunks(values: Iterable[_T]) -> Iterator[list[_T]]:
    """The values in lists of at most :data:`CHUNK`."""
    iterator = iter(values)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def marks(values: Sequence[Any]) -> str:
    """As many question marks as values."""
    return ",".join("?" * len(values))


def storable(text: str | None) -> str | None:
    """A text without what UTF-8 cannot hold: that must not cost the change beside it."""
    return None if text is None else text.encode(errors="replace").decode()

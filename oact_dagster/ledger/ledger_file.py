"""A ledger's open file: queries whose faults are told in one line, and its closing."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from oact_dagster.ledger.connection import telling


class LedgerFile:
    """An open SQLite file.

    Args:
        path: the file, for messages.
        connection: to it.
        timeout: how long a locked file is waited for, s.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, timeout: float = 30.0) -> None:
        self.path = path
        self._connection = connection
        self._timeout = timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with telling(self.path, self._timeout):
            return self._connection.execute(query, values).fetchall()

    def _stream(self, query: str, values: Sequence[Any] = ()) -> Iterator[sqlite3.Row]:
        """The rows of a query, one at a time: for those that may be as many as the structures."""
        with telling(self.path, self._timeout):
            # Not `yield from`: a stream that is left half read would close its cursor, which a closed file refuses.
            for row in self._connection.execute(query, values):  # noqa: UP028
                yield row

    def _one(self, query: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query."""
        rows = self._rows(query, values)
        return rows[0] if rows else None

    def _number(self, query: str, values: Sequence[Any] = ()) -> int:
        """The number that a query gives; 0 where it gives none."""
        row = self._one(query, values)
        return 0 if row is None or row[0] is None else int(row[0])

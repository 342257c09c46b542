"""The JSON documents that a ledger keeps under the keys of its table ``meta``."""

import json
import sqlite3
from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


class _Readable(Protocol):
    def meta(self, key: str) -> str | None: ...


class _Writable(Protocol):
    def set_meta(self, key: str, value: str) -> None: ...
    def change_meta(self, key: str, change: Callable[[str | None], str]) -> None: ...


class Document(Generic[T]):
    """One document.

    Args:
        key: of the table.
        kind: the type of what it holds: a dataclass, a mapping. Keys that a dataclass does not know are passed over.
        default: what it holds where there is none, or none that can be read.
        strict: one that cannot be read is a ValueError.
    """

    def __init__(self, key: str, kind: Any, default: T, *, strict: bool = False) -> None:
        self.key = key
        self._default = default
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)
        self._strict = strict

    def read(self, ledger: _Readable) -> T:
        """What the ledger holds."""
        return self.parse(ledger.meta(self.key))

    def write(self, ledger: _Writable, value: T) -> None:
        """Put a value in its place."""
        ledger.set_meta(self.key, self.text(value))

    def change(self, ledger: _Writable, change: Callable[[T], T]) -> None:
        """Put what follows from the present value in its place, in one transaction: nothing comes between."""
        ledger.change_meta(self.key, lambda text: self.text(change(self.parse(text))))

    def load(self, db: sqlite3.Connection) -> T:
        """What the ledger behind a connection holds."""
        row = db.execute("SELECT value FROM meta WHERE key = ?", (self.key,)).fetchone()
        return self.parse(None if row is None else str(row[0]))

    def store(self, db: sqlite3.Connection, value: T) -> None:
        """Put a value in its place, in the transaction of a connection."""
        db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (self.key, self.text(value)))

    def parse(self, text: str | None) -> T:
        """The value that a text in the table stands for."""
        if text is None:
            return self._default
        try:
            return self._adapter.validate_json(text)
        except ValidationError:
            if self._strict:
                raise
            return self._default

    def text(self, value: T) -> str:
        """What stands in the table for a value."""
        return json.dumps(self._adapter.dump_python(value))


LEVEL_OF_THEORY: Final[Document[dict[str, Any] | None]] = Document(
    "level_of_theory", dict[str, Any] | None, None, strict=True
)
"""Of all results of the ledger; None before the first submit."""

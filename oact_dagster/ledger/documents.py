"""JSON documents in the ledger's table ``meta``."""

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
    """One JSON document, validated against a type.

    Args:
        key: its key in ``meta``.
        kind: the type of its value, such as a dataclass or a mapping. Keys unknown to a dataclass are ignored.
        default: the value if the document is missing or unreadable.
        strict: raise ValueError for an unreadable document instead.
    """

    def __init__(self, key: str, kind: Any, default: T, *, strict: bool = False) -> None:
        self.key = key
        self._default = default
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)
        self._strict = strict

    def read(self, ledger: _Readable) -> T:
        """Read the document from a ledger."""
        return self.parse(ledger.meta(self.key))

    def write(self, ledger: _Writable, value: T) -> None:
        """Replace the document in a ledger."""
        ledger.set_meta(self.key, self.text(value))

    def change(self, ledger: _Writable, change: Callable[[T], T]) -> None:
        """Replace the document by ``change(present value)``, in one transaction."""
        ledger.change_meta(self.key, lambda text: self.text(change(self.parse(text))))

    def load(self, db: sqlite3.Connection) -> T:
        """Read the document through a connection."""
        row = db.execute("SELECT value FROM meta WHERE key = ?", (self.key,)).fetchone()
        return self.parse(None if row is None else str(row[0]))

    def store(self, db: sqlite3.Connection, value: T) -> None:
        """Replace the document within a connection's transaction."""
        db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (self.key, self.text(value)))

    def parse(self, text: str | None) -> T:
        """The value of a text from ``meta``; None stands for a missing document."""
        if text is None:
            return self._default
        try:
            return self._adapter.validate_json(text)
        except ValidationError as error:
            if self._strict:
                raise ValueError(
                    f"the ledger's {self.key} is unreadable: {error.errors()[0]['msg']}"
                ) from None
            return self._default

    def text(self, value: T) -> str:
        """The text that ``meta`` holds for a value."""
        return json.dumps(self._adapter.dump_python(value))


LEVEL_OF_THEORY: Final[Document[dict[str, Any] | None]] = Document(
    "level_of_theory", dict[str, Any] | None, None, strict=True
)
"""The level of theory of all results of the ledger; None before the first submit."""

"""Binding many values to statements: SQLite's oldest limit is 999 variables."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

_T = TypeVar("_T")

CHUNK: Final = 500
"""Values bound to one statement."""


def chunks(values: Iterable[_T]) -> Iterator[list[_T]]:
    """The values in lists of at most :data:`CHUNK`."""
    iterator = iter(values)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def marks(values: Sequence[Any]) -> str:
    """As many question marks as values."""
    return ",".join("?" * len(values))

"""The JSON documents in the table ``meta``: those of other versions, and those that cannot be read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from oact_dagster.ledger.documents import LEVEL_OF_THEORY, Document
from oact_dagster.ledger.store import Ledger


@dataclass(frozen=True, slots=True)
class Pauses:
    reason: str = ""
    told: tuple[str, ...] = ()
    hosts: Mapping[str, int] = field(default_factory=dict)


PAUSES: Final = Document("pauses", Pauses, Pauses())


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (None, Pauses()),
        ("{}", Pauses()),
        ('{"reason": "all fail", "newer": [1]}', Pauses("all fail")),
        ('{"told": ["a", "b"], "hosts": {"n1": 3}}', Pauses("", ("a", "b"), {"n1": 3})),
        *((broken, Pauses()) for broken in ("", "[", "[]", "null", '{"told": 3}', '{"hosts": {"n1": "x"}}')),
    ],
)
def test_what_a_document_holds(text: str | None, read: Pauses) -> None:
    assert PAUSES.parse(text) == read
    assert PAUSES.parse(PAUSES.text(read)) == read


def test_a_document_is_changed_where_it_stands(tmp_path: Path) -> None:
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        PAUSES.change(ledger, lambda now: Pauses(now.reason or "first"))
        PAUSES.change(ledger, lambda now: Pauses(now.reason or "second", ("told",)))
        assert PAUSES.read(ledger) == Pauses("first", ("told",))
        assert ledger.meta("pauses") == '{"reason": "first", "told": ["told"], "hosts": {}}'


def test_a_level_of_theory_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        assert LEVEL_OF_THEORY.read(ledger) is None
        ledger.set_meta("level_of_theory", "[")
        with pytest.raises(ValueError, match="Invalid JSON"):
            LEVEL_OF_THEORY.read(ledger)

"""The level of theory of a ledger's results, fixed by the first submit."""

from collections.abc import Mapping
from typing import Any

from oact_dagster.errors import LedgerError
from oact_dagster.ledger.documents import LEVEL_OF_THEORY
from oact_dagster.ledger.predicates import OPEN
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.store import Ledger


def check_level_of_theory(ledger: LedgerReader, level: Mapping[str, Any]) -> None:
    """Compare a level of theory with that of the ledger's results, if one is fixed.

    Raises:
        LedgerError: they differ; the message shows both.
    """
    kept = LEVEL_OF_THEORY.read(ledger)
    if kept is None or not _binds(ledger):
        return
    differing = sorted(key for key in {*kept, *level} if kept.get(key) != level.get(key))
    if differing:
        then = ", ".join(f"{key}={kept.get(key)}" for key in differing)
        now = ", ".join(f"{key}={level.get(key)}" for key in differing)
        raise LedgerError(
            f"{ledger.path}: its results have the level of theory {then}, but the settings now say {now}: "
            "change the settings back, or start a second campaign with its own ledger"
        )


def _binds(ledger: LedgerReader) -> bool:
    """Whether a result of the stored level of theory exists or may still come."""
    return any(
        ledger.file.one(f"SELECT 1 FROM attempts a WHERE {condition} LIMIT 1")
        for condition in ("a.outcome = 'completed'", OPEN)
    )


def fix_level_of_theory(ledger: Ledger, level: Mapping[str, Any]) -> None:
    """Store the level of theory of the first submit; later submits must have the same.

    A stored level that has no results and no open attempts is replaced, for example after a run whose inputs were all
    refused.

    Raises:
        LedgerError: the ledger's results have another level; the message shows both.
    """

    def checked(_: Mapping[str, Any] | None) -> dict[str, Any]:
        check_level_of_theory(ledger, level)
        return dict(sorted(level.items()))

    LEVEL_OF_THEORY.change(ledger, checked)


def fix_orca_version(ledger: Ledger, major: str) -> str:
    """Store the major ORCA version, such as ``6``, of the first result.

    Returns:
        The stored version. If it differs from ``major``, the new result has another level of theory.
    """
    if (kept := ledger.meta("orca_major_version")) is not None:
        return kept
    ledger.change_meta("orca_major_version", lambda kept: major if kept is None else kept)
    return ledger.meta("orca_major_version") or major

"""The level of theory of a ledger's results, which the first submit fixes."""

from collections.abc import Mapping
from typing import Any

from oact_dagster.ledger.connection import LedgerError
from oact_dagster.ledger.documents import LEVEL_OF_THEORY
from oact_dagster.ledger.predicates import OPEN
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.store import Ledger


def check_level_of_theory(ledger: LedgerReader, level: Mapping[str, Any]) -> None:
    """Compare with the level of theory of the ledger's results, where one is fixed.

    Raises:
        LedgerError: they differ; both are in the text.
    """
    kept = LEVEL_OF_THEORY.read(ledger)
    if kept is None or not _binds(ledger):
        return
    differing = sorted(key for key in {*kept, *level} if kept.get(key) != level.get(key))
    if differing:
        then = ", ".join(f"{key}={kept.get(key)}" for key in differing)
        now = ", ".join(f"{key}={level.get(key)}" for key in differing)
        raise LedgerError(
            f"{ledger.path}: its results are of the level of theory {then}; the settings now say {now}: "
            "set that back, or start a second campaign with a ledger of its own"
        )


def _binds(ledger: LedgerReader) -> bool:
    """Whether there is a result of the level of theory that is kept, or one may still come."""
    return any(
        ledger.file.one(f"SELECT 1 FROM attempts a WHERE {condition} LIMIT 1")
        for condition in ("a.outcome = 'completed'", OPEN)
    )


def fix_level_of_theory(ledger: Ledger, level: Mapping[str, Any]) -> None:
    """Keep the level of theory of the first submit; later ones must be the same.

    One of which nothing has come, and nothing can come any more, is replaced: a run whose inputs were all refused
    binds nobody.

    Raises:
        LedgerError: the ledger's results are of another level; both are in the text.
    """

    def checked(_: Mapping[str, Any] | None) -> dict[str, Any]:
        check_level_of_theory(ledger, level)
        return dict(sorted(level.items()))

    LEVEL_OF_THEORY.change(ledger, checked)


def fix_orca_version(ledger: Ledger, major: str) -> str:
    """Keep the major version of the ORCA that computed the first result.

    Args:
        ledger: of the result.
        major: of the ORCA that computed it, such as ``6``.

    Returns:
        The one that is kept: another one than ``major`` makes the result one of another level of theory.
    """
    if (kept := ledger.meta("orca_major_version")) is not None:
        return kept
    ledger.change_meta("orca_major_version", lambda kept: major if kept is None else kept)
    return ledger.meta("orca_major_version") or major

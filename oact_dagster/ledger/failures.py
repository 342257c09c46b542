"""Each failure counts once: attempts for failures that no attempt of ours stands for, and the counting itself.

``fail_count`` goes up when an attempt is recorded as failed or timed out. A structure may also be failed without that:
in a file that others made, or set by hand. Such a failure gets an attempt of its own, closed and not counted, and is
counted when the structure is to be run again.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Sequence
from typing import Any, Final

from oact_dagster.ledger.predicates import FAILED, IS_FAILURE, LAST, LAST_NUMBER, UNCOUNTED
from oact_dagster.ledger.schema import RESULT_COLUMNS

LAUNCHER_BY_HAND: Final = "by hand"
"""The launcher of attempts that nothing of ours has run."""

BATCH_BY_HAND: Final = "by hand"
"""The batch of attempts that stand for failures set by hand."""

_STANDS: Final = f"SELECT 1 FROM attempts a WHERE a.structure_id = s.id AND {LAST} AND {IS_FAILURE}"
_NUMBERS: Final = ", ".join(f"s.{name}" for name in RESULT_COLUMNS)


def adopt_failures(
    db: sqlite3.Connection, batch_id: str, where: str = "1", values: Sequence[Any] = ()
) -> None:
    """Give each failed or timed-out structure that no attempt stands for a closed one, not counted.

    Args:
        db: in a transaction.
        batch_id: of these attempts.
        where: condition on ``structures s``.
        values: of its question marks.
    """
    at = time.time()
    db.create_function("oact_token", 0, lambda: secrets.token_hex(8))
    db.create_function("oact_numbers", len(RESULT_COLUMNS), _numbers, deterministic=True)
    db.execute(
        "INSERT INTO attempts (structure_id, number, token, state, batch_id, launcher, job_dir, outcome, message,"
        " counted, claimed_at, ended_at, n_cores, result)"
        f" SELECT s.id, COALESCE({LAST_NUMBER}, 0) + 1, oact_token(), 'closed', ?, ?, s.job_dir, s.status,"
        " s.error_message, 0, COALESCE(CAST(strftime('%s', s.updated_at) AS REAL), ?),"
        f" COALESCE(CAST(strftime('%s', s.updated_at) AS REAL), ?), s.n_cores, oact_numbers({_NUMBERS})"
        f" FROM structures s WHERE {FAILED} AND {where} AND NOT EXISTS ({_STANDS})",
        (batch_id, LAUNCHER_BY_HAND, at, at, *values),
    )


def count_failures(db: sqlite3.Connection, where: str, values: Sequence[Any]) -> None:
    """Count the failures that are not counted yet, each once.

    Args:
        db: in a transaction.
        where: condition on ``structures s``.
        values: of its question marks.
    """
    adopt_failures(db, BATCH_BY_HAND, where, values)
    # First the counts, while the attempts still tell which are to be counted.
    counted = db.execute(
        "UPDATE structures SET fail_count = COALESCE(fail_count, 0) + 1"
        f" WHERE id IN (SELECT s.id FROM structures s WHERE {where} AND {UNCOUNTED})",
        tuple(values),
    ).rowcount
    if counted:
        db.execute(
            "UPDATE attempts SET counted = 1 WHERE counted = 0 AND structure_id IN"
            f" (SELECT s.id FROM structures s WHERE {where} AND {FAILED})"
            " AND number = (SELECT MAX(b.number) FROM attempts b WHERE b.structure_id = attempts.structure_id)",
            tuple(values),
        )


def mark_undone(db: sqlite3.Connection, where: str, values: Sequence[Any]) -> None:
    """Note that structures leave the status which their last attempt gave them.

    Args:
        db: in a transaction.
        where: condition on ``structures s``.
        values: of its question marks.
    """
    db.execute(
        "UPDATE attempts SET undone = 1 WHERE state = 'closed' AND undone = 0 AND structure_id IN"
        f" (SELECT s.id FROM structures s WHERE {where})"
        " AND number = (SELECT MAX(b.number) FROM attempts b WHERE b.structure_id = attempts.structure_id)",
        tuple(values),
    )


def _numbers(*values: float | None) -> str | None:
    """What a failed structure's result columns hold, as its attempt keeps it; None for nothing."""
    kept = {name: value for name, value in zip(RESULT_COLUMNS, values, strict=True) if value is not None}
    return json.dumps(kept) if kept else None

"""Counting each failure once, including failures that none of our attempts recorded.

Recording an attempt as failed or timed out increments ``fail_count``. A structure may also be failed without such an
attempt: in a foreign file, or because somebody set the status by hand. Such a failure gets a closed, uncounted attempt
of its own, which is counted once the structure is to be run again.
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
"""Launcher of attempts that we did not run."""

BATCH_BY_HAND: Final = "by hand"
"""Batch of attempts that represent failures set by hand."""

_IS_LAST_ATTEMPT: Final = (
    "number = (SELECT MAX(b.number) FROM attempts b WHERE b.structure_id = attempts.structure_id)"
)


def adopt_failures(
    db: sqlite3.Connection, batch_id: str, where: str = "1", values: Sequence[Any] = ()
) -> None:
    """Insert a closed, uncounted attempt for each failed or timed-out structure whose failure has no attempt.

    ``where`` is a condition on ``structures s``, and ``values`` are those of its question marks.
    """
    at = time.time()
    db.create_function("oact_token", 0, lambda: secrets.token_hex(8))
    db.create_function("oact_numbers", len(RESULT_COLUMNS), _numbers, deterministic=True)
    numbers = ", ".join(f"s.{name}" for name in RESULT_COLUMNS)
    db.execute(
        "INSERT INTO attempts (structure_id, number, token, state, batch_id, launcher, job_dir, outcome, message,"
        " counted, claimed_at, ended_at, n_cores, result)"
        f" SELECT s.id, COALESCE({LAST_NUMBER}, 0) + 1, oact_token(), 'closed', ?, ?, s.job_dir, s.status,"
        " s.error_message, 0, COALESCE(CAST(strftime('%s', s.updated_at) AS REAL), ?),"
        f" COALESCE(CAST(strftime('%s', s.updated_at) AS REAL), ?), s.n_cores, oact_numbers({numbers})"
        f" FROM structures s WHERE {FAILED} AND {where} AND NOT EXISTS"
        f" (SELECT 1 FROM attempts a WHERE a.structure_id = s.id AND {LAST} AND {IS_FAILURE})",
        (batch_id, LAUNCHER_BY_HAND, at, at, *values),
    )


def count_failures(db: sqlite3.Connection, where: str, values: Sequence[Any]) -> None:
    """Count each failure that is not counted yet; arguments as of :func:`adopt_failures`."""
    adopt_failures(db, BATCH_BY_HAND, where, values)
    # The structures come first: which of them to count still depends on `attempts.counted`.
    counted = db.execute(
        "UPDATE structures SET fail_count = COALESCE(fail_count, 0) + 1"
        f" WHERE id IN (SELECT s.id FROM structures s WHERE {where} AND {UNCOUNTED})",
        tuple(values),
    ).rowcount
    if counted:
        db.execute(
            "UPDATE attempts SET counted = 1 WHERE counted = 0 AND structure_id IN"
            f" (SELECT s.id FROM structures s WHERE {where} AND {FAILED}) AND {_IS_LAST_ATTEMPT}",
            tuple(values),
        )


def mark_undone(db: sqlite3.Connection, where: str, values: Sequence[Any]) -> None:
    """Note that structures leave the status of their last attempt; arguments as of :func:`adopt_failures`."""
    db.execute(
        "UPDATE attempts SET undone = 1 WHERE state = 'closed' AND undone = 0 AND structure_id IN"
        f" (SELECT s.id FROM structures s WHERE {where}) AND {_IS_LAST_ATTEMPT}",
        tuple(values),
    )


def _numbers(*values: float | None) -> str | None:
    """The result columns of a failed structure as JSON for its attempt; None if all are empty."""
    kept = {name: value for name, value in zip(RESULT_COLUMNS, values, strict=True) if value is not None}
    return json.dumps(kept) if kept else None

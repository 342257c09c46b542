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

LAUNCHER_BY_HAND: Final = "by hand"
"""The launcher of attempts that nothing of ours has run."""

_FAILED: Final = "s.status IN ('failed', 'timeout')"
_LAST: Final = (
    "SELECT MAX(b.number) FROM attempts b WHERE b.structure_id = s.id"  # by the index of (structure, number)
)
# One that is open stands for what is said of it meanwhile, and one that was counted then for what it was counted for.
_IS_FAILURE: Final = (
    "(a.state != 'closed' OR (a.undone = 0 AND (a.counted = 1 OR a.outcome IN ('failed', 'timeout'))))"
)
_STANDS: Final = (
    f"SELECT 1 FROM attempts a WHERE a.structure_id = s.id AND a.number = ({_LAST}) AND {_IS_FAILURE}"
)
UNCOUNTED: Final = (
    f"{_FAILED} AND COALESCE((SELECT a.counted FROM attempts a WHERE a.structure_id = s.id AND a.number = ({_LAST})"
    f" AND {_IS_FAILURE}), 0) = 0"
)
"""Condition on ``structures s``: its failure is not in ``fail_count`` yet."""

_NUMBERS: Final = "s.final_energy, s.max_forces, s.scf_steps, s.wall_time, s.n_cores"


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
    db.create_function("oact_numbers", 5, _numbers, deterministic=True)
    db.execute(
        "INSERT INTO attempts (structure_id, number, token, state, batch_id, launcher, job_dir, outcome, message,"
        " counted, claimed_at, ended_at, n_cores, result)"
        f" SELECT s.id, COALESCE(({_LAST}), 0) + 1, oact_token(), 'closed', ?, ?, s.job_dir, s.status,"
        " s.error_message, 0, COALESCE(CAST(strftime('%s', s.updated_at) AS REAL), ?),"
        f" COALESCE(CAST(strftime('%s', s.updated_at) AS REAL), ?), s.n_cores, oact_numbers({_NUMBERS})"
        f" FROM structures s WHERE {_FAILED} AND {where} AND NOT EXISTS ({_STANDS})",
        (batch_id, LAUNCHER_BY_HAND, at, at, *values),
    )


def count_failures(
    db: sqlite3.Connection, batch_id: str, where: str = "1", values: Sequence[Any] = ()
) -> None:
    """Count the failures that are not counted yet, each once.

    Args:
        db: in a transaction.
        batch_id: of the attempts that are made for failures without one.
        where: condition on ``structures s``.
        values: of its question marks.
    """
    adopt_failures(db, batch_id, where, values)
    # First the counts, while the attempts still tell which are to be counted.
    counted = db.execute(
        "UPDATE structures SET fail_count = COALESCE(fail_count, 0) + 1"
        f" WHERE id IN (SELECT s.id FROM structures s WHERE {where} AND {UNCOUNTED})",
        tuple(values),
    ).rowcount
    if counted:
        db.execute(
            "UPDATE attempts SET counted = 1 WHERE counted = 0 AND structure_id IN"
            f" (SELECT s.id FROM structures s WHERE {where} AND {_FAILED})"
            " AND number = (SELECT MAX(b.number) FROM attempts b WHERE b.structure_id = attempts.structure_id)",
            tuple(values),
        )


def mark_undone(db: sqlite3.Connection, where: str, values: Sequence[Any] = ()) -> None:
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


def _numbers(
    final_energy: float | None,
    max_forces: float | None,
    scf_steps: int | None,
    wall_time: float | None,
    n_cores: int | None,
) -> str | None:
    """What a failed structure's columns hold, as its attempt keeps it; None for nothing."""
    numbers = {
        "final_energy": final_energy,
        "max_forces": max_forces,
        "scf_steps": scf_steps,
        "wall_time": wall_time,
        "n_cores": n_cores,
    }
    kept = {name: value for name, value in numbers.items() if value is not None}
    return json.dumps(kept) if kept else None

"""What the ending of an attempt changes in the rows of the attempt and its structure."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from oact_dagster.ledger.schema import NO_RESULT, RESULT_COLUMNS, SET_RESULT
from oact_dagster.ledger.states import FAILED_OUTCOMES, Ending, Outcome, Result, Status

_RESULT_FIELDS: Final = tuple(one.name for one in fields(Result))


def close_attempt(db: sqlite3.Connection, ending: Ending) -> None:
    """Close an attempt, and store what was read from its files."""
    result = ending.result
    failed = ending.outcome in FAILED_OUTCOMES
    # A failure that was set by hand and counted stays counted if its attempt turns out to be lost or cancelled.
    counted = failed if failed or ending.outcome is Outcome.COMPLETED else None
    db.execute(
        "UPDATE attempts SET state = 'closed', pending_reason = NULL, outcome = ?, failure_class = ?, message = ?,"
        " counted = COALESCE(?, counted),"
        " host = COALESCE(?, host), started_at = COALESCE(?, started_at), ended_at = ?, elapsed = ?,"
        " n_cores = COALESCE(?, n_cores), result = ?, engine = ?, evidence = ?, cpu_time_s = ?,"
        " max_rss_mb = ? WHERE token = ?",
        (
            ending.outcome,
            ending.failure_class,
            ending.message,
            counted,
            ending.host,
            ending.started_at,
            ending.ended_at,
            ending.elapsed,
            result.n_cores if result is not None and not failed else ending.n_cores,
            None if result is None else json.dumps({name: getattr(result, name) for name in _RESULT_FIELDS}),
            None if result is None else result.engine,
            json.dumps(dict(ending.evidence)) if ending.evidence else None,
            ending.cpu_time_s,
            ending.max_rss_mb,
            ending.token,
        ),
    )


def move_structure(db: sqlite3.Connection, ending: Ending, row: sqlite3.Row) -> bool:
    """Update a structure for the ending of its attempt; False if it keeps a status that was set by hand."""
    result, structure_id = ending.result, int(row["structure_id"])
    status = str(row["status"])
    if ending.outcome is Outcome.COMPLETED:
        if result is None or result.final_energy is None:
            raise ValueError(f"completed attempt {ending.token} has no energy")
        complete(db, structure_id, {name: getattr(result, name) for name in RESULT_COLUMNS})
        if row["counted"]:
            # Somebody set it to failed while it was still running.
            db.execute(
                "UPDATE structures SET fail_count = MAX(0, fail_count - 1) WHERE id = ?", (structure_id,)
            )
        return True
    if ending.outcome in FAILED_OUTCOMES:
        more = 0 if row["counted"] else 1
        if status == Status.COMPLETED:
            db.execute(
                "UPDATE structures SET fail_count = COALESCE(fail_count, 0) + ? WHERE id = ?",
                (more, structure_id),
            )
            return False
        db.execute(
            "UPDATE structures SET status = ?, error_message = ?, fail_count = COALESCE(fail_count, 0) + ?,"
            f" {NO_RESULT}, updated_at = CURRENT_TIMESTAMP WHERE id = ?",
            (ending.outcome, ending.message, more, structure_id),
        )
        return True
    if status == Status.RUNNING:
        db.execute(
            f"UPDATE structures SET status = 'to_run', error_message = ?, {NO_RESULT},"
            " updated_at = CURRENT_TIMESTAMP WHERE id = ?",
            (ending.message, structure_id),
        )
    if ending.outcome is Outcome.LOST:
        # In an old ledger the structure may have no row there yet.
        db.execute(
            "INSERT INTO structure_state (structure_id, loss_count) VALUES (?, 1)"
            " ON CONFLICT (structure_id) DO UPDATE SET loss_count = loss_count + 1",
            (structure_id,),
        )
    return True


def complete(db: sqlite3.Connection, structure_id: int, result: Mapping[str, Any]) -> None:
    """Complete a structure with a result, given by column name."""
    db.execute(
        "UPDATE structures SET status = 'completed', error_message = NULL,"
        f" {SET_RESULT}, updated_at = CURRENT_TIMESTAMP WHERE id = ?",
        (*(result.get(name) for name in RESULT_COLUMNS), structure_id),
    )

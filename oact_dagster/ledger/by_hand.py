"""Changes made by hand, or by tools that know only the table ``structures``; rows are identified by ``id``.

Nothing here touches an open attempt, since its calculation may be running. A structure with an open attempt cannot be
claimed, whatever its status: a claim sets it back to ``running``, and the outcome is recorded when the attempt ends.

Result columns (energy, forces, SCF steps, wall time, cores) may be set before or after the status ``completed``. Any
other status clears them. A failure set by hand gets a closed attempt of its own, which keeps the numbers and is not yet
counted in ``fail_count``: a reset, a claim or setting ``running`` counts it.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any

from oact_dagster.ledger.failures import (
    BATCH_BY_HAND,
    LAUNCHER_BY_HAND,
    adopt_failures,
    count_failures,
    mark_undone,
)
from oact_dagster.ledger.ledger_file import chunks, marks, storable
from oact_dagster.ledger.predicates import FAILED, HAS_OPEN_ATTEMPT, UNFOLLOWED
from oact_dagster.ledger.schema import NO_RESULT, RESULT_COLUMNS, SET_RESULT
from oact_dagster.ledger.states import FAILED_STATUSES, JobRecord, SeenEnding, Status
from oact_dagster.ledger.store import Ledger


def update_status(
    ledger: Ledger,
    structure_id: int,
    status: Status,
    error_message: str | None = None,
    *,
    increment_fail_count: bool = False,
) -> bool:
    """Set a structure's status by hand, and return whether the structure exists.

    Without a new ``error_message`` a failure keeps the present message; any other status clears it.
    ``increment_fail_count`` counts a failure now, not when it is reset.
    """
    with ledger.file.transaction() as db:
        found = _set_status(db, [structure_id], status, error_message)
        if found and increment_fail_count and status in FAILED_STATUSES:
            count_failures(db, "s.id = ?", (structure_id,))
        elif found and increment_fail_count:
            db.execute(
                "UPDATE structures SET fail_count = COALESCE(fail_count, 0) + 1 WHERE id = ?", (structure_id,)
            )
    return found == 1


def update_status_bulk(ledger: Ledger, structure_ids: Iterable[int], status: Status) -> int:
    """Set the status of many structures by hand, all or none, and return how many of them exist."""
    with ledger.file.transaction() as db:
        return sum(_set_status(db, chunk, status, None) for chunk in chunks(dict.fromkeys(structure_ids)))


def record_seen(ledger: Ledger, endings: Iterable[SeenEnding]) -> set[int]:
    """Record how jobs without an attempt of ours ended, all or none, and return the ``id`` of their structures.

    Structures that are no longer running, or that have an open attempt, stay unchanged and are left out.
    """
    recorded: set[int] = set()
    with ledger.file.transaction() as db:
        for one in endings:
            row = db.execute(
                f"SELECT 1 FROM structures s WHERE s.id = ? AND {UNFOLLOWED}", (one.structure_id,)
            ).fetchone()
            if row is None:
                continue
            db.execute(
                f"UPDATE structures SET job_dir = ?, {SET_RESULT} WHERE id = ?",
                (one.job_dir, *(getattr(one, name) for name in RESULT_COLUMNS), one.structure_id),
            )
            _set_status(db, [one.structure_id], one.status, one.message)
            if one.status is Status.COMPLETED and one.not_orca is not None:
                _add_completed_attempt(db, one, *one.not_orca)
            recorded.add(one.structure_id)
    return recorded


def move_folders(ledger: Ledger, moved: Iterable[tuple[JobRecord, str]]) -> int:
    """Store the new paths of moved job folders, all or none, and return how many structures were changed.

    ``moved`` pairs each structure, as read from the ledger, with its new path. Structures that have an open attempt, or
    whose path has changed meanwhile, stay unchanged.
    """
    count = 0
    with ledger.file.transaction() as db:
        for row, folder in moved:
            changed = db.execute(
                "UPDATE structures AS s SET job_dir = ?, updated_at = CURRENT_TIMESTAMP"
                f" WHERE id = ? AND job_dir = ? AND NOT {HAS_OPEN_ATTEMPT}",
                (folder, row.id, row.job_dir),
            ).rowcount
            if changed:
                # The folders of earlier attempts are beside it and have been moved with it.
                db.execute(
                    "UPDATE attempts SET job_dir = ? WHERE structure_id = ? AND job_dir = ?",
                    (folder, row.id, row.job_dir),
                )
            count += changed
    return count


def _add_completed_attempt(
    db: sqlite3.Connection, seen: SeenEnding, engine: str, version: str | None
) -> None:
    """Insert a closed attempt that holds the engine of a result, for which ``structures`` has no column."""
    result = {name: getattr(seen, name) for name in RESULT_COLUMNS}
    result |= {"engine": engine, "engine_version": version}
    at = time.time()
    db.execute(
        "INSERT INTO attempts (structure_id, number, token, state, batch_id, launcher, job_dir, outcome,"
        " claimed_at, ended_at, n_cores, result, engine)"
        " SELECT ?, COALESCE(MAX(number), 0) + 1, ?, 'closed', ?, ?, ?, 'completed', ?, ?, ?, ?, ?"
        " FROM attempts WHERE structure_id = ?",
        (
            seen.structure_id,
            secrets.token_hex(8),
            BATCH_BY_HAND,
            LAUNCHER_BY_HAND,
            seen.job_dir,
            at,
            at,
            seen.n_cores,
            json.dumps(result),
            engine,
            seen.structure_id,
        ),
    )


def update_metrics(
    ledger: Ledger,
    structure_id: int,
    *,
    job_dir: str | None = None,
    max_forces: float | None = None,
    scf_steps: int | None = None,
    final_energy: float | None = None,
    error_message: str | None = None,
    wall_time: float | None = None,
    n_cores: int | None = None,
) -> bool:
    """Set some of a structure's columns by hand (None: unchanged; Eh, Eh/bohr, s); return whether it exists."""
    given: dict[str, Any] = {
        "job_dir": job_dir,
        "max_forces": max_forces,
        "scf_steps": scf_steps,
        "final_energy": final_energy,
        "error_message": storable(error_message),
        "wall_time": wall_time,
        "n_cores": n_cores,
    }
    values = {name: value for name, value in given.items() if value is not None}
    with ledger.file.transaction() as db:
        cursor = db.execute(
            f"UPDATE structures SET {''.join(f'{name} = ?, ' for name in values)}"
            " updated_at = CURRENT_TIMESTAMP WHERE id = ?",
            (*values.values(), structure_id),
        )
        return cursor.rowcount == 1


def _set_status(db: sqlite3.Connection, ids: Sequence[int], status: Status, error_message: str | None) -> int:
    these = f"s.id IN ({marks(ids)})"
    failed = status in FAILED_STATUSES
    if status is Status.RUNNING:
        # The structure is tried again: earlier failures are counted, as by a claim.
        count_failures(db, f"{these} AND {FAILED}", ids)
    if not failed:
        mark_undone(db, f"{these} AND s.status != ?", (*ids, status))
    else:
        # Setting a failed structure to timed out, or to failed again, is no further failure.
        mark_undone(db, f"{these} AND NOT {FAILED}", ids)
    message = storable(error_message)
    text = "COALESCE(?, error_message)" if failed else "?"
    # A completed structure keeps its result, and so does one whose status does not change.
    cleared = "".join(
        f", {name} = CASE WHEN status = '{status}' THEN {name} END"
        for name in (() if failed or status is Status.COMPLETED else RESULT_COLUMNS)
    )
    found = db.execute(
        f"UPDATE structures SET status = ?, error_message = {text}, updated_at = CURRENT_TIMESTAMP"
        f"{cleared} WHERE id IN ({marks(ids)})",
        (status, message, *ids),
    ).rowcount
    if failed:
        # The attempt keeps the numbers: the structure's columns hold only results of completed structures.
        adopt_failures(db, BATCH_BY_HAND, these, ids)
        db.execute(f"UPDATE structures SET {NO_RESULT} WHERE id IN ({marks(ids)})", tuple(ids))
    return found

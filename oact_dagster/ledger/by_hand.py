"""What is changed by hand, by a reset or by the tools that know the table ``structures`` alone; rows by their ``id``.

Nothing here touches an attempt that is open: it stands for a calculation that may be running. While there is one the
structure is given to nobody, whatever its status says (a claim puts it back to ``running``, so that the attempt is
followed, or judged when its batch is dead), and its ending is recorded when it comes.

Result columns (energy, forces, SCF steps, wall time, cores) may be set before or after the status ``completed``, and
are cleared when a structure is given another one. A failure that is set by hand gets a closed attempt of its own,
which keeps the numbers and is not counted in ``fail_count``: a reset counts it, or a claim, or setting ``running``.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

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
from oact_dagster.ledger.states import JobRecord, SeenEnding, Status
from oact_dagster.ledger.store import Ledger

_FAILED: Final = (Status.FAILED, Status.TIMEOUT)


def update_status(
    ledger: Ledger,
    structure_id: int,
    status: Status,
    error_message: str | None = None,
    *,
    increment_fail_count: bool = False,
) -> bool:
    """Set a structure's status by hand.

    Args:
        ledger: to change.
        structure_id: its ``id``.
        status: the new one.
        error_message: for a failure, None leaves the one that is there; any other status clears it, unless one is
            given.
        increment_fail_count: count a failure now, and not when it is reset.

    Returns:
        Whether there is such a structure.
    """
    with ledger.file.transaction() as db:
        found = _set_status(db, [structure_id], status, error_message)
        if found and increment_fail_count:
            _count_now(db, structure_id, status)
    return found == 1


def update_status_bulk(ledger: Ledger, structure_ids: Iterable[int], status: Status) -> int:
    """Set the status of many structures by hand, all or none.

    Returns:
        How many of them there are.
    """
    with ledger.file.transaction() as db:
        return sum(_set_status(db, chunk, status, None) for chunk in chunks(dict.fromkeys(structure_ids)))


def record_seen(ledger: Ledger, endings: Iterable[SeenEnding]) -> set[int]:
    """Record how jobs ended that no attempt of ours stands for, all or none.

    A structure that is not running any more, or that has an open attempt, keeps what it has.

    Returns:
        The ``id`` of those that were recorded.
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
                _say_what_computed(db, one, *one.not_orca)
            recorded.add(one.structure_id)
    return recorded


def move_folders(ledger: Ledger, moved: Iterable[tuple[JobRecord, str]]) -> int:
    """Keep where job folders are that somebody has moved, all or none.

    A structure that has an open attempt, or whose folder is another one by now, keeps what it has.

    Args:
        ledger: to change.
        moved: each structure as the ledger has it, and where its folder is.

    Returns:
        How many structures have another folder now.
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
                # The folders of earlier attempts lie beside it, and were moved with it.
                db.execute(
                    "UPDATE attempts SET job_dir = ? WHERE structure_id = ? AND job_dir = ?",
                    (folder, row.id, row.job_dir),
                )
            count += changed
    return count


def _say_what_computed(db: sqlite3.Connection, seen: SeenEnding, engine: str, version: str | None) -> None:
    """Give a result that is not ORCA's a closed attempt: the table ``structures`` has no place for its engine."""
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
    """Set some of a structure's columns by hand; None leaves one as it is. Energies in Eh, forces in Eh/bohr, s.

    Returns:
        Whether there is such a structure.
    """
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
        return (
            db.execute(
                f"UPDATE structures SET {''.join(f'{name} = ?, ' for name in values)}"
                " updated_at = CURRENT_TIMESTAMP WHERE id = ?",
                (*values.values(), structure_id),
            ).rowcount
            == 1
        )


def _set_status(db: sqlite3.Connection, ids: Sequence[int], status: Status, error_message: str | None) -> int:
    these = f"s.id IN ({marks(ids)})"
    failed = status in _FAILED
    if status is Status.RUNNING:
        # It is tried again: what failed before counts, as it does with a claim.
        count_failures(db, f"{these} AND {FAILED}", ids)
    if not failed:
        # A failed structure that is said to be timed out, or so again, failed once.
        mark_undone(db, f"{these} AND s.status != ?", (*ids, status))
    else:
        mark_undone(db, f"{these} AND NOT {FAILED}", ids)
    message = storable(error_message)
    text = "COALESCE(?, error_message)" if failed else "?"
    # A completed structure keeps its result, and so does one whose status stays as it was.
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
        # Its attempt keeps the numbers; the structure's columns hold results only.
        adopt_failures(db, BATCH_BY_HAND, these, ids)
        db.execute(f"UPDATE structures SET {NO_RESULT} WHERE id IN ({marks(ids)})", tuple(ids))
    return found


def _count_now(db: sqlite3.Connection, structure_id: int, status: Status) -> None:
    if status in _FAILED:
        count_failures(db, "s.id = ?", (structure_id,))
    else:
        db.execute(
            "UPDATE structures SET fail_count = COALESCE(fail_count, 0) + 1 WHERE id = ?", (structure_id,)
        )

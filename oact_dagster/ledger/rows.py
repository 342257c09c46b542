"""From rows of the ledger's tables to the records that it gives out."""

import json
import sqlite3
from typing import Final

from oact_dagster.ledger.states import (
    AttemptRecord,
    AttemptState,
    OpenAttempt,
    Outcome,
    Status,
    StructureRecord,
)

STRUCTURE_COLUMNS: Final = (
    "s.id, s.orig_index, s.elements, s.natoms, s.status, s.charge, s.spin, s.geometry, s.job_dir, s.fail_count,"
    " s.error_message, COALESCE(st.loss_count, 0) AS loss_count, COALESCE(st.held, 0) AS held,"
    " COALESCE(st.row_hash, '') AS row_hash, COALESCE(st.annotations, '{}') AS annotations"
)
"""What :func:`structure_of` needs, of ``structures s`` and ``structure_state st``."""

ATTEMPT_COLUMNS: Final = (
    "a.number, a.token, a.state, a.batch_id, a.launcher, a.scheduler_job_id, a.host, a.job_dir, a.input_hash,"
    " a.remedy, a.outcome, a.failure_class, a.message, a.claimed_at, a.started_at, a.ended_at, a.elapsed, a.n_cores,"
    " a.result"
)
"""What :func:`attempt_of` needs, of ``attempts a``."""


def structure_of(row: sqlite3.Row) -> StructureRecord:
    """A structure from a row with :data:`STRUCTURE_COLUMNS`."""
    return StructureRecord(
        id=row["id"],
        orig_index=row["orig_index"],
        elements=row["elements"],
        natoms=row["natoms"],
        status=Status(row["status"]),
        charge=row["charge"],
        multiplicity=row["spin"],
        geometry=row["geometry"],
        job_dir=row["job_dir"],
        fail_count=row["fail_count"] or 0,
        error_message=row["error_message"],
        loss_count=row["loss_count"],
        held=bool(row["held"]),
        row_hash=row["row_hash"],
        annotations=json.loads(row["annotations"]),
    )


def attempt_of(row: sqlite3.Row) -> AttemptRecord:
    """An attempt from a row with :data:`ATTEMPT_COLUMNS`."""
    return AttemptRecord(
        number=row["number"],
        token=row["token"],
        state=AttemptState(row["state"]),
        batch_id=row["batch_id"],
        launcher=row["launcher"],
        scheduler_job_id=row["scheduler_job_id"],
        host=row["host"],
        job_dir=row["job_dir"],
        input_hash=row["input_hash"],
        remedy=row["remedy"],
        outcome=None if row["outcome"] is None else Outcome(row["outcome"]),
        failure_class=row["failure_class"],
        message=row["message"],
        claimed_at=row["claimed_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        elapsed=row["elapsed"],
        n_cores=row["n_cores"],
        result={} if row["result"] is None else json.loads(row["result"]),
    )


def open_attempt_of(row: sqlite3.Row) -> OpenAttempt:
    """An open attempt from its row and its structure's ``orig_index``."""
    return OpenAttempt(
        structure_id=row["structure_id"],
        orig_index=row["orig_index"],
        number=row["number"],
        token=row["token"],
        state=AttemptState(row["state"]),
        batch_id=row["batch_id"],
        launcher=row["launcher"],
        scheduler_job_id=row["scheduler_job_id"],
        job_dir=row["job_dir"],
    )

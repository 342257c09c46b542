"""From rows of the ledger's tables to the records that it gives out."""

import json
import sqlite3
from dataclasses import fields
from pathlib import Path
from typing import Final

from oact_dagster.ledger.connection import LedgerError
from oact_dagster.ledger.states import (
    AttemptRecord,
    AttemptState,
    JobRecord,
    Outcome,
    Status,
    StructureRecord,
)

STORED_COLUMNS: Final = ", ".join(one.name for one in fields(JobRecord))
"""What :func:`stored_of` needs, of ``structures``."""

STRUCTURE_COLUMNS: Final = (
    "s.id, s.orig_index, s.elements, s.natoms, s.status, s.charge, s.spin, s.geometry, s.job_dir, s.fail_count,"
    " s.error_message, COALESCE(st.loss_count, 0) AS loss_count, COALESCE(st.held, 0) AS held,"
    " COALESCE(st.row_hash, '') AS row_hash, COALESCE(st.annotations, '{}') AS annotations"
)
"""What :func:`structure_of` needs, of ``structures s`` and ``structure_state st``."""

ATTEMPT_COLUMNS: Final = (
    "s.orig_index, a.structure_id, a.number, a.token, a.state, a.batch_id, a.launcher, a.scheduler_job_id, a.host,"
    " a.job_dir, a.input_hash, a.settings_hash, a.remedy, a.plan, a.outcome, a.failure_class, a.message, a.claimed_at,"
    " a.started_at, a.ended_at, a.elapsed, a.n_cores, a.result, a.evidence, a.cpu_time_s, a.max_rss_mb"
)
"""What :func:`attempt_of` needs, of ``attempts a`` and ``structures s``."""


def structure_of(row: sqlite3.Row, path: Path) -> StructureRecord:
    """A structure from a row with :data:`STRUCTURE_COLUMNS`.

    A charge that is not there is 0, and a multiplicity 1, as intake takes a CSV without these columns.

    Raises:
        LedgerError: its status is none of ours.
    """
    return StructureRecord(
        id=row["id"],
        orig_index=row["orig_index"],
        elements=row["elements"] or "",
        natoms=row["natoms"] or 0,
        status=_status_of(row, path),
        charge=row["charge"] or 0,
        multiplicity=1 if row["spin"] is None else row["spin"],
        geometry=row["geometry"] or "",
        job_dir=row["job_dir"],
        fail_count=row["fail_count"] or 0,
        error_message=row["error_message"],
        loss_count=row["loss_count"],
        held=bool(row["held"]),
        row_hash=row["row_hash"],
        annotations=json.loads(row["annotations"]),
    )


def stored_of(row: sqlite3.Row, path: Path) -> JobRecord:
    """A row of the table ``structures`` with :data:`STORED_COLUMNS`.

    Raises:
        LedgerError: its status is none of ours.
    """
    record = JobRecord(*row)
    record.status = _status_of(row, path)
    record.fail_count = record.fail_count or 0
    return record


def _status_of(row: sqlite3.Row, path: Path) -> Status:
    try:
        return Status(row["status"])
    except ValueError:
        raise LedgerError(
            f"{path}: unknown status {row['status']!r} in the row with id {row['id']}: set it to one of"
            f" {', '.join(Status)}"
        ) from None


def attempt_of(row: sqlite3.Row) -> AttemptRecord:
    """An attempt from a row with :data:`ATTEMPT_COLUMNS`."""
    return AttemptRecord(
        structure_id=row["structure_id"],
        orig_index=row["orig_index"],
        number=row["number"],
        token=row["token"],
        state=AttemptState(row["state"]),
        batch_id=row["batch_id"],
        launcher=row["launcher"],
        scheduler_job_id=row["scheduler_job_id"],
        host=row["host"],
        job_dir=row["job_dir"],
        input_hash=row["input_hash"],
        settings_hash=row["settings_hash"],
        remedy=row["remedy"],
        plan={} if row["plan"] is None else json.loads(row["plan"]),
        outcome=None if row["outcome"] is None else Outcome(row["outcome"]),
        failure_class=row["failure_class"],
        message=row["message"],
        claimed_at=row["claimed_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        elapsed=row["elapsed"],
        n_cores=row["n_cores"],
        result={} if row["result"] is None else json.loads(row["result"]),
        evidence={} if row["evidence"] is None else json.loads(row["evidence"]),
        cpu_time_s=row["cpu_time_s"],
        max_rss_mb=row["max_rss_mb"],
    )

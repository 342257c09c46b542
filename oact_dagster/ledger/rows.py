"""Conversion of the ledger's rows to records."""

import json
import sqlite3
from dataclasses import fields
from pathlib import Path
from typing import Final

from oact_dagster.errors import LedgerError
from oact_dagster.ledger.states import (
    AttemptRecord,
    AttemptState,
    JobRecord,
    Outcome,
    Status,
    StructureRecord,
)

STORED_COLUMNS: Final = ", ".join(one.name for one in fields(JobRecord))
"""Columns of ``structures`` for :func:`stored_of`."""

STRUCTURE_COLUMNS: Final = (
    "s.id, s.orig_index, s.elements, s.natoms, s.status, s.charge, s.spin, s.geometry, s.job_dir, s.fail_count,"
    " s.error_message, COALESCE(st.loss_count, 0) AS loss_count, COALESCE(st.held, 0) AS held,"
    " COALESCE(st.row_hash, '') AS row_hash, COALESCE(st.annotations, '{}') AS annotations"
)
"""Columns of ``structures s`` and ``structure_state st`` for :func:`structure_of`."""

ATTEMPT_COLUMNS: Final = (
    "s.orig_index, a.structure_id, a.number, a.token, a.state, a.batch_id, a.launcher, a.scheduler_job_id, a.host,"
    " a.job_dir, a.input_hash, a.settings_hash, a.remedy, a.plan, a.outcome, a.failure_class, a.message, a.claimed_at,"
    " a.started_at, a.ended_at, a.elapsed, a.n_cores, a.result, a.evidence, a.cpu_time_s, a.max_rss_mb"
)
"""Columns of ``attempts a`` and ``structures s`` for :func:`attempt_of`."""


def structure_of(row: sqlite3.Row, path: Path) -> StructureRecord:
    """A structure from a row with :data:`STRUCTURE_COLUMNS`.

    A missing charge is 0 and a missing multiplicity is 1, as for a CSV without these columns.

    Raises:
        LedgerError: its status is unknown.
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
        LedgerError: its status is unknown.
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
    values = dict(row)
    values["state"] = AttemptState(values["state"])
    values["outcome"] = None if values["outcome"] is None else Outcome(values["outcome"])
    for name in ("plan", "result", "evidence"):
        values[name] = {} if values[name] is None else json.loads(values[name])
    return AttemptRecord(**values)

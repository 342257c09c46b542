"""Free disk space: remove what finished jobs no longer need from their folders."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from oact_dagster.attempts.attempt_folders import attempt_folders
from oact_dagster.attempts.folder_cleanup import Kind, Removed, clean_folder, purge_folder
from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import (
    FAILED_OUTCOMES,
    FAILED_STATUSES,
    AttemptRecord,
    JobRecord,
    Outcome,
    Status,
)
from oact_dagster.maintenance.update import folder_of
from oact_dagster.orca.outputs.reader import tail

_CHUNK: Final = 200
_TAIL_LINES: Final = 40
"""Lines of an output that are kept in the record of a failure."""
LONGEST_MESSAGE: Final = 10_000
_EXAMPLES: Final = 5

_FINISHED: Final = (Status.COMPLETED, *FAILED_STATUSES)
_WITHOUT_RESULT: Final = (*FAILED_OUTCOMES, Outcome.LOST, Outcome.CANCELLED)
_ATTEMPT_FIELDS: Final = ("remedy", "scheduler_job_id", "host", "started_at", "ended_at")
"""Fields of an attempt that are copied into the record of its failure."""


@dataclass(slots=True)
class CleanReport:
    """What was removed, or would be removed."""

    folders: int = 0
    """Folders visited."""
    files: Counter[Kind] = field(default_factory=Counter)
    sizes: Counter[Kind] = field(default_factory=Counter)
    """Bytes."""
    left_alone: Counter[str] = field(default_factory=Counter)
    """Folders that were not cleaned, by reason."""
    examples: dict[str, list[str]] = field(default_factory=dict)

    def leave(self, reason: str, folder: str) -> None:
        """Record why a folder was not cleaned."""
        self.left_alone[reason] += 1
        known = self.examples.setdefault(reason, [])
        if len(known) < _EXAMPLES:
            known.append(folder)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder of a finished structure."""

    path: Path
    row: JobRecord
    attempt: AttemptRecord | None
    failed: bool
    """Whether it lacks a result."""
    may_be_started_from: bool
    """Whether the structure has no result yet, so that its next attempt looks here for orbitals."""


def clean_campaign(
    ledger: LedgerReader,
    layout: JobLayout,
    report: CleanReport,
    *,
    keep_orbitals: bool = True,
    purge_failed: bool = False,
    execute: bool = False,
) -> Iterator[Removed]:
    """Clean the folders of all finished structures, but not of those that run or will run again.

    Args:
        ledger: its structures are streamed.
        layout: where the folders are; nothing outside ``jobs_dir`` is touched.
        report: filled during the iteration.
        keep_orbitals: keep ``.gbw`` files and densities of completed structures. Those of failed structures are always
            kept, because the next attempt may start from them.
        purge_failed: reduce attempts without a result to their input and a short record.
        execute: remove the files; otherwise only list them.

    Yields:
        Each file that is, or would be, removed.
    """
    rows = ledger.structures.stored_by_status(_FINISHED)
    while chunk := list(islice(rows, _CHUNK)):
        for folder in _folders(ledger, layout, chunk):
            report.folders += 1
            try:
                for removed in _clean_one(
                    folder, layout, keep_orbitals=keep_orbitals, purge_failed=purge_failed, execute=execute
                ):
                    report.files[removed.kind] += 1
                    report.sizes[removed.kind] += removed.size
                    yield removed
            except FileNotFoundError:
                report.leave("does not exist (any more)", str(folder.path))
            except OSError as error:
                report.leave(error.strerror or str(error), str(folder.path))


def _clean_one(
    folder: _Folder, layout: JobLayout, *, keep_orbitals: bool, purge_failed: bool, execute: bool
) -> Iterator[Removed]:
    needed = folder.may_be_started_from
    if purge_failed and folder.failed:
        # Once the structure has a result, nothing starts from an earlier failure.
        record = _failure_record(folder)
        yield from purge_folder(folder.path, layout.jobs_dir, record, keep_orbitals=needed, execute=execute)
    else:
        keep = needed or keep_orbitals
        yield from clean_folder(folder.path, layout.jobs_dir, keep_orbitals=keep, execute=execute)


def _folders(ledger: LedgerReader, layout: JobLayout, rows: Sequence[JobRecord]) -> Iterator[_Folder]:
    """Find the folders of these structures and of their earlier attempts."""
    indices = [row.orig_index for row in rows if row.orig_index is not None]
    busy = {one.structure_id for one in ledger.history.open_attempts(indices).values()}
    attempts = ledger.history.attempts_of(indices)
    # Read the rows again after the attempts: a run may have claimed a structure in between.
    now = ledger.structures.stored([row.id for row in rows])
    for row in rows:
        if row.id in busy or row.id not in now or now[row.id].status is not row.status:
            continue
        unfinished = row.status is not Status.COMPLETED
        current = folder_of(row, layout)
        seen: set[Path] = set()
        for attempt in reversed(attempts.get(row.orig_index, []) if row.orig_index is not None else []):
            if attempt.job_dir is None:
                continue
            for path in attempt_folders(Path(attempt.job_dir), attempt.number, attempt.token):
                if path not in seen:
                    seen.add(path)
                    failed = attempt.outcome in _WITHOUT_RESULT
                    yield _Folder(path, row, attempt, failed, unfinished)
        if current is not None and current not in seen and current.is_dir():
            yield _Folder(current, row, None, unfinished, unfinished)


def _failure_record(folder: _Folder) -> dict[str, Any]:
    """The record that is kept of a failure."""
    row, attempt = folder.row, folder.attempt
    message = attempt.message if attempt is not None else row.error_message
    return {
        "orig_index": row.orig_index,
        "status": str(row.status),
        "fail_count": row.fail_count,
        "attempt": attempt.number if attempt is not None else None,
        "outcome": str(attempt.outcome) if attempt is not None else None,
        "failure_class": attempt.failure_class if attempt is not None else None,
        "message": (message or "")[:LONGEST_MESSAGE],
        **{name: getattr(attempt, name) if attempt is not None else None for name in _ATTEMPT_FIELDS},
        "n_cores": attempt.n_cores if attempt is not None else row.n_cores,
        "tail": tail(folder.path, _TAIL_LINES).splitlines(),
    }

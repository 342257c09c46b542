"""The invariants between a ledger and its job folders."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.verdict import Evidence
from oact_dagster.launchers.attempt_files import ATTEMPT_FILE, INPUT_FILE, OUTPUT_FILE, read_spec
from oact_dagster.ledger.failures import LAUNCHER_BY_HAND
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import FAILED_STATUSES, AttemptState, JobRecord, Status
from oact_dagster.maintenance.existing_ledger import result_problem
from oact_dagster.maintenance.update import folder_of
from oact_dagster.orca.outputs.reader import read_output, read_termination
from oact_dagster.orca.outputs.terminations import Termination
from oact_dagster.schedulers.jobs import JobState, Phase

HALF_MADE_S: Final = 3600.0
"""A half-made folder of at least this age was left by a killed process, s."""

_AT_ONCE: Final = 200
_NAMED: Final = 3
_DEPTH: Final = 3
_TEMPORARY_NAME: Final = re.compile(r"\..*\.(input-[^.]*|[0-9a-f]{16})", re.DOTALL)
"""The name of a folder that is being made: ``.job_42.TOKEN``."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """A condition that must hold."""

    name: str
    holds: str
    """The condition, as a sentence."""
    advice: str
    """What a user can do about a difference that is not repaired."""
    mends: str | None = None
    """What ``--repair`` does about it; None if nothing is safe."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that breaks an invariant."""

    structure_id: int | None
    orig_index: int | None
    detail: str


FOLDER_INVARIANTS: Final[tuple[Invariant, ...]] = (
    Invariant(
        "folder-inside",
        "the job folder of each structure is inside JOBS_DIR",
        "give the right JOBS_DIR; if folders were moved, the next attempt is made in the new place",
        mends="sets the folder of the same name in JOBS_DIR, if the old one is gone and the new one's attempt.json"
        " belongs to the last attempt",
    ),
    Invariant(
        "result-is-proved",
        "the folder of each completed structure holds the output of the attempt that completed it, with a normal end"
        " and the ledger's energy",
        "restore the folder from a copy, or set the structure to_run",
    ),
    Invariant(
        "failure-has-no-result",
        "no folder of a failed or timed-out structure holds a good result of its last attempt",
        "set it to_run, and a run takes the result; or set it running, and use `oact dashboard DB --update JOBS_DIR`",
    ),
    Invariant(
        "folder-is-known",
        "each job folder in JOBS_DIR belongs to a structure of the ledger",
        "it belongs to another campaign or to a deleted row: move it elsewhere",
    ),
    Invariant(
        "folder-is-whole",
        "no half-made job folder (.job_42.…) is older than an hour",
        "a process was killed while writing it: delete it",
        mends="deletes it",
    ),
)


class Unreadable:
    """Folders that this user may not read. They are named and skipped."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[str] = []

    def add(self, folder: str | Path, error: OSError) -> None:
        """Record a skipped folder, unless it vanished during the check, for example by a rename."""
        if isinstance(error, FileNotFoundError):
            return
        self._count += 1
        if len(self._first) < _NAMED:
            self._first.append(f"{folder}: {error.strerror or error}")

    def add_job(self, row: JobRecord, error: OSError) -> None:
        """Record the skipped job folder of a structure."""
        self.add(row.job_dir or f"the folder of structure {row.orig_index}", error)

    @property
    def summary(self) -> str | None:
        """The folders on one line; None if there are none."""
        if not self._count:
            return None
        more = f" and {self._count - len(self._first)} more" if self._count > len(self._first) else ""
        return f"unreadable folders: {'; '.join(self._first)}{more}"


def folders_outside(ledger: LedgerReader, layout: JobLayout, _: Unreadable) -> Iterator[Difference]:
    """Find structures whose folder is outside the jobs folder."""
    inside = layout.jobs_dir.resolve()
    for row in ledger.structures.stored_with_folder():
        if not _lies_in(inside, row):
            yield Difference(row.id, row.orig_index, f"its folder is {row.job_dir}")


def moved_folders(
    ledger: LedgerReader, layout: JobLayout, unreadable: Unreadable
) -> Iterator[tuple[JobRecord, str]]:
    """Find structures whose folder has moved: the jobs folder has one of the same name with the same token."""
    inside = layout.jobs_dir.resolve()
    rows = (row for row in ledger.structures.stored_with_folder() if not _lies_in(inside, row))
    while chunk := list(islice(rows, _AT_ONCE)):
        attempts = ledger.history.attempts_of([row.orig_index for row in chunk if row.orig_index is not None])
        for row in chunk:
            own = attempts.get(row.orig_index, []) if row.orig_index is not None else []
            if not own or any(one.state is not AttemptState.CLOSED for one in own):
                continue
            kept = Path(str(row.job_dir))
            try:
                if kept.exists():
                    continue
                # The same name, directly or in the same subfolder as before.
                for folder in (layout.jobs_dir / kept.name, layout.jobs_dir / kept.parent.name / kept.name):
                    spec = read_spec(folder)
                    if spec is not None and spec.token == own[-1].token:
                        yield row, os.path.abspath(folder)
                        break
            except OSError as error:
                unreadable.add(kept, error)


def _lies_in(inside: Path, row: JobRecord) -> bool:
    return Path(str(row.job_dir)).resolve().is_relative_to(inside)


def unproved_results(ledger: LedgerReader, layout: JobLayout, unreadable: Unreadable) -> Iterator[Difference]:
    """Find completed structures whose folder does not prove their result."""
    rows = ledger.structures.stored_by_status([Status.COMPLETED])
    while chunk := list(islice(rows, _AT_ONCE)):
        good = ledger.history.good_attempts([row.orig_index for row in chunk if row.orig_index is not None])
        for row in chunk:
            try:
                problem = result_problem(row, layout)
            except OSError as error:
                unreadable.add_job(row, error)
                continue
            if problem is None and row.orig_index in good:
                attempt = good[row.orig_index]
                spec = read_spec(folder_of(row, layout) or Path())
                # The folder of another tool's job holds no token.
                if attempt.launcher != LAUNCHER_BY_HAND and (spec is None or spec.token != attempt.token):
                    problem = "its folder belongs to another attempt"
            if problem is not None and row.final_energy is not None:
                yield Difference(row.id, row.orig_index, problem)


def failed_with_result(
    ledger: LedgerReader, layout: JobLayout, unreadable: Unreadable
) -> Iterator[Difference]:
    """Find failed structures that have a result."""
    rows = ledger.structures.stored_by_status(FAILED_STATUSES)
    while chunk := list(islice(rows, _AT_ONCE)):
        attempts = ledger.history.attempts_of([row.orig_index for row in chunk if row.orig_index is not None])
        for row in chunk:
            try:
                folder = folder_of(row, layout)
            except OSError as error:
                unreadable.add_job(row, error)
                continue
            if folder is None or read_termination(folder).termination is not Termination.NORMAL:
                continue
            own = [] if row.orig_index is None else attempts.get(row.orig_index, [])
            token = own[-1].token if own and own[-1].launcher != LAUNCHER_BY_HAND else None
            output = read_output(folder)
            evidence = Evidence(token or "", None, output, JobState(Phase.ENDED))
            if output.final_energy is not None and (token is None or evidence.good):
                detail = f"is {row.status}, but its output ended normally ({output.final_energy} Eh)"
                yield Difference(row.id, row.orig_index, detail)


def unknown_folders(ledger: LedgerReader, layout: JobLayout, unreadable: Unreadable) -> Iterator[Difference]:
    """Find job folders that belong to no structure."""
    folders = job_folders(layout.jobs_dir, unreadable=unreadable)
    while chunk := list(islice(folders, _AT_ONCE)):
        rows = _rows_named(ledger, layout, chunk)
        named = {os.path.abspath(row.job_dir) for row in rows if row.job_dir}
        named |= {str(layout.folder(row.orig_index, row.id)) for row in rows if row.orig_index is not None}
        left = [folder for folder in chunk if str(folder) not in named]
        # The rest have names without their row's number. Searching the whole table is slow, but few folders need it.
        known = set(ledger.structures.known_folders([str(folder) for folder in left])) if left else set()
        for folder in left:
            if str(folder) not in known:
                yield Difference(None, None, str(folder))


def job_folders(jobs_dir: Path, depth: int = _DEPTH, unreadable: Unreadable | None = None) -> Iterator[Path]:
    """Find the folders of current calculations, without those of earlier attempts and half-made ones.

    Folders that cannot be read are added to ``unreadable``.
    """
    skipped = unreadable or Unreadable()
    for folder in _subfolders(jobs_dir, skipped):
        if folder.name.startswith(".") or ".attempt-" in folder.name:
            continue
        try:
            is_job = any((folder / name).exists() for name in (ATTEMPT_FILE, INPUT_FILE, OUTPUT_FILE))
        except OSError as error:
            skipped.add(folder, error)
            continue
        if is_job:
            yield folder
        elif depth > 1:
            yield from job_folders(folder, depth - 1, skipped)


def half_made(jobs_dir: Path, now: float, unreadable: Unreadable, depth: int = _DEPTH) -> Iterator[Path]:
    """Find folders that a killed process left half-made."""
    for folder in _subfolders(jobs_dir, unreadable):
        if folder.name.startswith("."):
            try:
                # Other programs' hidden folders have other names.
                if (
                    _TEMPORARY_NAME.fullmatch(folder.name)
                    and now - folder.stat().st_mtime > HALF_MADE_S
                    and not any(one.name == OUTPUT_FILE for one in folder.iterdir())
                ):
                    yield folder
            except OSError as error:
                unreadable.add(folder, error)
        elif depth > 1 and folder.name.isdecimal():
            yield from half_made(folder, now, unreadable, depth - 1)


def _subfolders(parent: Path, unreadable: Unreadable) -> Iterator[Path]:
    """The folders directly in a folder, without links."""
    try:
        with os.scandir(parent) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path)
    except OSError as error:
        unreadable.add(parent, error)


def _rows_named(ledger: LedgerReader, layout: JobLayout, folders: list[Path]) -> list[JobRecord]:
    """The rows whose number is in a folder's ``attempt.json``, or comes last in its name."""
    # SQLite's integers hold 18 digits.
    numbers = {int(digits[-1][:18]) for one in folders if (digits := re.findall(r"[0-9]+", one.name))}
    specs = {spec.orig_index for folder in folders if (spec := read_spec(folder)) is not None}
    found = ledger.structures.of(sorted(numbers | specs))
    ids = {one.id for one in found.values()} | (numbers if "{id}" in layout.pattern else set())
    return list(ledger.structures.stored(sorted(ids)).values())

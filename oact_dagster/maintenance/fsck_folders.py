"""What must hold between a ledger and the job folders."""

import os
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
from oact_dagster.ledger.states import AttemptState, JobRecord, Status
from oact_dagster.maintenance.existing_ledger import result_problem
from oact_dagster.maintenance.update import folder_of
from oact_dagster.orca.outputs.reader import read_output, read_termination
from oact_dagster.orca.outputs.terminations import Termination
from oact_dagster.schedulers.jobs import JobState, Phase

HALF_MADE_S: Final = 3600.0
"""A folder that is being made for so long is one that a killed process left, s."""

_AT_ONCE: Final = 200
_NAMED: Final = 3
_DEPTH: Final = 3


@dataclass(frozen=True, slots=True)
class Invariant:
    """One thing that must hold."""

    name: str
    holds: str
    """In a sentence."""
    advice: str
    """What a user does about a difference that is not mended."""
    mends: str | None = None
    """What ``--repair`` does about it; None where nothing is safe."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What breaks an invariant."""

    structure_id: int | None
    orig_index: int | None
    detail: str


FOLDER_INVARIANTS: Final[tuple[Invariant, ...]] = (
    Invariant(
        "folder-inside",
        "the job folder of each structure lies inside JOBS_DIR",
        "name the right JOBS_DIR; where folders were moved, the next attempt is made in the new place",
        mends="sets the folder of the same name in JOBS_DIR, where the old one is gone and the new one's attempt.json"
        " is that of the last attempt",
    ),
    Invariant(
        "result-is-proved",
        "the folder of each completed structure holds the output of the attempt that completed it, with a normal end"
        " and the ledger's energy",
        "put the folder back from a copy, or set the structure to_run",
    ),
    Invariant(
        "failure-has-no-result",
        "the folder of no failed or timed-out structure holds a good result of its last attempt",
        "set it to_run: a run takes the result that is there; or to running, and `oact dashboard DB --update JOBS_DIR`",
    ),
    Invariant(
        "folder-is-known",
        "each job folder in JOBS_DIR belongs to a structure of the ledger",
        "it is another campaign's, or of a row that was deleted: move it elsewhere",
    ),
    Invariant(
        "folder-is-whole",
        "no half-made job folder (.job_42.…) is older than an hour",
        "a process was killed while it wrote it: delete it",
        mends="deletes it",
    ),
)


class Unreadable:
    """Folders that this user may not read: they are named and passed over, and the others are looked at."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[str] = []

    def add(self, folder: str | Path, error: OSError) -> None:
        """Keep a folder that is passed over; not one that went while it was looked at, such as one that is renamed."""
        if isinstance(error, FileNotFoundError):
            return
        self._count += 1
        if len(self._first) < _NAMED:
            self._first.append(f"{folder}: {error.strerror or error}")

    @property
    def told(self) -> str | None:
        """The folders in one line; None where there is none."""
        if not self._count:
            return None
        more = f" and {self._count - len(self._first)} more" if self._count > len(self._first) else ""
        return f"what cannot be read, and is passed over: {'; '.join(self._first)}{more}"


def folders_outside(ledger: LedgerReader, layout: JobLayout, _: Unreadable) -> Iterator[Difference]:
    """Structures whose folder lies elsewhere."""
    inside = layout.jobs_dir.resolve()
    for row in ledger.structures.stored_with_folder():
        if not _lies_in(inside, row):
            yield Difference(row.id, row.orig_index, f"its folder is {row.job_dir}")


def moved_folders(
    ledger: LedgerReader, layout: JobLayout, unreadable: Unreadable
) -> Iterator[tuple[JobRecord, str]]:
    """Structures whose folder is gone, and lies under the same name in the jobs folder: the token says so."""
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
                # The same name, also in the subfolder that it had.
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
    """Completed structures whose result their folder does not prove."""
    rows = ledger.structures.stored_by_status([Status.COMPLETED])
    while chunk := list(islice(rows, _AT_ONCE)):
        good = ledger.history.good_attempts([row.orig_index for row in chunk if row.orig_index is not None])
        for row in chunk:
            try:
                problem = result_problem(row, layout)
            except OSError as error:
                unreadable.add(row.job_dir or f"the folder of structure {row.orig_index}", error)
                continue
            if problem is None and row.orig_index in good:
                attempt = good[row.orig_index]
                spec = read_spec(folder_of(row, layout) or Path())
                # In the folder of another tool's job lies no word of ours.
                if attempt.launcher != LAUNCHER_BY_HAND and (spec is None or spec.token != attempt.token):
                    problem = "its folder is another attempt's"
            if problem is not None and row.final_energy is not None:
                yield Difference(row.id, row.orig_index, problem)


def failed_with_result(
    ledger: LedgerReader, layout: JobLayout, unreadable: Unreadable
) -> Iterator[Difference]:
    """Failed structures that have a result."""
    rows = ledger.structures.stored_by_status([Status.FAILED, Status.TIMEOUT])
    while chunk := list(islice(rows, _AT_ONCE)):
        attempts = ledger.history.attempts_of([row.orig_index for row in chunk if row.orig_index is not None])
        for row in chunk:
            try:
                folder = folder_of(row, layout)
            except OSError as error:
                unreadable.add(row.job_dir or f"the folder of structure {row.orig_index}", error)
                continue
            if folder is None or read_termination(folder).termination is not Termination.NORMAL:
                continue
            own = [] if row.orig_index is None else attempts.get(row.orig_index, [])
            token = own[-1].token if own and own[-1].launcher != LAUNCHER_BY_HAND else None
            output = read_output(folder)
            said = Evidence(token or "", None, output, JobState(Phase.ENDED))
            if output.final_energy is not None and (token is None or said.good):
                yield Difference(
                    row.id,
                    row.orig_index,
                    f"is {row.status}, and its output ended normally ({output.final_energy} Eh)",
                )


def unknown_folders(ledger: LedgerReader, layout: JobLayout, unreadable: Unreadable) -> Iterator[Difference]:
    """Job folders that no structure has."""
    folders = job_folders(layout.jobs_dir, unreadable=unreadable)
    while chunk := list(islice(folders, _AT_ONCE)):
        rows = _rows_named(ledger, layout, chunk)
        named = {os.path.abspath(row.job_dir) for row in rows if row.job_dir}
        named |= {str(layout.folder(row.orig_index, row.id)) for row in rows if row.orig_index is not None}
        left = [folder for folder in chunk if str(folder) not in named]
        # Names that hold no number of their row: a search through the whole table, which few folders need.
        known = set(ledger.structures.known_folders([str(folder) for folder in left])) if left else set()
        for folder in left:
            if str(folder) not in known:
                yield Difference(None, None, str(folder))


def job_folders(jobs_dir: Path, depth: int = _DEPTH, unreadable: Unreadable | None = None) -> Iterator[Path]:
    """Folders that hold a calculation, current ones only: not those of earlier attempts, nor half-made ones.

    Those that cannot be read are passed over, and added to ``unreadable``.
    """
    left_out = unreadable or Unreadable()
    for folder in _subfolders(jobs_dir, left_out):
        if folder.name.startswith(".") or ".attempt-" in folder.name:
            continue
        try:
            is_job = any((folder / name).exists() for name in (ATTEMPT_FILE, INPUT_FILE, OUTPUT_FILE))
        except OSError as error:
            left_out.add(folder, error)
            continue
        if is_job:
            yield folder
        elif depth > 1:
            yield from job_folders(folder, depth - 1, left_out)


def half_made(layout: JobLayout, now: float, unreadable: Unreadable, depth: int = _DEPTH) -> Iterator[Path]:
    """Folders that a killed process has left in the making."""
    yield from _half_made(layout.jobs_dir, now, unreadable, depth)


def _half_made(parent: Path, now: float, unreadable: Unreadable, depth: int) -> Iterator[Path]:
    for folder in _subfolders(parent, unreadable):
        if folder.name.startswith("."):
            # `.job_42.TOKEN`, as the writer of folders calls them; nobody else's hidden folder.
            try:
                old = folder.name.count(".") >= 2 and now - folder.stat().st_mtime > HALF_MADE_S
                ours = old and _is_half_made(folder)
            except OSError as error:
                unreadable.add(folder, error)
                continue
            if ours:
                yield folder
        elif depth > 1 and folder.name.isdecimal():
            yield from _half_made(folder, now, unreadable, depth - 1)


def _subfolders(parent: Path, unreadable: Unreadable) -> Iterator[Path]:
    """The folders in a folder, without links."""
    try:
        with os.scandir(parent) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path)
    except OSError as error:
        unreadable.add(parent, error)


def _is_half_made(folder: Path) -> bool:
    mark = folder.name.rpartition(".")[2]
    names = {name.name for name in folder.iterdir()}
    is_mark = mark.startswith("input-") or (
        len(mark) == 16 and all(one in "0123456789abcdef" for one in mark)
    )
    return is_mark and OUTPUT_FILE not in names


def _rows_named(ledger: LedgerReader, layout: JobLayout, folders: list[Path]) -> list[JobRecord]:
    """The rows whose number stands in a folder's ``attempt.json`` or name."""
    numbers = {int(digits) for folder in folders if (digits := _digits(folder.name))}
    specs = {spec.orig_index for folder in folders if (spec := read_spec(folder)) is not None}
    found = ledger.structures.of(sorted(numbers | specs))
    ids = {one.id for one in found.values()} | (numbers if "{id}" in layout.pattern else set())
    return list(ledger.structures.stored(sorted(ids)).values())


def _digits(name: str) -> str:
    last = ""
    current = ""
    for character in name:
        current = current + character if character.isdecimal() and character.isascii() else ""
        last = current or last
    return last[:18]

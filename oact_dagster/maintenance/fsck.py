"""Check that ledger, folders and scheduler agree: a list of invariants, and the differences found.

Nothing is changed unless asked for, and then only what is safe: files that another program may still be writing are
left alone, and no status is set without evidence. Ledgers of any size are streamed; the first few differences of each
invariant are kept as examples.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.recovery import GRACE_S, LauncherOf, last_sign, left_by_dead
from oact_dagster.errors import LauncherError
from oact_dagster.ledger.by_hand import move_folders
from oact_dagster.ledger.consistency import (
    CONSISTENCY_RULES,
    LedgerRule,
    broken_rows,
    damage,
    mend,
    release_dead_writer,
)
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.store import Ledger
from oact_dagster.maintenance.fsck_folders import (
    FOLDER_INVARIANTS,
    Difference,
    Invariant,
    Unreadable,
    failed_with_result,
    folders_outside,
    half_made,
    moved_folders,
    unknown_folders,
    unproved_results,
)
from oact_dagster.maintenance.update import update_running
from oact_dagster.schedulers.jobs import Phase
from oact_dagster.settings.launcher_kinds import jobs_outlive_run

_EXAMPLES: Final = 20
_ASKED_AT_ONCE: Final = 500
_DAMAGE: Final = Invariant(
    "file-sound",
    "SQLite finds the file intact",
    "restore a copy, or save what is readable with `sqlite3 workflow.db .recover`",
)
_FOLLOWED: Final = Invariant(
    "attempt-is-followed",
    "each open attempt belongs to a live batch",
    "the next run of these structures follows or judges it, and so does `oact dashboard DB --update JOBS_DIR`",
    mends="judges it by its folder and its scheduler, as --update does",
)
_WRITER: Final = Invariant(
    "writer-lives",
    "the host that writes has a live batch, or was seen in the last 10 minutes",
    "a run there died: use `oact run --take-over`, or run on that host",
    mends="lets any host write again if the dead process ran on this host",
)
_HAS_JOB: Final = Invariant(
    "attempt-has-job",
    "the scheduler knows the job of each open attempt",
    "the job has ended or was lost: the run that follows it records that after its grace period",
)


def _ledger_invariant(rule: LedgerRule) -> Invariant:
    return Invariant(rule.name, rule.holds, rule.advice, rule.mends)


INVARIANTS: Final[tuple[Invariant, ...]] = (
    _DAMAGE,
    *map(_ledger_invariant, CONSISTENCY_RULES),
    _FOLLOWED,
    _WRITER,
    *FOLDER_INVARIANTS,
    _HAS_JOB,
)
"""All invariants, in the order in which they are checked."""


@dataclass(slots=True)
class Found:
    """The differences that break one invariant."""

    invariant: Invariant
    count: int = 0
    examples: list[Difference] = field(default_factory=list)
    mended: int = 0
    skipped: str | None = None
    """Why the check was not made, or what it left out."""

    @property
    def left(self) -> int:
        """Differences that remain."""
        return self.count - self.mended

    def add(self, difference: Difference) -> None:
        """Count a difference; the first few are kept as examples."""
        self.count += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(difference)


def run_fsck(
    ledger: LedgerReader,
    layout: JobLayout,
    launcher_of: LauncherOf,
    *,
    repair: bool = False,
    clock: Callable[[], float] = time.time,
) -> Iterator[Found]:
    """Check every invariant, and yield what was found for each.

    Args:
        ledger: open for writing if ``repair`` is set.
        layout: where the job folders are.
        launcher_of: finds the launcher that can be asked about attempts of a kind.
        repair: repair what is safe.
        clock: Unix time, s.

    Raises:
        LedgerError: the ledger cannot be read or written.
        ValueError: ``repair`` is set, but the ledger is open for reading only.
    """
    if repair and not isinstance(ledger, Ledger):
        raise ValueError("repair needs a ledger that is open for writing")
    yield _gathered(_DAMAGE, (Difference(None, None, text) for text in damage(ledger, _EXAMPLES)))
    for rule in CONSISTENCY_RULES:
        broken = (Difference(row.id, row.orig_index, row.detail) for row in broken_rows(ledger, rule))
        found = _gathered(_ledger_invariant(rule), broken)
        if repair and found.count and rule.mend is not None and isinstance(ledger, Ledger):
            mend(ledger, rule)
            found.mended = found.count - sum(1 for _ in broken_rows(ledger, rule))
        yield found
        if rule.name == "status-known" and found.count:
            # No other query works on such a file.
            return
    yield _followed(ledger, layout, launcher_of, repair=repair, clock=clock)
    yield _writer(ledger, repair=repair, clock=clock)
    yield from _folders(ledger, layout, repair=repair, clock=clock)
    yield _jobs(ledger, launcher_of, clock())


def _gathered(invariant: Invariant, differences: Iterator[Difference]) -> Found:
    found = Found(invariant)
    for difference in differences:
        found.add(difference)
    return found


def _followed(
    ledger: LedgerReader,
    layout: JobLayout,
    launcher_of: LauncherOf,
    *,
    repair: bool,
    clock: Callable[[], float],
) -> Found:
    def dead() -> Iterator[Difference]:
        for attempt in left_by_dead(ledger, ledger.history.every_open_attempt(), clock()):
            detail = f"attempt {attempt.number} ({attempt.state}) was left by the batch {attempt.batch_id}"
            yield Difference(attempt.structure_id, attempt.orig_index, detail)

    found = _gathered(_FOLLOWED, dead())
    if repair and found.count and isinstance(ledger, Ledger):
        update_running(ledger, layout, launcher_of, clock=clock)
        found.mended = found.count - sum(1 for _ in dead())
    return found


def _writer(ledger: LedgerReader, *, repair: bool, clock: Callable[[], float]) -> Found:
    found = Found(_WRITER)
    writer, now = ledger.batches.writer(), clock()
    if writer is None:
        return found
    alive = Owner(writer.host, writer.boot_id, writer.pid, writer.pid_started).lives()
    if alive or (alive is None and not writer.is_silent(now)) or ledger.batches.any_lives(now):
        return found
    found.add(Difference(None, None, writer.describe(now)))
    if repair and alive is False and isinstance(ledger, Ledger):
        release_dead_writer(ledger, now)
        found.mended = int(ledger.batches.writer() is None)
    return found


def _folders(
    ledger: LedgerReader, layout: JobLayout, *, repair: bool, clock: Callable[[], float]
) -> Iterator[Found]:
    looks = (folders_outside, unproved_results, failed_with_result, unknown_folders)
    for invariant, look in zip(FOLDER_INVARIANTS, looks, strict=False):
        unreadable = Unreadable()
        found = _gathered(invariant, look(ledger, layout, unreadable))
        if repair and found.count and look is folders_outside and isinstance(ledger, Ledger):
            found.mended = move_folders(ledger, list(moved_folders(ledger, layout, unreadable)))
        found.skipped = unreadable.summary
        yield found
    found, unreadable = Found(FOLDER_INVARIANTS[-1]), Unreadable()
    for folder in half_made(layout.jobs_dir, clock(), unreadable):
        found.add(Difference(None, None, str(folder)))
        if repair:
            shutil.rmtree(folder, ignore_errors=True)
            found.mended += not folder.exists()
    found.skipped = unreadable.summary
    yield found


def _jobs(ledger: LedgerReader, launcher_of: LauncherOf, now: float) -> Found:
    """Ask the schedulers about the jobs of open attempts."""
    found = Found(_HAS_JOB)
    attempts = (
        one
        for one in ledger.history.every_open_attempt()
        if one.scheduler_job_id and jobs_outlive_run(one.launcher)
    )
    while chunk := list(islice(attempts, _ASKED_AT_ONCE)):
        for kind in dict.fromkeys(one.launcher for one in chunk):
            launcher = launcher_of(kind)
            if launcher is None:
                found.skipped = f"no launcher of kind {kind} can be asked here (campaign.yaml names it)"
                continue
            try:
                ours = {str(one.scheduler_job_id): one for one in chunk if one.launcher == kind}
                for job_id, state in launcher.states(list(ours)).items():
                    one = ours[job_id]
                    # The run that follows a job needs a moment to record its end.
                    seen = last_sign(Path(one.job_dir)) if one.job_dir else None
                    if state.phase in (Phase.UNKNOWN, Phase.ENDED) and now - (seen or 0.0) > GRACE_S:
                        detail = f"attempt {one.number}: job {job_id} is {state.final or state.phase}"
                        found.add(Difference(one.structure_id, one.orig_index, detail))
                found.skipped = "; ".join(launcher.notes()) or found.skipped
            except LauncherError as error:
                found.skipped = f"the scheduler cannot be asked: {error}"
            finally:
                launcher.close()
    return found

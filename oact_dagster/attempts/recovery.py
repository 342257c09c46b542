"""Recovery of what dead runs have left: find their jobs again, and judge, give back or count as lost their attempts.

A batch recovers the structures that it was asked for, and follows those whose jobs go on. ``oact dashboard --update``
and the harvest settle all such structures, but run and follow nothing. Both ask the same questions: whether a run is
alive, who takes an attempt over, and whether its launcher still has its job.
"""

import contextlib
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from oact_dagster.attempts.attempt_folders import attempt_folders
from oact_dagster.attempts.ending import LiveAttempt, ending_of, timed_out
from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.orca_version import check_orca_version
from oact_dagster.attempts.output_verdict import silence
from oact_dagster.attempts.verdict import Evidence
from oact_dagster.errors import LauncherError
from oact_dagster.launchers.attempt_files import (
    ATTEMPT_FILE,
    EXIT_FILE,
    OUTPUT_FILE,
    START_FILE,
    How,
    has_run,
    read_exit,
)
from oact_dagster.launchers.protocol import Launcher, Orphan
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import AttemptRecord, AttemptState, Ending, Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.orca.outputs.reader import read_output
from oact_dagster.orca.outputs.silence import silent_for_s
from oact_dagster.schedulers.jobs import Cause, JobState, Phase
from oact_dagster.settings.launcher_kinds import on_this_machine
from oact_dagster.settings.retry import RetrySettings

CANCEL_WAIT_S: Final = 60.0
"""How long a cancelled job may take to end before it is left for the next update, s."""

GRACE_S: Final = 300.0
"""Time since the last sign of life after which a job unknown to its scheduler counts as gone, s."""

RUN_IS_GONE: Final = JobState(Phase.ENDED, "the run that started it is gone")

_EXAMPLES: Final = 5
_UNKNOWN: Final = JobState(Phase.UNKNOWN)
_SIGNS: Final = (ATTEMPT_FILE, START_FILE, OUTPUT_FILE, EXIT_FILE)
HELD: Final = "it is held until `oact release`, or a run that names it"

LauncherOf = Callable[[str], Launcher | None]
"""Returns the launcher of a kind, or None if none of this kind can be asked here."""


def left_by_dead(
    ledger: LedgerReader, attempts: Iterable[AttemptRecord], now: float
) -> Iterator[AttemptRecord]:
    """Yield those of the open attempts whose runs are dead, as they are read."""
    for attempt, lives in _with_life(ledger, attempts, now, {}):
        if not lives:
            yield attempt


def _with_life(
    ledger: LedgerReader, attempts: Iterable[AttemptRecord], now: float, known: dict[str, bool]
) -> Iterator[tuple[AttemptRecord, bool]]:
    """Yield attempts, each with whether its batch lives; ``known`` has batches that need not be looked up."""
    for attempt in attempts:
        if attempt.batch_id not in known:
            known[attempt.batch_id] = ledger.batches.lives(attempt.batch_id, now)
        yield attempt, known[attempt.batch_id]


def split_by_life(
    ledger: LedgerReader, attempts: Iterable[AttemptRecord], now: float, own_batch: str = ""
) -> tuple[list[AttemptRecord], list[AttemptRecord]]:
    """Split open attempts into those of dead runs and those of live runs.

    Attempts of ``own_batch`` count as left by a dead run, since that batch asks about attempts it does not know.
    """
    gone: list[AttemptRecord] = []
    living: list[AttemptRecord] = []
    for attempt, lives in _with_life(ledger, attempts, now, {own_batch: False}):
        (living if lives else gone).append(attempt)
    return gone, living


@dataclass(frozen=True, slots=True)
class LeftAttempt:
    """An attempt taken over from a dead run."""

    attempt: AttemptRecord
    live: LiveAttempt

    @property
    def may_have_run(self) -> bool:
        """Whether anything of it may have started, provided that it has no job now.

        The files of another node may not be visible here yet; those of a process on this machine are.
        """
        elsewhere = not on_this_machine(self.attempt.launcher)
        return (self.attempt.state is AttemptState.RUNNING and elsewhere) or has_run(self.live.folder)


def left_attempts(
    ledger: LedgerReader, layout: JobLayout, attempts: Sequence[AttemptRecord]
) -> list[LeftAttempt]:
    """Return the attempts with their structures and the folders where their files are now."""
    structures = ledger.structures.of([one.orig_index for one in attempts])
    found = []
    for one in attempts:
        job_dir = Path(one.job_dir) if one.job_dir else layout.folder(one.orig_index, one.structure_id)
        folder = next(iter(attempt_folders(job_dir, one.number, one.token)), job_dir)
        job_id, was_running = one.scheduler_job_id or one.token, one.state is AttemptState.RUNNING
        live = LiveAttempt(structures[one.orig_index], one.token, folder, job_id, was_running=was_running)
        found.append(LeftAttempt(one, live))
    return found


@dataclass(frozen=True, slots=True)
class Adopted:
    """Attempts of dead runs, sorted by what their launcher knows of their jobs."""

    known: list[LeftAttempt] = field(default_factory=list)
    """Attempts whose jobs the launcher still has, to be followed."""
    ended: list[LeftAttempt] = field(default_factory=list)
    """Attempts without a job that may have run, to be judged."""
    unbegun: list[LeftAttempt] = field(default_factory=list)
    """Attempts without a job that never started, to be given back."""

    def sort(self, without_job: Iterable[LeftAttempt]) -> None:
        """Add attempts of which nothing runs any more."""
        for one in without_job:
            (self.ended if one.may_have_run else self.unbegun).append(one)


def adopt(launcher: Launcher, left: Sequence[LeftAttempt]) -> Adopted:
    """Find the jobs of attempts again. Afterwards, nothing runs of the attempts without a job.

    Raises:
        LauncherError: The scheduler cannot be asked; nothing has changed.
    """
    orphans = [
        Orphan(one.live.token, one.live.folder, one.attempt.scheduler_job_id, began=one.live.was_running)
        for one in left
    ]
    job_ids = launcher.adopt(orphans)
    found = Adopted([one for one in left if one.live.token in job_ids])
    for one in found.known:
        one.live.job_id = job_ids[one.live.token]
    found.sort(one for one in left if one.live.token not in job_ids)
    return found


@dataclass(slots=True)
class UpdateNote:
    """Why some structures stay as they are."""

    text: str
    count: int = 0
    examples: list[int] = field(default_factory=list)
    """``id`` of the first ones in the table ``structures``."""


@dataclass(slots=True)
class UpdateReport:
    """What an update found and did."""

    looked_at: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    """Structures by new status: completed, failed, timeout, or to_run (lost, cancelled, never begun)."""
    followed: int = 0
    """Structures left to a live batch."""
    notes: dict[str, UpdateNote] = field(default_factory=dict)

    @property
    def still_running(self) -> int:
        """Structures still running after the update."""
        return self.looked_at - self.changed.total()

    def note(self, text: str, structure_id: int) -> None:
        """Note why a structure stays as it is."""
        note = self.notes.setdefault(text, UpdateNote(text))
        note.count += 1
        if len(note.examples) < _EXAMPLES:
            note.examples.append(structure_id)


class Settlement:
    """Settles the attempts that dead runs have left, without running or following any.

    It takes the attempts over into a batch of its own, so that no run judges them at the same time. A structure
    without any evidence stays ``running``, with a note.

    Args:
        ledger: Ledger, open for writing.
        layout: Layout of job folders that the ledger does not name.
        silence_limit_s: Time without a change after which an output without an end is a timeout, s.
        retry: Settings that say how long failed structures rest.
        clock: Returns Unix time, s.
        report: Takes what is found and done.
    """

    def __init__(
        self,
        ledger: Ledger,
        layout: JobLayout,
        launcher_of: LauncherOf,
        silence_limit_s: float,
        retry: RetrySettings,
        clock: Callable[[], float],
        report: UpdateReport,
    ) -> None:
        self._ledger = ledger
        self._layout = layout
        self._launcher_of = launcher_of
        self._silence_limit_s = silence_limit_s
        self._retry = retry
        self._clock = clock
        self._report = report
        self._batch_id = f"update-{secrets.token_hex(4)}"
        self._batch_is_open = False
        self._launchers: dict[str, Launcher | None] = {}
        self._cancelled: dict[str, LiveAttempt] = {}
        """Attempts whose jobs were cancelled according to the scheduler, by token."""

    def close(self) -> None:
        """Close the launchers and the batch."""
        for launcher in self._launchers.values():
            if launcher is not None:
                launcher.close()
        if self._batch_is_open:
            self._ledger.close_batch(self._batch_id, self._clock())

    def settle(self, attempts: Iterable[AttemptRecord]) -> None:
        """Settle open attempts, except those of live runs.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        gone, living = split_by_life(self._ledger, attempts, self._clock())
        taken = [attempt for attempt in gone if self._take(attempt)]
        self._report.followed += len(living) + len(gone) - len(taken)
        by_kind: dict[str, list[LeftAttempt]] = {}
        for one in left_attempts(self._ledger, self._layout, taken):
            by_kind.setdefault(one.attempt.launcher, []).append(one)
        for kind, left in by_kind.items():
            self._record([*self._judge(kind, left)])

    def _take(self, attempt: AttemptRecord) -> bool:
        if not self._batch_is_open:
            self._ledger.open_batch(self._batch_id, Owner.this_process(), self._clock())
            self._batch_is_open = True
        return self._ledger.take_over(attempt, self._batch_id)

    def _judge(self, kind: str, left: Sequence[LeftAttempt]) -> Iterator[Ending]:
        stopped: list[LeftAttempt] = []
        unrecorded: list[LeftAttempt] = []
        for one in left:
            record = read_exit(one.live.folder, one.live.token)
            if record is None:
                unrecorded.append(one)
            elif record.how is How.STOPPED:
                stopped.append(one)
            else:
                yield self._ending(one, RUN_IS_GONE)
        if stopped:
            yield from self._ended_from_outside(kind, stopped)
        if unrecorded:
            yield from self._ask(kind, unrecorded)

    def _ended_from_outside(self, kind: str, left: Sequence[LeftAttempt]) -> Iterator[Ending]:
        """Judge attempts that were told to stop. Only the scheduler knows whether by the user or for lack of a node."""
        launcher = self._launcher(kind)
        state_of: dict[str, JobState] = {}
        if launcher is not None and launcher.jobs_outlive_process:
            with contextlib.suppress(LauncherError):
                tokens = {one.live.job_id: one.live.token for one in adopt(launcher, left).known}
                state_of = {tokens[job_id]: state for job_id, state in launcher.states(list(tokens)).items()}
        for one in left:
            state = state_of.get(one.live.token, _UNKNOWN)
            yield self._ending(one, state if state.phase is Phase.ENDED else RUN_IS_GONE)

    def _ask(self, kind: str, left: Sequence[LeftAttempt]) -> Iterator[Ending]:
        """Ask the scheduler about attempts whose payload has left no record."""
        launcher = self._launcher(kind)
        if launcher is None:
            why = f"no launcher of kind {kind} can be asked here (see launcher.kind in campaign.yaml): it stays running"
            yield from self._judge_by_output(left, why)
            return
        try:
            found = adopt(launcher, left)
            states = launcher.states([one.live.job_id for one in found.known])
        except LauncherError as error:
            yield from self._judge_by_output(
                left, f"the scheduler cannot be asked ({error}): it stays running"
            )
            return
        notes = "; ".join(launcher.notes())
        answered: list[LeftAttempt] = []
        unanswered: list[LeftAttempt] = []
        for one in found.known:
            waits = states.get(one.live.job_id, _UNKNOWN).phase is Phase.QUEUED
            # An attempt that has begun cannot be queued, so the scheduler's answer does not count.
            (unanswered if waits and has_run(one.live.folder) else answered).append(one)
        why = f"the scheduler says nothing about its job{f' ({notes})' if notes else ''}: it stays running"
        yield from self._judge_by_output(unanswered, why)
        yield from self._still_known(launcher, answered, states)
        for one in found.ended:
            yield self._ending(one, RUN_IS_GONE)
        for one in found.unbegun:
            if launcher.jobs_outlive_process and not self._is_old(one.live.folder):
                why = "its scheduler does not know its job yet: it stays running"
                self._report.note(why, one.attempt.structure_id)
            else:
                given = self._ledger.give_back([one.live.token], also_running=True)
                self._report.changed[str(Status.TO_RUN)] += len(given)

    def _judge_by_output(self, left: Iterable[LeftAttempt], why: str) -> Iterator[Ending]:
        """Judge attempts whose own output says how they ended, and leave the others as they are."""
        for one in left:
            if Evidence(one.live.token, None, read_output(one.live.folder), RUN_IS_GONE).speaks:
                yield self._ending(one, RUN_IS_GONE)
            else:
                self._report.note(why, one.attempt.structure_id)

    def _still_known(
        self, launcher: Launcher, left: Sequence[LeftAttempt], states: Mapping[str, JobState]
    ) -> Iterator[Ending]:
        """Judge attempts known to the scheduler whose jobs have ended, and end those that are silent."""
        self._ledger.mark_submitted({one.live.token: one.live.job_id for one in left}, self._clock())
        state_of = {one.live.token: states.get(one.live.job_id, _UNKNOWN) for one in left}
        begun = [token for token, state in state_of.items() if state.phase is Phase.RUNNING]
        self._ledger.mark_running(begun, self._clock())
        silent: list[tuple[LeftAttempt, float]] = []
        for one in left:
            state, folder = state_of[one.live.token], one.live.folder
            if state.phase is Phase.ENDED or (state.phase is Phase.UNKNOWN and self._is_old(folder)):
                yield self._ending(one, state)
            elif state.phase is Phase.UNKNOWN:
                # Absence from the queue alone proves nothing.
                why = "its scheduler does not know its job any more: it stays running for now"
                yield from self._judge_by_output([one], why)
            elif state.phase is Phase.RUNNING:
                quiet = silent_for_s(folder, now=self._clock())
                if quiet is not None and quiet >= self._silence_limit_s:
                    silent.append((one, quiet))
        if not silent:
            return
        # Cancel first, then record: a job that still runs would compete with the next attempt.
        job_ids = [one.live.job_id for one, _ in silent]
        launcher.cancel(job_ids)
        after = _wait_for_end(launcher, job_ids)
        for one, quiet in silent:
            state = after[one.live.job_id]
            if state.phase in (Phase.ENDED, Phase.UNKNOWN):
                yield timed_out(self._ending(one, state), silence(quiet))
            else:
                why = "it is silent and was cancelled, but has not ended yet: update again"
                self._report.note(why, one.attempt.structure_id)

    def _launcher(self, kind: str) -> Launcher | None:
        if kind not in self._launchers:
            self._launchers[kind] = self._launcher_of(kind)
        return self._launchers[kind]

    def _is_old(self, folder: Path) -> bool:
        seen = last_sign(folder)
        return seen is None or self._clock() - seen >= GRACE_S

    def _ending(self, one: LeftAttempt, state: JobState) -> Ending:
        if state.cause is Cause.CANCELLED:
            self._cancelled[one.live.token] = one.live
        ending = ending_of(one.live, state, 1, self._retry, cancelled=False, now=self._clock())
        return check_orca_version(self._ledger, ending)

    def _record(self, endings: Sequence[Ending]) -> None:
        recorded = self._ledger.record(endings) if endings else set()
        for ending in endings:
            if ending.token in recorded:
                gone = ending.outcome in (Outcome.LOST, Outcome.CANCELLED)
                self._report.changed[str(Status.TO_RUN if gone else ending.outcome)] += 1
                if ending.outcome is Outcome.CANCELLED and ending.token in self._cancelled:
                    structure = self._cancelled[ending.token].structure
                    self._ledger.hold([structure.orig_index])
                    self._report.note(f"its job was cancelled: {HELD}", structure.id)


def _wait_for_end(launcher: Launcher, job_ids: Sequence[str]) -> dict[str, JobState]:
    limit = time.monotonic() + CANCEL_WAIT_S
    states = dict(launcher.states(job_ids))
    while any(state.phase in (Phase.QUEUED, Phase.RUNNING) for state in states.values()):
        if time.monotonic() >= limit:
            break
        launcher.wait(1.0)
        states = dict(launcher.states(job_ids))
    return {job_id: states.get(job_id, _UNKNOWN) for job_id in job_ids}


def last_sign(folder: Path) -> float | None:
    """Return when an attempt's files last changed, Unix time, s; None if there are none."""
    seen = []
    for name in _SIGNS:
        with contextlib.suppress(OSError):
            seen.append((folder / name).stat().st_mtime)
    return max(seen, default=None)

"""The monitor of a batch's own attempts: job states, standstill, verdicts, records."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from oact_dagster.attempts.batch_state import BatchState
from oact_dagster.attempts.ending import LiveAttempt, ending_of, overdue, timed_out
from oact_dagster.attempts.events import Completed, Event, Note, Running, Stuck
from oact_dagster.attempts.folder_cleanup import apply_keep
from oact_dagster.attempts.known_results import earlier_attempts
from oact_dagster.attempts.orca_version import check_orca_version
from oact_dagster.attempts.planner import AttemptPlanner
from oact_dagster.attempts.recovery import HELD
from oact_dagster.attempts.stop_request import StopLevel
from oact_dagster.launchers.attempt_files import FILES_SHOW_S, MESSAGES_FILE, START_FILE, has_run, read_exit
from oact_dagster.ledger.states import FAILED_OUTCOMES, Ending, Outcome, Status, StructureRecord
from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.outputs.silence import silent_for_s
from oact_dagster.schedulers.jobs import Cause, JobState, Phase

STILLBORN_JOBS: Final = 3
"""Abort the batch after this many jobs that end before their payload starts, if no payload has started at all."""
LOOK_FOR_SILENT_S: Final = 60.0
"""Time between two checks for calculations that have come to a standstill, s."""


class Monitor:
    """Follows the submitted attempts of a batch to their end."""

    def __init__(self, batch: BatchState, planner: AttemptPlanner) -> None:
        self._batch = batch
        self._planner = planner
        self._began = False
        self._stillborn: set[str] = set()
        self._logs: dict[str, str] = {}
        self._outside: set[str] = set()
        self._no_space: set[int] = set()
        # Why we ended attempts that had come to a standstill, by token.
        self._overdue: dict[str, str] = {}
        self._began_at, self._last_silent = batch.clock(), time.monotonic()
        self._began_monotonic = self._last_silent

    def collect(self) -> Iterator[Event]:
        """Ask for the state of all jobs of the batch at once, and judge those that have ended."""
        batch = self._batch
        states: Mapping[str, JobState] = {}
        by_job = {live.job_id: live for live in batch.live.values()}
        if by_job:
            states = batch.launcher.states(by_job.keys())
        yield from (Note(text, warning=True) for text in batch.launcher.notes())
        started: list[LiveAttempt] = []
        unbegun: list[LiveAttempt] = []
        too_late: list[tuple[LiveAttempt, str]] = []
        ended: list[tuple[LiveAttempt, JobState]] = []
        for job_id, state in states.items():
            live = by_job[job_id]
            if state.phase in (Phase.QUEUED, Phase.RUNNING):
                live.silent_since = None
            elif state.cause is Cause.OUT_OF_TIME:
                too_late.append((live, state.reason))
                continue
            elif _never_began(live, state):
                unbegun.append(live)
                continue
            elif self._is_settled(live, state):
                ended.append((live, state))
            if not live.running and state.phase in (Phase.RUNNING, Phase.ENDED):
                live.running = True
                started.append(live)
        yield from self._report_stuck([(by_job[job_id], state.stuck) for job_id, state in states.items()])
        batch.ledger.mark_running([live.token for live in started], batch.clock())
        # First judge those that were running before: others may have started in their places.
        new = {live.token for live in started}
        yield from self._judge([one for one in ended if one[0].token not in new])
        for live in started:
            self._follow(live)
            yield Running(live.structure.orig_index)
        yield from self._judge([one for one in ended if one[0].token in new])
        yield from self._cancelled_in_queue(unbegun)
        for live, why in too_late:
            del batch.live[live.token]
            yield from batch.given_back(batch.ledger.give_back([live.token]), why)

    def _judge(self, ended: Sequence[tuple[LiveAttempt, JobState]]) -> Iterator[Event]:
        endings = [self.ending(live, state) for live, state in ended]
        for live, _ in ended:
            self._unfollow(live)
        yield from self.record(endings)

    def _report_stuck(self, found: Sequence[tuple[LiveAttempt, str]]) -> Iterator[Event]:
        """Record why jobs may wait for ever, and report each structure and reason once."""
        changed = [(live, reason) for live, reason in found if reason != live.stuck]
        if not changed:
            return
        self._batch.ledger.mark_stuck({live.token: reason for live, reason in changed})
        for live, reason in changed:
            live.stuck = reason
            # The names of nodes after the comma come and go.
            word = reason.split(",")[0]
            if reason and word not in live.reported_stuck:
                live.reported_stuck.add(word)
                yield Stuck(live.structure.orig_index, reason)

    def end_overdue(self) -> Iterator[Event]:
        """End running calculations that have come to a standstill."""
        batch = self._batch
        if time.monotonic() - self._last_silent < min(
            LOOK_FOR_SILENT_S, batch.campaign.launcher.silence_limit_s
        ):
            return
        self._last_silent = time.monotonic()
        # From the monotonic clock, so that a jump of the system clock makes nothing overdue.
        now = self._began_at + self._last_silent - self._began_monotonic
        fresh: dict[str, str] = {}
        for live in batch.live.values():
            if live.running and live.token not in self._overdue:
                reason = overdue(live, batch.campaign.launcher.silence_limit_s, now)
                if reason:
                    fresh[live.token] = reason
                    text = f"structure {live.structure.orig_index}: {reason}; ending it"
                    yield Note(text, warning=True)
        self._overdue |= fresh
        # This includes earlier ones whose job has not ended yet.
        stuck = [live.job_id for live in batch.live.values() if live.token in self._overdue]
        if stuck:
            batch.launcher.cancel(stuck)

    def _is_settled(self, live: LiveAttempt, state: JobState) -> bool:
        """Return whether an attempt can be judged: its record is there, or has had the time to appear.

        If a job has ended or is unknown to the scheduler, its files may still be missing here. An unknown job may even
        run, for example in another Flux instance; then its payload shows signs of life, or its output grows.
        """
        if not self._batch.launcher.jobs_outlive_process or read_exit(live.folder, live.token) is not None:
            return True
        if state.cause is Cause.NOT_STARTED:
            return True  # no record can come any more
        now = time.monotonic()
        if live.silent_since is None:
            live.silent_since = now
        grace = self._batch.campaign.launcher.grace_s
        if state.phase is not Phase.UNKNOWN:
            return now - live.silent_since >= min(grace, FILES_SHOW_S)
        signs = (silent_for_s(live.folder), silent_for_s(live.folder / START_FILE))
        quiet = min((seconds for seconds in signs if seconds is not None), default=math.inf)
        return now - live.silent_since >= grace and quiet >= grace

    def _cancelled_in_queue(self, unbegun: Sequence[LiveAttempt]) -> Iterator[Event]:
        """Give back attempts cancelled before they began, and hold those that the user cancelled in the queue."""
        batch = self._batch
        if not unbegun:
            return
        for live in unbegun:
            del batch.live[live.token]
        given = batch.ledger.give_back([live.token for live in unbegun])
        reason = batch.broken or batch.paused or None
        if reason is None and batch.stop.level is StopLevel.NONE:
            batch.ledger.hold(given)
            reason = f"its job was cancelled in the queue; {HELD}"
        yield from batch.given_back(given, reason or "the run was stopped before it was started")

    def ending(self, live: LiveAttempt, state: JobState) -> Ending:
        """Judge an attempt whose job has ended. A result of another ORCA version than the ledger's stops the batch."""
        batch = self._batch
        if state.phase is Phase.UNKNOWN:
            state = JobState(Phase.ENDED, "no longer known", log=state.log)
        stopped = batch.stop.level is not StopLevel.NONE or batch.gave_up
        reason = self._overdue.get(live.token)
        recalled = live.token in batch.recalled
        if state.cause is Cause.CANCELLED and not stopped and not recalled and reason is None:
            self._outside.add(live.token)
        if has_run(live.folder):
            self._began = True
        elif batch.launcher.jobs_outlive_process and state.cause is not Cause.NODE_FAILED:
            self._stillborn.add(live.token)
        if state.log:
            self._logs[live.token] = state.log
        ending = ending_of(
            live,
            state,
            batch.campaign.n_cores,
            batch.campaign.retry,
            cancelled=stopped or recalled,
            now=batch.clock(),
        )
        if reason is not None:
            ending = timed_out(ending, reason)
        taken = check_orca_version(batch.ledger, ending)
        if taken is not ending:
            batch.broken = batch.broken or f"{taken.message}; nothing more was started"
        return taken

    def record(self, endings: Sequence[Ending], *, lost_goes_on: bool = False) -> Iterator[Event]:
        """Write endings into the ledger, and only then report them.

        With ``lost_goes_on``, the caller itself claims the lost structures again.
        """
        batch = self._batch
        if not endings:
            return
        indices = batch.ledger.history.indices_of([ending.token for ending in endings])
        recorded = batch.ledger.record(endings)
        for ending in endings:
            batch.live.pop(ending.token, None)
        structures = batch.ledger.structures.of(list(indices.values()))
        yield from self._report_completed(
            [structures[indices[e.token]] for e in endings if e.outcome is Outcome.COMPLETED]
        )
        failed = FAILED_OUTCOMES
        self._planner.set_aside_hopeless(
            [indices[e.token] for e in endings if e.outcome in failed and e.token in recorded]
        )
        for ending in endings:
            structure = structures[indices[ending.token]]
            if ending.token not in recorded:
                batch.pending.append(structure.orig_index)  # another process closed it: see what became of it
            elif self._begins_again(ending, structure.orig_index):
                yield Note(f"structure {structure.orig_index} runs again: {ending.message}", warning=True)
                if not lost_goes_on:
                    batch.pending.append(structure.orig_index)
            elif ending.outcome is Outcome.CANCELLED:
                reason = ending.message or "stopped"
                if ending.failure_class == FailureClass.DISK_FULL:
                    where = batch.campaign.jobs_dir
                    reason = batch.broken = batch.broken or f"{where}: {reason}; nothing more was started"
                if ending.failure_class == FailureClass.NOT_STARTED:
                    # Every structure would fail the same way.
                    batch.broken = batch.broken or f"{ending.message}; nothing more was started"
                if ending.token in self._outside:
                    batch.ledger.hold([structure.orig_index])
                    reason += f"; {HELD}"
                yield from batch.given_back([structure.orig_index], reason)
            elif ending.outcome is Outcome.LOST and lost_goes_on:
                text = f"structure {structure.orig_index} was lost and runs again: {ending.message}"
                yield Note(text, warning=True)
            elif ending.outcome is Outcome.LOST:
                batch.look_at_space()
                if not self._began and len(self._stillborn) >= STILLBORN_JOBS:
                    batch.broken = batch.broken or f"jobs end before they begin: {ending.message}"
                yield Note(f"structure {structure.orig_index} was lost: {ending.message}", warning=True)
                batch.pending.append(structure.orig_index)
            elif ending.outcome is not Outcome.COMPLETED:
                yield batch.failed(
                    structure,
                    ending.message or "no message",
                    ending.failure_class,
                    self._logs.get(ending.token, ""),
                )

    def _begins_again(self, ending: Ending, orig_index: int) -> bool:
        """Return whether a structure that could not begin, by no fault of its own, runs again at once.

        After a node failure it runs on another node; after a full disk it runs if there is space by now.
        """
        batch = self._batch
        if ending.outcome is not Outcome.CANCELLED:
            return False
        if ending.failure_class != FailureClass.DISK_FULL:
            return ending.failure_class == FailureClass.LOST
        batch.look_at_space()
        again = batch.broken is None and orig_index not in self._no_space
        # Only once, since a quota may allow less than the free space suggests.
        self._no_space.add(orig_index)
        return again

    def _report_completed(self, structures: Sequence[StructureRecord]) -> Iterator[Event]:
        batch = self._batch
        done = [structure for structure in structures if structure.status is Status.COMPLETED]
        attempts = batch.ledger.history.good_attempts([structure.orig_index for structure in done])
        earlier = earlier_attempts(batch.ledger, attempts)
        for structure in done:
            if structure.job_dir is not None:
                apply_keep(batch.campaign, Path(structure.job_dir))
            tried = earlier.get(structure.orig_index, ())
            yield Completed(structure, attempts.get(structure.orig_index), attempts=tried)

    def _follow(self, live: LiveAttempt) -> None:
        if self._batch.messages is not None and not live.followed:
            self._batch.messages.follow(live.folder / MESSAGES_FILE)
            live.followed = True

    def _unfollow(self, live: LiveAttempt) -> None:
        if self._batch.messages is not None and live.followed:
            self._batch.messages.finish(live.folder / MESSAGES_FILE)


def _never_began(live: LiveAttempt, state: JobState) -> bool:
    """Return whether a job was cancelled or withdrawn before it began."""
    if state.phase is not Phase.ENDED:
        return False
    began = live.running or live.was_running or has_run(live.folder)
    return (state.cause is Cause.CANCELLED and not began) or state.cause is Cause.WITHDRAWN

"""Structures that other live runs own, or that dead runs have left behind."""

import time
from collections.abc import Iterator, Sequence
from typing import Final

from oact_dagster.attempts.batch_state import NOT_OURS, BatchState
from oact_dagster.attempts.events import Event, InputWritten, Note, NotRun
from oact_dagster.attempts.monitor import Monitor
from oact_dagster.attempts.recovery import (
    RUN_IS_GONE,
    Adopted,
    LeftAttempt,
    adopt,
    left_attempts,
    left_by_dead,
    split_by_life,
)
from oact_dagster.launchers.leftovers import end_leftovers
from oact_dagster.ledger.states import FAILED_STATUSES, AttemptRecord, Status
from oact_dagster.settings.launcher_kinds import on_this_machine, settings_of
from oact_dagster.text import pluralise

FOLLOW_OTHERS_S: Final = 2.0
"""Time between two looks at structures that another run owns, s."""


class PeerRuns:
    """Follows the structures of live runs, and takes over those of dead runs."""

    def __init__(self, batch: BatchState, monitor: Monitor) -> None:
        self._batch = batch
        self._monitor = monitor
        self._last_look = 0.0

    def attach(self, indices: Sequence[int]) -> Iterator[Event]:
        """Attach to running structures: follow those of live runs, and judge or adopt those of dead runs."""
        batch = self._batch
        gone, living = split_by_life(
            batch.ledger, batch.ledger.history.open_attempts(indices).values(), batch.clock(), batch.batch_id
        )
        batch.others.update(attempt.orig_index for attempt in living)
        taken: list[AttemptRecord] = []
        for attempt in gone:
            if attempt.launcher != batch.launcher.kind and not on_this_machine(attempt.launcher):
                # Only its own scheduler knows whether its job runs. To run it here might compute it twice.
                yield NotRun(
                    attempt.orig_index,
                    f"a run that is gone left it to {settings_of(attempt.launcher)}, but this run has"
                    f" {settings_of(batch.launcher.kind)}; a run with the former settings finishes it",
                )
            elif batch.ledger.take_over(attempt, batch.batch_id):
                taken.append(attempt)
            else:
                batch.others.add(attempt.orig_index)
        if not taken:
            return
        # Do not give them back before their scheduler has said what runs.
        tokens = {attempt.token for attempt in taken}
        batch.unclear |= tokens
        found = self._adopt(left_attempts(batch.ledger, batch.layout, taken))
        batch.unclear -= tokens
        batch.live.update((one.live.token, one.live) for one in found.known)
        for one in (*found.known, *found.ended):
            # The dead run wrote its input, and this run has not reported it yet.
            yield InputWritten(one.live.structure, None, one.live.folder, one.attempt.number, reused=True)
        batch.ledger.give_back([one.live.token for one in found.unbegun], also_running=True)
        yield Note(
            f"{pluralise(len(taken), 'structure', 'was', 'were')} left by a run that is gone:"
            f" {len(found.known)} with a job to follow, {len(found.ended)} ended, {len(found.unbegun)} not begun"
        )
        # Those that turn out lost are to_run again, and this batch claims them next.
        yield from self._monitor.record(
            [self._monitor.ending(one.live, RUN_IS_GONE) for one in found.ended], lost_goes_on=True
        )

    def _adopt(self, left: Sequence[LeftAttempt]) -> Adopted:
        """Find the jobs of attempts that no run follows.

        Raises:
            LauncherError: The scheduler cannot be asked.
        """
        batch = self._batch
        ours = [one for one in left if one.attempt.launcher == batch.launcher.kind]
        # Left by processes on this machine before launcher.kind was changed.
        others = [one for one in left if one.attempt.launcher != batch.launcher.kind]
        end_leftovers([one.live.token for one in others])
        found = adopt(batch.launcher, ours) if ours else Adopted()
        if found.known:
            job_ids = {one.live.token: one.live.job_id for one in found.known}
            batch.ledger.mark_submitted(job_ids, batch.clock())
        found.sort(others)
        return found

    def look_at_others(self) -> Iterator[Event]:
        """Report what became of the structures of live runs, and queue those that such a run has given back."""
        batch = self._batch
        now = time.monotonic()
        if not batch.others or now - self._last_look < FOLLOW_OTHERS_S:
            return
        self._last_look = now
        structures = batch.ledger.structures.of(sorted(batch.others))
        again: list[int] = []
        for index, structure in structures.items():
            if structure.status is Status.COMPLETED:
                batch.others.discard(index)
                yield from batch.done([structure], followed=True)
            elif structure.status in FAILED_STATUSES:
                batch.others.discard(index)
                yield batch.failed(structure, structure.error_message or "no message")
            elif structure.status is not Status.RUNNING:
                again.append(index)  # given back by its run
        still = [i for i, s in structures.items() if s.status is Status.RUNNING]
        running = batch.ledger.history.open_attempts(still)
        for index in (i for i in still if i not in running):
            # Read it again, since it may have ended between the two queries.
            if batch.ledger.structures.of([index])[index].status is Status.RUNNING:
                batch.others.discard(index)
                yield NotRun(index, NOT_OURS)
        again += [one.orig_index for one in left_by_dead(batch.ledger, running.values(), batch.clock())]
        batch.others.difference_update(again)
        batch.pending.extend(again)

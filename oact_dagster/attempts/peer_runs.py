"""Structures that other runs own, or that runs which are gone have left."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from oact_dagster.attempts.attempt_folders import attempt_folders
from oact_dagster.attempts.batch_state import NOT_OURS, BatchState
from oact_dagster.attempts.ending import LiveAttempt, may_have_run
from oact_dagster.attempts.events import (
    Event,
    InputWritten,
    Note,
    NotRun,
)
from oact_dagster.attempts.monitor import Monitor
from oact_dagster.launchers.leftovers import end_leftovers
from oact_dagster.launchers.protocol import Orphan
from oact_dagster.ledger.states import (
    AttemptRecord,
    AttemptState,
    Status,
)
from oact_dagster.schedulers.jobs import JobState, Phase
from oact_dagster.settings.launcher_kinds import on_this_machine, settings_of
from oact_dagster.text import pluralise

FOLLOW_OTHERS_S: Final = 2.0
"""How often structures that another run owns are looked at, s."""


class PeerRuns:
    """Follows a live run's structures, and takes a dead run's over.

    Args:
        batch: that was asked for them.
        following: judges what has ended.
    """

    def __init__(self, batch: BatchState, following: Monitor) -> None:
        self._batch = batch
        self._following = following
        self._last_look = 0.0

    def attach(self, indices: Sequence[int]) -> Iterator[Event]:
        """Sort running structures: a live run's are followed, a dead run's are judged or followed as ours."""
        batch = self._batch
        orphans: list[AttemptRecord] = []
        alive: dict[str, bool] = {}
        for index, attempt in batch.ledger.history.open_attempts(indices).items():
            if attempt.batch_id not in alive:
                alive[attempt.batch_id] = attempt.batch_id != batch.batch_id and batch.ledger.batches.lives(
                    attempt.batch_id, batch.clock()
                )
            if alive[attempt.batch_id]:
                batch.others.add(index)
            elif attempt.launcher != batch.launcher.kind and not on_this_machine(attempt.launcher):
                # Its job may run, and only its own scheduler knows: to run it here would compute it twice.
                yield NotRun(
                    index,
                    f"a run that is gone left it to {settings_of(attempt.launcher)}, and now there is"
                    f" {settings_of(batch.launcher.kind)}: a run with those settings finishes it",
                )
            elif batch.ledger.take_over(attempt, batch.batch_id):
                orphans.append(attempt)
            else:
                batch.others.add(index)
        if not orphans:
            return
        # Until their scheduler has said what runs they are nobody's to give back.
        tokens = {attempt.token for attempt in orphans}
        batch.unclear |= tokens
        adopted = self._adopt(orphans)
        batch.unclear -= tokens
        structures = batch.ledger.structures.of([attempt.orig_index for attempt in orphans])
        harvest: list[LiveAttempt] = []
        untouched: list[str] = []
        for attempt in orphans:
            structure = structures[attempt.orig_index]
            folder = self._folder_of(attempt)
            live = LiveAttempt(structure, attempt.token, folder, adopted.get(attempt.token, attempt.token))
            live.was_running = attempt.state is AttemptState.RUNNING
            if attempt.token in adopted:
                batch.live[attempt.token] = live
            elif may_have_run(attempt, folder):
                harvest.append(live)
            else:
                untouched.append(attempt.token)
                continue
            # Its input was written by the run that is gone; ours has not told of it yet.
            yield InputWritten(structure, None, folder, attempt.number, reused=True)
        batch.ledger.give_back(untouched, also_running=True)
        gone = JobState(Phase.ENDED, "the run that started it is gone")
        yield Note(
            f"{pluralise(len(orphans), 'structure', 'was', 'were')} left by a run that is gone:"
            f" the jobs of {len(adopted)} are followed, {len(harvest)}"
            f" {'has' if len(harvest) == 1 else 'have'} ended, {len(untouched)} had not begun"
        )
        # Those that come out lost are to_run again, and this batch claims them after this.
        yield from self._following.record(
            [self._following.ending(live, gone) for live in harvest], lost_goes_on=True
        )

    def _adopt(self, orphans: Sequence[AttemptRecord]) -> Mapping[str, str]:
        """Find the jobs of attempts that nobody follows.

        Raises:
            LauncherError: the scheduler cannot be asked.
        """
        batch = self._batch
        ours = [attempt for attempt in orphans if attempt.launcher == batch.launcher.kind]
        if len(ours) < len(orphans):
            # Left by processes of this machine, before launcher.kind was changed.
            end_leftovers([attempt.token for attempt in orphans if on_this_machine(attempt.launcher)])
        if not ours:
            return {}
        adopted = batch.launcher.adopt(
            [
                Orphan(
                    one.token,
                    self._folder_of(one),
                    one.scheduler_job_id,
                    began=one.state is AttemptState.RUNNING,
                )
                for one in ours
            ]
        )
        batch.ledger.mark_submitted(adopted, batch.clock())
        return adopted

    def _folder_of(self, attempt: AttemptRecord) -> Path:
        """Where an attempt's files are now: its folder, or what that was renamed to when a later one began."""
        job_dir = (
            Path(attempt.job_dir)
            if attempt.job_dir
            else self._batch.layout.folder(attempt.orig_index, attempt.structure_id)
        )
        return next(iter(attempt_folders(job_dir, attempt.number, attempt.token)), job_dir)

    def look_at_others(self) -> Iterator[Event]:
        """Tell what became of the structures of live runs; what such a run has given back is ours to run."""
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
            elif structure.status in (Status.FAILED, Status.TIMEOUT):
                batch.others.discard(index)
                yield batch.failed(structure, structure.error_message or "no message")
            elif structure.status is not Status.RUNNING:
                # Given back by its run: it is ours to run, where it was asked for.
                again.append(index)
        still = [i for i, s in structures.items() if s.status is Status.RUNNING]
        running = batch.ledger.history.open_attempts(still)
        for index in (i for i in still if i not in running):
            # Read again: between the two questions it may have ended.
            if batch.ledger.structures.of([index])[index].status is Status.RUNNING:
                batch.others.discard(index)
                yield NotRun(index, NOT_OURS)
        owners = {attempt.batch_id for attempt in running.values()}
        dead = {owner for owner in owners if not batch.ledger.batches.lives(owner, batch.clock())}
        again += [index for index, attempt in running.items() if attempt.batch_id in dead]
        batch.others.difference_update(again)
        batch.pending.extend(again)

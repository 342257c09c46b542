"""A batch: claim, prepare, submit, monitor, judge and record structures, and take over what a dead run has left.

All structures run this way, whether Dagster's assets or the command line ask for them, and on every launcher. The
batch does not depend on Dagster: it yields events.
"""

import time
from collections.abc import Callable, Collection, Generator, Iterator
from typing import Final

from oact_dagster.attempts.admission import Admission
from oact_dagster.attempts.batch_state import BatchState, MessageChannel
from oact_dagster.attempts.engine import Engine
from oact_dagster.attempts.events import Completed, Event, Failed, Note, NotRun, Started
from oact_dagster.attempts.job_folder import FolderWriter
from oact_dagster.attempts.job_layout import jobs_dir_refused
from oact_dagster.attempts.monitor import Monitor
from oact_dagster.attempts.peer_runs import FOLLOW_OTHERS_S, PeerRuns
from oact_dagster.attempts.planner import AttemptPlanner
from oact_dagster.attempts.selection import BatchRequest
from oact_dagster.attempts.setup_hook import load_setup_func
from oact_dagster.attempts.stop_request import StopLevel, StopRequest
from oact_dagster.attempts.submitter import Submitter
from oact_dagster.errors import LauncherError
from oact_dagster.feed.decisions import why_stopped
from oact_dagster.launchers.attempt_files import has_run
from oact_dagster.launchers.protocol import Launcher
from oact_dagster.ledger.level_of_theory import fix_level_of_theory
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.store import Ledger
from oact_dagster.schedulers.jobs import JobState, Phase
from oact_dagster.settings.campaign import Campaign
from oact_dagster.text import pluralise

_PAUSE_S: Final = 0.5
"""Longest time between two checks for a stop request, s."""
LOOK_IF_PAUSED_S: Final = 5.0
"""Time between two checks whether the campaign is paused, for a batch that draws on a supply, s."""
LOOK_AFTER_FAILURES: Final = 5
"""Check at once after this many failed structures: a broken engine fails many in a few seconds."""


class BatchRun:
    """One batch.

    Args:
        ledger: Ledger, open for writing.
        launcher: Runs the attempts; closed at the end.
        batch_id: Name of the batch; the run id in a Dagster run.
        messages: Follows the messages of the payloads; None if nobody listens.
        clock: Returns Unix time, s.
    """

    def __init__(
        self,
        campaign: Campaign,
        ledger: Ledger,
        launcher: Launcher,
        engine: Engine,
        request: BatchRequest,
        batch_id: str,
        *,
        messages: MessageChannel | None = None,
        stop: StopRequest | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._batch = BatchState(
            campaign, ledger, launcher, engine, request, batch_id, messages, stop or StopRequest(), clock
        )
        planner = AttemptPlanner(self._batch)
        self._monitor = Monitor(self._batch, planner)
        self._submitter = Submitter(self._batch, planner, self._monitor)
        self._peers = PeerRuns(self._batch, self._monitor)
        self._admission = Admission(self._batch, planner, self._submitter, self._peers)
        self._grace_over: float | None = None
        self._next_pause = 0.0
        self._failed_since_look = 0

    def run(self) -> Generator[Event]:
        """Run the batch.

        Yields:
            Events. Each requested structure ends with exactly one Completed, Failed or NotRun.

        Raises:
            CampaignError: The function named by ``setup_func`` does not exist.
            LedgerError: The ledger's results have another level of theory.
            LauncherError: Job folders cannot be made (nothing was claimed), jobs cannot be submitted, or nothing can
                run any more (engine does not start, disk full). Whatever had begun has been recorded.
        """
        batch = self._batch
        setup = load_setup_func(batch.campaign)
        if refused := jobs_dir_refused(batch.campaign.jobs_dir):
            # Every structure would lose an attempt to this.
            raise LauncherError(f"{refused}; nothing was started")
        owner = Owner.this_process()
        batch.ledger.take_writer(owner, take_over=batch.request.take_over, now=batch.clock())
        fix_level_of_theory(batch.ledger, batch.campaign.level_of_theory())
        batch.writer = FolderWriter(batch.campaign, batch.layout, setup)
        batch.ledger.open_batch(batch.batch_id, owner, batch.clock())
        try:
            yield Started(len(batch.pending) + batch.supply_left)
            yield from (Note(text, warning=True) for text in batch.campaign.notices)
            for event in self._run():
                # One final event for each structure: the batch does not touch a settled one again.
                if isinstance(event, NotRun):
                    batch.settled.add(event.orig_index)
                elif isinstance(event, (Completed, Failed)):
                    batch.settled.add(event.structure.orig_index)
                    self._failed_since_look += isinstance(event, Failed)
                yield event
            if batch.broken is not None:
                raise LauncherError(batch.broken)
        except LauncherError:
            batch.gave_up = True
            raise
        finally:
            self._abandon()
        # The launcher may say what it could not end.
        yield from (Note(text, warning=True) for text in batch.launcher.notes())

    def let_go(self, reason: str) -> None:
        """Start nothing more, because nobody can receive the events any longer.

        Jobs of a scheduler are left to the next run. Calculations on this machine run to their end.
        """
        if self._batch.launcher.jobs_outlive_process:
            self._batch.stop.raise_to(StopLevel.FINISH)
        else:
            self._batch.broken = self._batch.broken or reason

    def _run(self) -> Iterator[Event]:
        batch = self._batch
        news = True
        while batch.pending or batch.live or batch.waiting or batch.others or batch.supply_left > 0:
            yield from self._look_if_paused()
            if batch.stop.look() is not StopLevel.NONE or batch.broken is not None:
                if self._detaches():
                    yield from self._detach()
                    return
                yield from self._wind_down()
                if not batch.live:
                    break
                news = True
            elif reason := batch.launcher.closing() or batch.paused:
                yield from self._nothing_more(reason)
            elif batch.waiting:
                if news:
                    yield from self._submitter.hand_over()
            elif len(batch.live) < batch.campaign.max_in_flight and (
                batch.pending or self._admission.refill()
            ):
                yield from self._admission.admit()
                news = True
            if news:
                yield from self._monitor.collect()
            yield from self._monitor.end_overdue()
            if not batch.request.follow:
                yield from self._submitter.give_back_untaken()
                if not batch.pending and not batch.waiting:
                    return
            yield from self._peers.look_at_others()
            batch.beat()
            if batch.live or batch.waiting:
                news = batch.launcher.wait(_PAUSE_S)
            elif batch.others:
                batch.launcher.wait(FOLLOW_OTHERS_S / 4)
                news = True

    def _look_if_paused(self) -> Iterator[Event]:
        """Cancel jobs that have not begun once a self-running campaign is paused or its budget is spent."""
        batch = self._batch
        if not batch.request.supply or batch.paused:
            return
        if time.monotonic() < self._next_pause and self._failed_since_look < LOOK_AFTER_FAILURES:
            return
        self._next_pause, self._failed_since_look = time.monotonic() + LOOK_IF_PAUSED_S, 0
        _, batch.paused = why_stopped(batch.campaign, batch.ledger, batch.clock())
        if not batch.paused:
            return
        yield Note(f"starting nothing more; running calculations go on: {batch.paused}", warning=True)
        queued = [live for live in batch.live.values() if not live.running]
        if queued:
            # Some may have started meanwhile. They are ended too, at no cost to their structures.
            batch.recalled.update(live.token for live in queued)
            batch.launcher.cancel([live.job_id for live in queued])

    def _detaches(self) -> bool:
        """Return whether a stop leaves the jobs alone, since they wait and run in a queue without this process."""
        batch = self._batch
        return (
            batch.launcher.jobs_outlive_process
            and batch.stop.level is not StopLevel.NONE
            and not batch.stop.hold
        )

    def _detach(self) -> Iterator[Event]:
        """Leave the jobs to the queue; the next run follows them."""
        batch = self._batch
        yield from self._nothing_more()
        if not batch.live:
            return
        jobs = [live.job_id for live in batch.live.values()]
        them = "it" if len(jobs) == 1 else "them"
        yield Note(
            f"{pluralise(len(jobs), 'job', 'goes', 'go')} on in the queue, and the next run follows {them};"
            f" to end {them}: {batch.launcher.how_to_cancel(jobs)}"
        )
        for live in batch.live.values():
            yield NotRun(live.structure.orig_index, "its job goes on in the queue; the next run follows it")

    def _nothing_more(self, closing: str = "") -> Iterator[Event]:
        """Start nothing more, and settle every structure that has no job yet.

        Args:
            closing: Why nothing more may start, where neither a stop nor an error is the reason.
        """
        batch = self._batch
        reason = batch.broken or closing or "the run was stopped before it was started"
        # Structures that were only offered and never claimed need no event.
        known = [i for i in (*batch.pending, *batch.others) if i not in batch.offered or i in batch.taken]
        for index in known:
            yield NotRun(index, reason if batch.broken or closing else f"{reason} here")
        batch.pending.clear()
        batch.others.clear()
        batch.supply_left = 0
        if not batch.waiting:
            return
        waiting = {token: live for token, (_, live) in batch.waiting.items()}
        certain = set(batch.launcher.withdraw(list(waiting)))
        batch.waiting.clear()
        batch.unclear.update(waiting.keys() - certain)
        for token in batch.unclear & waiting.keys():
            index = waiting[token].structure.orig_index
            yield NotRun(index, "it is not known whether it has a job; the next run finds out")
        yield from batch.given_back(batch.ledger.give_back([*certain]), reason)

    def _wind_down(self) -> Iterator[Event]:
        """Start nothing more. Give running calculations the grace time, then end them."""
        batch = self._batch
        yield from self._nothing_more()
        queued = [live for live in batch.live.values() if not live.running]
        if queued:
            # Some may have started meanwhile. The launcher reports those, and they are judged like any other.
            batch.launcher.cancel([live.job_id for live in queued])
        if batch.stop.level is StopLevel.NONE:
            return
        if self._grace_over is None:
            self._grace_over = time.monotonic() + batch.campaign.launcher.stop_grace_s
            if batch.live and batch.stop.level is StopLevel.FINISH:
                yield Note(
                    f"stopping: {len(batch.live)} running calculations get"
                    f" {batch.campaign.launcher.stop_grace_s:g} s to end"
                )
        if batch.live and (batch.stop.level is StopLevel.NOW or time.monotonic() >= self._grace_over):
            batch.launcher.cancel([live.job_id for live in batch.live.values()])

    def _abandon(self) -> None:
        """Leave no process and no structure marked running, however the batch ends.

        Jobs of a scheduler go on with their attempts open, and the next run follows them.
        """
        batch = self._batch
        live = dict(batch.live)
        batch.live.clear()
        if batch.launcher.jobs_outlive_process:
            left = live.keys() | batch.unclear
            left |= batch.waiting.keys() - set(batch.launcher.withdraw(list(batch.waiting)))
            if live and batch.stop.hold:
                batch.launcher.cancel([one.job_id for one in live.values()])
            batch.launcher.close()
            self._give_back_unstarted(left)
            return
        if live and not batch.gave_up:
            batch.stop.raise_to(StopLevel.NOW)
            batch.stop.look()
        batch.launcher.close()
        gone = JobState(Phase.ENDED, "its run ended")
        untouched = {t for t, one in live.items() if not one.running and not has_run(one.folder)}
        batch.ledger.record(
            [self._monitor.ending(one, gone) for token, one in live.items() if token not in untouched]
        )
        if batch.stop.hold:
            batch.ledger.hold([o.structure.orig_index for t, o in live.items() if t not in untouched])
        self._give_back_unstarted()

    def _give_back_unstarted(self, except_for: Collection[str] = ()) -> None:
        # This includes structures that were claimed but not yet submitted when an error was raised.
        batch = self._batch
        tokens = [
            token for token in batch.ledger.batches.unstarted(batch.batch_id) if token not in except_for
        ]
        given = batch.ledger.give_back(tokens)
        if batch.stop.hold:
            batch.ledger.hold(given)
        batch.ledger.close_batch(batch.batch_id, batch.clock())

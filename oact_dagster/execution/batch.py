"""Running a batch: claim, prepare, submit, follow, judge, record; and re-attach to what a dead run left.

This is the one way on which structures are run, whoever asks (Dagster's assets or the command line) and whatever
runs them. It knows no Dagster: it yields what happens.
"""

import shutil
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from oact_dagster.campaign import Campaign
from oact_dagster.execution.ending import LiveAttempt, ending_of, has_run
from oact_dagster.execution.engine import Engine
from oact_dagster.execution.events import (
    Completed,
    Event,
    Failed,
    InputWritten,
    Note,
    NotRun,
    Running,
    Started,
    TakenIn,
)
from oact_dagster.execution.job_folder import folder_of_attempt, prepare_attempt
from oact_dagster.execution.selection import BatchRequest
from oact_dagster.execution.stopping import StopLevel, StopRequest
from oact_dagster.launchers.attempt_files import MESSAGES_FILE, OUTPUT_FILE
from oact_dagster.launchers.protocol import NEVER_STARTED, Job, JobState, Launcher, LauncherError, Phase
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.states import (
    AttemptState,
    Claim,
    Ending,
    OpenAttempt,
    Outcome,
    Status,
    StructureRecord,
)
from oact_dagster.ledger.store import Ledger
from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.outputs import tail

HEARTBEAT_S: Final = 30.0
FOLLOW_OTHERS_S: Final = 2.0
"""How often structures that another run owns are looked at, s."""
TAIL_LINES: Final = 20
LEAST_SPACE_B: Final = 1_000_000
"""With less free space than this the disk of the job folders counts as full, bytes."""


class MessageChannel(Protocol):
    """Follows the message files of a batch's payloads."""

    def parameters(self) -> Mapping[str, str]:
        """What a payload needs to write messages into its folder's ``messages.jsonl``."""

    def follow(self, file: Path) -> None:
        """Read this file from now on."""

    def finish(self, file: Path) -> None:
        """No more will be written: read what is left."""


class BatchRun:
    """One batch.

    Args:
        campaign: the settings.
        ledger: open, and writable.
        launcher: what runs the attempts; it is closed at the end.
        engine: what computes.
        request: which structures.
        batch_id: names the batch; of a Dagster run, its run id.
        messages: follows the payloads' messages; None when nobody listens.
        stop: looked at while the batch runs.
        clock: Unix time in s.
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
        self._campaign = campaign
        self._ledger = ledger
        self._launcher = launcher
        self._engine = engine
        self._request = request
        self._batch_id = batch_id
        self._messages = messages
        self._stop = stop or StopRequest()
        self._clock = clock
        self._pending: deque[int] = deque(request.orig_indices)
        self._live: dict[str, LiveAttempt] = {}
        self._others: set[int] = set()
        self._taken: set[int] = set()
        self._settled: set[int] = set()
        self._grace_over: float | None = None
        self._broken: str | None = None
        self._last_beat = self._last_look = 0.0

    def run(self) -> Generator[Event]:
        """Run the batch.

        Yields:
            What happens; for each structure asked for, in the end exactly one of Completed, Failed and NotRun.

        Raises:
            LedgerError: the ledger's results are of another level of theory.
            LauncherError: jobs cannot be submitted at all, or nothing can be run any more (an engine that cannot be
                started, a full disk); what had begun has been recorded.
        """
        self._ledger.fix_level_of_theory(self._campaign.level_of_theory())
        self._ledger.open_batch(self._batch_id, Owner.this_process(), self._clock())
        try:
            yield Started(len(self._pending))
            for event in self._run():
                # One word for each structure: what this batch has settled it does not touch again.
                if isinstance(event, NotRun):
                    self._settled.add(event.orig_index)
                elif isinstance(event, (Completed, Failed)):
                    self._settled.add(event.structure.orig_index)
                yield event
            if self._broken is not None:
                raise LauncherError(self._broken)
        finally:
            self._abandon()

    def _run(self) -> Iterator[Event]:
        while self._pending or self._live or self._others:
            if self._stop.look() is not StopLevel.NONE or self._broken is not None:
                yield from self._wind_down()
                if not self._live:
                    break
            elif self._pending and len(self._live) < self._campaign.max_in_flight:
                yield from self._admit()
            yield from self._collect()
            yield from self._look_at_others()
            self._beat()
            if self._live or self._others:
                self._launcher.wait(0.5 if self._live else FOLLOW_OTHERS_S / 4)

    # --- taking structures in -----------------------------------------------------------------------------------

    def _admit(self) -> Iterator[Event]:
        """Take the next structures: tell of those that are done, follow others' and dead runs', claim the rest."""
        room = self._campaign.max_in_flight - len(self._live)
        taken = [
            self._pending.popleft() for _ in range(min(room, self._campaign.batch_size, len(self._pending)))
        ]
        chunk = [index for index in taken if index not in self._settled]
        known = self._ledger.structures(chunk)
        yield TakenIn([known[index] for index in chunk if index in known and index not in self._taken])
        self._taken.update(known)
        yield from (NotRun(index, "is not in the ledger") for index in chunk if index not in known)
        yield from self._done([known[i] for i in chunk if i in known and known[i].status is Status.COMPLETED])
        yield from self._attach([i for i in chunk if i in known and known[i].status is Status.RUNNING])
        # Dead runs' attempts have been judged: what they left to run is claimed with the rest.
        yield from self._claim([i for i in chunk if i in known and known[i].status is not Status.COMPLETED])

    def _done(self, structures: Sequence[StructureRecord], *, followed: bool = False) -> Iterator[Event]:
        attempts = self._ledger.good_attempts([structure.orig_index for structure in structures])
        for structure in structures:
            attempt = attempts.get(structure.orig_index)
            yield InputWritten(
                structure,
                attempt.input_hash if attempt else None,
                Path(structure.job_dir) if structure.job_dir else None,
                attempt.number if attempt else None,
                reused=True,
            )
            yield Completed(structure, attempt, reused=not followed, followed=followed)

    def _claim(self, indices: Sequence[int]) -> Iterator[Event]:
        wanted = [index for index in indices if index not in self._others and index not in self._settled]
        if not wanted:
            return
        retry = self._campaign.retry
        claims = self._ledger.claim(
            self._batch_id,
            wanted,
            # What is to_run by now (given back by another run, or lost) is wanted too.
            statuses=(Status.TO_RUN, *self._request.statuses),
            launcher=self._launcher.kind,
            n_cores=self._campaign.orca.n_cores,
            max_failures=None if self._request.ignore_budget else retry.max_failures,
            max_losses=None if self._request.ignore_budget else retry.max_losses,
            release_held=self._request.named,
            now=self._clock(),
        )
        yield from self._submit(claims)
        ours = {claim.structure.orig_index for claim in claims}
        yield from self._explain([index for index in wanted if index not in ours])

    def _explain(self, indices: Sequence[int]) -> Iterator[Event]:
        """Say why structures could not be claimed; those that another run took just now are followed."""
        for index, structure in self._ledger.structures(indices).items():
            retry = self._campaign.retry
            if structure.status is Status.COMPLETED:
                yield from self._done([structure])
            elif structure.status is Status.RUNNING:
                if any(live.structure.orig_index == index for live in self._live.values()):
                    continue
                self._others.add(index)
            elif structure.held and not self._request.named:
                yield NotRun(index, "is held; release it with `oact release`, or name it")
            elif structure.fail_count >= retry.max_failures:
                yield self._failed(
                    structure,
                    f"set aside after {structure.fail_count} failed attempts (retry.max_failures:"
                    f" {retry.max_failures}); the last one: {structure.error_message or 'no message'}",
                )
            elif structure.loss_count >= retry.max_losses:
                yield self._failed(
                    structure,
                    f"set aside after {structure.loss_count} lost attempts (retry.max_losses: {retry.max_losses}); the"
                    f" last one: {structure.error_message or 'no message'}",
                )
            else:
                yield NotRun(index, f"is {structure.status}, which was not asked for")

    def _submit(self, claims: Sequence[Claim]) -> Iterator[Event]:
        parameters = self._messages.parameters() if self._messages is not None else {}
        ready: list[tuple[Claim, Path]] = []
        prepared: list[tuple[str, str, str]] = []
        unprepared: list[Ending] = []
        events: list[Event] = []
        for place, claim in enumerate(claims):
            if self._broken is not None:
                # The first folder that could not be written for want of space was the last one.
                rest = [*(claim for claim, _ in ready), *claims[place:]]
                yield from self._given_back(self._ledger.give_back([one.token for one in rest]), self._broken)
                ready, prepared, events = [], [], []
                break
            try:
                made = prepare_attempt(self._campaign, self._engine, claim, parameters)
            except (ValueError, OSError) as error:
                unprepared.append(self._not_prepared(claim, error))
                self._look_at_space()
                continue
            ready.append((claim, made.folder))
            prepared.append((claim.token, str(made.folder), made.input_hash))
            events.append(InputWritten(claim.structure, made.input_hash, made.folder, claim.attempt))
        self._ledger.mark_prepared(prepared)
        try:
            job_ids = self._launcher.submit(
                [Job(claim.token, folder, self._campaign.orca.n_cores) for claim, folder in ready]
            )
        except LauncherError:
            self._ledger.give_back([claim.token for claim, _ in ready])
            raise
        self._ledger.mark_submitted(job_ids, self._clock())
        for claim, folder in ready:
            self._live[claim.token] = LiveAttempt(claim.structure, claim.token, folder, job_ids[claim.token])
        yield from events
        yield from self._record(unprepared)

    def _not_prepared(self, claim: Claim, error: ValueError | OSError) -> Ending:
        if isinstance(error, OSError):
            kind = FailureClass.NOT_WRITTEN
            where = error.filename or self._campaign.jobs_dir
            message = f"the job folder could not be written: {where}: {error.strerror or error}"
        else:
            kind, message = FailureClass.INPUT_REFUSED, str(error)
        return Ending(claim.token, Outcome.FAILED, self._clock(), kind, message, elapsed=0.0)

    # --- what other runs own, or have left ----------------------------------------------------------------------

    def _attach(self, indices: Sequence[int]) -> Iterator[Event]:
        """Sort running structures: a live run's are followed, a dead run's are judged or followed as ours."""
        orphans: list[OpenAttempt] = []
        alive: dict[str, bool] = {}
        for index, attempt in self._ledger.open_attempts(indices).items():
            if attempt.batch_id not in alive:
                alive[attempt.batch_id] = attempt.batch_id != self._batch_id and self._ledger.batch_lives(
                    attempt.batch_id, self._clock()
                )
            if alive[attempt.batch_id]:
                self._others.add(index)
            elif self._ledger.take_over(attempt, self._batch_id):
                orphans.append(attempt)
            else:
                self._others.add(index)
        if not orphans:
            return
        adopted = self._launcher.adopt([attempt.token for attempt in orphans])
        structures = self._ledger.structures([attempt.orig_index for attempt in orphans])
        harvest: list[LiveAttempt] = []
        untouched: list[str] = []
        for attempt in orphans:
            structure = structures[attempt.orig_index]
            folder = folder_of_attempt(
                self._campaign, attempt.job_dir, attempt.orig_index, attempt.structure_id, attempt.token
            )
            live = LiveAttempt(structure, attempt.token, folder, adopted.get(attempt.token, attempt.token))
            if attempt.token in adopted:
                self._live[attempt.token] = live
            elif attempt.state is AttemptState.RUNNING or has_run(folder):
                harvest.append(live)
            else:
                untouched.append(attempt.token)
                continue
            # Its input was written by the run that is gone; ours has not told of it yet.
            yield InputWritten(structure, None, folder, attempt.number, reused=True)
        self._ledger.give_back(untouched)
        gone = JobState(Phase.ENDED, "the run that started it is gone")
        yield Note(
            f"{len(orphans)} structures were left by a run that is gone: {len(adopted)} still run and are followed,"
            f" {len(harvest)} have ended, {len(untouched)} had not begun"
        )
        # Those that come out lost are to_run again, and this batch claims them after this.
        yield from self._record([self._ending(live, gone) for live in harvest], lost_goes_on=True)

    def _look_at_others(self) -> Iterator[Event]:
        now = time.monotonic()
        if not self._others or now - self._last_look < FOLLOW_OTHERS_S:
            return
        self._last_look = now
        structures = self._ledger.structures(sorted(self._others))
        again: list[int] = []
        for index, structure in structures.items():
            if structure.status is Status.COMPLETED:
                self._others.discard(index)
                yield from self._done([structure], followed=True)
            elif structure.status in (Status.FAILED, Status.TIMEOUT):
                self._others.discard(index)
                yield self._failed(structure, structure.error_message or "no message")
            elif structure.status is not Status.RUNNING:
                # Given back by its run: it is ours to run, where it was asked for.
                again.append(index)
        running = self._ledger.open_attempts([i for i, s in structures.items() if s.status is Status.RUNNING])
        batches = {attempt.batch_id for attempt in running.values()}
        dead = {batch for batch in batches if not self._ledger.batch_lives(batch, self._clock())}
        again += [index for index, attempt in running.items() if attempt.batch_id in dead]
        self._others.difference_update(again)
        self._pending.extend(again)

    # --- following our own ------------------------------------------------------------------------------------------

    def _collect(self) -> Iterator[Event]:
        """Ask for the state of all our jobs at once, and judge those that have ended."""
        if not self._live:
            return
        by_job = {live.job_id: live for live in self._live.values()}
        started: list[LiveAttempt] = []
        endings: list[Ending] = []
        for job_id, state in self._launcher.states(by_job.keys()).items():
            live = by_job[job_id]
            if state.phase is Phase.QUEUED:
                continue
            if not live.running:
                live.running = True
                started.append(live)
            if state.phase is not Phase.RUNNING:
                endings.append(self._ending(live, state))
        self._ledger.mark_running([live.token for live in started], self._clock())
        for live in started:
            self._follow(live)
            yield Running(live.structure.orig_index)
        for ending in endings:
            self._unfollow(self._live[ending.token])
        yield from self._record(endings)

    def _ending(self, live: LiveAttempt, state: JobState) -> Ending:
        cancelled = self._stop.level is not StopLevel.NONE
        return ending_of(live, state, self._campaign.orca.n_cores, cancelled=cancelled, now=self._clock())

    def _record(self, endings: Sequence[Ending], *, lost_goes_on: bool = False) -> Iterator[Event]:
        """Write endings into the ledger, then tell of them: what is told is always recorded."""
        if not endings:
            return
        indices = self._ledger.indices_of([ending.token for ending in endings])
        recorded = self._ledger.record(endings)
        for ending in endings:
            self._live.pop(ending.token, None)
        structures = self._ledger.structures(list(indices.values()))
        yield from self._done_now(
            [structures[indices[e.token]] for e in endings if e.outcome is Outcome.COMPLETED]
        )
        for ending in endings:
            structure = structures[indices[ending.token]]
            if ending.token not in recorded:
                self._pending.append(structure.orig_index)  # closed by somebody else: see what became of it
            elif ending.outcome is Outcome.CANCELLED:
                if ending.failure_class == FailureClass.NOT_STARTED:
                    # The same for every structure: to go on would only empty the queue into failures.
                    self._broken = self._broken or f"{ending.message}; nothing more was started"
                yield from self._given_back([structure.orig_index], ending.message or "stopped")
            elif ending.outcome is Outcome.LOST and lost_goes_on:
                yield Note(
                    f"structure {structure.orig_index} was lost and runs again: {ending.message}",
                    warning=True,
                )
            elif ending.outcome is Outcome.LOST:
                self._look_at_space()
                yield Note(f"structure {structure.orig_index} was lost: {ending.message}", warning=True)
                self._pending.append(structure.orig_index)
            elif ending.outcome is not Outcome.COMPLETED:
                yield self._failed(structure, ending.message or "no message", ending.failure_class)

    def _done_now(self, structures: Sequence[StructureRecord]) -> Iterator[Event]:
        done = [structure for structure in structures if structure.status is Status.COMPLETED]
        attempts = self._ledger.good_attempts([structure.orig_index for structure in done])
        for structure in done:
            yield Completed(structure, attempts.get(structure.orig_index))

    def _failed(self, structure: StructureRecord, message: str, failure_class: str | None = None) -> Failed:
        attempts = self._ledger.attempts(structure.orig_index)
        last = attempts[-1] if attempts else None
        folder = last.job_dir if last is not None and last.job_dir else structure.job_dir
        shown = tail(Path(folder) / OUTPUT_FILE, TAIL_LINES) if folder else ""
        kind = failure_class or (last.failure_class if last is not None else None) or str(structure.status)
        return Failed(structure, kind, message, shown, attempts)

    def _follow(self, live: LiveAttempt) -> None:
        if self._messages is not None and not live.followed:
            self._messages.follow(live.folder / MESSAGES_FILE)
            live.followed = True

    def _unfollow(self, live: LiveAttempt) -> None:
        if self._messages is not None and live.followed:
            self._messages.finish(live.folder / MESSAGES_FILE)

    def _look_at_space(self) -> None:
        """After something was lost or not written: on a full disk everything else would be, too."""
        folder = self._campaign.jobs_dir
        try:
            free = shutil.disk_usage(folder).free
        except OSError:
            return
        if free < LEAST_SPACE_B:
            self._broken = f"{folder}: no space left on the disk ({free} bytes); nothing more was started"

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._last_beat >= HEARTBEAT_S:
            self._last_beat = now
            self._ledger.beat(self._batch_id, self._clock())

    # --- stopping -----------------------------------------------------------------------------------------------

    def _wind_down(self) -> Iterator[Event]:
        """Start nothing more; give running calculations the grace time, then end them."""
        for index in (*self._pending, *self._others):
            yield NotRun(index, self._broken or "the run was stopped before it was started here")
        self._pending.clear()
        self._others.clear()
        queued = [live for live in self._live.values() if not live.running]
        if queued:
            self._launcher.cancel([live.job_id for live in queued])
            # Some may have started in between: the launcher tells, and they are judged like any other.
            states = self._launcher.states([live.job_id for live in queued])
            tokens = [live.token for live in queued if states[live.job_id].final == NEVER_STARTED]
            for token in tokens:
                del self._live[token]
            reason = self._broken or "the run was stopped before it was started"
            yield from self._given_back(self._ledger.give_back(tokens), reason)
        if self._stop.level is StopLevel.NONE:
            return
        if self._grace_over is None:
            self._grace_over = time.monotonic() + self._campaign.launcher.stop_grace_s
            if self._live and self._stop.level is StopLevel.FINISH:
                yield Note(
                    f"stopping: {len(self._live)} running calculations get"
                    f" {self._campaign.launcher.stop_grace_s:g} s to end"
                )
        if self._live and (self._stop.level is StopLevel.NOW or time.monotonic() >= self._grace_over):
            self._launcher.cancel([live.job_id for live in self._live.values()])

    def _given_back(self, indices: Sequence[int], reason: str) -> Iterator[Event]:
        if self._stop.hold:
            self._ledger.hold(indices)
        yield from (NotRun(index, reason) for index in indices)

    def _abandon(self) -> None:
        """Leave nothing behind, however the batch ends: no process, and no structure that says running."""
        live = dict(self._live)
        self._live.clear()
        if live:
            self._stop.raise_to(StopLevel.NOW)
            self._stop.look()
        self._launcher.close()
        gone = JobState(Phase.ENDED, "its run ended")
        untouched = {t for t, one in live.items() if not one.running and not has_run(one.folder)}
        self._ledger.record(
            [self._ending(one, gone) for token, one in live.items() if token not in untouched]
        )
        # With those that were claimed and not yet handed over when something was raised.
        given = self._ledger.give_back(self._ledger.unstarted(self._batch_id))
        if self._stop.hold:
            ended = (one.structure.orig_index for token, one in live.items() if token not in untouched)
            self._ledger.hold([*given, *ended])
        self._ledger.close_batch(self._batch_id, self._clock())

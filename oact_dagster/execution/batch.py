"""Running a batch: claim, prepare, submit, follow, judge, record; and re-attach to what a dead run left.

This is the one way on which structures are run, whoever asks (Dagster's assets or the command line) and whatever
runs them. It knows no Dagster: it yields what happens.
"""

import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from oact_dagster.campaign import Campaign
from oact_dagster.execution.attempt_folders import attempt_folders
from oact_dagster.execution.bad_hosts import bad_hosts
from oact_dagster.execution.clean_folder import apply_keep
from oact_dagster.execution.disk_estimate import Sizes
from oact_dagster.execution.ending import LiveAttempt, ending_of, has_run, overdue, timed_out
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
    Stuck,
    TakenIn,
)
from oact_dagster.execution.feeding import due_of, why_stopped
from oact_dagster.execution.job_folder import FolderWriter
from oact_dagster.execution.job_layout import JobLayout, jobs_dir_refused
from oact_dagster.execution.looking import with_earlier_ones
from oact_dagster.execution.next_attempt import AVOID, NextAttempt, plan_next
from oact_dagster.execution.orca_version import of_the_ledgers_orca
from oact_dagster.execution.ran_by_hand import make_it_the_attempts, ran_by_hand
from oact_dagster.execution.restoring import stored_result
from oact_dagster.execution.selection import BatchRequest
from oact_dagster.execution.setup_hook import SetupError, load_setup_func
from oact_dagster.execution.stopping import StopLevel, StopRequest
from oact_dagster.launchers.attempt_files import MESSAGES_FILE, OUTPUT_FILE, read_exit
from oact_dagster.launchers.kinds import settings_of
from oact_dagster.launchers.leftovers import end_leftovers
from oact_dagster.launchers.packing import expected_cost
from oact_dagster.launchers.protocol import (
    GONE,
    NEVER_STARTED,
    OUT_OF_TIME,
    Cause,
    Job,
    JobState,
    Launcher,
    LauncherError,
    Orphan,
    Phase,
)
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.states import (
    AttemptRecord,
    AttemptState,
    Claim,
    Ending,
    OpenAttempt,
    Outcome,
    Preparation,
    Status,
    StructureRecord,
)
from oact_dagster.ledger.store import Ledger
from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.input_settings import InputRefused
from oact_dagster.orca.outputs import tail
from oact_dagster.orca.remedies import Stop

HEARTBEAT_S: Final = 30.0
FOLLOW_OTHERS_S: Final = 2.0
"""How often structures that another run owns are looked at, s."""
PAUSE_S: Final = 0.5
"""Longest time between two looks at whether the run is to stop, s."""
RECORD_GRACE_S: Final = 60.0
"""How long the files of a job that has ended may take to be seen from here: a network file system remembers, s."""
STILLBORN_JOBS: Final = 3
"""So many jobs that end before their payload begins, and none that began: it is no fault of a node."""
TAIL_LINES: Final = 20
PROGRESS_LINES_PER_S: Final = 5.0
"""Lines about running calculations in the log of a run, at most: each is an event in Dagster's storage."""
_NOT_OURS: Final = (
    "is marked running and has no attempt here: another tool or somebody's hand marked it; set it back to to_run where"
    " nothing runs"
)
OWNED: Final = "another run has it"
LOOK_FOR_SILENT_S: Final = 60.0
"""How often a batch looks whether its calculations have come to a standstill, s."""
LOOK_FOR_BAD_HOSTS_S: Final = 60.0
"""How often a batch looks for hosts that are to be left out, s."""
LOOK_IF_PAUSED_S: Final = 5.0
"""How often a batch that takes what comes next looks whether the campaign may go on, s."""
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
        self._layout = JobLayout.of(campaign, ledger)
        self._writer = FolderWriter(campaign, self._layout)
        self._settings_hash = campaign.settings_hash()
        self._sizes = Sizes(campaign)
        self._plans: dict[int, tuple[int, NextAttempt]] = {}
        self._pending: deque[int] = deque(request.orig_indices)
        self._live: dict[str, LiveAttempt] = {}
        self._waiting: dict[str, tuple[Job, LiveAttempt]] = {}
        # Attempts of which nobody knows whether they have a job: they stay open for the next run.
        self._unclear: set[str] = set()
        self._outside: set[str] = set()
        self._stillborn: set[str] = set()
        self._logs: dict[str, str] = {}
        # Why we have ended attempts that had come to a standstill.
        self._overdue: dict[str, str] = {}
        self._began = False
        self._supply_left = request.supply
        # Why a campaign that feeds itself begins nothing more; jobs that were taken back for it.
        self._paused = ""
        self._recalled: set[str] = set()
        self._next_pause = 0.0
        self._offered: set[int] = set()
        self._bad_hosts: tuple[str, ...] = ()
        self._next_hosts = 0.0
        self._others: set[int] = set()
        self._taken: set[int] = set()
        self._settled: set[int] = set()
        self._grace_over: float | None = None
        self._broken: str | None = None
        self._gave_up = False
        self._last_beat = self._last_look = 0.0
        self._began_at, self._last_silent = clock(), time.monotonic()
        self._began_monotonic = self._last_silent

    def run(self) -> Generator[Event]:
        """Run the batch.

        Yields:
            What happens; for each structure asked for, in the end exactly one of Completed, Failed and NotRun.

        Raises:
            CampaignError: there is no such function as ``setup_func`` names.
            LedgerError: the ledger's results are of another level of theory.
            LauncherError: there can be no job folders (nothing was claimed), jobs cannot be submitted at all, or
                nothing can be run any more (an engine that cannot be started, a full disk); what had begun has been
                recorded.
        """
        setup = load_setup_func(self._campaign)
        if refused := jobs_dir_refused(self._campaign.jobs_dir):
            # The same for every structure: each would lose an attempt by it.
            raise LauncherError(f"{refused}; nothing was started")
        owner = Owner.this_process()
        self._ledger.take_writer(owner, take_over=self._request.take_over, now=self._clock())
        self._ledger.fix_level_of_theory(self._campaign.level_of_theory())
        self._writer = FolderWriter(self._campaign, self._layout, setup)
        self._ledger.open_batch(self._batch_id, owner, self._clock())
        try:
            yield Started(len(self._pending) + self._supply_left)
            for event in self._run():
                # One word for each structure: what this batch has settled it does not touch again.
                if isinstance(event, NotRun):
                    self._settled.add(event.orig_index)
                elif isinstance(event, (Completed, Failed)):
                    self._settled.add(event.structure.orig_index)
                yield event
            if self._broken is not None:
                raise LauncherError(self._broken)
        except LauncherError:
            self._gave_up = True
            raise
        finally:
            self._abandon()

    def _run(self) -> Iterator[Event]:
        news = True
        while self._pending or self._live or self._waiting or self._others or self._supply_left > 0:
            yield from self._look_if_paused()
            if self._stop.look() is not StopLevel.NONE or self._broken is not None:
                if self._detaches():
                    yield from self._detach()
                    return
                yield from self._wind_down()
                if not self._live:
                    break
                news = True
            elif reason := self._launcher.closing() or self._paused:
                yield from self._nothing_more(reason)
            elif self._waiting:
                if news:
                    yield from self._hand_over()
            elif len(self._live) < self._campaign.max_in_flight and (self._pending or self._refill()):
                yield from self._admit()
                news = True
            if news:
                yield from self._collect()
            yield from self._end_overdue()
            if not self._request.follow:
                yield from self._give_back_untaken()
                if not self._pending and not self._waiting:
                    return
            yield from self._look_at_others()
            self._beat()
            if self._live or self._waiting:
                news = self._launcher.wait(PAUSE_S)
            elif self._others:
                self._launcher.wait(FOLLOW_OTHERS_S / 4)
                news = True

    # --- taking structures in -----------------------------------------------------------------------------------

    def _refill(self) -> bool:
        """Look for the next structures that are due, where the batch takes those; the claim decides whose they are.

        Returns:
            Whether there are any.
        """
        if self._supply_left <= 0:
            return False
        room = min(
            self._supply_left,
            self._campaign.batch_size,
            self._campaign.max_in_flight - len(self._live),
        )
        due = due_of(self._campaign, self._clock())
        # What was offered before may have been given back, and is not taken again.
        found = self._ledger.next_to_run(self._request.statuses, due, room + len(self._offered))
        fresh = [index for index in found if index not in self._offered][:room]
        if not fresh:
            self._supply_left = 0
        self._offered.update(fresh)
        self._pending.extend(fresh)
        return bool(fresh)

    def _look_if_paused(self) -> Iterator[Event]:
        """Take back what has not begun once a campaign that feeds itself is paused, or its budget is spent."""
        if not self._request.supply or self._paused or time.monotonic() < self._next_pause:
            return
        self._next_pause = time.monotonic() + LOOK_IF_PAUSED_S
        _, self._paused = why_stopped(self._campaign, self._ledger, self._clock())
        if not self._paused:
            return
        yield Note(f"nothing more is begun, and what runs goes on: {self._paused}", warning=True)
        queued = [live for live in self._live.values() if not live.running]
        if queued:
            # Some may have started in between: they are ended, and cost their structures nothing.
            self._recalled.update(live.token for live in queued)
            self._launcher.cancel([live.job_id for live in queued])

    def _admit(self) -> Iterator[Event]:
        """Take the next structures: tell of those that are done, follow others' and dead runs', claim the rest."""
        room = self._campaign.max_in_flight - len(self._live)
        taken = [
            self._pending.popleft() for _ in range(min(room, self._campaign.batch_size, len(self._pending)))
        ]
        chunk = [index for index in taken if index not in self._settled]
        known = self._ledger.structures(chunk)
        if not self._request.supply:
            yield self._take_in(known[index] for index in chunk if index in known)
        yield from (NotRun(index, "is not in the ledger") for index in chunk if index not in known)
        stale = self._to_compute_again(
            [i for i in chunk if i in known and known[i].status is Status.COMPLETED]
        )
        done = {i for i in chunk if i in known and known[i].status is Status.COMPLETED} - stale
        yield from self._done([known[i] for i in chunk if i in done])
        if not self._request.supply:
            yield from self._attach([i for i in chunk if i in known and known[i].status is Status.RUNNING])
        self._look_for_bad_hosts()
        # Dead runs' attempts have been judged: what they left to run is claimed with the rest.
        yield from self._claim([i for i in chunk if i in known and i not in done])

    def _look_for_bad_hosts(self) -> None:
        if time.monotonic() >= self._next_hosts:
            self._next_hosts = time.monotonic() + LOOK_FOR_BAD_HOSTS_S
            self._bad_hosts = tuple(bad_hosts(self._campaign, self._ledger, self._clock()))

    def _take_in(self, structures: Iterable[StructureRecord]) -> TakenIn:
        fresh = [one for one in structures if one.orig_index not in self._taken]
        self._taken.update(one.orig_index for one in fresh)
        return TakenIn(fresh)

    def _to_compute_again(self, completed: Sequence[int]) -> set[int]:
        """Of completed structures those whose result was made with other settings, where such were asked for."""
        if Status.COMPLETED not in self._request.statuses:
            return set()
        attempts = self._ledger.good_attempts(completed)
        return {i for i in completed if i in attempts and attempts[i].settings_hash != self._settings_hash}

    def _done(self, structures: Sequence[StructureRecord], *, followed: bool = False) -> Iterator[Event]:
        attempts = self._ledger.good_attempts([structure.orig_index for structure in structures])
        earlier = with_earlier_ones(self._ledger, attempts)
        for structure in structures:
            attempt = attempts.get(structure.orig_index)
            yield InputWritten(
                structure,
                attempt.input_hash if attempt else None,
                Path(structure.job_dir) if structure.job_dir else None,
                attempt.number if attempt else None,
                reused=True,
                settings_hash=attempt.settings_hash if attempt else None,
                remedy=attempt.remedy if attempt else None,
            )
            tried = earlier.get(structure.orig_index, ())
            yield Completed(structure, attempt, reused=not followed, followed=followed, attempts=tried)

    def _claim(self, indices: Sequence[int]) -> Iterator[Event]:
        wanted = [index for index in indices if index not in self._others and index not in self._settled]
        wanted = yield from self._plan(wanted)
        if not wanted:
            return
        retry = self._campaign.retry
        claims = self._ledger.claim(
            self._batch_id,
            wanted,
            # What is to_run by now (given back by another run, or lost) is wanted too.
            statuses=(Status.TO_RUN, *self._request.statuses),
            launcher=self._launcher.kind,
            n_cores=self._campaign.n_cores,
            max_failures=None if self._request.ignore_budget else retry.max_failures,
            max_losses=None if self._request.ignore_budget else retry.max_losses,
            release_held=self._request.named,
            settings_hash=self._settings_hash,
            now=self._clock(),
        )
        ours = {claim.structure.orig_index for claim in claims}
        if self._request.supply:
            self._supply_left -= len(ours - self._taken)
            yield self._take_in(claim.structure for claim in claims)
        yield from self._submit(claims)
        if self._request.supply:
            return
        yield from self._explain([index for index in wanted if index not in ours])

    def _plan(self, indices: Sequence[int]) -> Generator[Event, None, list[int]]:
        """Decide on the next attempts of structures that have been tried before.

        Returns:
            The structures that are left to claim: not those that have this very result from an earlier attempt, and
            not those for whose failure there is no remedy left.
        """
        tried = self._ledger.attempts_of(indices)
        records = self._ledger.structures(list(tried))
        left = [index for index in indices if index not in tried]
        for index, attempts in tried.items():
            record = records[index]
            if not self._may_be_claimed(record):
                left.append(index)
                continue
            good = None if self._request.ignore_budget else self._restored(record, attempts)
            if good is not None:
                yield Note(f"structure {index}: this input has a result already, of attempt {good.number}")
                yield from self._done(list(self._ledger.structures([index]).values()))
                continue
            try:
                coming = self._next(record, attempts)
            except ValueError:
                left.append(index)  # no input can be written: said when it is tried
                continue
            if isinstance(coming, NextAttempt):
                self._plans[index] = (attempts[-1].number + 1, coming)
                left.append(index)
            else:
                self._ledger.set_aside(index, self._campaign.retry_key())
                yield self._failed(record, f"not tried again: {coming.reason}")
        order = {index: place for place, index in enumerate(indices)}
        return sorted(left, key=order.__getitem__)

    def _restored(self, record: StructureRecord, attempts: Sequence[AttemptRecord]) -> AttemptRecord | None:
        """Take an earlier result of this very input as the structure's again; None where there is none."""
        try:
            found = stored_result(attempts, self._settings_hash, lambda: self._writer.setup_of(record))
            if found is not None and self._ledger.restore(
                record.orig_index, found.attempt.token, self._request.statuses, found.bring_back
            ):
                return found.attempt
        except (ValueError, OSError, SetupError):
            pass  # what is wrong is said when it is run
        return None

    def _may_be_claimed(self, record: StructureRecord) -> bool:
        retry = self._campaign.retry
        within_budget = record.fail_count < retry.max_failures and record.loss_count < retry.max_losses
        return (
            record.status is not Status.RUNNING
            and (self._request.named or not record.held)
            and (self._request.ignore_budget or within_budget)
        )

    def _next(self, record: StructureRecord, attempts: Sequence[AttemptRecord]) -> NextAttempt | Stop:
        return plan_next(
            self._campaign,
            record,
            attempts,
            settings_hash=self._settings_hash,
            never_stop=self._request.ignore_budget,
        )

    def _coming(self, claim: Claim) -> NextAttempt:
        """What an attempt runs that is ours now.

        Raises:
            GeometryError, StructureError, InputRefused: structure and settings do not go together.
        """
        number, coming = self._plans.pop(claim.structure.orig_index, (1, None))
        if coming is not None and number == claim.attempt:
            return coming
        # Either its first attempt, or another run was here between our plan and our claim.
        earlier = self._ledger.attempts(claim.structure.orig_index) if claim.attempt > 1 else []
        planned = self._next(claim.structure, earlier)
        if isinstance(planned, NextAttempt):
            return planned
        raise InputRefused(f"not tried again: {planned.reason}")

    def _explain(self, indices: Sequence[int]) -> Iterator[Event]:
        """Say why structures could not be claimed; those that another run took just now are followed."""
        followed = self._ledger.open_attempts(indices)
        structures = self._ledger.structures(indices)
        stale = self._to_compute_again([i for i, s in structures.items() if s.status is Status.COMPLETED])
        for index, structure in structures.items():
            retry = self._campaign.retry
            if structure.status is Status.COMPLETED:
                if index in stale:
                    why = (
                        "is held: `oact release` releases it"
                        if structure.held
                        else "has used up its budget of attempts: a run with --ignore-budget computes it"
                    )
                    text = f"structure {index} keeps its result of other settings, since it {why}"
                    yield Note(text, warning=True)
                yield from self._done([structure])
            elif structure.status is Status.RUNNING:
                if any(live.structure.orig_index == index for live in self._live.values()):
                    continue
                if index in followed:
                    self._others.add(index)
                else:
                    yield NotRun(index, _NOT_OURS)
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

    def _take_by_hand(self, claims: Sequence[Claim]) -> Generator[Event, None, list[Claim]]:
        """Record what somebody has computed by hand of structures that were never tried.

        Returns:
            The claims that are left to run.
        """
        left: list[Claim] = []
        prepared: list[Preparation] = []
        endings: list[Ending] = []
        for claim in claims:
            found = self._by_hand(claim) if claim.attempt == 1 else None
            if found is None:
                left.append(claim)
                continue
            made, ending = found
            prepared.append(made)
            endings.append(ending)
            yield InputWritten(
                claim.structure, made.input_hash, Path(made.job_dir), claim.attempt, reused=True
            )
        if endings:
            yield Note(f"{len(endings)} structures had been run by hand: what came of them is recorded")
            self._ledger.mark_prepared(prepared)
            yield from self._record(endings)
        return left

    def _by_hand(self, claim: Claim) -> tuple[Preparation, Ending] | None:
        structure = claim.structure
        folder = self._layout.folder(structure.orig_index, structure.id, structure.job_dir)
        try:
            found = ran_by_hand(self._campaign, claim, folder, self._engine, self._clock())
            # What the user's own function had put beside it then, nobody knows.
            if found is None or self._writer.setup_of(structure) is not None:
                return None
            if of_the_ledgers_orca(self._ledger, found[1]) is not found[1]:
                return None
            make_it_the_attempts(claim, found[0], self._engine)
        except (ValueError, OSError, SetupError):
            return None  # what is wrong is said when it is run
        return found

    def _submit(self, claims: Sequence[Claim]) -> Iterator[Event]:
        claims = yield from self._take_by_hand(claims)
        parameters = self._messages.parameters() if self._messages is not None else {}
        progress_s = self._progress_s(len(claims))
        ready: list[Claim] = []
        prepared: list[Preparation] = []
        unprepared: list[Ending] = []
        events: list[Event] = []
        for place, claim in enumerate(claims):
            if self._broken is not None:
                # The first folder that could not be written for want of space was the last one.
                rest = [*ready, *claims[place:]]
                yield from self._given_back(self._ledger.give_back([one.token for one in rest]), self._broken)
                ready, prepared, events = [], [], []
                break
            try:
                made = self._writer.attempt(claim, self._coming(claim), self._engine, parameters, progress_s)
            except (ValueError, OSError, SetupError) as error:
                unprepared.append(self._not_prepared(claim, error))
                self._look_at_space()
                continue
            ready.append(claim)
            prepared.append(made)
            events.append(
                InputWritten(
                    claim.structure, made.input_hash, Path(made.job_dir), claim.attempt, remedy=made.remedy
                )
            )
        self._ledger.mark_prepared(prepared)
        for claim, made in zip(ready, prepared, strict=True):
            live = LiveAttempt(claim.structure, claim.token, Path(made.job_dir), "")
            self._waiting[claim.token] = (self._job(made, claim.structure), live)
        yield from self._hand_over()
        yield from events
        yield from self._record(unprepared)

    def _progress_s(self, claimed: int) -> float:
        """Time between two messages of a calculation, s; 0 for none."""
        interval = self._campaign.launcher.progress_interval_s
        if interval is None or self._messages is None:
            return 0.0
        return max(interval, (len(self._live) + claimed) / PROGRESS_LINES_PER_S)

    def _job(self, made: Preparation, structure: StructureRecord) -> Job:
        settings = self._campaign.launcher
        limit = made.plan.get("time_limit_s", settings.job_timeout_s)
        memory = settings.memory_request_mb(made.plan.get("maxcore"), made.n_cores)
        return Job(
            made.token,
            Path(made.job_dir),
            made.n_cores,
            limit,
            memory,
            expected_cost=self._expected_cost(structure),
            avoid=tuple(sorted({*made.plan.get(AVOID, ()), *self._bad_hosts})),
        )

    def _expected_cost(self, structure: StructureRecord) -> float:
        try:
            size = self._sizes.of(structure.elements.split(";"), structure.multiplicity)
        except InputRefused:
            return 0.0
        return expected_cost(size.basis_functions, size.spins, opt=self._campaign.orca.opt)

    def _hand_over(self) -> Iterator[Event]:
        """Submit what is prepared; what the launcher does not take yet stays here and is handed over again."""
        if not self._waiting:
            return
        try:
            answer = self._launcher.submit([job for job, _ in self._waiting.values()])
        except LauncherError:
            certain = self._launcher.withdraw(list(self._waiting))
            self._ledger.give_back([*certain])
            for token in certain:
                del self._waiting[token]
            raise
        self._ledger.mark_submitted(answer.taken, self._clock())
        for token, job_id in answer.taken.items():
            _, live = self._waiting.pop(token)
            live.job_id = job_id
            self._live[token] = live
        for token in answer.refused:
            del self._waiting[token]
        if answer.refused:
            given = self._ledger.give_back(list(answer.refused))
            told = "; ".join(dict.fromkeys(answer.refused.values()))
            reason = f"{self._launcher.kind} refused its job: {told}"
            if not answer.taken and not self._live:
                # It would refuse the others, too.
                self._broken = f"{reason}; nothing more was started"
            yield from self._given_back(given, reason)

    def _give_back_untaken(self) -> Iterator[Event]:
        """Of a batch that follows nothing: wait neither for room in a queue nor for other runs."""
        for index in self._others:
            yield NotRun(index, OWNED)
        self._others.clear()
        # Those of which it is not known whether they have a job stay until the scheduler has said.
        certain = self._launcher.withdraw(list(self._waiting))
        if not certain:
            return
        for token in certain:
            del self._waiting[token]
        reason = f"{self._launcher.kind} does not take its job now"
        yield from self._given_back(self._ledger.give_back([*certain]), reason)
        yield from (NotRun(index, reason) for index in self._pending)
        self._pending.clear()

    def _not_prepared(self, claim: Claim, error: ValueError | OSError | SetupError) -> Ending:
        if isinstance(error, OSError):
            kind = FailureClass.NOT_WRITTEN
            where = self._where(error, claim.token)
            message = f"the job folder could not be written: {where}: {error.strerror or error}"
        elif isinstance(error, SetupError):
            kind, message = FailureClass.SETUP_FAILED, str(error)
        else:
            kind, message = FailureClass.INPUT_REFUSED, str(error)
        return Ending(claim.token, Outcome.FAILED, self._clock(), kind, message, elapsed=0.0)

    def _where(self, error: OSError, token: str) -> Path:
        """What could not be written: the folder of the job folders in place of a name that is one attempt's."""
        named = Path(os.fsdecode(error.filename)) if error.filename else self._campaign.jobs_dir
        return next((path.parent for path in (named, *named.parents) if token in path.name), named)

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
            elif attempt.launcher not in (self._launcher.kind, "local"):
                # Its job may run, and only its own scheduler knows: to run it here would compute it twice.
                yield NotRun(
                    index,
                    f"a run that is gone left it to {settings_of(attempt.launcher)}, and now there is"
                    f" {settings_of(self._launcher.kind)}: a run with those settings finishes it",
                )
            elif self._ledger.take_over(attempt, self._batch_id):
                orphans.append(attempt)
            else:
                self._others.add(index)
        if not orphans:
            return
        # Until their scheduler has said what runs they are nobody's to give back.
        tokens = {attempt.token for attempt in orphans}
        self._unclear |= tokens
        adopted = self._adopt(orphans)
        self._unclear -= tokens
        structures = self._ledger.structures([attempt.orig_index for attempt in orphans])
        harvest: list[LiveAttempt] = []
        untouched: list[str] = []
        for attempt in orphans:
            structure = structures[attempt.orig_index]
            folder = self._folder_of(attempt)
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
            f"{len(orphans)} structures were left by a run that is gone: the jobs of {len(adopted)} are followed,"
            f" {len(harvest)} have ended, {len(untouched)} had not begun"
        )
        # Those that come out lost are to_run again, and this batch claims them after this.
        yield from self._record([self._ending(live, gone) for live in harvest], lost_goes_on=True)

    def _adopt(self, orphans: Sequence[OpenAttempt]) -> Mapping[str, str]:
        """Find the jobs of attempts that nobody follows.

        Raises:
            LauncherError: the scheduler cannot be asked.
        """
        ours = [attempt for attempt in orphans if attempt.launcher == self._launcher.kind]
        if len(ours) < len(orphans):
            # Left by processes of this machine, before launcher.kind was changed.
            end_leftovers([attempt.token for attempt in orphans if attempt.launcher == "local"])
        if not ours:
            return {}
        adopted = self._launcher.adopt(
            [Orphan(one.token, self._folder_of(one), one.scheduler_job_id) for one in ours]
        )
        self._ledger.mark_submitted(adopted, self._clock())
        return adopted

    def _folder_of(self, attempt: OpenAttempt) -> Path:
        """Where an attempt's files are now: its folder, or what that was renamed to when a later one began."""
        job_dir = (
            Path(attempt.job_dir)
            if attempt.job_dir
            else self._layout.folder(attempt.orig_index, attempt.structure_id)
        )
        return next(iter(attempt_folders(job_dir, attempt.number, attempt.token)), job_dir)

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
        still = [i for i, s in structures.items() if s.status is Status.RUNNING]
        running = self._ledger.open_attempts(still)
        for index in (i for i in still if i not in running):
            # Read again: between the two questions it may have ended.
            if self._ledger.structures([index])[index].status is Status.RUNNING:
                self._others.discard(index)
                yield NotRun(index, _NOT_OURS)
        batches = {attempt.batch_id for attempt in running.values()}
        dead = {batch for batch in batches if not self._ledger.batch_lives(batch, self._clock())}
        again += [index for index, attempt in running.items() if attempt.batch_id in dead]
        self._others.difference_update(again)
        self._pending.extend(again)

    # --- following our own ------------------------------------------------------------------------------------------

    def _collect(self) -> Iterator[Event]:
        """Ask for the state of all our jobs at once, and judge those that have ended."""
        states: Mapping[str, JobState] = {}
        by_job = {live.job_id: live for live in self._live.values()}
        if by_job:
            states = self._launcher.states(by_job.keys())
        yield from (Note(text, warning=True) for text in self._launcher.notes())
        started: list[LiveAttempt] = []
        unbegun: list[LiveAttempt] = []
        too_late: list[tuple[LiveAttempt, str]] = []
        ended: list[tuple[LiveAttempt, JobState]] = []
        for job_id, state in states.items():
            live = by_job[job_id]
            if state.phase in (Phase.QUEUED, Phase.RUNNING):
                live.silent_since = None
            elif state.final == OUT_OF_TIME:
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
        yield from self._tell_stuck([(by_job[job_id], state.stuck) for job_id, state in states.items()])
        self._ledger.mark_running([live.token for live in started], self._clock())
        for live in started:
            self._follow(live)
            yield Running(live.structure.orig_index)
        endings = [self._ending(live, state) for live, state in ended]
        for live, _ in ended:
            self._unfollow(live)
        yield from self._record(endings)
        yield from self._cancelled_in_queue(unbegun)
        for live, why in too_late:
            del self._live[live.token]
            yield from self._given_back(self._ledger.give_back([live.token]), why)

    def _tell_stuck(self, found: Sequence[tuple[LiveAttempt, str]]) -> Iterator[Event]:
        """Keep why jobs may wait for ever, and tell of each structure and reason once."""
        changed = [(live, reason) for live, reason in found if reason != live.stuck]
        if not changed:
            return
        self._ledger.mark_stuck({live.token: reason for live, reason in changed})
        for live, reason in changed:
            live.stuck = reason
            # Names of nodes behind it come and go.
            word = reason.split(",")[0]
            if reason and word not in live.told_stuck:
                live.told_stuck.add(word)
                yield Stuck(live.structure.orig_index, reason)

    def _end_overdue(self) -> Iterator[Event]:
        """End calculations that have come to a standstill; a queued one never has."""
        if time.monotonic() - self._last_silent < min(
            LOOK_FOR_SILENT_S, self._campaign.launcher.silence_limit_s
        ):
            return
        self._last_silent = time.monotonic()
        # A clock that jumps while the batch runs makes nothing old.
        now = self._began_at + self._last_silent - self._began_monotonic
        fresh: dict[str, str] = {}
        for live in self._live.values():
            if live.running and live.token not in self._overdue:
                reason = overdue(live, self._campaign.launcher.silence_limit_s, now)
                if reason:
                    fresh[live.token] = reason
                    text = f"structure {live.structure.orig_index}: {reason}; its job is cancelled"
                    yield Note(text, warning=True)
        self._overdue |= fresh
        # Also those of before whose job has not ended yet.
        stuck = [live.job_id for live in self._live.values() if live.token in self._overdue]
        if stuck:
            self._launcher.cancel(stuck)

    def _is_settled(self, live: LiveAttempt, state: JobState) -> bool:
        """Tell whether an attempt can be judged: its record is there, or has had the time to show.

        That a scheduler does not know a job, or says that it has ended, is no proof that all its files are seen here.
        """
        if not self._launcher.survives or read_exit(live.folder, live.token) is not None:
            return True
        now = time.monotonic()
        if live.silent_since is None:
            live.silent_since = now
        grace = self._campaign.launcher.grace_s
        return now - live.silent_since >= (
            grace if state.phase is Phase.UNKNOWN else min(grace, RECORD_GRACE_S)
        )

    def _cancelled_in_queue(self, unbegun: Sequence[LiveAttempt]) -> Iterator[Event]:
        """Give back what was cancelled before it began; what the user cancelled in the queue is held, too."""
        if not unbegun:
            return
        for live in unbegun:
            del self._live[live.token]
        given = self._ledger.give_back([live.token for live in unbegun])
        reason = self._broken or self._paused or None
        if reason is None and self._stop.level is StopLevel.NONE:
            self._ledger.hold(given)
            reason = (
                "its job was cancelled in the queue; it is held until `oact release`, or a run that names it"
            )
        yield from self._given_back(given, reason or "the run was stopped before it was started")

    def _ending(self, live: LiveAttempt, state: JobState) -> Ending:
        if state.phase is Phase.UNKNOWN:
            state = JobState(Phase.ENDED, GONE, log=state.log)
        stopped = self._stop.level is not StopLevel.NONE or self._gave_up
        reason = self._overdue.get(live.token)
        recalled = live.token in self._recalled
        if state.cause is Cause.CANCELLED and not stopped and not recalled and reason is None:
            self._outside.add(live.token)
        if has_run(live.folder):
            self._began = True
        elif self._launcher.survives:
            self._stillborn.add(live.token)
        if state.log:
            self._logs[live.token] = state.log
        ending = ending_of(
            live,
            state,
            self._campaign.n_cores,
            self._campaign.retry,
            cancelled=stopped or recalled,
            now=self._clock(),
        )
        if reason is not None:
            ending = timed_out(ending, reason)
        taken = of_the_ledgers_orca(self._ledger, ending)
        if taken is not ending:
            self._broken = self._broken or f"{taken.message}; nothing more was started"
        return taken

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
                reason = ending.message or "stopped"
                if ending.token in self._outside:
                    self._ledger.hold([structure.orig_index])
                    reason += "; it is held until `oact release`, or a run that names it"
                yield from self._given_back([structure.orig_index], reason)
            elif ending.outcome is Outcome.LOST and lost_goes_on:
                yield Note(
                    f"structure {structure.orig_index} was lost and runs again: {ending.message}",
                    warning=True,
                )
            elif ending.outcome is Outcome.LOST:
                self._look_at_space()
                if not self._began and len(self._stillborn) >= STILLBORN_JOBS:
                    self._broken = self._broken or f"jobs end before they begin: {ending.message}"
                yield Note(f"structure {structure.orig_index} was lost: {ending.message}", warning=True)
                self._pending.append(structure.orig_index)
            elif ending.outcome is not Outcome.COMPLETED:
                yield self._failed(
                    structure,
                    ending.message or "no message",
                    ending.failure_class,
                    self._logs.get(ending.token, ""),
                )

    def _done_now(self, structures: Sequence[StructureRecord]) -> Iterator[Event]:
        done = [structure for structure in structures if structure.status is Status.COMPLETED]
        attempts = self._ledger.good_attempts([structure.orig_index for structure in done])
        earlier = with_earlier_ones(self._ledger, attempts)
        for structure in done:
            if structure.job_dir is not None:
                apply_keep(self._campaign, Path(structure.job_dir))
            tried = earlier.get(structure.orig_index, ())
            yield Completed(structure, attempts.get(structure.orig_index), attempts=tried)

    def _failed(
        self, structure: StructureRecord, message: str, failure_class: str | None = None, log: str = ""
    ) -> Failed:
        attempts = self._ledger.attempts(structure.orig_index)
        last = attempts[-1] if attempts else None
        folder = last.job_dir if last is not None and last.job_dir else structure.job_dir
        shown = tail(Path(folder) / OUTPUT_FILE, TAIL_LINES) if folder else ""
        kind = failure_class or (last.failure_class if last is not None else None) or str(structure.status)
        return Failed(structure, kind, message, shown, attempts, log)

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

    def _detaches(self) -> bool:
        """Whether a stop leaves jobs where they are: in a queue they wait and run without us."""
        return self._launcher.survives and self._stop.level is not StopLevel.NONE and not self._stop.hold

    def _detach(self) -> Iterator[Event]:
        """Let go of jobs that go on: the next run follows them."""
        yield from self._nothing_more()
        if not self._live:
            return
        jobs = [live.job_id for live in self._live.values()]
        yield Note(
            f"{len(jobs)} jobs go on in the queue, and the next run follows them; to end them:"
            f" {self._launcher.how_to_cancel(jobs)}"
        )
        for live in self._live.values():
            yield NotRun(live.structure.orig_index, "its job goes on in the queue; the next run follows it")

    def _nothing_more(self, closing: str = "") -> Iterator[Event]:
        """Start nothing more: settle all that has no job yet.

        Args:
            closing: why the launcher takes nothing more; it is this that ends the run then, and nothing else.
        """
        reason = self._broken or closing or "the run was stopped before it was started"
        # What was only looked at, and never ours, is as it was.
        known = [i for i in (*self._pending, *self._others) if i not in self._offered or i in self._taken]
        for index in known:
            yield NotRun(index, reason if self._broken or closing else f"{reason} here")
        self._pending.clear()
        self._others.clear()
        self._supply_left = 0
        if not self._waiting:
            return
        waiting = {token: live for token, (_, live) in self._waiting.items()}
        certain = set(self._launcher.withdraw(list(waiting)))
        self._waiting.clear()
        self._unclear.update(waiting.keys() - certain)
        for token in self._unclear & waiting.keys():
            yield NotRun(
                waiting[token].structure.orig_index, "whether it has a job is not known; the next run looks"
            )
        yield from self._given_back(self._ledger.give_back([*certain]), reason)

    def _wind_down(self) -> Iterator[Event]:
        """Start nothing more; give running calculations the grace time, then end them."""
        yield from self._nothing_more()
        queued = [live for live in self._live.values() if not live.running]
        if queued:
            # Some may have started in between: the launcher tells, and they are judged like any other.
            self._launcher.cancel([live.job_id for live in queued])
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
        """Leave nothing behind, however the batch ends: no process, and no structure that says running.

        Jobs of a scheduler are left alone, with their attempts open: they go on, and the next run follows them.
        """
        live = dict(self._live)
        self._live.clear()
        if self._launcher.survives:
            left = live.keys() | self._unclear
            left |= self._waiting.keys() - set(self._launcher.withdraw(list(self._waiting)))
            if live and self._stop.hold:
                self._launcher.cancel([one.job_id for one in live.values()])
            self._launcher.close()
            self._give_back_unstarted(except_for=left)
            return
        if live and not self._gave_up:
            self._stop.raise_to(StopLevel.NOW)
            self._stop.look()
        self._launcher.close()
        gone = JobState(Phase.ENDED, "its run ended")
        untouched = {t for t, one in live.items() if not one.running and not has_run(one.folder)}
        self._ledger.record(
            [self._ending(one, gone) for token, one in live.items() if token not in untouched]
        )
        if self._stop.hold:
            self._ledger.hold([o.structure.orig_index for t, o in live.items() if t not in untouched])
        self._give_back_unstarted()

    def _give_back_unstarted(self, except_for: Collection[str] = ()) -> None:
        # With those that were claimed and not yet handed over when something was raised.
        tokens = [token for token in self._ledger.unstarted(self._batch_id) if token not in except_for]
        given = self._ledger.give_back(tokens)
        if self._stop.hold:
            self._ledger.hold(given)
        self._ledger.close_batch(self._batch_id, self._clock())


def _never_began(live: LiveAttempt, state: JobState) -> bool:
    """Whether a job was cancelled while it waited."""
    if state.phase is not Phase.ENDED:
        return False
    waited = state.cause is Cause.CANCELLED and not live.running and not has_run(live.folder)
    return waited or state.final == NEVER_STARTED

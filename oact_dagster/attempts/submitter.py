"""The submitter of a batch: turns claims into job folders and submits those to the launcher."""

import os
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Final

from oact_dagster.attempts.attempt_folders import may_be_run_by_hand
from oact_dagster.attempts.batch_state import BatchState
from oact_dagster.attempts.by_hand import result_by_hand, write_attempt_file
from oact_dagster.attempts.disk_estimate import Sizes
from oact_dagster.attempts.ending import LiveAttempt
from oact_dagster.attempts.events import Event, InputWritten, Note, NotRun
from oact_dagster.attempts.full_disk import no_space_in
from oact_dagster.attempts.monitor import Monitor
from oact_dagster.attempts.next_attempt import AVOID
from oact_dagster.attempts.orca_version import check_orca_version
from oact_dagster.attempts.planner import AttemptPlanner
from oact_dagster.errors import InputRefused, LauncherError, SetupError
from oact_dagster.feed.bad_hosts import bad_hosts
from oact_dagster.launchers.packing import expected_cost
from oact_dagster.ledger.states import Claim, Ending, Outcome, Preparation, StructureRecord
from oact_dagster.orca.failures import FailureClass
from oact_dagster.schedulers.jobs import Job
from oact_dagster.text import pluralise

PROGRESS_LINES_PER_S: Final = 5.0
"""Largest rate of progress lines in the log of a run: each is an event in Dagster's storage."""
BY_HAND_REST_S: Final = 600.0
"""How long a structure submitted by hand is not taken automatically, s."""
LOOK_FOR_BAD_HOSTS_S: Final = 60.0
"""Time between two looks for hosts to leave out, s."""


class Submitter:
    """Prepares attempts and submits them. Those that could not be prepared go to the monitor to be recorded."""

    def __init__(self, batch: BatchState, planner: AttemptPlanner, monitor: Monitor) -> None:
        self._batch = batch
        self._planner = planner
        self._monitor = monitor
        self._sizes = Sizes(batch.campaign)
        self._bad_hosts: tuple[str, ...] = ()
        self._next_hosts = 0.0

    def submit(self, claims: Sequence[Claim]) -> Iterator[Event]:
        """Write the folders of claims and submit them."""
        batch = self._batch
        claims = yield from self._record_by_hand(claims)
        claims = yield from self._skip_submitted_by_hand(claims)
        parameters = batch.messages.parameters() if batch.messages is not None else {}
        progress_s = self._progress_s(len(claims))
        ready: list[Claim] = []
        prepared: list[Preparation] = []
        unprepared: list[Ending] = []
        events: list[Event] = []
        unwritten: list[Claim] = []
        for claim in claims:
            if batch.broken is not None:
                unwritten.append(claim)
                continue
            try:
                made = batch.writer.attempt(
                    claim, self._planner.coming(claim), batch.engine, parameters, progress_s
                )
            except (ValueError, OSError, SetupError) as error:
                if (full := no_space_in(error)) is not None:
                    where = self._where(full, claim.token)
                    batch.broken = f"{where}: {full.strerror}; nothing more was started"
                    unwritten.append(claim)
                    continue
                unprepared.append(self._not_prepared(claim, error))
                batch.look_at_space()
                continue
            ready.append(claim)
            prepared.append(made)
            events.append(
                InputWritten(
                    claim.structure, made.input_hash, Path(made.job_dir), claim.attempt, remedy=made.remedy
                )
            )
        if batch.broken is not None:
            # On a full disk, the folders that could be written could not run either.
            given = batch.ledger.give_back([one.token for one in (*ready, *unwritten)])
            yield from batch.given_back(given, batch.broken)
            ready, prepared, events = [], [], []
        batch.ledger.mark_prepared(prepared)
        for claim, made in zip(ready, prepared, strict=True):
            live = LiveAttempt(claim.structure, claim.token, Path(made.job_dir), "")
            batch.waiting[claim.token] = (self._job(made, claim.structure), live)
        yield from self.hand_over()
        yield from events
        yield from self._monitor.record(unprepared)

    def _record_by_hand(self, claims: Sequence[Claim]) -> Generator[Event, None, list[Claim]]:
        """Record results computed by hand for structures that were never tried, and return the other claims."""
        left: list[Claim] = []
        prepared: list[Preparation] = []
        endings: list[Ending] = []
        not_taken: dict[str, list[int]] = {}
        for claim in claims:
            found = self._result_by_hand(claim) if claim.attempt == 1 else None
            if found is None or isinstance(found, str):
                left.append(claim)
                if found is not None:
                    not_taken.setdefault(found, []).append(claim.structure.orig_index)
                continue
            made, ending = found
            prepared.append(made)
            endings.append(ending)
            yield InputWritten(
                claim.structure, made.input_hash, Path(made.job_dir), claim.attempt, reused=True
            )
        for reason, indices in not_taken.items():
            yield Note(
                f"the folder of {pluralise(len(indices), 'structure')} (first: {indices[0]}) holds a normally ended"
                f" output that is not used: {reason}. It is kept beside the new folder, and the structure is computed",
                warning=True,
            )
        if endings:
            yield Note(
                f"{pluralise(len(endings), 'structure')} had been run by hand: the results are recorded"
            )
            self._batch.ledger.mark_prepared(prepared)
            yield from self._monitor.record(endings)
        return left

    def _skip_submitted_by_hand(self, claims: Sequence[Claim]) -> Generator[Event, None, Sequence[Claim]]:
        """Give back structures with a queued or running job submitted by hand, and return the other claims.

        Raises:
            LauncherError: The scheduler does not answer.
        """
        batch = self._batch
        folders = {claim.token: self._folder_of(claim) for claim in claims}
        scripts = [folder for folder in folders.values() if may_be_run_by_hand(folder)]
        jobs = batch.launcher.by_hand(scripts) if scripts else {}
        theirs = {claim.token: jobs[folders[claim.token]] for claim in claims if folders[claim.token] in jobs}
        if not theirs:
            return claims
        batch.ledger.give_back([*theirs], not_before=batch.clock() + BY_HAND_REST_S)
        for claim in claims:
            if claim.token in theirs:
                yield NotRun(
                    claim.structure.orig_index,
                    f"it was submitted by hand ({batch.launcher.kind} job {theirs[claim.token]}) and is not submitted"
                    " again; a run after the end of that job records its result",
                )
        return [claim for claim in claims if claim.token not in theirs]

    def _folder_of(self, claim: Claim) -> Path:
        structure = claim.structure
        return self._batch.layout.folder(structure.orig_index, structure.id, structure.job_dir)

    def _result_by_hand(self, claim: Claim) -> tuple[Preparation, Ending] | str | None:
        batch = self._batch
        structure = claim.structure
        try:
            found = result_by_hand(batch.campaign, claim, self._folder_of(claim), batch.engine, batch.clock())
            if found is None or isinstance(found, str):
                return found
            # Nobody knows which files of setup_func the calculation had.
            if batch.writer.setup_of(structure) is not None:
                return None
            if check_orca_version(batch.ledger, found[1]) is not found[1]:
                return None
            write_attempt_file(claim, found[0], batch.engine)
        except (ValueError, OSError, SetupError):
            return None  # the error is reported when the structure is run
        return found

    def _progress_s(self, claimed: int) -> float:
        """Return the time between two progress messages of a calculation, s; 0 for none."""
        batch = self._batch
        interval = batch.campaign.launcher.progress_interval_s
        if interval is None or batch.messages is None:
            return 0.0
        return max(interval, (len(batch.live) + claimed) / PROGRESS_LINES_PER_S)

    def _job(self, made: Preparation, structure: StructureRecord) -> Job:
        settings = self._batch.campaign.launcher
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
        return expected_cost(size.basis_functions, size.spins, opt=self._batch.campaign.orca.opt)

    def look_for_bad_hosts(self) -> None:
        """Update the hosts to avoid, at most once per ``LOOK_FOR_BAD_HOSTS_S``."""
        batch = self._batch
        if time.monotonic() >= self._next_hosts:
            self._next_hosts = time.monotonic() + LOOK_FOR_BAD_HOSTS_S
            self._bad_hosts = tuple(bad_hosts(batch.campaign, batch.ledger, batch.clock()))

    def hand_over(self) -> Iterator[Event]:
        """Submit prepared attempts. Those that the launcher does not accept yet wait for the next call."""
        batch = self._batch
        if not batch.waiting:
            return
        try:
            answer = batch.launcher.submit([job for job, _ in batch.waiting.values()])
        except LauncherError:
            certain = batch.launcher.withdraw(list(batch.waiting))
            batch.ledger.give_back([*certain])
            for token in certain:
                del batch.waiting[token]
            raise
        batch.ledger.mark_submitted(answer.taken, batch.clock())
        for token, job_id in answer.taken.items():
            _, live = batch.waiting.pop(token)
            live.job_id = job_id
            batch.live[token] = live
        for token in answer.refused:
            del batch.waiting[token]
        if answer.refused:
            given = batch.ledger.give_back(list(answer.refused))
            reasons = "; ".join(dict.fromkeys(answer.refused.values()))
            reason = f"{batch.launcher.kind} refused its job: {reasons}"
            if not answer.taken and not batch.live:
                # It would refuse the others too.
                batch.broken = f"{reason}; nothing more was started"
            yield from batch.given_back(given, reason)

    def give_back_untaken(self) -> Iterator[Event]:
        """For a batch that does not follow: give back what the launcher does not accept, and leave other runs alone."""
        batch = self._batch
        for index in batch.others:
            yield NotRun(index, "another run has it", owned=True)
        batch.others.clear()
        # Attempts that may have a job stay until the scheduler has answered.
        certain = batch.launcher.withdraw(list(batch.waiting))
        if not certain:
            return
        for token in certain:
            del batch.waiting[token]
        reason = f"{batch.launcher.kind} accepts no more jobs now"
        yield from batch.given_back(batch.ledger.give_back([*certain]), reason)
        yield from (NotRun(index, reason) for index in batch.pending)
        batch.pending.clear()

    def _not_prepared(self, claim: Claim, error: ValueError | OSError | SetupError) -> Ending:
        if isinstance(error, OSError):
            kind = FailureClass.NOT_WRITTEN
            where = self._where(error, claim.token)
            message = f"the job folder could not be written: {where}: {error.strerror or error}"
        elif isinstance(error, SetupError):
            kind, message = FailureClass.SETUP_FAILED, str(error)
        else:
            kind, message = FailureClass.INPUT_REFUSED, str(error)
        return Ending(claim.token, Outcome.FAILED, self._batch.clock(), kind, message, elapsed=0.0)

    def _where(self, error: OSError, token: str) -> Path:
        """Return the path that could not be written, or its parent if the name belongs to one attempt only."""
        named = Path(os.fsdecode(error.filename)) if error.filename else self._batch.campaign.jobs_dir
        return next((path.parent for path in (named, *named.parents) if token in path.name), named)

"""Bringing running structures up to date from the evidence in their folders, without running anything.

What a batch that lives runs is left to it. An attempt of ours whose batch is gone is judged by the same table as a
batch judges it: by its payload's record, its output, and what the scheduler says of its job. A job that another tool
started is judged by its output alone. Nothing is ever decided for want of evidence: without any, a structure stays
``running``, with a note.
"""

import contextlib
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from oact_dagster.attempts.attempt_folders import attempt_folders
from oact_dagster.attempts.ending import LiveAttempt, ending_of, may_have_run, timed_out
from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.orca_version import of_the_ledgers_orca
from oact_dagster.attempts.output_verdict import see_output, seen_ending, silence
from oact_dagster.attempts.verdict import Evidence
from oact_dagster.launchers.attempt_files import (
    ATTEMPT_FILE,
    EXIT_FILE,
    OUTPUT_FILE,
    START_FILE,
    How,
    has_run,
    read_exit,
)
from oact_dagster.launchers.choose import make_launcher
from oact_dagster.launchers.local import LocalLauncher
from oact_dagster.launchers.protocol import Launcher, Orphan
from oact_dagster.ledger.by_hand import record_seen
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.states import (
    AttemptRecord,
    AttemptState,
    Ending,
    JobRecord,
    Outcome,
    Status,
    StructureRecord,
)
from oact_dagster.ledger.store import Ledger
from oact_dagster.orca.outputs.reader import read_output
from oact_dagster.orca.outputs.silence import SILENCE_LIMIT_S, silent_for_s
from oact_dagster.schedulers.jobs import Cause, JobState, LauncherError, Phase
from oact_dagster.settings.campaign import Campaign
from oact_dagster.settings.launcher import LauncherSettings
from oact_dagster.settings.launcher_kinds import LAUNCHER_KINDS, on_this_machine
from oact_dagster.settings.retry import RetrySettings

_CHUNK: Final = 200
"""Structures that are looked at before what was found is recorded."""

CANCEL_WAIT_S: Final = 60.0
"""How long a cancelled job may take to end before it is left for the next time, s."""

GRACE_S: Final = 300.0
"""A job that its scheduler does not know counts as gone only so long after the last sign of it, s."""

_EXAMPLES: Final = 5

_UNKNOWN: Final = JobState(Phase.UNKNOWN)
_RUN_IS_GONE: Final = JobState(Phase.ENDED, "its run is gone")
_SIGNS: Final = (ATTEMPT_FILE, START_FILE, OUTPUT_FILE, EXIT_FILE)

_HELD: Final = "its job was cancelled: it is held until `oact release`, or a run that names it"

LauncherOf = Callable[[str], Launcher | None]
"""The launcher of a kind, or None where none of this kind can be asked here."""


@dataclass(slots=True)
class UpdateNote:
    """Why structures stay as they are."""

    text: str
    count: int = 0
    examples: list[int] = field(default_factory=list)
    """``id`` in the table ``structures`` of the first ones."""


@dataclass(slots=True)
class UpdateReport:
    """What an update found and did."""

    looked_at: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    """Structures by what they are now: completed, failed, timeout, or to_run (lost, cancelled, never begun)."""
    followed: int = 0
    """Left to a batch that lives."""
    notes: dict[str, UpdateNote] = field(default_factory=dict)

    @property
    def still_running(self) -> int:
        """Structures that are running after it."""
        return self.looked_at - self.changed.total()

    def note(self, text: str, structure_id: int) -> None:
        """Say why a structure stays as it is."""
        note = self.notes.setdefault(text, UpdateNote(text))
        note.count += 1
        if len(note.examples) < _EXAMPLES:
            note.examples.append(structure_id)


def update_running(
    ledger: Ledger,
    layout: JobLayout,
    launcher_of: LauncherOf,
    *,
    silence_limit_s: float = SILENCE_LIMIT_S,
    retry: RetrySettings | None = None,
    clock: Callable[[], float] = time.time,
) -> UpdateReport:
    """Judge every running structure.

    Args:
        ledger: open for writing.
        layout: where job folders are that the ledger does not name.
        launcher_of: gives the launcher that can be asked of attempts of a kind: the scheduler's side of the evidence.
        silence_limit_s: an output without an end that has not changed for so long is a timeout, s.
        retry: how long failed structures rest; the campaign's.
        clock: Unix time, s.

    Raises:
        LedgerError: the ledger cannot be written; what was recorded before that stays.
    """
    return _Update(ledger, layout, launcher_of, silence_limit_s, retry or RetrySettings(), clock).run()


class _Update:
    """One update; its own batch owns what it judges, so that no run judges the same at the same time."""

    def __init__(
        self,
        ledger: Ledger,
        layout: JobLayout,
        launcher_of: LauncherOf,
        silence_limit_s: float,
        retry: RetrySettings,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._layout = layout
        self._launcher_of = launcher_of
        self._silence_limit_s = silence_limit_s
        self._retry = retry
        self._clock = clock
        self._batch_id = f"update-{secrets.token_hex(4)}"
        self._batch_is_open = False
        self._alive: dict[str, bool] = {}
        self._launchers: dict[str, Launcher | None] = {}
        self._report = UpdateReport()
        self._cancelled: dict[str, StructureRecord] = {}
        """Those whose jobs the scheduler calls cancelled, by their tokens."""

    def run(self) -> UpdateReport:
        try:
            rows = self._ledger.structures.stored_by_status([Status.RUNNING])
            while chunk := list(islice(rows, _CHUNK)):
                self._report.looked_at += len(chunk)
                self._look_at(chunk)
        finally:
            for launcher in self._launchers.values():
                if launcher is not None:
                    launcher.close()
            if self._batch_is_open:
                self._ledger.close_batch(self._batch_id, self._clock())
        return self._report

    def _look_at(self, rows: Sequence[JobRecord]) -> None:
        indices = [row.orig_index for row in rows if row.orig_index is not None]
        attempts = {one.structure_id: one for one in self._ledger.history.open_attempts(indices).values()}
        self._by_output([row for row in rows if row.id not in attempts])
        self._by_table([attempts[row.id] for row in rows if row.id in attempts])

    # --- jobs of other tools ------------------------------------------------------------------------------------

    def _by_output(self, rows: Sequence[JobRecord]) -> None:
        found = []
        for row in rows:
            folder = folder_of(row, self._layout)
            if folder is None:
                self._report.note("has no orig_index and no job folder: nothing says where it runs", row.id)
                continue
            if not folder.is_dir():
                self._report.note("its job folder is not there: nothing is known of it", row.id)
                continue
            seen = see_output(folder, limit_s=self._silence_limit_s, now=self._clock())
            ending = seen_ending(row.id, folder, seen)
            if ending is not None:
                found.append(ending)
        recorded = record_seen(self._ledger, found) if found else set()
        for ending in found:
            if ending.structure_id in recorded:
                self._report.changed[str(ending.status)] += 1

    # --- attempts of ours ----------------------------------------------------------------------------------------

    def _by_table(self, attempts: Sequence[AttemptRecord]) -> None:
        ours: dict[str, list[AttemptRecord]] = {}
        for attempt in attempts:
            if self._lives(attempt.batch_id) or not self._take(attempt):
                self._report.followed += 1
            else:
                ours.setdefault(attempt.launcher, []).append(attempt)
        structures = self._ledger.structures.of([one.orig_index for many in ours.values() for one in many])
        for kind, many in ours.items():
            self._judge(kind, [(one, self._live(one, structures[one.orig_index])) for one in many])

    def _lives(self, batch_id: str) -> bool:
        if batch_id not in self._alive:
            self._alive[batch_id] = self._ledger.batches.lives(batch_id, self._clock())
        return self._alive[batch_id]

    def _take(self, attempt: AttemptRecord) -> bool:
        if not self._batch_is_open:
            self._ledger.open_batch(self._batch_id, Owner.this_process(), self._clock())
            self._batch_is_open = True
        return self._ledger.take_over(attempt, self._batch_id)

    def _live(self, attempt: AttemptRecord, structure: StructureRecord) -> LiveAttempt:
        job_dir = (
            Path(attempt.job_dir)
            if attempt.job_dir
            else self._layout.folder(attempt.orig_index, attempt.structure_id)
        )
        folder = next(iter(attempt_folders(job_dir, attempt.number, attempt.token)), job_dir)
        return LiveAttempt(structure, attempt.token, folder, attempt.scheduler_job_id or attempt.token)

    def _judge(self, kind: str, pairs: Sequence[tuple[AttemptRecord, LiveAttempt]]) -> None:
        endings: list[Ending] = []
        to_ask: list[tuple[AttemptRecord, LiveAttempt]] = []
        stopped: list[tuple[AttemptRecord, LiveAttempt]] = []
        for attempt, live in pairs:
            record = read_exit(live.folder, live.token)
            if record is None:
                to_ask.append((attempt, live))
            elif record.how is How.STOPPED:
                stopped.append((attempt, live))
            else:
                endings.append(self._ending(live, _RUN_IS_GONE))
        if stopped:
            endings += self._ended_from_outside(kind, stopped)
        if to_ask:
            endings += self._ask(kind, to_ask)
        self._record(endings)

    def _ended_from_outside(
        self, kind: str, pairs: Sequence[tuple[AttemptRecord, LiveAttempt]]
    ) -> Iterator[Ending]:
        """Judge those that were told to stop: whether by the user or for want of a node only the scheduler knows."""
        launcher = self._launcher(kind)
        job_ids: Mapping[str, str] = {}
        states: Mapping[str, JobState] = {}
        if launcher is not None and launcher.jobs_outlive_process:
            with contextlib.suppress(LauncherError):
                job_ids = launcher.adopt([_orphan(one, live) for one, live in pairs])
                states = launcher.states(list(job_ids.values()))
        for attempt, live in pairs:
            state = states.get(job_ids.get(attempt.token, ""), _UNKNOWN)
            yield self._ending(live, state if state.phase is Phase.ENDED else _RUN_IS_GONE)

    def _ask(self, kind: str, pairs: Sequence[tuple[AttemptRecord, LiveAttempt]]) -> Iterator[Ending]:
        """Ask the scheduler of attempts whose payload has left no record."""
        launcher = self._launcher(kind)
        if launcher is None:
            why = f"no launcher of kind {kind} can be asked here (campaign.yaml names it): it stays running"
            yield from self._by_their_word(pairs, why)
            return
        try:
            adopted = launcher.adopt([_orphan(one, live) for one, live in pairs])
            states = launcher.states(list(adopted.values()))
        except LauncherError as error:
            yield from self._by_their_word(
                pairs, f"the scheduler cannot be asked ({error}): it stays running"
            )
            return
        told = "; ".join(launcher.notes())
        known = [(one, live) for one, live in pairs if one.token in adopted]
        # What has begun cannot wait in the queue: the scheduler has said nothing of it.
        unsaid = [
            (one, live)
            for one, live in known
            if states.get(adopted[one.token], _UNKNOWN).phase is Phase.QUEUED and has_run(live.folder)
        ]
        why = f"the scheduler says nothing of its job{f' ({told})' if told else ''}: it stays running"
        yield from self._by_their_word(unsaid, why)
        said = [pair for pair in known if pair not in unsaid]
        yield from self._still_known(launcher, said, adopted, states)
        for attempt, live in (pair for pair in pairs if pair[0].token not in adopted):
            if may_have_run(attempt, live.folder):
                yield self._ending(live, JobState(Phase.ENDED, "the run that started it is gone"))
            elif launcher.jobs_outlive_process and not self._is_old(live.folder):
                self._report.note(
                    "its scheduler does not know its job yet: it stays running", attempt.structure_id
                )
            else:
                given = self._ledger.give_back([attempt.token], also_running=True)
                self._report.changed[str(Status.TO_RUN)] += len(given)

    def _by_their_word(
        self, pairs: Sequence[tuple[AttemptRecord, LiveAttempt]], why: str
    ) -> Iterator[Ending]:
        """Judge those whose own output says how they ended; the others stay as they are."""
        for attempt, live in pairs:
            if Evidence(live.token, None, read_output(live.folder), _RUN_IS_GONE).speaks:
                yield self._ending(live, _RUN_IS_GONE)
            else:
                self._report.note(why, attempt.structure_id)

    def _still_known(
        self,
        launcher: Launcher,
        pairs: Sequence[tuple[AttemptRecord, LiveAttempt]],
        job_ids: Mapping[str, str],
        states: Mapping[str, JobState],
    ) -> Iterator[Ending]:
        """Of attempts whose job the scheduler has, judge those that ended, and end those that are silent."""
        self._ledger.mark_submitted({one.token: job_ids[one.token] for one, _ in pairs}, self._clock())
        begun = [o.token for o, _ in pairs if states.get(job_ids[o.token], _UNKNOWN).phase is Phase.RUNNING]
        self._ledger.mark_running(begun, self._clock())
        silent: list[tuple[AttemptRecord, LiveAttempt, float]] = []
        for attempt, live in pairs:
            state = states.get(job_ids[attempt.token], _UNKNOWN)
            if state.phase is Phase.ENDED or (state.phase is Phase.UNKNOWN and self._is_old(live.folder)):
                yield self._ending(live, state)
            elif state.phase is Phase.UNKNOWN:
                # That it is not in the queue decides nothing by itself.
                yield from self._by_their_word(
                    [(attempt, live)],
                    "its scheduler does not know its job any more: it stays running for now",
                )
            elif state.phase is Phase.RUNNING:
                quiet = silent_for_s(live.folder, now=self._clock())
                if quiet is not None and quiet >= self._silence_limit_s:
                    silent.append((attempt, live, quiet))
        if not silent:
            return
        # First cancelled, then marked: a job that runs on would write into the next attempt's budget of the node.
        ids = {attempt.token: job_ids[attempt.token] for attempt, _, _ in silent}
        launcher.cancel(list(ids.values()))
        after = self._wait_for_end(launcher, list(ids.values()))
        for attempt, live, quiet in silent:
            state = after[ids[attempt.token]]
            if state.phase in (Phase.ENDED, Phase.UNKNOWN):
                yield timed_out(self._ending(live, state), silence(quiet))
            else:
                self._report.note(
                    "is silent, was cancelled and has not ended yet: update again", attempt.structure_id
                )

    def _wait_for_end(self, launcher: Launcher, job_ids: Sequence[str]) -> dict[str, JobState]:
        limit = time.monotonic() + CANCEL_WAIT_S
        states = dict(launcher.states(job_ids))
        while any(state.phase in (Phase.QUEUED, Phase.RUNNING) for state in states.values()):
            if time.monotonic() >= limit:
                break
            launcher.wait(1.0)
            states = dict(launcher.states(job_ids))
        return {job_id: states.get(job_id, _UNKNOWN) for job_id in job_ids}

    def _launcher(self, kind: str) -> Launcher | None:
        if kind not in self._launchers:
            self._launchers[kind] = self._launcher_of(kind)
        return self._launchers[kind]

    def _is_old(self, folder: Path) -> bool:
        seen = last_sign(folder)
        return seen is None or self._clock() - seen >= GRACE_S

    def _ending(self, live: LiveAttempt, state: JobState) -> Ending:
        if state.cause is Cause.CANCELLED:
            self._cancelled[live.token] = live.structure
        ending = ending_of(live, state, 1, self._retry, cancelled=False, now=self._clock())
        return of_the_ledgers_orca(self._ledger, ending)

    def _record(self, endings: Sequence[Ending]) -> None:
        recorded = self._ledger.record(endings) if endings else set()
        for ending in endings:
            if ending.token in recorded:
                gone = ending.outcome in (Outcome.LOST, Outcome.CANCELLED)
                self._report.changed[str(Status.TO_RUN if gone else ending.outcome)] += 1
                if ending.outcome is Outcome.CANCELLED and ending.token in self._cancelled:
                    structure = self._cancelled[ending.token]
                    self._ledger.hold([structure.orig_index])
                    self._report.note(_HELD, structure.id)


def _orphan(attempt: AttemptRecord, live: LiveAttempt) -> Orphan:
    began = attempt.state is AttemptState.RUNNING
    return Orphan(attempt.token, live.folder, attempt.scheduler_job_id, began=began)


def last_sign(folder: Path) -> float | None:
    """When an attempt's files changed last; Unix time, s. None where there are none."""
    seen = []
    for name in _SIGNS:
        with contextlib.suppress(OSError):
            seen.append((folder / name).stat().st_mtime)
    return max(seen, default=None)


def launchers_of(campaign: Campaign | None, bare: Campaign | None = None) -> LauncherOf:
    """What can be asked from here: the campaign's launcher, processes of this machine, and schedulers on PATH.

    Args:
        campaign: that of the ledger, where it has one.
        bare: settings of the ledger without a campaign.
    """

    def launcher_of(kind: str) -> Launcher | None:
        if campaign is not None and kind == campaign.launcher.recorded_kind:
            return make_launcher(campaign, only_asks=True)
        if on_this_machine(kind):
            return LocalLauncher(1)
        facts = LAUNCHER_KINDS.get(kind)
        if bare is None or facts is None or facts.program is None or shutil.which(facts.program) is None:
            return None
        # To ask and to cancel needs none of the settings that a submit needs.
        settings = LauncherSettings.model_validate({"kind": kind})
        return make_launcher(bare.model_copy(update={"launcher": settings}), only_asks=True)

    return launcher_of


def folder_of(row: JobRecord, layout: JobLayout) -> Path | None:
    """The job folder of a row that another tool may have written; None where nothing names one.

    A path that is relative is taken from where the command runs, as the tool that wrote it did, and else by its last
    part in the jobs folder.
    """
    if row.job_dir:
        named = Path(row.job_dir)
        if named.is_dir():
            return named
        if (moved := layout.jobs_dir / named.name).is_dir():
            return moved
    if row.orig_index is None:
        return Path(row.job_dir) if row.job_dir else None
    return layout.folder(row.orig_index, row.id)

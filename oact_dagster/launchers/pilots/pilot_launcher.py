"""Runs attempts through pilots: fills a list on disk, and keeps enough pilots in the scheduler's queue.

The list tells what becomes of an attempt, the scheduler what becomes of a pilot. A pilot that is gone loses only what
it was running; the other pilots take what waits on the list. All runs of a campaign share one list and its pilots, so a
node that has finished one run's structures continues with another's.
"""

import contextlib
import math
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from oact_dagster.errors import LauncherError
from oact_dagster.files import FileLock
from oact_dagster.launchers.pilots.pilot_files import (
    ALIVE_FILE,
    PilotSpec,
    has_begun,
    read_end,
    read_pilot_spec,
    strike_off,
    write_pilot_spec,
)
from oact_dagster.launchers.pilots.shared_list import SharedList
from oact_dagster.launchers.protocol import Orphan, Submission
from oact_dagster.launchers.scheduler_launcher import SchedulerLauncher
from oact_dagster.orca.outputs.silence import silent_for_s
from oact_dagster.schedulers.jobs import WITHDRAWN, Job, JobState, Phase, out_of_time
from oact_dagster.settings.launcher_kinds import PILOTS
from oact_dagster.text import pluralise

LIST_LOOK_S: Final = 5.0
"""Longest time between two looks at the list, s."""
BARREN_PILOTS: Final = 3
"""After this many pilots in a row that finish no calculation, no more are submitted: it is not the fault of a node."""
_ALIVE: Final = (Phase.QUEUED, Phase.RUNNING)


@dataclass(frozen=True, slots=True)
class PilotRequest:
    """Which pilots to submit."""

    jobs: int
    """Most pilots at once; 0: none are submitted."""
    spec: PilotSpec
    """Options of each pilot, without its token."""
    memory_mb: int | None = None
    """Memory of a pilot's job, MB; None leaves it to the scheduler."""


@dataclass(slots=True)
class _Pilot:
    folder: Path
    job_id: str | None = None
    """None until the scheduler has taken it."""
    state: JobState = field(default_factory=lambda: JobState(Phase.QUEUED))
    unknown_since: float | None = None


class PilotLauncher:
    """Attempts on a list, and the pilots that run them. An attempt's job id is its token.

    Args:
        pilots: submits and follows the pilots' own jobs.
        interval_s: time between two looks at the list, s.
        grace_s: how long a pilot may be missing from the scheduler's queue, s.
    """

    jobs_outlive_process = True

    def __init__(
        self,
        pilots: SchedulerLauncher,
        shared: SharedList,
        request: PilotRequest,
        *,
        interval_s: float,
        grace_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kind = f"{pilots.kind}{PILOTS}"
        self._scheduler = pilots
        self._list = shared
        self._request = request
        self._folder = shared.folder / "pilots"
        self._interval = min(interval_s, LIST_LOOK_S)
        self._grace_s = grace_s
        self._clock = clock
        self._pilots: dict[str, _Pilot] = {}
        self._gone: dict[str, JobState] = {}
        self._prepared: dict[str, Job] = {}
        self._lock: FileLock | None = None
        self._avoid: tuple[str, ...] = ()
        self._barren = 0
        self._closing = ""
        self._waiting: set[str] = set()
        self._asked_for: set[str] = set()
        self._taken: dict[str, str] = {}
        self._ended: dict[str, JobState] = {}
        self._next_look = 0.0
        self._notes: list[str] = []

    # --- submitting -----------------------------------------------------------------------------------------

    def submit(self, jobs: Sequence[Job]) -> Submission:
        """Put attempts on the list, and submit pilots for them as needed."""
        refused = {job.token: reason for job in jobs if (reason := self._why_not(job))}
        if jobs:
            # Pilots avoid only the hosts that all structures avoid.
            self._avoid = tuple(sorted(set.intersection(*(set(job.avoid) for job in jobs))))
        try:
            self._list.make()
            self._folder.mkdir(exist_ok=True)
            self._list.put([job for job in jobs if job.token not in refused])
        except OSError as error:
            raise _unwritable(error.filename or self._list.folder, error) from error
        self._look_at_list()
        self._top_up()
        return Submission({job.token: job.token for job in jobs if job.token not in refused}, refused)

    def _why_not(self, job: Job) -> str:
        """Why no pilot would ever take a job; empty if one would."""
        spec = self._request.spec
        longest = spec.time_limit_s - spec.margin_s
        if job.time_limit_s > longest:
            return f"its time limit of {job.time_limit_s:g} s does not fit into the {longest:g} s of a pilot"
        if job.n_cores > spec.cores_per_worker:
            return f"it needs {pluralise(job.n_cores, 'core')}, but a worker has {spec.cores_per_worker}"
        return ""

    def by_hand(self, folders: Collection[Path]) -> Mapping[Path, str]:
        """See :class:`~oact_dagster.launchers.protocol.Launcher`."""
        return self._scheduler.by_hand(folders)

    def withdraw(self, tokens: Collection[str]) -> Collection[str]:
        """See :class:`~oact_dagster.launchers.protocol.Launcher`: those that no pilot has taken."""
        return self._list.withdraw(tokens)

    def closing(self) -> str:
        """Why no more work is accepted: pilots keep ending without finishing anything. Empty otherwise."""
        return self._closing

    def _top_up(self) -> None:
        """Submit pilots until there are enough for what waits.

        Raises:
            LauncherError: none can be submitted, and there is none.
        """
        if not self._waiting or self._closing or (self._missing() <= 0 and not self._prepared):
            return
        with self._alone() as alone:
            if alone:
                if self._missing() > 0:
                    self._learn(alone)
                    self._prepare(self._missing())
                if self._prepared:
                    self._submit_prepared()

    def _missing(self) -> int:
        unfinished = len(self._waiting) + sum(pilot in self._pilots for pilot in self._taken.values())
        wanted = min(self._request.jobs, math.ceil(unfinished / self._request.spec.max_workers))
        return wanted - len(self._pilots)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        """Keep two runs on this host from submitting the same pilots. Without locks there may be a few too many.

        The lock is kept while a pilot is prepared but not submitted: the scheduler does not know it yet, so another run
        would strike it off.
        """
        if self._lock is None:
            try:
                self._lock = FileLock(self._folder / ".lock")
            except BlockingIOError:
                yield False
                return
            except OSError:
                pass
        try:
            yield True
        finally:
            if not self._prepared:
                self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _prepare(self, count: int) -> None:
        spec = self._request.spec
        for _ in range(count):
            token = secrets.token_hex(8)
            folder = self._folder / token
            try:
                folder.mkdir()
                write_pilot_spec(folder, replace(spec, token=token))
            except OSError as error:
                raise _unwritable(folder, error) from error
            cores = spec.max_workers * spec.cores_per_worker
            self._prepared[token] = Job(
                token, folder, cores, spec.time_limit_s, self._request.memory_mb, avoid=self._avoid
            )
            self._pilots[token] = _Pilot(folder)

    def _submit_prepared(self) -> None:
        answer = self._scheduler.submit(list(self._prepared.values()))
        for token, job_id in answer.taken.items():
            del self._prepared[token]
            self._pilots[token].job_id = job_id
        if answer.taken:
            self._notes.append(
                f"{self._scheduler.kind}: pilots submitted: {len(answer.taken)}, each with room for"
                f" {self._request.spec.max_workers} calculations at once"
            )
        for token in answer.refused:
            del self._prepared[token]
            self._retire(token)
        if answer.refused:
            told = "; ".join(dict.fromkeys(answer.refused.values()))
            if not self._pilots:
                raise LauncherError(f"{self._scheduler.kind} refused the pilot jobs: {told}")
            self._notes.append(f"{self._scheduler.kind} refused {len(answer.refused)} pilot jobs: {told}")

    # --- following ------------------------------------------------------------------------------------------

    def states(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
        """The state of each attempt, as of the last look at the list."""
        if self._clock() >= self._next_look:
            self._next_look = self._clock() + self._interval
            self._asked_for = set(job_ids)
            # Nobody asks any more for what has been judged.
            judged = self._ended.keys() - self._asked_for
            self._list.forget(judged)
            for token in judged:
                del self._ended[token]
            self._look_at_list()
            self._look_at_pilots()
            self._top_up()
        return {token: self._of(token) for token in job_ids}

    def _look_at_list(self) -> None:
        # In this order: an attempt that is taken in between is then seen as taken.
        self._waiting = self._list.waiting()
        self._taken = self._list.taken()

    def _of(self, token: str) -> JobState:
        if token in self._ended:
            return self._ended[token]
        pilot = self._taken.get(token)
        if pilot is None and token in self._waiting:
            return self._waiting_state()
        if pilot is not None and pilot not in self._gone:
            return JobState(Phase.RUNNING)
        said = self._list.ended(token)
        if said is not None:
            self._ended[token] = said
        elif pilot is not None:
            gone = self._gone[pilot]
            self._ended[token] = JobState(Phase.ENDED, f"its pilot ended: {gone.final}", log=gone.log)
        else:
            return JobState(Phase.UNKNOWN)
        return self._ended[token]

    def _waiting_state(self) -> JobState:
        """The state of an attempt on the list: it waits for what the pilots wait for, if none of them runs."""
        states = [pilot.state for pilot in self._pilots.values()]
        queued = [state for state in states if state.phase is Phase.QUEUED]
        reason = next((state.reason for state in queued if state.reason), "")
        stuck = next((state.stuck for state in queued if state.stuck), "")
        return JobState(Phase.QUEUED, reason=reason, stuck=stuck if len(queued) == len(states) else "")

    def _look_at_pilots(self) -> None:
        """Ask the scheduler for all pilots at once, and strike off those that are gone."""
        # Another run may have submitted a pilot meanwhile.
        if any(pilot not in self._pilots and pilot not in self._gone for pilot in self._taken.values()):
            with self._alone() as alone:
                self._learn(alone)
        by_job = {pilot.job_id: token for token, pilot in self._pilots.items() if pilot.job_id is not None}
        if not by_job:
            return
        for job_id, state in self._scheduler.states(by_job).items():
            token = by_job[job_id]
            pilot = self._pilots[token]
            pilot.state = state
            if state.phase in _ALIVE:
                pilot.unknown_since = None
                continue
            if self._may_live(pilot):
                continue
            end = read_end(pilot.folder)
            began = end is not None or has_begun(pilot.folder)
            final = end.reason if end is not None else state.final or "no longer known to its scheduler"
            self._gone[token] = replace(state, phase=Phase.ENDED, final=f"{job_id}: {final}")
            self._retire(token)
            if end is not None and end.finished:
                self._barren = 0
            elif self._waiting or not began:
                self._count_barren(job_id, final, state.log)

    def _may_live(self, pilot: _Pilot) -> bool:
        """Whether a pilot that the scheduler does not know (any more) may still be running."""
        if pilot.state.phase is not Phase.UNKNOWN or read_end(pilot.folder) is not None:
            return False
        if pilot.unknown_since is None:
            pilot.unknown_since = self._clock()
        silent = silent_for_s(pilot.folder / ALIVE_FILE)
        recently_seen = silent is not None and silent < self._grace_s
        return recently_seen or self._clock() - pilot.unknown_since < self._grace_s

    def _count_barren(self, job_id: str, final: str, log: str) -> None:
        """Count a pilot that finished no calculation although something waited.

        After too many of them in a row, what waits is taken off the list, and nothing more begins.
        """
        self._barren += 1
        if self._barren < BARREN_PILOTS:
            return
        last = log.strip().rsplit("\n", 1)[-1]
        more = f"; its log ends: {last}" if last and final not in last else ""
        self._closing = (
            f"pilots end before any of their calculations ({job_id}: {final}{more}); nothing more was started"
        )
        # Not what other runs put there: it would look lost to them.
        given = self._list.withdraw(self._waiting & self._asked_for)
        self._ended.update((token, out_of_time(self._closing)) for token in given)
        self._waiting -= given

    def _learn(self, alone: bool) -> None:
        """Find pilots that other runs have submitted, or a dead run has left.

        Args:
            alone: whether no other run is submitting pilots. Otherwise one unknown to the scheduler may be on its way.
        """
        unknown = {
            path.name: path
            for path in self._folder.glob("[!.]*")
            if path.name not in self._pilots and read_pilot_spec(path) is not None
        }
        for name in [name for name, path in unknown.items() if read_end(path) is not None]:
            del unknown[name]
            self._retire(name)  # it has ended, whatever the scheduler says
        if unknown:
            try:
                found = self._scheduler.adopt([Orphan(name, path, None) for name, path in unknown.items()])
            except LauncherError as error:
                self._notes.append(str(error))
                return
            for name, path in unknown.items():
                if name in found:
                    self._pilots[name] = _Pilot(path, found[name])
                elif alone:
                    self._retire(name)  # the scheduler never had it
        for pilot in self._taken.values():
            if pilot not in self._pilots:
                self._gone.setdefault(pilot, JobState(Phase.ENDED, f"{pilot}: no longer known"))

    def _retire(self, token: str) -> None:
        self._pilots.pop(token, None)
        strike_off(self._folder / token)

    # --- ending ---------------------------------------------------------------------------------------------

    def cancel(self, job_ids: Collection[str]) -> None:
        """Take attempts off the list, and ask the pilots to end those already taken."""
        off = self._list.withdraw(job_ids)
        for token in off:
            self._ended[token] = WITHDRAWN
        try:
            self._list.cancel([token for token in job_ids if token not in off and token not in self._ended])
        except OSError as error:
            self._notes.append(f"{self._list.folder}: {error.strerror or error}")
        self._next_look = min(self._next_look, self._clock() + 0.5)

    def how_to_cancel(self, job_ids: Collection[str]) -> str:
        """The command that cancels all pilots."""
        return self._scheduler.how_to_cancel(
            [pilot.job_id for pilot in self._pilots.values() if pilot.job_id is not None]
        )

    def adopt(self, orphans: Sequence[Orphan]) -> Mapping[str, str]:
        """Find the attempts of a dead run: on the list, with a pilot, or ended."""
        self._look_at_list()
        with self._alone() as alone:
            self._learn(alone)
        return {
            orphan.token: orphan.token
            for orphan in orphans
            if orphan.token in self._waiting
            or orphan.token in self._taken
            or self._list.ended(orphan.token) is not None
        }

    def notes(self) -> Sequence[str]:
        """See :class:`~oact_dagster.launchers.protocol.Launcher`."""
        notes, self._notes = [*self._scheduler.notes(), *self._notes], []
        return notes

    def unanswered(self) -> str:
        """See :class:`~oact_dagster.launchers.protocol.Launcher`; this is about the pilots' scheduler."""
        return self._scheduler.unanswered()

    def wait(self, seconds: float) -> bool:
        """Sleep until the next look at the list is due, but no longer than this."""
        time.sleep(max(0.0, min(seconds, self._next_look - self._clock())))
        return self._clock() >= self._next_look

    def close(self) -> None:
        """Leave the pilots running, but cancel those that have not begun if nothing waits on the list."""
        self._list.forget(self._ended)
        self._look_at_list()
        if not self._waiting:
            queued = [p.job_id for p in self._pilots.values() if p.job_id and p.state.phase is Phase.QUEUED]
            if queued:
                self._scheduler.cancel(queued)
        self._unlock()
        self._scheduler.close()


def _unwritable(path: object, error: OSError) -> LauncherError:
    return LauncherError(f"{path}: cannot be written: {error.strerror or error}")

"""Runs attempts through Parsl, several at once on one node or on many."""

import heapq
import itertools
import queue
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oact_dagster.errors import LauncherError
from oact_dagster.launchers.allocation import AllocationEnd
from oact_dagster.launchers.attempt_files import is_unfinished, read_exit, read_start
from oact_dagster.launchers.leftovers import end_leftovers, end_marked
from oact_dagster.launchers.packing import RunTimes
from oact_dagster.launchers.parsl.app import TaskAnswer, TaskEnd
from oact_dagster.launchers.parsl.blocks import end_blocks
from oact_dagster.launchers.parsl.config import POOL_VARIABLE, PoolOptions, require_parsl
from oact_dagster.launchers.parsl.lost_attempts import SEEN_S, LostAttempts
from oact_dagster.launchers.parsl.pool import Parting, Pool, remove_folders
from oact_dagster.launchers.protocol import ChildLauncher, Orphan, Submission
from oact_dagster.launchers.worker_slots import WorkerSlots
from oact_dagster.schedulers.jobs import (
    WITHDRAWN,
    Cause,
    Job,
    JobState,
    Phase,
    ended_with,
    not_started,
    out_of_time,
)
from oact_dagster.text import pluralise

AHEAD: Final = 2
"""Tasks that Parsl holds for each worker: one to run and the next. The rest wait here, where they stay sorted, can be
cancelled, and are not lost with an interchange."""

RESTARTS: Final = 3
"""How many pools may be lost in a row without a calculation that ended."""

_LOOK_S: Final = 1.0
"""Time between two checks of the pool's health, s."""

SILENT_THRESHOLDS: Final = 5
"""How many times the heartbeat threshold a pool may begin nothing, or not report what has ended."""

REST_S: Final = 2.0
"""Time between the loss of a pool and the start of the next, s: what ended it may be about to end this process."""

DEAF_THRESHOLDS: Final = 2
"""How many times the heartbeat threshold, after its grace time, a calculation may ignore the order to end."""

_PAUSE_S: Final = 0.2
"""Time between two checks whether calculations have ended, s."""

_QUEUED: Final = JobState(Phase.QUEUED)
_RUNNING: Final = JobState(Phase.RUNNING)
_UNKNOWN: Final = JobState(Phase.UNKNOWN)


@dataclass(slots=True)
class _Handed:
    """A job that Parsl has."""

    job: Job
    needed_s: float
    """Expected wall time, s."""
    ticket: str
    """A worker takes it to begin, or this launcher to withdraw the task."""


class ParslLauncher(ChildLauncher):
    """Payloads as tasks of Parsl's HighThroughputExecutor. A job id consists of the pool's name and the token.

    Args:
        folder: folder for what workers on other nodes must see.
        stop_grace_s: time a calculation may take to end after SIGTERM, s.
        missing: asked at the first submit why the workers do not fit on the node; empty if they do.
        allocation_end: asked at the first submit when the allocation ends; None: it does not.
        end_margin_s: how long before that all calculations must have ended, s.
        node: lock on this node, held while there are workers, so that a second run waits for its cores; None: no lock.
    """

    kind = "parsl"

    def __init__(
        self,
        options: PoolOptions,
        folder: Path,
        stop_grace_s: float,
        *,
        missing: Callable[[], str] = lambda: "",
        allocation_end: Callable[[], AllocationEnd | None] = lambda: None,
        end_margin_s: float = 120.0,
        node: WorkerSlots | None = None,
    ) -> None:
        self._node = node
        self._has_node = node is None
        self._waits = False
        self._options = options
        self._folder = folder
        self._stop_grace_s = stop_grace_s
        self._missing = missing
        self._find_end = allocation_end
        self._end_margin_s = end_margin_s
        self._notes: list[str] = []
        self._run = secrets.token_hex(4)
        self._pool: Pool | None = None
        self._asked = False
        self._end: AllocationEnd | None = None
        self._times = RunTimes()
        self._count = itertools.count()
        self._queue: list[tuple[float, int, Job]] = []
        self._handed: dict[str, _Handed] = {}
        self._states: dict[str, JobState] = {}
        self._cancelled: dict[str, float] = {}
        """When attempts that had begun were told to end."""
        self._returned: Counter[str] = Counter()
        """How often an attempt lost its worker before it began."""
        self._lost = LostAttempts(stop_grace_s, options.heartbeat_period_s, options.heartbeat_threshold_s)
        self._parting: Parting | None = None
        self._closed = False
        self._cut: set[str] = set()
        self._closing = ""
        self._done: queue.SimpleQueue[tuple[str, Pool, Future[TaskAnswer]]] = queue.SimpleQueue()
        self._news = threading.Event()
        self._lost_in_a_row = 0
        self._rest_until = self._next_look = 0.0
        self._idle_since: float | None = None
        self._ended_since: dict[str, float] = {}

    # --- submitting ---------------------------------------------------------------------------------------------

    def submit(self, jobs: Sequence[Job]) -> Submission:
        """Queue jobs, the costliest first; Parsl gets as many as its workers can begin.

        Raises:
            LauncherError: the workers do not fit on this node, or Parsl does not start.
        """
        if not self._asked:
            require_parsl()
            if refusal := self._missing():
                raise LauncherError(refusal)
            self._end = self._find_end()
            self._asked = True
            if self._end is not None:
                self._notes.append(f"parsl: this allocation ends {self._end}")
        cores = self._options.cores_per_worker
        refused = {
            job.token: f"it needs {pluralise(job.n_cores, 'core')}, but launcher.cores_per_worker is {cores}"
            for job in jobs
            if job.n_cores > cores
        }
        taken = {job.token: self._job_id(job.token) for job in jobs if job.token not in refused}
        for job in jobs:
            if job.token in taken:
                heapq.heappush(self._queue, (-job.expected_cost, next(self._count), job))
                self._states[taken[job.token]] = _QUEUED
        self._fill()
        return Submission(taken, refused)

    def closing(self) -> str:
        """That the allocation is about to end, if it is."""
        return self._closing

    def _job_id(self, token: str) -> str:
        return f"{self._run}:{token}"

    def _fill(self) -> None:
        """Give Parsl what its workers can begin."""
        while self._queue and len(self._handed) < AHEAD * self._options.most_workers:
            if self._pool is None and (self._parting is not None or time.monotonic() < self._rest_until):
                return
            job = self._queue[0][2]
            needed = self._times.needed_s(job.expected_cost, job.time_limit_s)
            if self._too_late(job, needed):
                heapq.heappop(self._queue)
                continue
            if not self._take_node():
                return
            # A pool takes a second to start; until then the job stays in the queue.
            pool = self._pool = self._pool or Pool(self._options, self._run, self._folder)
            heapq.heappop(self._queue)
            self._hand(pool, job, needed)

    def _take_node(self) -> bool:
        """Take the lock on this node's cores, and say whether this launcher has it. It is kept until the end."""
        if self._node is not None and not self._has_node:
            self._has_node = self._node.take() is not None
            if not self._has_node and not self._waits:
                self._waits = True
                self._notes.append("parsl: another run is using this node; the structures wait until it ends")
            if why := self._node.trouble:
                self._notes.append(
                    f"parsl: runs may use the same cores at once: files cannot be locked: {why}"
                )
        return self._has_node

    def _hand(self, pool: Pool, job: Job, needed: float) -> None:
        latest = None if self._end is None else self._end.at - self._end_margin_s - needed
        # A new ticket each time, since a withdrawn one stays withdrawn.
        ticket = f"{job.token}.{next(self._count)}"
        try:
            future = pool.submit(job.token, job.folder, ticket, latest)
        except Exception as error:
            self._put_back(job)
            self._lose(f"it accepts no tasks: {error}")
            return
        self._handed[job.token] = _Handed(job, needed, ticket)
        future.add_done_callback(lambda done, token=job.token, pool=pool: self._on_done(token, pool, done))  # type: ignore[misc]

    def _on_done(self, token: str, pool: Pool, done: "Future[TaskAnswer]") -> None:
        # Called in a thread of Parsl's.
        self._done.put((token, pool, done))
        self._news.set()

    def _put_back(self, job: Job) -> None:
        self._states[self._job_id(job.token)] = _QUEUED
        heapq.heappush(self._queue, (-job.expected_cost, next(self._count), job))

    def fits(self, time_limit_s: float, expected_cost: float) -> bool:
        """Whether a calculation is expected to end before the allocation does.

        Args:
            time_limit_s: its time limit, s.
            expected_cost: as in :class:`~oact_dagster.schedulers.jobs.Job`.
        """
        end = self._end if self._asked else self._find_end()
        return self._ends_before(end, self._times.needed_s(expected_cost, time_limit_s))

    def _ends_before(self, end: AllocationEnd | None, needed: float) -> bool:
        return end is None or needed <= end.at - self._end_margin_s - time.time()

    def _too_late(self, job: Job, needed: float) -> bool:
        """Give a job back if it is not expected to end before the allocation does, and say whether this is so."""
        if self._ends_before(self._end, needed):
            return False
        reason = (
            f"it may take {_duration(needed)}, but the allocation ends {self._end}; it needs a longer allocation, or a"
            " shorter time limit"
        )
        self._states[self._job_id(job.token)] = out_of_time(reason)
        self._closing = self._closing or f"the allocation ends {self._end}"
        return True

    # --- following ----------------------------------------------------------------------------------------------

    def states(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
        """The state of each job.

        Raises:
            LauncherError: pools were lost again and again.
        """
        self._collect()
        self._look()
        self._look_for_ends()
        self._look_for_started()
        self._fill()
        return {job_id: self._states.get(job_id, _UNKNOWN) for job_id in job_ids}

    def _collect(self) -> None:
        """Collect the answers of the workers."""
        while True:
            try:
                token, pool, future = self._done.get_nowait()
            except queue.Empty:
                return
            if pool is not self._pool or token not in self._handed:
                continue
            error = future.exception()
            if error is not None and not self._closed and (trouble := pool.trouble()):
                # Parsl reports the same error for all its tasks.
                self._lose(trouble)
                continue
            handed = self._handed.pop(token)
            if error is not None:
                said = f"{type(error).__name__}: {error}".partition("\n")[0]
                self._lose_worker(pool, handed, f"its worker was lost: {said}")
            else:
                self._take_in(handed, *future.result())
                pool.control.forget(handed.ticket)

    def _take_in(self, handed: _Handed, end: str, returncode: int, why: str, elapsed: float) -> None:
        """Take in what ``run_attempt`` returned."""
        token = handed.job.token
        match TaskEnd(end):
            case TaskEnd.RAN:
                state = ended_with(returncode)
                self._lost_in_a_row = 0
                if token not in self._cancelled and returncode == 0:
                    self._times.add(elapsed, handed.job.expected_cost)
                if token in self._cut:
                    state = JobState(Phase.ENDED, f"the allocation ends {self._end}", Cause.PREEMPTED)
            case TaskEnd.CANCELLED:
                state = WITHDRAWN
            case TaskEnd.NOT_STARTED:
                state = not_started(why)
            case TaskEnd.TOO_LATE:
                if not self._too_late(handed.job, handed.needed_s):
                    # By now it is expected to need less time.
                    self._put_back(handed.job)
                return
        self._states[self._job_id(token)] = state

    def _lose_worker(self, pool: Pool, handed: _Handed, why: str) -> None:
        """Take in that the worker of an attempt was killed, or its node lost."""
        job = handed.job
        if pool.control.withdraw(handed.ticket):
            self._returned[job.token] += 1
            if self._returned[job.token] <= RESTARTS:
                self._put_back(job)
                return
        elif not self._options.here:
            # It may still run, and have lost only its interchange.
            pool.control.cancel([handed.ticket])
            self._lost.add(job, why)
            return
        else:
            end_leftovers([job.token])
        self._states[self._job_id(job.token)] = JobState(Phase.ENDED, why)

    def _look_for_ends(self) -> None:
        """Check which abandoned workers have ended, and what they ran."""
        if self._parting is not None and not self._parting.is_alive():
            parting, self._parting = self._parting, None
            if parting.left:
                self._notes.append(f"parsl: {parting.left}")
            else:
                self._lost.workers_have_ended()
        for job, why in self._lost.take_ended():
            if _has_begun(job):
                self._states[self._job_id(job.token)] = JobState(Phase.ENDED, why)
            elif self._closed or job.token in self._cancelled:
                self._states[self._job_id(job.token)] = WITHDRAWN
            else:
                # Its worker ended before the payload began.
                self._put_back(job)

    def _look_for_started(self) -> None:
        for token, handed in self._handed.items():
            job_id = self._job_id(token)
            if self._states[job_id] is _QUEUED and read_start(handed.job.folder, token) is not None:
                self._states[job_id] = _RUNNING

    def _look(self) -> None:
        """Check whether the pool works, and whether it is time to end."""
        now = time.monotonic()
        if self._pool is None or now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        self._take_notes(self._pool)
        if trouble := self._pool.trouble() or self._silence(now) or self._deafness(now):
            self._lose(trouble)
        elif self._end is not None and time.time() >= self._end.at - self._end_margin_s:
            self._closing = self._closing or f"the allocation ends {self._end}"
            unbegun = out_of_time(f"it had not begun, and the allocation ends {self._end}")
            self._cut.update(self._order_ends(self._pool, list(self._handed), unbegun))

    def _silence(self, now: float) -> str:
        """Say that a pool hangs: it begins nothing, or does not report what has ended. Empty if it does not.

        A worker that is killed while it waits keeps the lock for which the others wait.
        """
        running = [t for t in self._handed if self._states[self._job_id(t)] is _RUNNING]
        for token in [token for token in self._ended_since if token not in self._handed]:
            del self._ended_since[token]
        for token in running:
            if read_exit(self._handed[token].job.folder, token) is not None:
                self._ended_since.setdefault(token, now)
        limit = SILENT_THRESHOLDS * self._options.heartbeat_threshold_s
        if any(now - since > limit for since in self._ended_since.values()):
            return "its workers do not report calculations that have ended"
        if running or not self._handed or self._options.blocks is not None:
            # Blocks may wait in the queue for days.
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since > limit:
            return f"its workers have begun nothing for {limit:g} s"
        return ""

    def _deafness(self, now: float) -> str:
        """Say that cancelled calculations go on; empty if none does."""
        limit = self._stop_grace_s + DEAF_THRESHOLDS * self._options.heartbeat_threshold_s
        if any(now - self._cancelled.get(token, now) > limit for token in self._handed):
            return "its workers do not end cancelled calculations"
        return ""

    def _lose(self, trouble: str) -> None:
        """Abandon the pool: what ran in it is lost, and what had not begun waits for the next one.

        Raises:
            LauncherError: too many pools were lost in a row.
        """
        pool, self._pool = self._pool, None
        if pool is None:
            return
        pool.control.stop()
        self._take_notes(pool)
        handed, self._handed = self._handed, {}
        begun = [one for one in handed.values() if not pool.control.withdraw(one.ticket)]
        for one in handed.values():
            if one not in begun:
                self._put_back(one.job)
        for one in begun:
            self._lost.add(one.job, f"its workers were lost: {trouble}")
        if self._options.here:
            pool.kill()
            end_leftovers(list(handed))
            self._lost.nothing_is_left()
        else:
            # No other pool is started until they have ended.
            self._parting = Parting(pool, self._lost.longest_s)
        self._look_for_ends()
        self._lost_in_a_row += 1
        self._idle_since = None
        self._rest_until = time.monotonic() + REST_S
        self._news.set()
        if self._lost_in_a_row > RESTARTS:
            raise LauncherError(f"parsl: {trouble}; no calculation ended, so nothing more was started")
        self._notes.append(
            f"parsl: {trouble}; running structures lost with it: {len(begun)}; its workers start again"
        )

    def _take_notes(self, pool: Pool) -> None:
        self._notes.extend(f"parsl: {note}" for note in pool.notes())

    def notes(self) -> Sequence[str]:
        """See :class:`~oact_dagster.launchers.protocol.Launcher`."""
        notes, self._notes = self._notes, []
        return notes

    def wait(self, seconds: float) -> bool:
        """Wait for a calculation to end, but no longer than this. Asking for states costs nothing here."""
        self._news.wait(seconds)
        self._news.clear()
        return True

    # --- ending -------------------------------------------------------------------------------------------------

    def cancel(self, job_ids: Collection[str]) -> None:
        """Drop what waits, and order the end of what runs, which its worker sees within a second."""
        wanted = {job_id.partition(":")[2] for job_id in job_ids}
        left = []
        for entry in self._queue:
            if entry[2].token in wanted:
                self._states[self._job_id(entry[2].token)] = WITHDRAWN
            else:
                left.append(entry)
        if len(left) < len(self._queue):
            heapq.heapify(left)
            self._queue = left
            self._news.set()
        for token in wanted:
            if token in self._lost:
                self._cancelled.setdefault(token, time.monotonic())
        if self._pool is not None:
            fresh = [token for token in wanted if token in self._handed and token not in self._cancelled]
            self._order_ends(self._pool, fresh, WITHDRAWN)

    def _order_ends(self, pool: Pool, tokens: Collection[str], unbegun: JobState) -> list[str]:
        """Withdraw those of these attempts that have not begun, and order the end of the others.

        Args:
            pool: the pool that has them.
            tokens: tokens of the attempts.
            unbegun: the state for those that have not begun.

        Returns:
            Tokens of those that have begun. Their workers see the order within a second.
        """
        begun = []
        for token in tokens:
            if pool.control.withdraw(self._handed[token].ticket):
                # What Parsl reports of its task later is ignored.
                del self._handed[token]
                self._states[self._job_id(token)] = unbegun
                self._news.set()
            else:
                begun.append(token)
                self._cancelled.setdefault(token, time.monotonic())
        pool.control.cancel([self._handed[token].ticket for token in begun])
        return begun

    def adopt(self, orphans: Sequence[Orphan]) -> Mapping[str, str]:
        """End what is left of a dead run, its workers first. Nothing of it can be followed here.

        Raises:
            LauncherError: its blocks of nodes may not have ended.
        """
        runs = {orphan.job_id.partition(":")[0] for orphan in orphans if orphan.job_id}
        for run in runs:
            remove_folders(run, self._folder)
        if runs and self._options.blocks is not None:
            end_blocks(runs)
        end_marked(POOL_VARIABLE, runs)
        end_leftovers([orphan.token for orphan in orphans])
        if not self._options.here:
            self._await_ends(orphans)
        return {}

    def _await_ends(self, orphans: Sequence[Orphan]) -> None:
        """Give payloads on other nodes, whose workers have ended, time to end their engines."""
        limit = time.monotonic() + self._stop_grace_s + SEEN_S
        while time.monotonic() < limit and any(is_unfinished(one.folder, one.token) for one in orphans):
            time.sleep(_PAUSE_S)

    def close(self) -> None:
        """End all calculations and everything they started, then the workers and Parsl; return once they have ended."""
        self._closed = True
        self._queue.clear()
        if self._pool is not None:
            self._close_pool(self._pool)
        if self._parting is not None:
            self._parting.join()
        self._look_for_ends()
        while self._lost:
            # Each of them ends, or counts as ended, after a bounded time.
            time.sleep(_PAUSE_S)
            self._look_for_ends()
        if self._node is not None:
            self._node.give_all_back()

    def _close_pool(self, pool: Pool) -> None:
        pool.control.stop()
        self._order_ends(pool, list(self._handed), WITHDRAWN)
        limit = time.monotonic() + self._stop_grace_s + SEEN_S
        while self._handed and time.monotonic() < limit and not pool.trouble():
            self._news.wait(_PAUSE_S)
            self._news.clear()
            self._collect()
        left, self._handed = self._handed, {}
        self._pool = None
        unended = pool.close()
        if unended:
            self._notes.append(f"parsl: {unended}")
        if self._options.here:
            end_leftovers(list(left))
            return
        for one in left.values():
            self._lost.add(one.job, "its run ended")
        if not unended:
            self._lost.workers_have_ended()


def _has_begun(job: Job) -> bool:
    return read_start(job.folder, job.token) is not None or read_exit(job.folder, job.token) is not None


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min"

"""Runs attempts through Parsl, several at once on a node, or on many nodes."""

import heapq
import itertools
import queue
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oact_dagster.counted import counted
from oact_dagster.launchers.allocation_end import AllocationEnd
from oact_dagster.launchers.attempt_files import read_exit, read_start
from oact_dagster.launchers.leftovers import end_leftovers, end_marked
from oact_dagster.launchers.packing import RunTimes
from oact_dagster.launchers.parsl.app import CANCELLED, TOO_LATE
from oact_dagster.launchers.parsl.blocks import end_blocks
from oact_dagster.launchers.parsl.config import POOL_VARIABLE, PoolOptions, require_parsl
from oact_dagster.launchers.parsl.pool import Pool, remove_folders
from oact_dagster.launchers.protocol import (
    NEVER_STARTED,
    OUT_OF_TIME,
    Cause,
    Job,
    JobState,
    LauncherError,
    Orphan,
    Phase,
    Submission,
)
from oact_dagster.launchers.worker_slots import WorkerSlots

AHEAD: Final = 2
"""Tasks that Parsl holds for each worker: one to run, and one to follow at once. The rest wait here, where they are
sorted, can be cancelled, and are not lost with an interchange."""

RESTARTS: Final = 3
"""So many pools may be lost in a row without a calculation that ended."""

LOOK_S: Final = 1.0
"""How often the pool's health is looked at, s."""

SILENT_THRESHOLDS: Final = 5
"""For so many times the threshold of heartbeats a pool may begin nothing, or not tell what has ended."""

REST_S: Final = 2.0
"""How long after the loss of a pool no new one is started, s: what ended it may be about to end us."""

_QUEUED: Final = JobState(Phase.QUEUED)
_RUNNING: Final = JobState(Phase.RUNNING)
_UNKNOWN: Final = JobState(Phase.UNKNOWN)


@dataclass(slots=True)
class _Handed:
    """A job that Parsl has."""

    job: Job
    needed_s: float


class ParslLauncher:
    """Payloads as tasks of Parsl's HighThroughputExecutor; a job's id is the launcher's and its token.

    Args:
        options: the pool.
        folder: for what workers on other nodes must see.
        stop_grace_s: how long a calculation may take to end after SIGTERM, s.
        missing: says why the workers do not fit on the node, empty where they do; asked at the first submit.
        allocation_end: when the allocation ends; asked at the first submit. None: it does not.
        end_margin_s: so long before that all calculations have ended, s.
        notices: what whoever watches should know from the start.
        node: taken as long as there are workers: a second run waits for the cores of the first. None: no need.
    """

    kind = "parsl"
    survives = False

    def __init__(
        self,
        options: PoolOptions,
        folder: Path,
        stop_grace_s: float,
        *,
        missing: Callable[[], str] = lambda: "",
        allocation_end: Callable[[], AllocationEnd | None] = lambda: None,
        end_margin_s: float = 120.0,
        notices: Sequence[str] = (),
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
        self._notes = list(notices)
        self._run = secrets.token_hex(4)
        self._pool: Pool | None = None
        self._asked = False
        self._end: AllocationEnd | None = None
        self._times = RunTimes()
        self._count = itertools.count()
        self._queue: list[tuple[float, int, Job]] = []
        self._handed: dict[str, _Handed] = {}
        self._states: dict[str, JobState] = {}
        self._cancelled: set[str] = set()
        self._cut: set[str] = set()
        self._closing = ""
        self._done: queue.SimpleQueue[tuple[str, Pool, Future[tuple[bool, str, float]]]] = queue.SimpleQueue()
        self._news = threading.Event()
        self._lost_in_a_row = 0
        self._rest_until = self._next_look = 0.0
        self._idle_since: float | None = None
        self._ended_since: dict[str, float] = {}

    # --- handing over -------------------------------------------------------------------------------------------

    def submit(self, jobs: Sequence[Job]) -> Submission:
        """Queue jobs, the dearest first; Parsl gets as many as its workers can begin.

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
            job.token: f"it needs {counted(job.n_cores, 'core')}, and a worker has launcher.cores_per_worker {cores}"
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

    def by_hand(self, folders: Collection[Path]) -> Mapping[Path, str]:
        """None: a job folder has no script to submit."""
        return {}

    def withdraw(self, tokens: Collection[str]) -> Collection[str]:
        """All: every job is taken at once, or never."""
        return tokens

    def closing(self) -> str:
        """Why nothing more is to be handed over: the allocation is about to end."""
        return self._closing

    def _job_id(self, token: str) -> str:
        return f"{self._run}:{token}"

    def _fill(self) -> None:
        """Give Parsl what its workers can begin."""
        while self._queue and len(self._handed) < AHEAD * self._options.most_workers:
            if self._pool is None and time.monotonic() < self._rest_until:
                return
            job = self._queue[0][2]
            needed = self._times.needed_s(job.expected_cost, job.time_limit_s)
            if self._too_late(job, needed):
                heapq.heappop(self._queue)
                continue
            if not self._take_node():
                return
            # While it is started, which takes a second, the job stays in the queue.
            pool = self._pool = self._pool or Pool(self._options, self._run, self._folder)
            heapq.heappop(self._queue)
            self._hand(pool, job, needed)

    def _take_node(self) -> bool:
        """Whether this node's cores are ours; they stay so until the end."""
        if self._node is not None and not self._has_node:
            self._has_node = self._node.take() is not None
            if not self._has_node and not self._waits:
                self._waits = True
                self._notes.append(
                    "parsl: another run has this node's workers; the structures wait for its end"
                )
            if self._node.trouble:
                self._notes.append(
                    f"parsl: runs at once do not share the cores: no locks: {self._node.trouble}"
                )
        return self._has_node

    def _hand(self, pool: Pool, job: Job, needed: float) -> None:
        latest = None if self._end is None else self._end.at - self._end_margin_s - needed
        try:
            future = pool.submit(job.token, job.folder, latest)
        except Exception as error:
            self._put_back(job)
            self._lose(f"it takes no task: {error}")
            return
        self._handed[job.token] = _Handed(job, needed)
        future.add_done_callback(lambda done, token=job.token, pool=pool: self._tell(token, pool, done))  # type: ignore[misc]

    def _tell(self, token: str, pool: Pool, done: "Future[tuple[bool, str, float]]") -> None:
        # In a thread of Parsl's.
        self._done.put((token, pool, done))
        self._news.set()

    def _put_back(self, job: Job) -> None:
        heapq.heappush(self._queue, (-job.expected_cost, next(self._count), job))

    def fits(self, time_limit_s: float, expected_cost: float) -> bool:
        """Whether a calculation can end before the allocation does, by its limit or by the times of those that ended.

        Args:
            time_limit_s: its own time limit, s.
            expected_cost: as in :class:`oact_dagster.launchers.protocol.Job`.
        """
        end = self._end if self._asked else self._find_end()
        if end is None:
            return True
        return self._times.needed_s(expected_cost, time_limit_s) <= end.at - self._end_margin_s - time.time()

    def _too_late(self, job: Job, needed: float) -> bool:
        """Give a job back that cannot end before the allocation does."""
        if self._end is None:
            return False
        left = self._end.at - self._end_margin_s - time.time()
        if needed <= left:
            return False
        reason = (
            f"it may take {_duration(needed)}, and the allocation ends {self._end}; it runs in a longer one, or with a"
            " shorter time limit"
        )
        self._states[self._job_id(job.token)] = JobState(Phase.ENDED, OUT_OF_TIME, reason=reason)
        self._closing = self._closing or f"the allocation ends {self._end}"
        return True

    # --- following ----------------------------------------------------------------------------------------------

    def states(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
        """The state of each job.

        Raises:
            LauncherError: one pool after the other was lost.
        """
        self._collect()
        self._look()
        self._look_for_started()
        self._fill()
        return {job_id: self._states.get(job_id, _UNKNOWN) for job_id in job_ids}

    def _collect(self) -> None:
        """Take in what the workers have said."""
        while True:
            try:
                token, pool, future = self._done.get_nowait()
            except queue.Empty:
                return
            if pool is self._pool and token in self._handed:
                handed = self._handed.pop(token)
                self._states[self._job_id(token)] = self._state_of(handed, pool, future)
                pool.control.forget(token)

    def _state_of(self, handed: _Handed, pool: Pool, future: "Future[tuple[bool, str, float]]") -> JobState:
        token = handed.job.token
        try:
            started, final, elapsed = future.result()
        except Exception as error:
            # The worker was killed, or its node is gone: what it left here goes, too.
            if self._options.here:
                end_leftovers([token])
            return JobState(Phase.ENDED, f"its worker was lost: {_first_line(error)}")
        if started:
            self._lost_in_a_row = 0
            if token not in self._cancelled and final == "exit 0":
                self._times.add(elapsed, handed.job.expected_cost)
            if token in self._cut:
                return JobState(Phase.ENDED, f"the allocation ends {self._end}", Cause.PREEMPTED)
            return JobState(Phase.ENDED, final)
        if final == CANCELLED:
            return JobState(Phase.ENDED, NEVER_STARTED)
        if final == TOO_LATE and self._too_late(handed.job, handed.needed_s):
            return self._states[self._job_id(token)]
        if final == TOO_LATE:
            # It is thought to need less time by now.
            self._put_back(handed.job)
            return _QUEUED
        return JobState(Phase.ENDED, final)

    def _look_for_started(self) -> None:
        for token, handed in self._handed.items():
            job_id = self._job_id(token)
            if self._states[job_id] is _QUEUED and read_start(handed.job.folder, token) is not None:
                self._states[job_id] = _RUNNING

    def _look(self) -> None:
        """Look whether the pool lives, and whether it is time to end."""
        now = time.monotonic()
        if self._pool is None or now < self._next_look:
            return
        self._next_look = now + LOOK_S
        if trouble := self._pool.trouble() or self._silence(now):
            self._lose(trouble)
        elif self._end is not None and time.time() >= self._end.at - self._end_margin_s:
            self._closing = self._closing or f"the allocation ends {self._end}"
            self._cut.update(self._handed)
            self._pool.control.cancel(self._handed)

    def _silence(self, now: float) -> str:
        """Say how a pool hangs that lives: what it has is not begun, or has ended and is not told; empty where neither.

        A worker that is killed while it waits takes with it the lock by which the others wait.
        """
        running = [t for t in self._handed if self._states[self._job_id(t)] is _RUNNING]
        for token in [token for token in self._ended_since if token not in self._handed]:
            del self._ended_since[token]
        for token in running:
            if read_exit(self._handed[token].job.folder, token) is not None:
                self._ended_since.setdefault(token, now)
        limit = SILENT_THRESHOLDS * self._options.heartbeat_threshold_s
        if any(now - since > limit for since in self._ended_since.values()):
            return "the ends of its calculations are not told"
        if running or not self._handed or self._options.blocks is not None:
            # Blocks may wait in their queue for days.
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since > limit:
            return f"its workers have begun nothing for {limit:g} s"
        return ""

    def _lose(self, trouble: str) -> None:
        """Give a pool up: what ran in it is lost, what had not begun waits for the next one.

        Raises:
            LauncherError: none works.
        """
        pool, self._pool = self._pool, None
        if pool is None:
            return
        pool.kill()
        handed, self._handed = self._handed, {}
        if self._options.here:
            end_leftovers(list(handed))
        lost = 0
        for token, one in handed.items():
            if token in self._cancelled or read_start(one.job.folder, token) is not None:
                lost += 1
                self._states[self._job_id(token)] = JobState(Phase.ENDED, f"its workers were lost: {trouble}")
            else:
                self._states[self._job_id(token)] = _QUEUED
                self._put_back(one.job)
        self._lost_in_a_row += 1
        self._idle_since = None
        self._rest_until = time.monotonic() + REST_S
        self._news.set()
        if self._lost_in_a_row > RESTARTS:
            raise LauncherError(f"parsl: {trouble}; no calculation ends, nothing more was started")
        self._notes.append(
            f"parsl: {trouble}; {counted(lost, 'structure', 'was', 'were')} lost, and its workers start again"
        )

    def notes(self) -> Sequence[str]:
        """See :class:`~oact_dagster.launchers.protocol.Launcher`."""
        notes, self._notes = self._notes, []
        return notes

    def unanswered(self) -> str:
        """Its workers are asked for nothing."""
        return ""

    def wait(self, seconds: float) -> bool:
        """Return when a calculation ends, or after this time; to ask costs nothing here."""
        self._news.wait(seconds)
        self._news.clear()
        return True

    # --- ending -------------------------------------------------------------------------------------------------

    def cancel(self, job_ids: Collection[str]) -> None:
        """Drop what waits, and order the end of what runs; its worker hears of it within a second."""
        wanted = {job_id.partition(":")[2] for job_id in job_ids}
        left = []
        for entry in self._queue:
            if entry[2].token in wanted:
                self._states[self._job_id(entry[2].token)] = JobState(Phase.ENDED, NEVER_STARTED)
            else:
                left.append(entry)
        fresh = (wanted & self._handed.keys()) - self._cancelled
        self._cancelled |= fresh
        if fresh and self._pool is not None:
            self._pool.control.cancel(fresh)
        if len(left) < len(self._queue):
            heapq.heapify(left)
            self._queue = left
            self._news.set()

    def how_to_cancel(self, job_ids: Collection[str]) -> str:
        """Nothing has to be done: jobs end with their parent."""
        return ""

    def adopt(self, orphans: Sequence[Orphan]) -> Mapping[str, str]:
        """Nothing of a dead run can be followed here: what is left of it is ended, its workers first.

        Raises:
            LauncherError: whether its blocks of nodes have ended is not known.
        """
        runs = {orphan.job_id.partition(":")[0] for orphan in orphans if orphan.job_id}
        for run in runs:
            remove_folders(run, self._folder)
        if runs and self._options.blocks is not None:
            end_blocks(runs)
        end_marked(POOL_VARIABLE, runs)
        end_leftovers([orphan.token for orphan in orphans])
        return {}

    def close(self) -> None:
        """End all calculations with everything they started, then the workers and Parsl, and return when they have."""
        self._queue.clear()
        if self._pool is not None:
            self._close_pool(self._pool)
        if self._node is not None:
            self._node.give_all_back()

    def _close_pool(self, pool: Pool) -> None:
        self._cancelled |= self._handed.keys()
        pool.control.stop()
        limit = time.monotonic() + self._stop_grace_s + 5.0
        while self._handed and time.monotonic() < limit and not pool.trouble():
            self._news.wait(0.2)
            self._news.clear()
            self._collect()
        left = list(self._handed)
        self._pool = None
        pool.close()
        if left and self._options.here:
            end_leftovers(left)


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]

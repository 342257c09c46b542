"""Runs attempts as processes of this machine, a few at once."""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oact_dagster.launchers.attempt_files import PAYLOAD_LOG, TOKEN_VARIABLE
from oact_dagster.launchers.leftovers import end_leftovers
from oact_dagster.launchers.protocol import Orphan, Submission
from oact_dagster.launchers.worker_slots import WorkerSlots
from oact_dagster.schedulers.jobs import WITHDRAWN, Job, JobState, Phase, ended_with, not_started


@dataclass(slots=True)
class _Worker:
    process: "subprocess.Popen[bytes]"
    line: socket.socket
    """Our end of the payload's lifeline: when either side dies, the other reads an end of file."""
    slot: int


class LocalLauncher:
    """Payloads as child processes.

    A payload holds one end of a socket pair, so that it ends with this process even when this one is killed; its
    job id is its token.

    Args:
        max_workers: calculations at once.
        stop_grace_s: how long a calculation may take to end after SIGTERM, s.
        jobs_dir: all launchers with this jobs folder share their ``max_workers``; None: it has them for itself.
    """

    kind = "local"
    jobs_outlive_process = False

    def __init__(self, max_workers: int, stop_grace_s: float = 10.0, *, jobs_dir: Path | None = None) -> None:
        self._slots = WorkerSlots(jobs_dir, self.kind, max_workers)
        self._told_trouble = False
        self._stop_grace_s = stop_grace_s
        self._queue: deque[Job] = deque()
        self._workers: dict[str, _Worker] = {}
        self._ended: dict[str, JobState] = {}
        self._selector = selectors.DefaultSelector()

    def submit(self, jobs: Sequence[Job]) -> Submission:
        """Queue jobs; as many as there are free places start at once."""
        self._queue.extend(jobs)
        self._fill()
        return Submission({job.token: job.token for job in jobs})

    def by_hand(self, folders: Collection[Path]) -> Mapping[Path, str]:
        """None: a job folder has no script to submit."""
        return {}

    def withdraw(self, tokens: Collection[str]) -> Collection[str]:
        """All: every job is taken at once."""
        return tokens

    def closing(self) -> str:
        """Jobs are taken at any time."""
        return ""

    def states(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
        """The state of each job."""
        self._reap()
        self._fill()
        queued = {job.token for job in self._queue}
        states = {}
        for job_id in job_ids:
            if job_id in self._workers:
                states[job_id] = JobState(Phase.RUNNING)
            elif job_id in queued:
                states[job_id] = JobState(Phase.QUEUED)
            else:
                states[job_id] = self._ended.get(job_id, JobState(Phase.UNKNOWN))
        return states

    def cancel(self, job_ids: Collection[str]) -> None:
        """Drop queued jobs, and tell the payloads of running ones to end."""
        wanted = set(job_ids)
        for job in [job for job in self._queue if job.token in wanted]:
            self._queue.remove(job)
            self._ended[job.token] = WITHDRAWN
        for token in wanted & self._workers.keys():
            with contextlib.suppress(ProcessLookupError):
                self._workers[token].process.send_signal(signal.SIGTERM)

    def how_to_cancel(self, job_ids: Collection[str]) -> str:
        """Nothing has to be done: jobs end with their parent."""
        return ""

    def adopt(self, orphans: Sequence[Orphan]) -> Mapping[str, str]:
        """Nothing of a dead run can be followed here: its payloads died with it; what is left of them is ended."""
        end_leftovers([orphan.token for orphan in orphans])
        return {}

    def notes(self) -> Sequence[str]:
        """That the places are not shared, where they cannot be."""
        if not self._slots.trouble or self._told_trouble:
            return ()
        self._told_trouble = True
        return (f"launcher.max_workers holds for each run by itself: no locks: {self._slots.trouble}",)

    def unanswered(self) -> str:
        """There is no scheduler."""
        return ""

    def wait(self, seconds: float) -> bool:
        """Return when a payload ends, or after this time; to ask costs nothing here."""
        if self._workers:
            for key, _ in self._selector.select(seconds):
                # Its sockets close a moment before it can be reaped.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._workers[key.data].process.wait(1.0)
        else:
            time.sleep(min(seconds, 0.05) if self._ended else seconds)
        return True

    def close(self) -> None:
        """End all payloads with everything they started, and return when they have."""
        self._queue.clear()
        self.cancel(list(self._workers))
        limit = time.monotonic() + self._stop_grace_s + 5.0
        while self._workers and time.monotonic() < limit:
            self._selector.select(0.2)
            self._reap()
        stubborn = list(self._workers)
        for token in stubborn:
            self._workers[token].process.kill()
        end_leftovers(stubborn)
        for token in stubborn:
            self._workers[token].process.wait()
        self._reap()
        self._selector.close()

    def _fill(self) -> None:
        while self._queue and (slot := self._slots.take()) is not None:
            job = self._queue.popleft()
            try:
                self._workers[job.token] = self._start(job, slot)
            except OSError as error:
                self._slots.give_back(slot)
                where = f"{error.filename}: " if error.filename else ""
                self._ended[job.token] = not_started(f"{where}{error.strerror or error}")

    def _start(self, job: Job, slot: int) -> _Worker:
        ours, theirs = socket.socketpair()
        # -P: the job folder does not become a place that modules are imported from.
        command = [sys.executable, "-P", "-m", "oact_dagster.launchers.payload", "--token", job.token]
        try:
            with (job.folder / PAYLOAD_LOG).open("wb") as log:
                process = subprocess.Popen(
                    [*command, "--lifeline", str(theirs.fileno())],
                    cwd=job.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(theirs.fileno(),),
                    env={**os.environ, TOKEN_VARIABLE: job.token},
                    # Ctrl+C in the terminal is for us: we decide what becomes of the calculations.
                    start_new_session=True,
                )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._selector.register(ours, selectors.EVENT_READ, job.token)
        return _Worker(process, ours, slot)

    def _reap(self) -> None:
        for token, worker in list(self._workers.items()):
            returncode = worker.process.poll()
            if returncode is None:
                continue
            del self._workers[token]
            self._selector.unregister(worker.line)
            worker.line.close()
            self._slots.give_back(worker.slot)
            if returncode < 0:
                # The payload was killed: its engine has lost its keeper.
                end_leftovers([token])
            self._ended[token] = ended_with(returncode)

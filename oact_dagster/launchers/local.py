"""Runs attempts as processes of this machine, a few at once."""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oact_dagster.launchers.leftovers import end_leftovers
from oact_dagster.launchers.payload_process import start_payload
from oact_dagster.launchers.protocol import ChildLauncher, Orphan, Submission
from oact_dagster.launchers.worker_slots import WorkerSlots
from oact_dagster.schedulers.jobs import WITHDRAWN, Job, JobState, Phase, ended_with, not_started


@dataclass(slots=True)
class _Worker:
    process: "subprocess.Popen[bytes]"
    lifeline: socket.socket
    slot: int


class LocalLauncher(ChildLauncher):
    """Payloads as child processes, which end with this process even if it is killed. A job id is its token.

    Args:
        stop_grace_s: time a calculation may take to end after SIGTERM, s.
        jobs_dir: all launchers of this jobs folder share `max_workers`; None: it is for this launcher alone.
    """

    kind = "local"

    def __init__(self, max_workers: int, stop_grace_s: float = 10.0, *, jobs_dir: Path | None = None) -> None:
        self._slots = WorkerSlots(jobs_dir, self.kind, max_workers)
        self._told_trouble = False
        self._stop_grace_s = stop_grace_s
        self._queue: deque[Job] = deque()
        self._workers: dict[str, _Worker] = {}
        self._ended: dict[str, JobState] = {}
        self._selector = selectors.DefaultSelector()

    def submit(self, jobs: Sequence[Job]) -> Submission:
        """Queue jobs, and start as many as there are free places."""
        self._queue.extend(jobs)
        self._fill()
        return Submission({job.token: job.token for job in jobs})

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
        """Drop queued jobs, and send SIGTERM to the payloads of running ones."""
        wanted = set(job_ids)
        for job in [job for job in self._queue if job.token in wanted]:
            self._queue.remove(job)
            self._ended[job.token] = WITHDRAWN
        for token in wanted & self._workers.keys():
            with contextlib.suppress(ProcessLookupError):
                self._workers[token].process.send_signal(signal.SIGTERM)

    def adopt(self, orphans: Sequence[Orphan]) -> Mapping[str, str]:
        """Kill what a dead run left behind. Nothing can be followed, since its payloads died with it."""
        end_leftovers([orphan.token for orphan in orphans])
        return {}

    def notes(self) -> Sequence[str]:
        """A note, once, if runs cannot share their places."""
        if not self._slots.trouble or self._told_trouble:
            return ()
        self._told_trouble = True
        return (
            f"launcher.max_workers applies to each run separately: files cannot be locked: {self._slots.trouble}",
        )

    def wait(self, seconds: float) -> bool:
        """Wait for a payload to end, but no longer than this. Asking for states costs nothing here."""
        if self._workers:
            for key, _ in self._selector.select(seconds):
                # A process closes its sockets a moment before it can be reaped.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._workers[key.data].process.wait(1.0)
        else:
            time.sleep(min(seconds, 0.05) if self._ended else seconds)
        return True

    def close(self) -> None:
        """End all payloads and everything they started, and return once they have ended."""
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
                process, lifeline = start_payload(job.token, job.folder, os.environ)
            except OSError as error:
                self._slots.give_back(slot)
                where = f"{error.filename}: " if error.filename else ""
                self._ended[job.token] = not_started(f"{where}{error.strerror or error}")
            else:
                self._selector.register(lifeline, selectors.EVENT_READ, job.token)
                self._workers[job.token] = _Worker(process, lifeline, slot)

    def _reap(self) -> None:
        for token, worker in list(self._workers.items()):
            returncode = worker.process.poll()
            if returncode is None:
                continue
            del self._workers[token]
            self._selector.unregister(worker.lifeline)
            worker.lifeline.close()
            self._slots.give_back(worker.slot)
            if returncode < 0:
                # The payload was killed: its engine may still run.
                end_leftovers([token])
            self._ended[token] = ended_with(returncode)

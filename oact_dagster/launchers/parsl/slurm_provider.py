"""Parsl's provider for Slurm, with a correct look at the queue, and a way to stop its submits."""

import threading
from collections.abc import Mapping
from typing import Any, Final

from parsl.jobs.states import JobState, JobStatus
from parsl.providers import SlurmProvider
from parsl.providers.errors import SubmitException

from oact_dagster.errors import LauncherError
from oact_dagster.launchers.parsl.blocks import QueuedBlock, blocks_of

_STATES: Final = {"R": JobState.RUNNING, "CG": JobState.RUNNING, "S": JobState.HELD, "ST": JobState.HELD}
"""By Slurm's short codes; all others stand for jobs that wait."""


class BlockProvider(SlurmProvider):
    """Requests blocks of nodes from Slurm.

    Parsl's own provider asks squeue for its jobs by id. squeue fails if the only such job has left the queue; Parsl
    takes that for no answer, and would wait for ever for a cancelled block. If there is sacct, Parsl asks that instead;
    but sacct does not know a new job at once, and Parsl would take it for ended.

    Args:
        run: the pool's name.
        look_s: time between two looks at the queue, s.
        settings: settings of Parsl's provider.
    """

    def __init__(self, run: str, look_s: float, **settings: Any) -> None:
        self.run = run
        self.look_s = look_s
        self.queue: Mapping[str, QueuedBlock] = {}
        """The pool's queued blocks by job id, when Slurm last answered."""
        self._submitting = threading.Lock()
        self._shut = False
        super().__init__(**settings)

    @property
    def status_polling_interval(self) -> int:
        """Time between two of Parsl's looks at its blocks, in whole s."""
        return max(1, round(self.look_s))

    def submit(self, command: str, tasks_per_node: int, job_name: str = "parsl.slurm") -> str:
        """Submit a block, as Parsl's provider does, unless this one is shut."""
        with self._submitting:
            if self._shut:
                raise SubmitException(job_name, "the pool has ended")  # type: ignore[no-untyped-call]
            job_id: str = super().submit(command, tasks_per_node, job_name)
            return job_id

    def shut(self, patience_s: float) -> None:
        """Refuse further submits, and wait for one in progress to end, at most `patience_s`."""
        self._shut = True
        if self._submitting.acquire(timeout=patience_s):
            self._submitting.release()

    def _status(self) -> None:
        try:
            self.queue = {block.job_id: block for block in blocks_of([self.run])}
        except LauncherError:
            return  # without an answer nothing has changed
        for job_id, job in self.resources.items():
            if not job["status"].terminal:
                queued = self.queue.get(str(job_id))
                state = JobState.COMPLETED if queued is None else _STATES.get(queued.state, JobState.PENDING)
                job["status"] = JobStatus(
                    state, stdout_path=job["job_stdout_path"], stderr_path=job["job_stderr_path"]
                )

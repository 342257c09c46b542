"""Parsl's provider for Slurm, with a look at the queue that is right, and an end of its submits."""

import threading
from collections.abc import Mapping
from typing import Any, Final

from parsl.jobs.states import JobState, JobStatus
from parsl.providers import SlurmProvider
from parsl.providers.errors import SubmitException

from oact_dagster.errors import LauncherError
from oact_dagster.launchers.parsl.blocks import QueuedBlock, blocks_of

_STATES: Final = {"R": JobState.RUNNING, "CG": JobState.RUNNING, "S": JobState.HELD, "ST": JobState.HELD}
"""Of Slurm's short words; all others are of jobs that wait."""


class BlockProvider(SlurmProvider):
    """Asks Slurm for blocks of nodes.

    Parsl's own asks squeue for its jobs by their ids. squeue fails when the only job that it is asked for has left the
    queue, and Parsl takes that for no answer: it would wait for ever for a block that was cancelled. Where there is
    sacct it asks that, which knows nothing yet of a job that was submitted just now, and Parsl takes it for ended.

    Args:
        run: names the pool to Slurm.
        look_s: time between two looks at the queue, s.
        settings: of Parsl's provider.
    """

    def __init__(self, run: str, look_s: float, **settings: Any) -> None:
        self.run = run
        self.look_s = look_s
        self.queue: Mapping[str, QueuedBlock] = {}
        """The pool's blocks in the queue when Slurm last answered, by their job ids."""
        self._submitting = threading.Lock()
        self._shut = False
        super().__init__(**settings)

    @property
    def status_polling_interval(self) -> int:
        """How often Parsl asks for the state of its blocks, whole s."""
        return max(1, round(self.look_s))

    def submit(self, command: str, tasks_per_node: int, job_name: str = "parsl.slurm") -> str:
        """See Parsl's; once the provider is shut it refuses."""
        with self._submitting:
            if self._shut:
                raise SubmitException(job_name, "the pool has ended")  # type: ignore[no-untyped-call]
            job_id: str = super().submit(command, tasks_per_node, job_name)
            return job_id

    def shut(self, patience_s: float) -> None:
        """Ask for no block any more, and return when a submit that is under way has ended, or after so long, s."""
        self._shut = True
        if self._submitting.acquire(timeout=patience_s):
            self._submitting.release()

    def _status(self) -> None:
        try:
            self.queue = {block.job_id: block for block in blocks_of([self.run])}
        except LauncherError:
            return  # nothing is known, and nothing has changed
        for job_id, job in self.resources.items():
            if not job["status"].terminal:
                queued = self.queue.get(str(job_id))
                state = JobState.COMPLETED if queued is None else _STATES.get(queued.state, JobState.PENDING)
                job["status"] = JobStatus(
                    state, stdout_path=job["job_stdout_path"], stderr_path=job["job_stderr_path"]
                )

"""Finds and cancels Parsl's blocks of nodes through Slurm alone, since Parsl may hang or its batch be gone."""

import getpass
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from oact_dagster.errors import LauncherError
from oact_dagster.schedulers.command import run_command

LABEL: Final = "oact"
ANSWER_S: Final = 60.0
"""How long Slurm may take to answer, s."""

_GONE_S: Final = 90.0
"""How long cancelled blocks may take to leave the queue, s. Slurm waits 30 s for what ignores SIGTERM."""

_USERS_DEFAULTS: Final = ("SQUEUE_", "SCANCEL_", "SLURM_TIME_FORMAT")
"""Variables left out, since a user's filter could hide blocks."""


@dataclass(frozen=True, slots=True)
class QueuedBlock:
    """A block in Slurm's queue."""

    job_id: str
    state: str
    """Slurm's short code: ``PD``, ``R``, ``CG``."""
    since: str
    """When it began, or is expected to begin, as Slurm prints it."""


def block_label(run: str) -> str:
    """The label of a pool's executor. Its jobs in the queue are called ``parsl.LABEL.block-0…``."""
    return f"{LABEL}-{run}"


def blocks_of(runs: Collection[str]) -> list[QueuedBlock]:
    """The queued blocks of these pools.

    It lists all jobs of the user: asked for only a job that has left the queue, squeue fails.

    Raises:
        LauncherError: Slurm does not answer.
    """
    command = ["squeue", "-h", "-u", getpass.getuser(), "-o", "%i %t %S %j"]
    answer = run_command(command, ANSWER_S, without=_USERS_DEFAULTS)
    labels = tuple(f"parsl.{block_label(run)}." for run in runs)
    if answer.returncode != 0:
        raise LauncherError(
            f"squeue: {answer.told}: blocks of nodes may be left; once Slurm answers, list them with `squeue --me -o"
            f" '%i %j'` (their names begin with {' or '.join(sorted(labels))}), and cancel them with scancel"
        )
    found = (line.split(" ", 3) for line in answer.stdout.splitlines())
    return [QueuedBlock(*line[:3]) for line in found if len(line) == 4 and line[3].startswith(labels)]


def end_blocks(runs: Collection[str]) -> int:
    """Cancel the blocks of these pools, and return how many there were once they have left the queue.

    Raises:
        LauncherError: Slurm does not answer, or blocks stay in the queue.
    """
    left = found = [block.job_id for block in blocks_of(runs)]
    limit = time.monotonic() + _GONE_S
    while left:
        # Repeated, since a request whose answer was lost may not have arrived.
        run_command(["scancel", *left], ANSWER_S, without=_USERS_DEFAULTS)
        time.sleep(0.5)
        left = [block.job_id for block in blocks_of(runs)]
        if left and time.monotonic() > limit:
            raise LauncherError(
                f"Slurm's jobs {', '.join(left)} do not end: cancel them with `scancel {' '.join(left)}`"
            )
    return len(found)

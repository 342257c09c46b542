"""The blocks of nodes that Parsl has asked Slurm for, without Parsl: it may be hung, or its batch gone."""

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
"""How long cancelled blocks may take to leave the queue: Slurm waits 30 s for what ignores SIGTERM, s."""

_USERS_DEFAULTS: Final = ("SQUEUE_", "SCANCEL_", "SLURM_TIME_FORMAT")
"""A user's filter must hide no block from us."""


@dataclass(frozen=True, slots=True)
class QueuedBlock:
    """A block that is in Slurm's queue."""

    job_id: str
    state: str
    """Slurm's short word: ``PD``, ``R``, ``CG``."""
    since: str
    """When it began, or is thought to begin, as Slurm prints it."""


def block_label(run: str) -> str:
    """The name of an executor with blocks of nodes, by which a scheduler's jobs are found: ``parsl.LABEL.block-0…``."""
    return f"{LABEL}-{run}"


def blocks_of(runs: Collection[str]) -> list[QueuedBlock]:
    """The blocks of these batches that are in the queue.

    All jobs of the user are asked for: of a job that has gone squeue says, asked for it alone, only that it failed.

    Args:
        runs: the names of their pools.

    Raises:
        LauncherError: Slurm does not say.
    """
    command = ["squeue", "-h", "-u", getpass.getuser(), "-o", "%i %t %S %j"]
    answer = run_command(command, ANSWER_S, without=_USERS_DEFAULTS)
    labels = tuple(f"parsl.{block_label(run)}." for run in runs)
    if answer.returncode != 0:
        raise LauncherError(
            f"squeue: {answer.told}: whether blocks of nodes are left is not known; once Slurm answers, `squeue --me -o"
            f" '%i %j'` tells: their names begin with {' or '.join(sorted(labels))}, and scancel ends them"
        )
    found = (line.split(" ", 3) for line in answer.stdout.splitlines())
    return [QueuedBlock(*line[:3]) for line in found if len(line) == 4 and line[3].startswith(labels)]


def end_blocks(runs: Collection[str]) -> int:
    """Cancel the blocks of these batches, and return when they have left the queue.

    Args:
        runs: the names of their pools.

    Returns:
        How many there were.

    Raises:
        LauncherError: Slurm does not answer, or they stay.
    """
    left = found = [block.job_id for block in blocks_of(runs)]
    limit = time.monotonic() + _GONE_S
    while left:
        # Again each time: a cancel whose answer was lost may not have arrived.
        run_command(["scancel", *left], ANSWER_S, without=_USERS_DEFAULTS)
        time.sleep(0.5)
        left = [block.job_id for block in blocks_of(runs)]
        if left and time.monotonic() > limit:
            raise LauncherError(
                f"Slurm's jobs {', '.join(left)} do not end: cancel them by `scancel {' '.join(left)}`"
            )
    return len(found)

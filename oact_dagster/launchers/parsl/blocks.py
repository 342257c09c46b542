"""The blocks of nodes that Parsl has asked Slurm for, without Parsl: it may be hung, or its batch gone."""

import getpass
import time
from collections.abc import Collection
from typing import Final

from oact_dagster.launchers.parsl.config import block_label
from oact_dagster.launchers.protocol import LauncherError
from oact_dagster.launchers.scheduler_command import run_command

ANSWER_S: Final = 60.0
"""How long Slurm may take to answer, s."""

GONE_S: Final = 90.0
"""How long cancelled blocks may take to leave the queue: Slurm waits 30 s for what ignores SIGTERM, s."""


def blocks_of(runs: Collection[str]) -> list[str]:
    """Job ids of the blocks of these batches that are in the queue.

    Args:
        runs: the names of their pools.

    Raises:
        LauncherError: Slurm does not say.
    """
    answer = run_command(["squeue", "-h", "-u", getpass.getuser(), "-o", "%i %j"], ANSWER_S)
    if answer.returncode != 0:
        raise LauncherError(f"squeue: {answer.told}: whether blocks of nodes are left is not known")
    labels = tuple(f"parsl.{block_label(run)}." for run in runs)
    found = (line.split(" ", 1) for line in answer.stdout.splitlines() if " " in line)
    return [job for job, name in found if name.startswith(labels)]


def end_blocks(runs: Collection[str]) -> int:
    """Cancel the blocks of these batches, and return when they have left the queue.

    Args:
        runs: the names of their pools.

    Returns:
        How many there were.

    Raises:
        LauncherError: Slurm does not answer, or they stay.
    """
    left = found = blocks_of(runs)
    limit = time.monotonic() + GONE_S
    while left:
        # Again each time: a cancel whose answer was lost may not have arrived.
        run_command(["scancel", *left], ANSWER_S)
        time.sleep(0.5)
        left = blocks_of(runs)
        if left and time.monotonic() > limit:
            raise LauncherError(
                f"Slurm's jobs {', '.join(left)} do not end: cancel them by `scancel {' '.join(left)}`"
            )
    return len(found)

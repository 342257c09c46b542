"""Finds when the allocation ends in which this process runs."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from oact_dagster.errors import LauncherError
from oact_dagster.schedulers.command import run_command

_ANSWER_S: Final = 20.0
"""How long a scheduler's command may take, s."""


@dataclass(frozen=True, slots=True)
class AllocationEnd:
    """When an allocation ends, and how that is known."""

    at: float
    """Unix time, s."""
    source: str

    def __str__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.at))
        return f"{when} ({self.source})"


def find_allocation_end(environ: Mapping[str, str], timeout_s: float = _ANSWER_S) -> AllocationEnd | None:
    """Find the end of the current allocation; None outside one, without a time limit, or if it cannot be found.

    Slurm 22.05 and later set ``SLURM_JOB_END_TIME``; older ones are asked by ``squeue``, Flux by ``flux job timeleft``.

    Args:
        environ: this process's environment.
        timeout_s: time limit of the scheduler's command, s.
    """
    told = environ.get("SLURM_JOB_END_TIME", "")
    if told.isdecimal():
        return AllocationEnd(float(told), "SLURM_JOB_END_TIME")
    if job := environ.get("SLURM_JOB_ID"):
        left = _seconds_of_slurm(_first_line(["squeue", "-h", "-j", job, "-o", "%L"], timeout_s))
        return None if left is None else AllocationEnd(time.time() + left, "squeue")
    if any(environ.get(name) for name in ("FLUX_JOB_ID", "FLUX_ENCLOSING_ID")):
        left = _seconds(_first_line(["flux", "job", "timeleft"], timeout_s))
        return None if left is None else AllocationEnd(time.time() + left, "flux job timeleft")
    return None


def _first_line(command: list[str], timeout_s: float) -> str:
    try:
        answer = run_command(command, timeout_s)
    except LauncherError:
        return ""
    return answer.stdout.strip().partition("\n")[0] if answer.returncode == 0 else ""


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


def _seconds_of_slurm(text: str) -> float | None:
    """Parse ``days-hours:minutes:seconds``, of which the first may be missing; None for a word (no limit)."""
    days, dash, clock = text.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdecimal() for part in parts) or (dash and not days.isdecimal()) or len(parts) > 3:
        return None
    seconds = 0
    for part in parts:
        seconds = 60 * seconds + int(part)
    return float(seconds + 86400 * int(days or 0))

"""When the allocation ends in which this process runs: no Dagster, no ledger."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from oact_dagster.errors import LauncherError
from oact_dagster.schedulers.command import run_command

_ANSWER_S: Final = 20.0
"""How long a scheduler's command may take to tell, s."""


@dataclass(frozen=True, slots=True)
class AllocationEnd:
    """When it ends, and who says so."""

    at: float
    """Unix time, s."""
    source: str

    def __str__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.at))
        return f"{when} ({self.source})"


def find_allocation_end(environ: Mapping[str, str], timeout_s: float = _ANSWER_S) -> AllocationEnd | None:
    """Find the end of the present allocation.

    Slurm 22.05 and later say it in ``SLURM_JOB_END_TIME``; an older one is asked with ``squeue``, and Flux with
    ``flux job timeleft``.

    Args:
        environ: of this process.
        timeout_s: time limit of a command that is run for it, s.

    Returns:
        None outside of an allocation, for one without an end, and where its scheduler does not tell.
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
    """``days-hours:minutes:seconds``, of which the first ones may be missing; a word where there is no limit."""
    days, dash, clock = text.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdecimal() for part in parts) or (dash and not days.isdecimal()) or len(parts) > 3:
        return None
    seconds = 0
    for part in parts:
        seconds = 60 * seconds + int(part)
    return float(seconds + 86400 * int(days or 0))

"""Finds when the allocation ends in which this process runs, and how many cores and nodes it offers."""

import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
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


@dataclass(frozen=True, slots=True)
class Cores:
    """A limit on the number of cores, and what sets it."""

    count: int
    source: str

    def __str__(self) -> str:
        return f"{self.count} by {self.source}"


def cores_here(environ: Mapping[str, str], root: Path = Path("/")) -> list[Cores]:
    """All limits on the cores that this process may use, the smallest first. `root` contains ``proc`` and ``sys``."""
    found = [_affinity(), _slurm(environ), _flux(environ), _cgroup_quota(root)]
    return sorted((limit for limit in found if limit is not None), key=lambda limit: limit.count)


def cores_missing(max_workers: int, cores_per_worker: int, limits: list[Cores]) -> str:
    """Why workers do not fit on this node within the limits of :func:`cores_here`, in one line; empty if they do."""
    wanted = max_workers * cores_per_worker
    if not limits or wanted <= limits[0].count:
        return ""
    return (
        f"launcher.max_workers {max_workers} times launcher.cores_per_worker {cores_per_worker} is {wanted} cores, but"
        f" this node offers {limits[0].count} ({', '.join(map(str, limits))}); lower one of them, or set"
        " launcher.oversubscribe: true"
    )


def _affinity() -> Cores:
    if hasattr(os, "sched_getaffinity"):
        return Cores(len(os.sched_getaffinity(0)), "the affinity mask")
    return Cores(os.cpu_count() or 1, "the number of processors")


def _slurm(environ: Mapping[str, str]) -> Cores | None:
    if not environ.get("SLURM_JOB_ID"):
        return None
    told = environ.get("SLURM_CPUS_ON_NODE", "")
    if told.isdecimal():
        return Cores(int(told), "SLURM_CPUS_ON_NODE")
    # Such as 64(x2),32: it does not say which entry is this node's.
    each = re.findall(r"(\d+)(?:\(x\d+\))?", environ.get("SLURM_JOB_CPUS_PER_NODE", ""))
    return Cores(min(map(int, each)), "SLURM_JOB_CPUS_PER_NODE") if each else None


def nodes_here(environ: Mapping[str, str]) -> int:
    """The number of nodes of the current allocation; 1 outside one."""
    if environ.get("SLURM_JOB_ID"):
        told = environ.get("SLURM_JOB_NUM_NODES", "")
        return int(told) if told.isdecimal() and int(told) > 0 else 1
    nodes, _ = _flux_allocation(environ)
    return nodes or 1


def _flux(environ: Mapping[str, str]) -> Cores | None:
    nodes, cores = _flux_allocation(environ)
    return Cores(cores // nodes, "flux resource list") if nodes and cores else None


def _flux_allocation(environ: Mapping[str, str]) -> tuple[int, int]:
    """Nodes and cores of the allocation's Flux instance, which has no variables for them; 0 if unknown."""
    if not environ.get("FLUX_ENCLOSING_ID"):
        return 0, 0
    command = ["flux", "resource", "list", "-s", "all", "-n", "-o", "{nnodes} {ncores}"]
    try:
        answer = run_command(command, _ANSWER_S)
    except LauncherError:
        return 0, 0
    words = answer.stdout.split()
    if answer.returncode != 0 or len(words) != 2 or not all(word.isdecimal() for word in words):
        return 0, 0
    nodes, cores = map(int, words)
    return nodes, cores


def _cgroup_quota(root: Path) -> Cores | None:
    """The tightest CPU quota of the cgroups around this process, in cores."""
    quotas = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers == "":
            top, read = root / "sys/fs/cgroup", _quota_v2
            top = top if (top / "cgroup.controllers").exists() else top / "unified"
        elif "cpu" in controllers.split(","):
            top, read = root / "sys/fs/cgroup" / controllers, _quota_v1
            top = top if top.exists() else root / "sys/fs/cgroup/cpu"
        else:
            continue
        folder = top / group.lstrip("/")
        for place in (folder, *folder.parents):
            quotas.append(read(place))
            if place == top:
                break
    known = [quota for quota in quotas if quota is not None]
    return Cores(max(1, int(min(known))), "the cgroup's CPU quota") if known else None


def _quota_v2(group: Path) -> float | None:
    words = _text(group / "cpu.max").split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and all(map(str.isdecimal, words)) else None


def _quota_v1(group: Path) -> float | None:
    quota, period = (_text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    # Without a limit the quota is -1.
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""

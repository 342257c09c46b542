"""The kinds of launchers and their capabilities. Any code that depends on ``launcher.kind`` asks this table."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class LauncherKind:
    """A value of ``launcher.kind``. Whatever also depends on other settings is in ``LauncherSettings``."""

    name: str
    about: str
    """How it runs calculations, for the setting's description."""
    program: str | None = None
    """The scheduler's program, without which it cannot be used; None if this is not a scheduler."""
    on_this_machine: bool = False
    """Calculations are always processes on the machine of the run."""
    uses_workers: bool = False
    """Calculations run in Parsl's workers, in the place that ``launcher.provider`` says."""
    jobs_outlive_run: bool = False
    """Jobs continue after the process that submitted them has ended."""
    avoids_hosts: bool = False
    """Jobs can be kept away from hosts."""
    reserves_memory: bool = True
    """Jobs ask for memory, not only for cores."""
    can_be_pilots: bool = False
    """A job can run many structures (``launcher.per_job``)."""


LAUNCHER_KINDS: Final = {
    kind.name: kind
    for kind in (
        LauncherKind("local", "processes on this machine", on_this_machine=True),
        LauncherKind("parsl", "Parsl's workers", uses_workers=True),
        LauncherKind(
            "slurm",
            "Slurm jobs",
            program="sbatch",
            jobs_outlive_run=True,
            avoids_hosts=True,
            can_be_pilots=True,
        ),
        LauncherKind(
            "flux",
            "Flux jobs",
            program="flux",
            jobs_outlive_run=True,
            avoids_hosts=True,
            reserves_memory=False,
            can_be_pilots=True,
        ),
    )
}

PILOTS: Final = "-pilots"
"""Suffix in the ledger of a scheduler whose jobs are pilots: such attempts have no jobs of their own."""


def scheduler_names() -> tuple[str, ...]:
    """The kinds that are schedulers, in alphabetical order."""
    return tuple(sorted(kind.name for kind in LAUNCHER_KINDS.values() if kind.program is not None))


def on_this_machine(recorded: str) -> bool:
    """Whether a launcher, by its name in the ledger, runs attempts as processes on the machine of their run."""
    kind = LAUNCHER_KINDS.get(recorded)
    return kind is not None and kind.on_this_machine


def jobs_outlive_run(recorded: str) -> bool:
    """Whether the jobs of a launcher, by its name in the ledger, may continue without their run.

    Those of an unknown launcher may.
    """
    kind = LAUNCHER_KINDS.get(recorded.removesuffix(PILOTS))
    return kind is None or kind.jobs_outlive_run


def settings_of(recorded: str) -> str:
    """The settings in ``campaign.yaml`` that choose a launcher, by its name in the ledger."""
    kind = recorded.removesuffix(PILOTS)
    return f"launcher.kind: {kind}" if kind == recorded else f"launcher.kind: {kind} with per_job: parsl"

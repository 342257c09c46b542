"""The schedulers that there are, and the one that a campaign's settings ask for."""

from typing import Final

from oact_dagster.schedulers.flux.commands import Flux
from oact_dagster.schedulers.protocol import JobOptions, Scheduler
from oact_dagster.schedulers.slurm.commands import Slurm
from oact_dagster.settings.launcher import LauncherSettings

SCHEDULERS: Final[dict[str, type[Scheduler]]] = {"slurm": Slurm, "flux": Flux}
"""By ``launcher.kind``."""


def make_scheduler(settings: LauncherSettings) -> Scheduler | None:
    """The scheduler of ``launcher.kind``; None where there is none, or Parsl speaks to it."""
    scheduler = SCHEDULERS.get(settings.kind)
    return None if scheduler is None else scheduler(JobOptions.of(settings), settings.command_timeout_s)

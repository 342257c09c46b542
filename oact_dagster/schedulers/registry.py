"""All schedulers, and the choice of one by a campaign's settings."""

from typing import Final

from oact_dagster.schedulers.flux.commands import Flux
from oact_dagster.schedulers.protocol import JobOptions, Scheduler
from oact_dagster.schedulers.slurm.commands import Slurm
from oact_dagster.settings.launcher import LauncherSettings

_ALL: Final[tuple[type[Scheduler], ...]] = (Slurm, Flux)
SCHEDULERS: Final = {scheduler.kind: scheduler for scheduler in _ALL}
"""By ``launcher.kind``."""


def make_scheduler(settings: LauncherSettings) -> Scheduler | None:
    """The scheduler of ``launcher.kind``; None if there is none, or only Parsl uses it."""
    scheduler = SCHEDULERS.get(settings.kind)
    return None if scheduler is None else scheduler(JobOptions.of(settings), settings.command_timeout_s)

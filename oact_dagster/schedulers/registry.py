"""The scheduler that a campaign's settings ask for."""

from oact_dagster.schedulers.flux.commands import Flux, FluxOptions
from oact_dagster.schedulers.protocol import Scheduler
from oact_dagster.schedulers.slurm.commands import Slurm, SlurmOptions
from oact_dagster.settings.launcher import LauncherSettings


def make_scheduler(settings: LauncherSettings) -> Scheduler | None:
    """The scheduler of ``launcher.kind``; None where there is none, or Parsl speaks to it."""
    if settings.kind in ("local", "parsl"):
        return None
    return _slurm(settings) if settings.kind == "slurm" else _flux(settings)


def _slurm(settings: LauncherSettings) -> Scheduler:
    options = SlurmOptions(
        settings.queue, settings.qos, settings.allocation, settings.constraint, settings.extra_directives
    )

    def margin_s(time_limit_s: float) -> float:
        return settings.pilot_margin_s if settings.pilots else settings.margin_s(time_limit_s)

    return Slurm(options, settings.command_timeout_s, margin_s)


def _flux(settings: LauncherSettings) -> Scheduler:
    options = FluxOptions(settings.queue, settings.allocation, settings.constraint, settings.extra_directives)
    return Flux(options, settings.command_timeout_s)

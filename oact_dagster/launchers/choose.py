"""The launcher that a campaign's settings ask for."""

from oact_dagster.campaign import Campaign, LauncherSettings
from oact_dagster.launchers.flux.commands import Flux, FluxOptions
from oact_dagster.launchers.job_array import ARRAYS_FOLDER
from oact_dagster.launchers.job_files import job_environment
from oact_dagster.launchers.local import LocalLauncher
from oact_dagster.launchers.protocol import Launcher
from oact_dagster.launchers.scheduler import Scheduler
from oact_dagster.launchers.scheduler_launcher import SchedulerLauncher
from oact_dagster.launchers.slurm.commands import Slurm, SlurmOptions


def make_launcher(campaign: Campaign) -> Launcher:
    """Make the launcher of ``launcher.kind``; nothing runs before the first submit."""
    settings = campaign.launcher
    scheduler = make_scheduler(settings)
    if scheduler is None:
        return LocalLauncher(settings.max_workers, settings.stop_grace_s)
    return SchedulerLauncher(
        scheduler,
        campaign.jobs_dir / ARRAYS_FOLDER,
        job_environment(settings),
        settings.poll_interval_s,
        max_array_size=settings.max_array_size,
    )


def make_scheduler(settings: LauncherSettings) -> Scheduler | None:
    """The scheduler of ``launcher.kind``; None for processes of this machine."""
    if settings.kind == "local":
        return None
    return _slurm(settings) if settings.kind == "slurm" else _flux(settings)


def _slurm(settings: LauncherSettings) -> Scheduler:
    options = SlurmOptions(
        settings.queue, settings.qos, settings.allocation, settings.constraint, settings.extra_directives
    )
    return Slurm(options, settings.command_timeout_s, settings.margin_s)


def _flux(settings: LauncherSettings) -> Scheduler:
    options = FluxOptions(settings.queue, settings.allocation, settings.constraint, settings.extra_directives)
    return Flux(options, settings.command_timeout_s)

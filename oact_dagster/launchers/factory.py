"""Makes the launcher for a campaign's settings."""

from collections.abc import Sequence
from typing import Final

from oact_dagster.launchers.local import LocalLauncher
from oact_dagster.launchers.parsl.factory import make_parsl_launcher
from oact_dagster.launchers.pilots.pilot_files import PILOT, PilotSpec
from oact_dagster.launchers.pilots.pilot_launcher import PilotLauncher, PilotRequest
from oact_dagster.launchers.pilots.shared_list import SharedList
from oact_dagster.launchers.protocol import Launcher
from oact_dagster.launchers.scheduler_launcher import SchedulerLauncher
from oact_dagster.schedulers.job_array import ARRAYS_FOLDER
from oact_dagster.schedulers.job_files import job_environment
from oact_dagster.schedulers.job_script import PAYLOAD
from oact_dagster.schedulers.protocol import Scheduler
from oact_dagster.schedulers.registry import make_scheduler
from oact_dagster.settings.campaign import Campaign

LISTS_FOLDER: Final = ".pilots"
"""Folder in the jobs folder, for pilots and their lists."""


def make_launcher(campaign: Campaign, *, only_asks: bool = False) -> Launcher:
    """Make the launcher of ``launcher.kind``. With `only_asks` it only follows and cancels jobs, and submits no pilots.

    Nothing runs before the first submit.
    """
    settings = campaign.launcher
    if settings.kind_facts.uses_workers:
        return make_parsl_launcher(campaign)
    scheduler = make_scheduler(settings)
    if scheduler is None:
        return LocalLauncher(settings.max_workers, settings.stop_grace_s, jobs_dir=campaign.jobs_dir)
    if settings.pilots:
        return _pilot_launcher(campaign, scheduler, only_asks=only_asks)
    return _scheduler_launcher(campaign, scheduler, PAYLOAD)


def _pilot_launcher(campaign: Campaign, scheduler: Scheduler, *, only_asks: bool) -> PilotLauncher:
    """Make the launcher of a campaign whose jobs are pilots."""
    settings = campaign.launcher
    # One list for each worker size: after a change, earlier pilots take nothing that does not fit them.
    shared = SharedList(campaign.jobs_dir / LISTS_FOLDER / f"cores-{campaign.n_cores}")
    spec = PilotSpec(
        token="",
        shared=str(shared.folder),
        max_workers=settings.max_workers,
        cores_per_worker=campaign.n_cores,
        time_limit_s=settings.pilot_s,
        margin_s=settings.pilot_margin_s,
        idle_s=settings.idle_s,
        stop_grace_s=settings.stop_grace_s,
        cpu_affinity=settings.worker_affinity,
        worker_init=list(settings.worker_init),
        oversubscribe=settings.oversubscribe,
        heartbeat_period_s=settings.heartbeat_period_s,
        heartbeat_threshold_s=settings.heartbeat_threshold_s,
    )
    return PilotLauncher(
        _scheduler_launcher(campaign, scheduler, PILOT),
        shared,
        PilotRequest(
            jobs=0 if only_asks else settings.jobs,
            spec=spec,
            memory_mb=settings.mem if isinstance(settings.mem, int) else None,
        ),
        interval_s=settings.poll_interval_s,
        grace_s=settings.grace_s,
    )


def _scheduler_launcher(
    campaign: Campaign, scheduler: Scheduler, command: Sequence[str]
) -> SchedulerLauncher:
    settings = campaign.launcher
    return SchedulerLauncher(
        scheduler,
        campaign.jobs_dir / ARRAYS_FOLDER,
        job_environment(settings),
        settings.poll_interval_s,
        max_array_size=settings.max_array_size,
        command=command,
        grace_s=settings.grace_s,
    )

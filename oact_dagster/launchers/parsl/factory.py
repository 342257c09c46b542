"""Makes the Parsl launcher for a campaign's settings, and checks beforehand whether its workers fit."""

import os
from typing import Final

from oact_dagster.launchers.allocation import (
    AllocationEnd,
    cores_here,
    cores_missing,
    find_allocation_end,
    nodes_here,
)
from oact_dagster.launchers.parsl.config import Blocks, PoolOptions, ports_refused
from oact_dagster.launchers.parsl.launcher import ParslLauncher
from oact_dagster.launchers.worker_slots import WorkerSlots
from oact_dagster.schedulers.job_files import job_environment
from oact_dagster.settings.campaign import Campaign
from oact_dagster.settings.launcher import LauncherSettings

_FOLDER: Final = ".parsl"
"""Folder in the jobs folder, for workers on other nodes."""


def make_parsl_launcher(campaign: Campaign) -> ParslLauncher:
    """Make the launcher of ``launcher.kind: parsl``; Parsl starts with the first submit."""
    settings = campaign.launcher
    return ParslLauncher(
        pool_options(campaign),
        campaign.jobs_dir / _FOLDER,
        settings.stop_grace_s,
        missing=lambda: workers_refused(campaign),
        allocation_end=lambda: _allocation_end(settings),
        end_margin_s=settings.signal_before_limit_s,
        node=WorkerSlots(campaign.jobs_dir, "parsl", 1) if settings.on_this_machine else None,
    )


def pool_options(campaign: Campaign) -> PoolOptions:
    """The options of a campaign's pool."""
    settings = campaign.launcher
    return PoolOptions(
        workers=settings.max_workers,
        cores_per_worker=campaign.n_cores,
        cpu_affinity=settings.worker_affinity,
        setup=[*job_environment(settings).lines(), *settings.worker_init],
        heartbeat_period_s=settings.heartbeat_period_s,
        heartbeat_threshold_s=settings.heartbeat_threshold_s,
        nodes=1 if settings.in_blocks else nodes_here(os.environ),
        blocks=_blocks(settings) if settings.in_blocks else None,
        address=settings.address,
        ports=settings.worker_ports,
        look_s=settings.poll_interval_s,
    )


def workers_refused(campaign: Campaign) -> str:
    """Why a campaign's workers do not fit here, in one line; empty if they do."""
    settings = campaign.launcher
    on_other_nodes = settings.in_blocks or nodes_here(os.environ) > 1
    if on_other_nodes and (refused := ports_refused(settings.address, settings.worker_ports)):
        return f"{campaign.file}: {refused}"
    if settings.in_blocks:
        return ""
    if (
        os.environ.get("SLURM_JOB_ID")
        and not os.environ.get("SLURMD_NODENAME")
        and nodes_here(os.environ) == 1
    ):
        # The calculations would run here while the allocated node stays idle.
        return (
            f"{campaign.file}: launcher.kind: parsl: this process is not on the node of its allocation: salloc runs its"
            " command where it was typed; use sbatch instead, such as sbatch -N 1 --exclusive --wrap 'exec oact run …'"
        )
    if settings.oversubscribe:
        return ""
    refused = cores_missing(settings.max_workers, campaign.n_cores, cores_here(os.environ))
    return f"{campaign.file}: {refused}" if refused else ""


def _allocation_end(settings: LauncherSettings) -> AllocationEnd | None:
    if settings.in_blocks:
        return None  # each block has its own end, and Parsl drains it before that
    if settings.allocation_end is not None:
        return AllocationEnd(settings.allocation_end.timestamp(), "launcher.allocation_end")
    return find_allocation_end(os.environ)


def _blocks(settings: LauncherSettings) -> Blocks:
    longest = max((one.n_hours or 0.0 for one in settings.resources), default=0.0) * 3600.0
    return Blocks(
        seconds=(settings.block_hours or 0.0) * 3600.0,
        job_limit_s=max(settings.job_timeout_s, settings.max_job_timeout_s or 0.0, longest),
        init=settings.init_blocks,
        least=settings.min_blocks,
        most=settings.max_blocks,
        nodes=settings.nodes_per_block,
        queue=settings.queue,
        qos=settings.qos,
        allocation=settings.allocation,
        constraint=settings.constraint,
        extra_directives=settings.extra_directives,
    )

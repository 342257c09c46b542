"""Closes runs whose process is gone: Dagster's default launcher cannot tell, and they would keep their slots."""

import contextlib
import json
import socket
import time
from typing import Final

import dagster as dg
import psutil

from oact_dagster.defs.dagster_internals import GRPC_INFO_TAG
from oact_dagster.defs.keys import CampaignKeys, name_prefix, summarise_name
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.settings.campaign import Campaign

HOST_TAG: Final = "oact/host"
"""Tag of runs that one of our commands started: the host."""

BEGINS_WITHIN_S: Final = 60.0
"""If its code server is gone, a run that has reported no pid within this time is dead, s."""

_GONE: Final = (
    "its process no longer exists (killed, or its host rebooted); another run takes over its structures"
)


def close_dead_runs(
    instance: dg.DagsterInstance, campaign: Campaign, ledger: LedgerReader | None = None
) -> int:
    """Close runs that Dagster lists as running but whose process no longer exists; return their number.

    For a run with a batch, the ledger has host, boot, pid and start time of the process. So reboots and reused pids are
    recognised, and processes of other hosts are left alone. Any other run is closed only if it was started on this host
    and its pid is gone or, if Dagster has no pid for it yet, its code server. (A run that is closed too early ends as
    soon as it begins, and has claimed nothing.)

    Args:
        instance: Dagster's.
        campaign: runs that the ledger does not know are closed only if they belong to it.
        ledger: the campaign's, if there is one.
    """
    statuses = [
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ]
    runs = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(statuses=statuses))}
    known = {run_id for run_id in runs if ledger is not None and ledger.batches.knows(run_id)}
    dead = [] if ledger is None else ledger.batches.dead(list(known))
    dead += [
        run_id
        for run_id, run in runs.items()
        if run_id not in known and _is_ours(run, campaign) and _is_gone(instance, run)
    ]
    for run_id in dead:
        run = runs[run_id]
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, _GONE)
        else:
            instance.report_run_failed(run, _GONE)
    return len(dead)


def _is_ours(run: dg.DagsterRun, campaign: Campaign) -> bool:
    keys = CampaignKeys.of(campaign)
    ours = {keys.intake, *keys.per_structure, keys.campaign_summary}
    prefix = name_prefix(campaign)
    jobs = (f"{prefix}run_structures", f"{prefix}take_in", summarise_name(campaign))
    return run.job_name in jobs or bool(ours & set(run.asset_selection or ()))


def _is_gone(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a run was started on this host, and its process no longer exists."""
    server = _code_server(run)
    if server is None and run.tags.get(HOST_TAG) != socket.gethostname():
        return False
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        pid = None if event is None else event.engine_event_data.metadata.get("pid")
        if pid is not None:
            return not _runs_python(int(str(pid.value)))
    launched = instance.get_run_stats(run.run_id).launch_time
    return (
        server is not None
        and launched is not None
        and not -BEGINS_WITHIN_S < time.time() - launched < BEGINS_WITHIN_S
        and not _answers(server)
    )


def _code_server(run: dg.DagsterRun) -> str | None:
    """The socket of the code server that started a run, if it is on this host, as the daemon's own is."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(run.tags[GRPC_INFO_TAG])["socket"]) if GRPC_INFO_TAG in run.tags else None
    return None


def _answers(server: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5.0)
        try:
            client.connect(server)
        except TimeoutError:
            return True
        except OSError:
            return False
    return True


def _runs_python(pid: int) -> bool:
    """Whether a Python process has this pid: a reused pid mostly belongs to another program."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "python" in " ".join(process.cmdline()[:2])
    except psutil.Error:
        return False

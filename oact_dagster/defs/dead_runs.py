"""Runs whose process is gone: Dagster's default launcher cannot tell, and they would hold their place for ever."""

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
"""Of a run that was begun in a process of our own: where."""

BEGINS_WITHIN_S: Final = 60.0
"""A run whose code server is gone has told its pid by then, if it lives, s."""

_GONE: Final = (
    "its process is gone (killed, or its host was booted); its structures are taken over by another run"
)


def close_dead_runs(
    instance: dg.DagsterInstance, campaign: Campaign, ledger: LedgerReader | None = None
) -> int:
    """Close runs that say that they are at work and whose process no longer exists.

    By host, boot, pid and start time of the process that the ledger has for the run's batch: a pid that was used again,
    and a reboot, are told apart; a process of another host is left alone. A run that died before its batch began, or
    that took the CSV in, is judged by the pid that Dagster has for it, where it was begun on this host; and where there
    is none yet, by the code server that began it, which else would tell. (A run that is closed too early ends when it
    begins, and has claimed nothing.)

    Args:
        instance: of Dagster.
        campaign: only its runs are closed where the ledger does not know them.
        ledger: of the campaign, where there is one.

    Returns:
        How many were closed.
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
    """Whether a run was begun on this host by a process that does not run any more."""
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
    """The socket of the code server that began a run, where it is one of this host: the daemon's own is."""
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
    """Whether there is a process of this pid, and it may be a run: pids are used again, mostly by something else."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "python" in " ".join(process.cmdline()[:2])
    except psutil.Error:
        return False

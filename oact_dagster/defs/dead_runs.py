"""Runs whose process is gone: Dagster's default launcher cannot tell, and they would hold their place for ever."""

from typing import Final

import dagster as dg

from oact_dagster.campaign import Campaign
from oact_dagster.ledger.reading import LedgerReader

_GONE: Final = (
    "its process is gone (killed, or its host was booted); its structures are taken over by another run"
)


def close_dead_runs(instance: dg.DagsterInstance, campaign: Campaign, ledger: LedgerReader) -> int:
    """Close runs that say that they are at work and whose process no longer exists.

    By host, boot, pid and start time of the process that the ledger has for the run's batch: a pid that was used again,
    and a reboot, are told apart; a process of another host is left alone.

    Returns:
        How many were closed.
    """
    statuses = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    runs = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(statuses=statuses))}
    dead = ledger.dead_batches(list(runs))
    for run_id in dead:
        run = runs[run_id]
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, _GONE)
        else:
            instance.report_run_failed(run, _GONE)
    return len(dead)

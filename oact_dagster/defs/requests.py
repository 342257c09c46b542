"""Run requests of the sensors, and the requested runs that have not ended."""

from collections.abc import Iterable
from typing import Final

import dagster as dg

from oact_dagster.defs.keys import summarise_name
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.summary_requests import to_ask

CAMPAIGN_TAG: Final = "oact/campaign"
KIND_TAG: Final = "oact/kind"
LIMIT_TAG: Final = "oact/structures"

SUMMARY: Final = "summary"
"""The kind of a run that materializes only ``campaign_summary``."""

UNDER_WAY: Final = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def ask_for(
    campaign: Campaign, job: dg.JobDefinition, kind: str, limits: Iterable[int]
) -> list[dg.RunRequest]:
    """Requests for runs of structures.

    Args:
        campaign: the settings.
        job: ``run_structures``.
        kind: the selection.
        limits: most structures of each run.
    """
    return [
        dg.RunRequest(
            job_name=job.name,
            run_config={"ops": {job.nodes[0].name: {"config": {"select": kind, "limit": limit}}}},
            tags={CAMPAIGN_TAG: campaign.name, KIND_TAG: kind, LIMIT_TAG: str(limit)},
        )
        for limit in limits
    ]


def ask_for_summary(instance: dg.DagsterInstance, campaign: Campaign, ledger: Ledger) -> list[dg.RunRequest]:
    """A request for a run that materializes ``campaign_summary``, if that is out of date."""
    at_work = bool(under_way(instance, campaign, (SUMMARY,)))
    key = to_ask(campaign, ledger, under_way=at_work)
    if not key:
        return []
    tags = {CAMPAIGN_TAG: campaign.name, KIND_TAG: SUMMARY}
    return [dg.RunRequest(run_key=key, job_name=summarise_name(campaign), tags=tags)]


def under_way(instance: dg.DagsterInstance, campaign: Campaign, kinds: Iterable[str]) -> list[dg.DagsterRun]:
    """Requested runs of these kinds that have not ended."""
    tags = {CAMPAIGN_TAG: campaign.name, KIND_TAG: list(kinds)}
    return list(instance.get_runs(dg.RunsFilter(tags=tags, statuses=UNDER_WAY)))


def not_claimed_yet(
    instance: dg.DagsterInstance, campaign: Campaign, ledger: LedgerReader, kinds: Iterable[str]
) -> int:
    """Number of structures in requested runs that have not begun, and so have claimed nothing."""
    return sum(
        int(run.tags.get(LIMIT_TAG, "0"))
        for run in under_way(instance, campaign, kinds)
        if not ledger.batches.knows(run.run_id)
    )

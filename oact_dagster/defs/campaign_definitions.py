"""The definitions of one campaign."""

import warnings

import dagster as dg

from oact_dagster.attempts.stop_request import StopRequest
from oact_dagster.defs.assets import campaign_assets
from oact_dagster.defs.batch_step import Watch
from oact_dagster.defs.jobs import run_structures_job
from oact_dagster.defs.sensors import campaign_sensors, summarise_job, take_in_job
from oact_dagster.settings.campaign import Campaign


def campaign_definitions(
    campaign: Campaign, watch: Watch | None = None, stop: StopRequest | None = None
) -> dg.Definitions:
    """The assets, jobs and sensors of a campaign.

    Args:
        campaign: its settings.
        watch: called with each event of a batch that runs in this process, such as a progress bar.
        stop: asks a batch of ``run_structures`` in this process to stop.
    """
    with warnings.catch_warnings():
        # Dagster warns of each backfill_policy and of the links to code, which its own documentation recommends.
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets = dg.with_source_code_references(campaign_assets(campaign, watch))
    run_structures = run_structures_job(campaign, watch, stop)
    take_in, summarise = take_in_job(campaign), summarise_job(campaign)
    return dg.Definitions(
        assets=assets,
        jobs=[run_structures, take_in, summarise],
        sensors=campaign_sensors(campaign, run_structures, take_in, summarise),
        # A run is a whole batch in one step, so a process per step would only cost time.
        executor=dg.in_process_executor,
        metadata={"campaign": dg.MetadataValue.path(str(campaign.file))},
    )

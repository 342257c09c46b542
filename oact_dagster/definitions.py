"""The entry point for Dagster: the definitions of one campaign.

``dagster … -m oact_dagster.definitions`` loads the campaign that ``OACT_CAMPAIGN`` names (a ``campaign.yaml`` or its
folder), else ``./campaign.yaml``. With neither there is nothing to show, and one line says what to do. For several
campaigns in one Dagster instance, each folder has a ``definitions.py`` that calls :func:`for_campaign`.
"""

import os
import sys
import warnings
from pathlib import Path

import dagster as dg

from oact_dagster.attempts.stop_request import StopRequest
from oact_dagster.campaign import CAMPAIGN_FILE, load_campaign
from oact_dagster.defs.assets import campaign_assets
from oact_dagster.defs.batch_step import Watch
from oact_dagster.defs.jobs import run_structures_job
from oact_dagster.defs.sensors import campaign_sensors, summarise_job, take_in_job

NO_CAMPAIGN = (
    f"no campaign here: set OACT_CAMPAIGN to a {CAMPAIGN_FILE}, start in a folder that holds one, or make one with"
    " `oact init CSV` (or `oact demo`)"
)


def for_campaign(
    path: str | Path, *, watch: Watch | None = None, stop: StopRequest | None = None
) -> dg.Definitions:
    """The definitions of one campaign.

    Args:
        path: ``campaign.yaml`` or its folder.
        watch: told of each event of a batch that runs in this process (a progress bar).
        stop: asks a batch of ``run_structures`` in this process to stop.

    Raises:
        CampaignError: the settings are missing or wrong.
    """
    campaign = load_campaign(path)
    with warnings.catch_warnings():
        # A warning for each backfill_policy and for the links to code, which Dagster's documentation recommends; its
        # version is pinned.
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets = dg.with_source_code_references(campaign_assets(campaign, watch))
    run_structures = run_structures_job(campaign, watch, stop)
    take_in, summarise = take_in_job(campaign), summarise_job(campaign)
    return dg.Definitions(
        assets=assets,
        jobs=[run_structures, take_in, summarise],
        sensors=campaign_sensors(campaign, run_structures, take_in, summarise),
        # A run handles a whole batch in one step: processes of its own for steps would only cost.
        executor=dg.in_process_executor,
        metadata={"campaign": dg.MetadataValue.path(str(campaign.file))},
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The campaign of ``OACT_CAMPAIGN``, else of the current folder, else nothing."""
    named = os.environ.get("OACT_CAMPAIGN")
    if named:
        return for_campaign(named)
    if Path(CAMPAIGN_FILE).is_file():
        return for_campaign(CAMPAIGN_FILE)
    print(f"oact_dagster: {NO_CAMPAIGN}", file=sys.stderr)
    return dg.Definitions(metadata={"what_to_do": NO_CAMPAIGN})

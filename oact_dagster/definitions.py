"""The entry point for Dagster: the definitions of one campaign.

``dagster … -m oact_dagster.definitions`` loads the campaign that ``OACT_CAMPAIGN`` names (a ``campaign.yaml`` or its
folder), else ``./campaign.yaml``. Without either it prints what to do. For several campaigns in one Dagster instance,
each folder has a ``definitions.py`` that calls :func:`for_campaign`.
"""

import os
import sys
from pathlib import Path

import dagster as dg

from oact_dagster.defs.campaign_definitions import campaign_definitions
from oact_dagster.settings.campaign import CAMPAIGN_FILE, load_campaign

NO_CAMPAIGN = (
    f"no campaign here: set OACT_CAMPAIGN to a {CAMPAIGN_FILE}, start in a folder that holds one, or make one with"
    " `oact init CSV` (or `oact demo`)"
)


def for_campaign(path: str | Path) -> dg.Definitions:
    """The definitions of the campaign in ``path``, a ``campaign.yaml`` or its folder.

    Raises:
        CampaignError: the settings are missing or wrong.
    """
    return campaign_definitions(load_campaign(path))


@dg.definitions
def defs() -> dg.Definitions:
    """The campaign that ``OACT_CAMPAIGN`` names, else the one in the current folder, else nothing."""
    named = os.environ.get("OACT_CAMPAIGN")
    if named:
        return for_campaign(named)
    if Path(CAMPAIGN_FILE).is_file():
        return for_campaign(CAMPAIGN_FILE)
    print(f"oact_dagster: {NO_CAMPAIGN}", file=sys.stderr)
    return dg.Definitions(metadata={"what_to_do": NO_CAMPAIGN})

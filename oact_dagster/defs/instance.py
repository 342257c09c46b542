"""The Dagster instance of a campaign."""

import os
import shutil
from pathlib import Path

from oact_dagster.campaign import Campaign

TEMPLATE = Path(__file__).with_name("dagster.yaml")


def dagster_home(campaign: Campaign) -> Path:
    """Where the campaign's Dagster instance lies: ``DAGSTER_HOME`` if set, else ``.dagster`` beside the campaign.

    A missing one is made, with the project's ``dagster.yaml``; an existing one is left as it is.

    Raises:
        OSError: it cannot be made.
    """
    named = os.environ.get("DAGSTER_HOME")
    home = Path(os.path.abspath(Path(named).expanduser())) if named else campaign.folder / ".dagster"
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        shutil.copyfile(TEMPLATE, settings)
    return home

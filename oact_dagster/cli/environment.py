"""The environment variables through which Dagster's own commands find a campaign."""

import shlex
from pathlib import Path

from oact_dagster.settings.campaign import Campaign


def variables(campaign: Campaign) -> dict[str, str]:
    """A campaign's ``OACT_CAMPAIGN`` and ``DAGSTER_HOME`` as absolute paths, and the module of its definitions.

    The third saves typing ``-m oact_dagster.definitions`` after ``dagster asset materialize``, which does not read
    pyproject.toml. The general ``DAGSTER_MODULE_NAME`` would keep ``dagster dev`` from starting.

    Raises:
        OSError: the folder of Dagster's instance cannot be made.
    """
    from oact_dagster.defs.instance import dagster_home

    return {
        "OACT_CAMPAIGN": str(campaign.file),
        "DAGSTER_HOME": str(dagster_home(campaign)),
        "DAGSTER_CLI_ASSET_MATERIALIZE_MODULE_NAME": "oact_dagster.definitions",
    }


def export_lines(campaign: Campaign) -> list[str]:
    """Shell lines to run before ``dagster …`` is called by hand."""
    return [f"export {name}={shlex.quote(value)}" for name, value in variables(campaign).items()]


def shown_path(path: Path) -> str:
    """A path to paste into a command: relative if below the current folder, and quoted."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here)) if path.is_relative_to(here) else str(path))

"""The environment variables by which Dagster's own commands find a campaign."""

import shlex
from pathlib import Path

from oact_dagster.settings.campaign import Campaign


def variables(campaign: Campaign) -> dict[str, str]:
    """``OACT_CAMPAIGN`` and ``DAGSTER_HOME`` of a campaign, as absolute paths, and the module with its definitions.

    The third saves an ``-m oact_dagster.definitions`` in ``dagster asset materialize``, which reads no pyproject.toml.
    The general ``DAGSTER_MODULE_NAME`` would keep ``dagster dev`` from starting.

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
    """Lines for the shell, before ``dagster …`` is called by hand."""
    return [f"export {name}={shlex.quote(value)}" for name, value in variables(campaign).items()]


def shown_path(path: Path) -> str:
    """A path for a command that is to be copied: relative where it lies below the current folder, and quoted."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here)) if path.is_relative_to(here) else str(path))

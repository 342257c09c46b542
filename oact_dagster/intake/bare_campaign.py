"""Settings for a bare ledger: a ``workflow.db`` without a ``campaign.yaml``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from oact_dagster.errors import CampaignError
from oact_dagster.settings.campaign import (
    CAMPAIGN_FILE,
    Campaign,
    checked_profile,
    load_campaign,
    read_campaign,
)
from oact_dagster.settings.launcher_kinds import LAUNCHER_KINDS

DEFAULT_PATTERN: Final = "job_{orig_index}"

_MAY_BE_NULL: Final = frozenset({"charge_column", "spin_column"})


def bare_campaign(ledger: Path, jobs_dir: Path, **settings: Any) -> Campaign:
    """Return settings made in memory, checked like those of a file.

    ``settings`` are further keys of ``campaign.yaml``; None means the default, or no such column for charge and spin.
    Relative paths are relative to the ledger's folder.

    Raises:
        CampaignError: A setting is wrong; the message is one line that names it.
    """
    path = ledger.expanduser().absolute()
    name = (settings.get("launcher") or {}).get("profile")
    of_site = name is not None and checked_profile(name).orca_command is not None
    orca = {} if of_site else {"command": "orca"}
    # Messages name the ledger, because the user has no other file.
    return _checked({"name": "workflow", "orca": orca}, path, path, jobs_dir, settings)


def campaign_with(beside: Campaign | None, ledger: Path, jobs_dir: Path, **settings: Any) -> Campaign:
    """Return the settings of the campaign beside a ledger, overridden by those of a command or a script.

    Without a campaign, the ledger is a bare one. ``settings`` are as for :func:`bare_campaign`. A group (``orca``,
    ``launcher``) overrides only the keys it names. A number of cores or a time limit applies to structures of all
    sizes.

    Raises:
        CampaignError: A setting is wrong; the message is one line that names it.
    """
    if beside is None:
        return bare_campaign(ledger, jobs_dir, **settings)
    values = beside.model_dump(mode="json", exclude_unset=True)
    said = settings.get("launcher") or {}
    base = values.setdefault("launcher", {})
    # The values include the profile's. Reading the profile again would restore what is removed here.
    base.pop("profile", None)
    kind = LAUNCHER_KINDS.get(said.get("kind", ""))
    if kind is not None and not kind.can_be_pilots and base.pop("per_job", None) is not None:
        base.pop("n_hours", None)  # of a pilot
    if not {"n_hours", "job_timeout_s"}.isdisjoint(said):
        base.pop("n_hours", None)
        base.pop("job_timeout_s", None)
        base.pop("resources", None)
    if "n_cores" in (settings.get("orca") or {}):
        base.pop("resources", None)
    return _checked(values, beside.file, ledger.expanduser().absolute(), jobs_dir, settings)


def _checked(
    values: dict[str, Any], file: Path, ledger: Path, jobs_dir: Path, settings: Mapping[str, Any]
) -> Campaign:
    values |= {"csv": None, "ledger": str(ledger), "jobs_dir": str(jobs_dir.expanduser().absolute())}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            values[key] = {**values.get(key, {}), **value}
        elif value is not None or key in _MAY_BE_NULL:
            values[key] = value
    # JSON is valid YAML.
    return read_campaign(json.dumps(values), file)


def campaign_beside(ledger: Path) -> Campaign | None:
    """Return the ledger's campaign if its ``campaign.yaml`` is beside it and can be read, else None."""
    file = ledger.absolute().parent / CAMPAIGN_FILE
    if not file.is_file():
        return None
    try:
        campaign = load_campaign(file)
        return campaign if campaign.ledger.samefile(ledger) else None
    except (CampaignError, OSError):
        return None

"""A campaign of a bare ledger: the settings of those who have a ``workflow.db`` and no ``campaign.yaml``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from oact_dagster.settings.campaign import (
    CAMPAIGN_FILE,
    Campaign,
    CampaignError,
    checked_profile,
    load_campaign,
    read_campaign,
)
from oact_dagster.settings.launcher_kinds import LAUNCHER_KINDS

DEFAULT_PATTERN: Final = "job_{orig_index}"

_MAY_BE_NULL: Final = frozenset({"charge_column", "spin_column"})


def bare_campaign(ledger: Path, jobs_dir: Path, **settings: Any) -> Campaign:
    """Settings in memory, checked as those of a file are.

    Args:
        ledger: the SQLite file; relative paths in the settings are relative to its folder.
        jobs_dir: the job folders.
        **settings: further keys of ``campaign.yaml``; None leaves one at its default, and means no such column for
            charge and spin.

    Raises:
        CampaignError: a setting is wrong; the text is one line that names it.
    """
    path = ledger.expanduser().absolute()
    name = (settings.get("launcher") or {}).get("profile")
    of_site = name is not None and checked_profile(name).orca_command is not None
    orca = {} if of_site else {"command": "orca"}
    # Messages name the ledger, which is all that the user has.
    return _checked({"name": "workflow", "orca": orca}, path, path, jobs_dir, settings)


def campaign_with(beside: Campaign | None, ledger: Path, jobs_dir: Path, **settings: Any) -> Campaign:
    """What a command or a script says, and beneath it the settings of the campaign beside the ledger.

    Args:
        beside: see :func:`campaign_beside`; None is as with :func:`bare_campaign`.
        ledger: the SQLite file.
        jobs_dir: the job folders.
        **settings: as with :func:`bare_campaign`; a group of them (``orca``, ``launcher``) changes what it names. A
            number of cores or a time limit holds for structures of all sizes.

    Raises:
        CampaignError: a setting is wrong; the text is one line that names it.
    """
    if beside is None:
        return bare_campaign(ledger, jobs_dir, **settings)
    values = beside.model_dump(mode="json", exclude_unset=True)
    said = settings.get("launcher") or {}
    base = values.setdefault("launcher", {})
    # What its profile says is in the values already; read again, it would bring back what is taken out here.
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
    # What is JSON is YAML.
    return read_campaign(json.dumps(values), file)


def campaign_beside(ledger: Path) -> Campaign | None:
    """The campaign whose ledger this is, where its ``campaign.yaml`` lies beside it and can be read."""
    file = ledger.absolute().parent / CAMPAIGN_FILE
    if not file.is_file():
        return None
    try:
        campaign = load_campaign(file)
        return campaign if campaign.ledger.samefile(ledger) else None
    except (CampaignError, OSError):
        return None

"""How old scripts say what ORCA computes and where ORCA is."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypedDict

from oact_dagster.errors import CampaignError
from oact_dagster.settings.campaign import CAMPAIGN_FILE, Campaign, load_campaign
from oact_dagster.settings.launcher_kinds import scheduler_names


class OrcaConfig(TypedDict, total=False):
    """What ORCA computes.

    A missing or None key takes its value from a ``campaign.yaml`` beside the database, else from the template.

    With ``x2c`` and ``dk3``, which treat all electrons, an actinide needs an all-electron basis by name
    (``SARC-DKH-TZVP``) and no core potential. The old documentation shows them with ``ma-def-TZVP``, whose core
    potential contradicts them: such an input is refused, and the message names what is right.
    """

    functional: str | None
    simple_input: str | None
    """Template: omol, x2c or dk3."""
    actinide_basis: str | None
    actinide_ecp: str | None
    non_actinide_basis: str | None
    scf_MaxIter: int | None
    nbo: bool
    mbis: bool
    kdiis: bool
    opt: bool
    orca_path: str | None


DEFAULT_ORCA_CONFIG: Final[OrcaConfig] = {
    "functional": "wB97M-V",
    "simple_input": "omol",
    "actinide_basis": "ma-def-TZVP",
    "actinide_ecp": "def-ECP",
    "non_actinide_basis": "def2-TZVPD",
    "scf_MaxIter": None,
    "nbo": False,
    "opt": False,
}
"""The defaults. In the old documentation's table actinides have no core potential, but ``ma-def-TZVP`` is made for
``def-ECP``."""

_SETTINGS: Final[Mapping[str, str]] = {
    **{key: key for key in OrcaConfig.__annotations__},
    "scf_MaxIter": "scf_maxiter",
    "orca_path": "command",
}
"""The setting that each key of :class:`OrcaConfig` stands for."""


def default_orca_paths() -> dict[str, str]:
    """The command that runs ORCA, by scheduler.

    It comes from the campaign that ``OACT_CAMPAIGN`` names, else from the one in the current folder, and is ``orca`` if
    there is none or its settings cannot be read.
    """
    path = Path(os.environ.get("OACT_CAMPAIGN") or CAMPAIGN_FILE)
    command = "orca"
    if path.exists():
        with suppress(CampaignError):
            command = load_campaign(path).orca.command
    return dict.fromkeys(scheduler_names(), command)


def settings_from_config(
    config: OrcaConfig | None, n_cores: int, beside: Campaign | None = None
) -> dict[str, Any]:
    """The ``orca`` settings of a campaign that a script sets.

    Args:
        config: the script's configuration.
        n_cores: cores of one calculation.
        beside: the campaign beside the database; its settings apply to everything else.

    Raises:
        ValueError: a key is unknown.
    """
    given = dict(config or {})
    unknown = sorted(set(given) - set(_SETTINGS))
    if unknown:
        raise ValueError(f"orca_config: no such key {', '.join(unknown)}; there are {', '.join(_SETTINGS)}")
    settings = {_SETTINGS[key]: value for key, value in given.items() if value is not None}
    if beside is None:
        settings = {"command": default_orca_paths()["flux"], **settings}
    return {**settings, "n_cores": int(n_cores)}

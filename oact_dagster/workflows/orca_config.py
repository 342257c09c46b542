"""How old scripts say what ORCA computes and where ORCA is."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypedDict

from oact_dagster.errors import CampaignError
from oact_dagster.intake.bare_campaign import DEFAULT_PATTERN, bare_campaign
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
"""What is computed if a script says nothing. The old documentation's table says that actinides have no core potential;
``ma-def-TZVP`` is made for one, ``def-ECP``."""

_NAMES: Final[Mapping[str, str]] = {
    "functional": "functional",
    "simple_input": "simple_input",
    "actinide_basis": "actinide_basis",
    "actinide_ecp": "actinide_ecp",
    "non_actinide_basis": "non_actinide_basis",
    "scf_MaxIter": "scf_maxiter",
    "nbo": "nbo",
    "mbis": "mbis",
    "kdiis": "kdiis",
    "opt": "opt",
    "orca_path": "command",
}
"""Keys of :class:`OrcaConfig`, and the names of the settings that they stand for."""


def default_orca_paths() -> dict[str, str]:
    """The command that runs ORCA, by scheduler.

    The command is that of the campaign that ``OACT_CAMPAIGN`` names, else of the one in the current folder; ``orca`` if
    there is none, or if it cannot be read.
    """
    path = Path(os.environ.get("OACT_CAMPAIGN") or CAMPAIGN_FILE)
    command = "orca"
    if path.exists():
        try:
            command = load_campaign(path).orca.command
        except CampaignError:
            command = "orca"
    return dict.fromkeys(scheduler_names(), command)


def settings_from_config(
    config: OrcaConfig | None, n_cores: int, beside: Campaign | None = None
) -> dict[str, Any]:
    """The ``orca`` settings of a campaign that a script sets.

    Args:
        config: the script's configuration.
        n_cores: cores of one calculation.
        beside: the campaign beside the database, whose settings hold for the rest.

    Raises:
        ValueError: a key is unknown.
    """
    given = dict(config or {})
    unknown = sorted(set(given) - set(_NAMES))
    if unknown:
        raise ValueError(f"orca_config: no such key {', '.join(unknown)}; there are {', '.join(_NAMES)}")
    settings = {_NAMES[key]: value for key, value in given.items() if value is not None}
    if beside is None:
        settings = {"command": default_orca_paths()["flux"], **settings}
    return {**settings, "n_cores": int(n_cores)}


def campaign_of(
    db_path: Path,
    root_dir: str | Path,
    *,
    config: OrcaConfig | None,
    n_cores: int,
    job_dir_pattern: str = DEFAULT_PATTERN,
    **settings: Any,
) -> Campaign:
    """A script's settings as a campaign's.

    Raises:
        ValueError: a setting is wrong; the text is one line that names it.
    """
    return bare_campaign(
        db_path,
        Path(root_dir),
        job_dir_pattern=job_dir_pattern,
        orca=settings_from_config(config, n_cores),
        **settings,
    )

"""The text of the files that ``oact init`` writes."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from oact_dagster.orca.remedies.next_input import STEPS
from oact_dagster.settings.campaign import Campaign
from oact_dagster.settings.descriptions import section_of, setting_text, yaml_value
from oact_dagster.settings.profiles import Profile

DEFINITIONS: Final = """\
from pathlib import Path

from oact_dagster.definitions import for_campaign

defs = for_campaign(Path(__file__).parent)
"""
"""``definitions.py``: what Dagster loads where several campaigns share one instance."""

_WIDTH: Final = 120

_HEADINGS: Final = {
    "name": "A campaign: one CSV, one ledger, one jobs folder, one level of theory. Relative paths are relative to this"
    " file. You may leave out every setting but name, csv and orca.command: the values below from `ledger` on are the"
    " defaults.",
    "orca": "The level of theory. The first run fixes it for the ledger.",
    "launcher": "How calculations run.",
    "launcher.max_workers": "With kind local or parsl.",
    "launcher.cores_per_worker": "With kind parsl: several calculations side by side in an allocation (docs/parsl.md).",
    "launcher.per_job": "Jobs of a scheduler as pilots: each runs many structures on a whole node (docs/pilots.md).",
    "launcher.queue": "Jobs of a scheduler.",
    "retry": "Budgets of each structure.",
    "feed": "What the sensors start, and when they pause.",
    "notify": "Who hears when the campaign pauses, has spent its budget, or is done.",
    "quality": "When the result of a completed structure is called doubtful.",
    "remedies": f"What the next attempt changes. It never changes the level of theory. Steps: {', '.join(STEPS)}.",
}
"""What the comment above a setting or a section says."""


def campaign_text(values: Mapping[str, Any], profile: Profile | None = None) -> str:
    """The text of a ``campaign.yaml`` with all settings: their values, meanings and ranges.

    ``values`` are those that differ from the defaults, by names such as ``orca.command``. What the site's profile says
    is shown as a comment, and left to it.
    """
    left: dict[str, Any] = {}
    if profile is not None:
        values = {**values, "launcher.profile": profile.name}
        left = {f"launcher.{key}": value for key, value in profile.launcher.items()}
        if left.keys() & {"launcher.n_hours", "launcher.job_timeout_s"}:
            # They are two names of one setting: either here would win over the site's.
            left = {"launcher.n_hours": None, "launcher.job_timeout_s": None, **left}
        if values.get("orca.command") is None:
            left["orca.command"] = profile.orca_command
    name = "" if profile is None else profile.name
    return "\n".join(_lines(Campaign, "", values, left, name)).lstrip("\n") + "\n"


def _lines(
    model: type[BaseModel], prefix: str, values: Mapping[str, Any], left: Mapping[str, Any], profile: str
) -> Iterator[str]:
    indent = "  " if prefix else ""
    for name, field in model.model_fields.items():
        key, section = f"{prefix}{name}", section_of(field)
        if key in _HEADINGS:
            yield from [] if prefix else [""]
            yield from _comment(indent, _HEADINGS[key])
        if section is not None:
            yield f"{name}:"
            yield from _lines(section, f"{key}.", values, left, profile)
        elif key in left:
            yield f"{indent}# {name}: {yaml_value(left[key])}  # left to profile {profile}"
        else:
            value = values[key] if key in values else field.get_default(call_default_factory=True)
            line, about = f"{indent}{name}: {yaml_value(value)}", setting_text(field)
            if len(line) + len(about) + 4 <= _WIDTH:
                yield f"{line}  # {about}"
            else:
                yield from _comment(indent, about)
                yield line


def _comment(indent: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}# ",
        break_on_hyphens=False,
    )

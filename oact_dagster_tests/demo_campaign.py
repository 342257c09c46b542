"""The demo campaign with one structure more, which really fails."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from oact_dagster import demo
from oact_dagster.settings.campaign import Campaign, load_campaign

SOURCE: Final = Path(demo.__file__).parent

COMPLEXES: Final = 31
"""Structures of the demo."""

STRETCHED: Final = 31
"""``orig_index`` of one more: U4_Cl6 with all its bonds 1.6 times as long. No SCF of it converges."""

MAX_GRADIENT: Final = 0.02
"""Eh/bohr: a limit that some of the demo's complexes break."""


def demo_campaign(folder: Path, settings: Mapping[str, Any] | None = None) -> Campaign:
    """Write the demo's ``campaign.yaml`` and CSV, with one structure more, into a new folder.

    Args:
        folder: is made.
        settings: further ones of ``campaign.yaml``; a mapping is added to the one that is there.
    """
    folder.mkdir(parents=True)
    values = yaml.safe_load((SOURCE / "campaign.yaml").read_text(encoding="utf-8"))
    values["quality"] = {"max_gradient": MAX_GRADIENT}
    for key, value in (settings or {}).items():
        values[key] = {**values[key], **value} if isinstance(value, dict) and key in values else value
    (folder / "campaign.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    with (SOURCE / "structures.csv").open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        rows, names = list(reader), reader.fieldnames or []
    [like] = [row for row in rows if row["name"] == "U4_Cl6"]
    rows.append(
        like | {"name": "U4_Cl6_stretched", "aligned_csd_core": _stretched(like["aligned_csd_core"], 1.6)}
    )
    with (folder / "structures.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(rows)
    return load_campaign(folder)


def _stretched(geometry: str, factor: float) -> str:
    lines = []
    for line in geometry.strip().splitlines():
        symbol, *place = line.split()
        lines.append(" ".join([symbol, *(f"{float(one) * factor:.6f}" for one in place)]))
    return "\n".join(lines)

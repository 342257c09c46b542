"""Small campaigns for tests."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from oact_dagster.settings.campaign import Campaign, load_campaign

WATER = "O 0.0 0.0 {z:.6f}\nH 0.76 0.0 0.587\nH -0.76 0.0 0.587"


def write_csv(path: Path, structures: int, *, broken: tuple[int, ...] = (), first: int = 0) -> Path:
    """A CSV of waters that differ in a coordinate; the rows of ``broken`` have charge and spin that do not fit."""
    exists = path.exists()
    with path.open("a" if exists else "w", newline="") as stream:
        writer = csv.writer(stream)
        if not exists:
            writer.writerow(["name", "aligned_csd_core", "charge", "uhf"])
        for number in range(first, first + structures):
            uhf = 1 if number in broken else 0
            writer.writerow([f"water {number}", WATER.format(z=-number / 1000), 0, uhf])
    return path


def write_campaign(
    folder: Path,
    structures: int,
    engine: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    broken: tuple[int, ...] = (),
) -> Campaign:
    """A campaign of waters in ``folder``, run by ``engine``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "structures.csv", structures, broken=broken)
    values: dict[str, Any] = {
        "name": "test",
        "csv": "structures.csv",
        "annotate": ["name"],
        "orca": {"command": str(engine), "n_cores": 1},
        "launcher": {"kind": "local", "max_workers": 2, "stop_grace_s": 0.5},
    }
    for key, value in (settings or {}).items():
        values[key] = {**values[key], **value} if isinstance(value, dict) and key in values else value
    (folder / "campaign.yaml").write_text(yaml.safe_dump(values))
    return load_campaign(folder)

"""CSV files of small molecules, and campaigns on them, for the tests of intake."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oact_dagster.settings.campaign import Campaign
from oact_dagster.settings.orca import OrcaSettings

WATER = "O 0.000000 0.000000 0.117300\nH 0.000000 0.757200 -0.469200\nH 0.000000 -0.757200 -0.469200"
HYDROXYL = "O 0.0 0.0 0.0\nH 0.0 0.0 0.97"
COLUMNS = ("name", "metal_ox", "charge", "uhf", "aligned_csd_core", "mol2string")


def row(number: int = 0, **changes: Any) -> dict[str, str]:
    """A good row; every number gives another geometry."""
    shift = f"{number:.6f}"
    values = {
        "name": f"water_{number}",
        "metal_ox": "2",
        "charge": "0",
        "uhf": "0",
        "aligned_csd_core": f"O {shift} 0.0 0.0\nH {shift} 0.0 0.96\nH {shift} 0.93 -0.24",
        "mol2string": '@<TRIPOS>MOLECULE\n"quoted", with a comma\n',
    }
    return values | {key: str(value) for key, value in changes.items()}


def write_csv(
    path: Path, rows: Sequence[Mapping[str, str]], columns: Sequence[str] = COLUMNS, ending: str = "\n"
) -> Path:
    """Write rows as a CSV."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator=ending, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def campaign_on(csv_path: Path, **settings: Any) -> Campaign:
    """A campaign whose ledger lies beside its CSV."""
    given: dict[str, Any] = {
        "name": "test",
        "csv": csv_path,
        "ledger": csv_path.parent / "workflow.db",
        "annotate": ("name", "metal_ox"),
        "orca": OrcaSettings(command="standin"),
    }
    return Campaign(**given | settings)

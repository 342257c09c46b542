"""Summary of a campaign's results: all numbers for pictures, and a Parquet file of all results.

The command line shows only the figures of ``overview``.
"""

import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from oact_dagster.files import atomic_file
from oact_dagster.ledger.metrics import Statistic
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.overview import CampaignCounts

__all__ = ["ResultNumbers", "Statistic", "Summary", "write_results"]

_ROWS_AT_ONCE: Final = 10_000
RESULTS_FILE: Final = "results.parquet"

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(CampaignCounts):
    """Results of a campaign at one moment."""

    energies: Numbers
    """Final energies of completed structures, Eh, shape (n,)."""
    energies_per_atom: Numbers
    """Eh, shape (n,)."""
    max_forces: Numbers
    """Largest Cartesian gradient components, Eh/bohr."""
    scf_steps: Numbers
    wall_times: Numbers
    """s"""
    n_cores: Numbers
    core_hours: Numbers
    """Core-hours of each completed structure with a wall time and a number of cores."""


class ResultNumbers:
    """Numbers of completed structures, which are added one by one; 8 bytes are kept of each number."""

    def __init__(self) -> None:
        names = "energies energies_per_atom max_forces scf_steps wall_times n_cores core_hours"
        self._columns = {name: array("d") for name in names.split()}

    def add(
        self,
        energy: float | None,
        natoms: float | None,
        force: float | None,
        steps: float | None,
        wall: float | None,
        cores: float | None,
    ) -> None:
        """Add a completed structure; missing numbers are left out.

        Energy in Eh, ``force`` (the largest Cartesian gradient component) in Eh/bohr, wall time in s.
        """
        per_atom = energy / natoms if energy is not None and natoms else None
        core_hours = wall * cores / 3600.0 if wall is not None and cores is not None else None
        values = (energy, per_atom, force, steps, wall, cores, core_hours)
        for column, value in zip(self._columns.values(), values, strict=True):
            if value is not None:
                column.append(value)

    def arrays(self) -> dict[str, Numbers]:
        """Return an array of shape (n,) for each such field of :class:`Summary`."""
        return {name: np.frombuffer(values, dtype=np.float64) for name, values in self._columns.items()}


def write_results(campaign: Campaign, ledger: Ledger) -> Path:
    """Write all results into ``results.parquet`` beside ``campaign.yaml``, completely or not at all.

    Columns: ``orig_index``, ``formula_elements`` (semicolon-separated symbols), ``natoms``, ``charge``,
    ``multiplicity``, ``final_energy_Eh``, ``max_gradient_component_Eh_per_bohr``,
    ``max_atom_gradient_norm_Eh_per_bohr``, ``scf_cycles``, ``s_squared``, ``wall_time_s``, ``n_cores``,
    ``core_hours``, ``attempt``, ``host``, ``engine``, ``engine_version``, ``job_dir``.

    Raises:
        OSError: The file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("orig_index", pa.int64()),
            ("formula_elements", pa.string()),
            ("natoms", pa.int32()),
            ("charge", pa.int32()),
            ("multiplicity", pa.int32()),
            ("final_energy_Eh", pa.float64()),
            ("max_gradient_component_Eh_per_bohr", pa.float64()),
            ("max_atom_gradient_norm_Eh_per_bohr", pa.float64()),
            ("scf_cycles", pa.int32()),
            ("s_squared", pa.float64()),
            ("wall_time_s", pa.float64()),
            ("n_cores", pa.int32()),
            ("core_hours", pa.float64()),
            ("attempt", pa.int32()),
            ("host", pa.string()),
            ("engine", pa.string()),
            ("engine_version", pa.string()),
            ("job_dir", pa.string()),
        ],
        metadata={"campaign": campaign.name, "level_of_theory": json.dumps(campaign.level_of_theory())},
    )
    target = campaign.folder / RESULTS_FILE
    with atomic_file(target) as part, pq.ParquetWriter(part, schema) as writer:
        rows = _rows(ledger)
        while chunk := list(islice(rows, _ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(chunk, schema=schema))
    return target


def _rows(ledger: Ledger) -> Iterator[dict[str, Any]]:
    for row in ledger.history.completed():
        result = json.loads(row["result"] or "{}")
        wall, cores = row["wall_time"], row["n_cores"]
        yield {
            "orig_index": row["orig_index"],
            "formula_elements": row["elements"],
            "natoms": row["natoms"],
            "charge": row["charge"],
            "multiplicity": row["spin"],
            "final_energy_Eh": row["final_energy"],
            "max_gradient_component_Eh_per_bohr": row["max_forces"],
            "max_atom_gradient_norm_Eh_per_bohr": result.get("max_atom_force_norm"),
            "scf_cycles": row["scf_steps"],
            "s_squared": result.get("s2"),
            "wall_time_s": wall,
            "n_cores": cores,
            "core_hours": wall * cores / 3600.0 if wall is not None and cores is not None else None,
            "attempt": row["attempt"],
            "host": row["host"],
            "engine": result.get("engine"),
            "engine_version": result.get("engine_version"),
            "job_dir": row["job_dir"],
        }

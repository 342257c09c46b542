"""Columns behind each asset, with types and units, as the web page shows them."""

from collections.abc import Mapping, Sequence
from typing import Final

from dagster import TableColumn, TableSchema

_Columns = Sequence[tuple[str, str, str]]
"""Name, type and description."""

_STRUCTURE: Final[_Columns] = (
    ("formula", "string", "in Hill order"),
    ("natoms", "int", "number of atoms"),
    ("charge", "int", "total charge, e"),
    ("multiplicity", "int", "2S+1: unpaired electrons + 1"),
)

_COST: Final[_Columns] = (
    ("wall_time_s", "float", "ORCA's own run time, s"),
    ("n_cores", "int", "processes of the calculation"),
    ("core_hours", "float", "wall time times cores, h"),
)

ARCHITECTOR_CSV: Final = (
    *_STRUCTURE,
    ("geometry", "picture", "of the complex, as the CSV has it"),
    ("csv_…", "string", "columns of the CSV that `annotate` names"),
    ("row_hash", "string", "hash of the row, to detect changes"),
)

JOB_LEDGER: Final = (
    ("id", "int", "primary key of the table `structures`"),
    ("orig_index", "int", "row of the CSV, from 0: the partition key"),
    ("elements", "string", "semicolon-separated symbols, one for each atom"),
    ("natoms", "int", "number of atoms"),
    ("status", "string", "to_run, running, completed, failed or timeout"),
    ("charge", "int", "total charge, e"),
    ("spin", "int", "multiplicity"),
    ("geometry", "string", "`El x y z` lines, Å"),
    ("job_dir", "string", "job folder of the last attempt"),
    ("max_forces", "float", "largest Cartesian gradient component, Eh/bohr"),
    ("scf_steps", "int", "SCF cycles of all SCFs"),
    ("final_energy", "float", "FINAL SINGLE POINT ENERGY, Eh"),
    ("error_message", "string", "of the last attempt that failed"),
    ("fail_count", "int", "failed and timed-out attempts, each counted once"),
    ("wall_time", "float", "s"),
    ("n_cores", "int", "processes of the calculation"),
)

ORCA_INPUTS: Final = (
    *_STRUCTURE,
    ("input_file", "path", "orca.inp"),
    ("attempt", "int", "number of the attempt, from 1"),
    ("remedy", "string", "what was changed after earlier attempts"),
)

ORCA_RESULTS: Final = (
    ("final_energy_Eh", "float", "FINAL SINGLE POINT ENERGY, Eh"),
    ("max_gradient_component_Eh_per_bohr", "float", "what ORCA prints as MAX gradient, Eh/bohr"),
    ("scf_cycles", "int", "cycles of all SCFs"),
    *_COST,
    ("cpu_time_s", "float", "user and system time of all processes, s"),
    ("max_rss_mb", "float", "largest memory of the job, MB"),
    ("host", "string", "where it ran"),
    ("attempt", "int", "number of the attempt, from 1"),
    ("remedy", "string", "what was changed in its input after earlier attempts"),
    ("attempts", "table", "all attempts, if there was more than one"),
    ("convergence", "picture", "of the optimisation, or of the last SCF"),
    ("failed_checks", "string", "quality rules that the result breaks; none: it breaks no rule"),
    ("scheduler_job_id", "string", "of the attempt's job"),
    ("engine", "string", "the program, and engine_version its version"),
    ("output_file", "path", "ORCA's output"),
    ("job_dir", "path", "the job folder"),
)

METRIC_SUMMARIES: Final = (
    ("final_energy_Eh", "float", "Eh"),
    ("energy_per_atom_Eh", "float", "Eh"),
    ("max_gradient_component_Eh_per_bohr", "float", "largest Cartesian gradient component, Eh/bohr"),
    ("max_atom_gradient_norm_Eh_per_bohr", "float", "largest gradient norm of one atom, Eh/bohr"),
    ("scf_cycles", "int", "cycles of all SCFs"),
    ("optimization_cycles", "int", "0 for a single point"),
    ("s_squared", "float", "<S²>, where ORCA prints it"),
    ("wall_time_s", "float", "ORCA's own run time, s"),
    ("core_hours", "float", "wall time times cores, h"),
    ("quality", "table", "what each quality rule says of the result"),
)

RESULTS_COLUMNS: Final = (
    ("orig_index", "int", "row of the CSV, from 0: the partition key"),
    ("formula_elements", "string", "semicolon-separated symbols"),
    *_STRUCTURE[1:],
    ("final_energy_Eh", "float", "FINAL SINGLE POINT ENERGY, Eh"),
    ("max_gradient_component_Eh_per_bohr", "float", "largest Cartesian gradient component, Eh/bohr"),
    ("max_atom_gradient_norm_Eh_per_bohr", "float", "largest gradient norm of one atom, Eh/bohr"),
    ("scf_cycles", "int", "cycles of all SCFs"),
    ("s_squared", "float", "<S²>, where ORCA prints it"),
    *_COST,
    ("attempt", "int", "number of the attempt that delivered it"),
    ("host", "string", "where it ran"),
    ("engine", "string", "the program"),
    ("engine_version", "string", "its version"),
    ("job_dir", "string", "the job folder"),
)


def column_schema(columns: _Columns) -> Mapping[str, TableSchema]:
    """The metadata from which Dagster shows an asset's columns."""
    return {
        "dagster/column_schema": TableSchema(
            columns=[TableColumn(name, kind, description=what) for name, kind, what in columns]
        )
    }

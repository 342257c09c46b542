"""A structure as a user's own functions see it."""

from dataclasses import asdict, dataclass

from oact_dagster.ledger.states import Status, StoredStructure, StructureRecord


@dataclass(slots=True)
class JobRecord:
    """One row of the table ``structures``, with the names of its columns. Energies in Eh, gradients in Eh/bohr.

    What intake writes is there in every row; a row that another tool made may lack any of it.
    """

    id: int
    orig_index: int | None
    elements: str | None
    """Semicolon-separated symbols, one per atom."""
    natoms: int | None
    status: Status
    charge: int | None
    spin: int | None
    """Spin multiplicity, 2S + 1."""
    geometry: str | None
    """``El x y z`` lines, in Å."""
    job_dir: str | None = None
    max_forces: float | None = None
    """Largest Cartesian component of the gradient."""
    scf_steps: int | None = None
    final_energy: float | None = None
    error_message: str | None = None
    fail_count: int = 0
    wall_time: float | None = None
    """s"""
    n_cores: int | None = None


def stored_job_record(row: StoredStructure) -> JobRecord:
    """The record of a row as the ledger has it."""
    return JobRecord(**asdict(row))


def job_record(structure: StructureRecord, job_dir: str) -> JobRecord:
    """The record of a structure that is about to run, and has no result therefore.

    Args:
        structure: the structure.
        job_dir: the folder in which it will run.
    """
    return JobRecord(
        id=structure.id,
        orig_index=structure.orig_index,
        elements=structure.elements,
        natoms=structure.natoms,
        status=structure.status,
        charge=structure.charge,
        spin=structure.multiplicity,
        geometry=structure.geometry,
        job_dir=job_dir,
        error_message=structure.error_message,
        fail_count=structure.fail_count,
    )

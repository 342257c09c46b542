"""A structure as a user's own functions see it."""

from oact_dagster.ledger.states import JobRecord, StructureRecord


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

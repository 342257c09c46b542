"""Makes a workflow's database from a CSV."""

import errno
from pathlib import Path

from oact_dagster.intake.ingestion import ingest_csv
from oact_dagster.workflows.workflow import ArchitectorWorkflow


def create_workflow_db(
    csv_path: str | Path,
    db_path: str | Path,
    geometry_column: str = "aligned_csd_core",
    charge_column: str | None = "charge",
    spin_column: str | None = "uhf",
    batch_size: int = 10000,
    debug: bool = False,
) -> Path:
    """Make a database from an Architector CSV, or add the new rows of a CSV that has grown.

    Args:
        csv_path: the CSV.
        db_path: the database.
        geometry_column: column of geometries.
        charge_column: column of charges; None: 0 for all.
        spin_column: column of unpaired electrons, which become multiplicities; None: 0 for all.
        batch_size: kept for old scripts; the intake's memory does not depend on the size of the file.
        debug: print what the intake found.

    Returns:
        The database's path. Rejected rows are kept separately with the reason (``oact dashboard DB --show-rejected``).

    Raises:
        FileNotFoundError: there is no such CSV.
        ValueError: a column is missing, or the whole CSV is refused; nothing was written.
        LedgerError: the database cannot be written.
    """
    csv, db = Path(csv_path).expanduser(), Path(db_path).expanduser()
    if not csv.is_file():
        raise FileNotFoundError(errno.ENOENT, "no such CSV", str(csv))
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be 1 or more")
    report = ingest_csv(
        csv,
        db,
        geometry_column=geometry_column,
        charge_column=charge_column,
        spin_column=spin_column,
        flat=True,
    )
    if debug:
        print(*report.lines(), sep="\n")
    return db


def create_workflow(
    csv_path: str | Path,
    db_path: str | Path,
    geometry_column: str = "aligned_csd_core",
    charge_column: str | None = "charge",
    spin_column: str | None = "uhf",
    batch_size: int = 10000,
) -> tuple[Path, ArchitectorWorkflow]:
    """Do the same as :func:`create_workflow_db`, and open the database.

    Returns:
        The database's path, and the open workflow.
    """
    path = create_workflow_db(csv_path, db_path, geometry_column, charge_column, spin_column, batch_size)
    return path, ArchitectorWorkflow(path)

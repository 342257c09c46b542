"""Judges by a job's folder how the job ended."""

from pathlib import Path
from typing import Any, Final

from oact_dagster.attempts.output_verdict import NORMAL, UNFINISHED, failure_line, numbers_of, see_output
from oact_dagster.ledger.states import Status
from oact_dagster.orca.outputs.reader import read_output, read_termination
from oact_dagster.orca.outputs.terminations import Termination
from oact_dagster.workflows.workflow import ArchitectorWorkflow

NOT_FOUND: Final = "Job directory not found"


def check_job_termination(path: str | Path) -> int:
    """Judge how a job ended.

    Args:
        path: a job folder, or an output, plain or gzipped.

    Returns:
        1 if it ended normally, -1 if it failed, -2 if its output has no end and has not changed for 6 h, and 0 if it
        runs, is incomplete, or has no output. An optimisation or SCF that did not converge has failed, even if ORCA
        ended normally.
    """
    return see_output(Path(path)).code


def parse_job_metrics(job_dir: str | Path, unzip: bool = False) -> dict[str, Any]:
    """Read a job's numbers from its output.

    The old documentation calls ``.engrad`` files binary; they are text, and are read if an output holds no gradient.

    Args:
        job_dir: the job folder.
        unzip: kept for old scripts; gzipped files are always read.

    Returns:
        ``max_forces`` (the largest Cartesian component of the gradient, Eh/bohr), ``scf_steps`` (SCF cycles in all)
        and ``final_energy`` (Eh), each None if unknown; ``success``; and ``error`` if there is no success.
    """
    folder = Path(job_dir)
    found: dict[str, Any] = {"max_forces": None, "scf_steps": None, "final_energy": None, "success": False}
    if not folder.exists():
        return found | {"error": NOT_FOUND}
    output = read_output(folder)
    numbers = numbers_of(output)
    found |= {name: numbers[name] for name in ("max_forces", "scf_steps", "final_energy")}
    if output.termination is Termination.NORMAL:
        return found | {"success": True}
    return found | {"error": failure_line(read_termination(folder))}


def update_job_status(
    workflow: ArchitectorWorkflow,
    job_dir: str | Path,
    job_id: int,
    extract_metrics: bool = True,
    unzip: bool = False,
) -> Status:
    """Set a job's status by its folder.

    Args:
        workflow: an open workflow.
        job_dir: the job's folder.
        job_id: its id.
        extract_metrics: keep forces, SCF steps, energy, wall time and cores of a job that ended normally.
        unzip: kept for old scripts; gzipped files are always read.

    Returns:
        The new status. A missing folder means ``failed``; a folder without an output proves nothing, and leaves the
        status as it is.

    Raises:
        ValueError: there is no such job.
    """
    folder = Path(job_dir)
    ledger = workflow.ledger
    known = ledger.structures.stored([int(job_id)])
    if int(job_id) not in known:
        raise ValueError(f"{workflow.db_path}: there is no job with the id {job_id}; nothing was changed")
    before = known[int(job_id)].status
    if not folder.is_dir():
        workflow.update_status(job_id, Status.FAILED, NOT_FOUND)
        return Status.FAILED
    seen = see_output(folder)
    status = seen.status
    if status is None or (seen.code == UNFINISHED and before is Status.RUNNING):
        return before
    if seen.code == NORMAL and extract_metrics:
        workflow.update_job_metrics(job_id, job_dir=folder, **numbers_of(read_output(folder)))  # type: ignore[arg-type]
    workflow.update_status(job_id, status, seen.message)
    return status

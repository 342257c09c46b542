"""The programmatic API for scripts that work on ``workflow.db`` files.

Every call is thin: the other packages do the work. Nothing here imports Dagster, and pandas is imported only when a
table is requested.
"""

from typing import Any

from oact_dagster.ledger.states import JobRecord
from oact_dagster.ledger.states import Status as JobStatus
from oact_dagster.workflows.creation import create_workflow, create_workflow_db
from oact_dagster.workflows.job_scripts import (
    write_flux_job_file,
    write_flux_no_template,
    write_slurm_job_file,
)
from oact_dagster.workflows.job_status import check_job_termination, parse_job_metrics, update_job_status
from oact_dagster.workflows.orca_config import DEFAULT_ORCA_CONFIG, OrcaConfig
from oact_dagster.workflows.parsl_config import build_parsl_config_flux
from oact_dagster.workflows.preparation import prepare_job_directory
from oact_dagster.workflows.submission import submit_batch, submit_batch_parsl
from oact_dagster.workflows.workflow import ArchitectorWorkflow

__all__ = [
    "DEFAULT_ORCA_CONFIG",
    "DEFAULT_ORCA_PATHS",
    "ArchitectorWorkflow",
    "JobRecord",
    "JobStatus",
    "OrcaConfig",
    "build_parsl_config_flux",
    "check_job_termination",
    "create_workflow",
    "create_workflow_db",
    "parse_job_metrics",
    "prepare_job_directory",
    "submit_batch",
    "submit_batch_parsl",
    "update_job_status",
    "write_flux_job_file",
    "write_flux_no_template",
    "write_slurm_job_file",
]


def __getattr__(name: str) -> Any:
    """Read ``DEFAULT_ORCA_PATHS`` from the settings when it is used, not when this module is imported."""
    if name == "DEFAULT_ORCA_PATHS":
        from oact_dagster.workflows.orca_config import default_orca_paths

        return default_orca_paths()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The old module for submitting jobs; ``python -m oact_dagster.workflows.submit_jobs …`` is ``oact submit``."""

import sys

from oact_dagster.workflows.job_scripts import (
    write_flux_job_file,
    write_flux_no_template,
    write_slurm_job_file,
)
from oact_dagster.workflows.orca_config import DEFAULT_ORCA_CONFIG, OrcaConfig
from oact_dagster.workflows.parsl_config import build_parsl_config_flux
from oact_dagster.workflows.preparation import prepare_job_directory
from oact_dagster.workflows.submission import submit_batch, submit_batch_parsl

__all__ = [
    "DEFAULT_ORCA_CONFIG",
    "OrcaConfig",
    "build_parsl_config_flux",
    "prepare_job_directory",
    "submit_batch",
    "submit_batch_parsl",
    "write_flux_job_file",
    "write_flux_no_template",
    "write_slurm_job_file",
]

if __name__ == "__main__":
    from oact_dagster.cli import main

    main(["submit", *sys.argv[1:]], prog_name="oact")

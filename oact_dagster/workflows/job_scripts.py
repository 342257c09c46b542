"""Scripts for submitting job folders by hand."""

import errno
from collections.abc import Sequence
from pathlib import Path

from oact_dagster.launchers.attempt_files import INPUT_FILE, read_spec
from oact_dagster.maintenance.fsck_folders import job_folders
from oact_dagster.schedulers.flux.commands import Flux
from oact_dagster.schedulers.job_array import ResourceRequest
from oact_dagster.schedulers.job_files import job_file_text
from oact_dagster.schedulers.job_script import JobEnvironment, whole_minutes, write_script
from oact_dagster.schedulers.protocol import JobOptions, Scheduler
from oact_dagster.schedulers.slurm.commands import Slurm
from oact_dagster.workflows.orca_config import default_orca_paths


def write_flux_job_file(
    job_dir: str | Path,
    n_cores: int = 4,
    n_hours: float = 2,
    queue: str | None = None,
    allocation: str | None = None,
    orca_path: str | None = None,
    conda_env: str | None = None,
    input_file: str = INPUT_FILE,
    ld_library_path: str | None = None,
) -> Path:
    """Write ``flux_job.flux`` into a job folder.

    In the folder of an attempt, the script runs that attempt: submitted by hand, it counts as the attempt's job, and it
    stops at once if another job of the attempt has begun.

    Args:
        job_dir: the job folder.
        n_cores: cores of the calculation.
        n_hours: time limit, h.
        queue: Flux's queue; None leaves the directive out.
        allocation: bank; None leaves the directive out.
        orca_path: the ORCA program; None: that of the settings, else ``orca``.
        conda_env: conda environment to activate first, if any.
        input_file: ORCA's argument.
        ld_library_path: prepended to the existing value.

    Returns:
        The path of the script, which is executable.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a value has more than one line.
        OSError: it cannot be written.
    """
    environment = JobEnvironment(conda_env=conda_env, ld_library_path=ld_library_path)
    command = [orca_path or default_orca_paths()["flux"], input_file]
    return _write(Flux(_options(queue, allocation)), job_dir, n_cores, n_hours, command, environment)


def write_slurm_job_file(
    job_dir: str | Path,
    n_cores: int = 4,
    n_hours: float = 2,
    queue: str | None = None,
    allocation: str | None = None,
    orca_path: str | None = None,
    conda_env: str | None = None,
    input_file: str = INPUT_FILE,
    ld_library_path: str | None = None,
) -> Path:
    """Write ``slurm_job.sh`` into a job folder; ``queue`` is a partition, ``allocation`` an account.

    Everything else is as in :func:`write_flux_job_file`.
    """
    environment = JobEnvironment(conda_env=conda_env, ld_library_path=ld_library_path)
    command = [orca_path or default_orca_paths()["slurm"], input_file]
    return _write(Slurm(_options(queue, allocation)), job_dir, n_cores, n_hours, command, environment)


def write_flux_no_template(
    root_dir: str | Path,
    n_cores: int,
    n_hours: float,
    queue: str | None = None,
    allocation: str | None = None,
) -> list[Path]:
    """Write ``flux_job.flux`` into each job folder below ``root_dir`` that holds an ``orca.inp``.

    Returns:
        The scripts, in the order of their folders' names.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    root = Path(root_dir)
    if not root.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(root))
    folders = sorted(folder for folder in job_folders(root) if (folder / INPUT_FILE).is_file())
    return [write_flux_job_file(folder, n_cores, n_hours, queue, allocation) for folder in folders]


def _options(queue: str | None, allocation: str | None) -> JobOptions:
    return JobOptions(queue=queue, allocation=allocation, signal_before_limit_s=0.0)


def _write(
    scheduler: Scheduler,
    job_dir: str | Path,
    n_cores: int,
    n_hours: float,
    command: Sequence[str],
    environment: JobEnvironment,
) -> Path:
    folder = Path(job_dir).absolute()
    if not folder.is_dir():
        problem = "no such job folder; prepare_job_directory makes one"
        raise FileNotFoundError(errno.ENOENT, problem, str(folder))
    spec = read_spec(folder)
    if not n_hours > 0:
        raise ValueError(f"n_hours is {n_hours}; it must be more than 0")
    request = ResourceRequest(int(n_cores), whole_minutes(n_hours * 3600), None)
    token = None if spec is None else spec.token
    text = job_file_text(scheduler, folder, request, command, environment, token)
    return write_script(folder / scheduler.script_name, text)

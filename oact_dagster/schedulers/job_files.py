"""The script that lies in each job folder, by which a user can submit that calculation by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from oact_dagster.schedulers.flux.job_file import FLUX_JOB_FILE, flux_job_text
from oact_dagster.schedulers.job_script import JobEnvironment, whole_minutes
from oact_dagster.schedulers.slurm.job_file import SLURM_JOB_FILE, slurm_job_text
from oact_dagster.settings.launcher import LauncherSettings

JOB_FILES: Final = (SLURM_JOB_FILE, FLUX_JOB_FILE)
"""The names of these scripts."""


def job_environment(settings: LauncherSettings) -> JobEnvironment:
    """What every job of a campaign sets up."""
    return JobEnvironment(
        settings.modules, settings.conda_env, settings.setup_lines, conda_base=settings.conda_base
    )


def job_file(
    settings: LauncherSettings,
    folder: Path,
    engine: Sequence[str],
    n_cores: int,
    time_limit_s: float,
    memory_mb: int | None,
    token: str | None = None,
) -> dict[str, str]:
    """The name and the text of a job folder's script; empty for processes of this machine.

    Args:
        settings: of the campaign.
        folder: where the script will be.
        engine: the program with its arguments.
        n_cores: of the calculation.
        time_limit_s: of the job, s.
        memory_mb: of the job; None leaves it to the scheduler.
        token: of the attempt. Where a scheduler runs that already, the script runs nothing.

    Raises:
        ValueError: a value has more than one line.
    """
    minutes = whole_minutes(time_limit_s)
    environment = job_environment(settings)
    if settings.kind == "slurm":
        text = slurm_job_text(
            folder,
            n_cores=n_cores,
            minutes=minutes,
            engine=engine,
            token=token,
            queue=settings.queue,
            qos=settings.qos,
            allocation=settings.allocation,
            memory_mb=memory_mb,
            constraint=settings.constraint,
            extra_directives=settings.extra_directives,
            signal_before_limit_s=round(settings.margin_s(minutes * 60.0)),
            environment=environment,
        )
        return {SLURM_JOB_FILE: text}
    if settings.kind == "flux":
        text = flux_job_text(
            folder,
            n_cores=n_cores,
            minutes=minutes,
            engine=engine,
            token=token,
            queue=settings.queue,
            allocation=settings.allocation,
            constraint=settings.constraint,
            extra_directives=settings.extra_directives,
            environment=environment,
        )
        return {FLUX_JOB_FILE: text}
    return {}

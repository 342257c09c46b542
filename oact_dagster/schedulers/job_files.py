"""The script in each job folder, by which a user can submit that calculation by hand."""

from collections.abc import Sequence
from pathlib import Path

from oact_dagster.schedulers.job_array import ResourceRequest
from oact_dagster.schedulers.job_script import PAYLOAD, JobEnvironment, quoted, require_one_line, script_text
from oact_dagster.schedulers.protocol import Scheduler
from oact_dagster.schedulers.registry import SCHEDULERS, make_scheduler
from oact_dagster.settings.launcher import LauncherSettings


def job_file_names() -> set[str]:
    """The names of the scripts of all schedulers."""
    return {scheduler.script_name for scheduler in SCHEDULERS.values()}


def job_environment(settings: LauncherSettings) -> JobEnvironment:
    """The environment that every job of a campaign sets up."""
    return JobEnvironment(
        settings.modules, settings.conda_env, settings.setup_lines, conda_base=settings.conda_base
    )


def job_file(
    settings: LauncherSettings,
    folder: Path,
    request: ResourceRequest,
    command: Sequence[str],
    token: str | None = None,
) -> dict[str, str]:
    """The name and text of a job folder's script (see :func:`job_file_text`); empty without a scheduler."""
    scheduler = make_scheduler(settings)
    if scheduler is None:
        return {}
    text = job_file_text(scheduler, folder, request, command, job_environment(settings), token)
    return {scheduler.script_name: text}


def job_file_text(
    scheduler: Scheduler,
    folder: Path,
    request: ResourceRequest,
    command: Sequence[str],
    environment: JobEnvironment,
    token: str | None = None,
) -> str:
    """The text of a job folder's script.

    Args:
        scheduler: gives the directives.
        folder: the job folder; absolute.
        request: the resources.
        command: the engine with its arguments.
        environment: what the script sets up first.
        token: the attempt's token; the script does nothing if a job of the attempt already runs. None: no attempt.

    Raises:
        ValueError: a value has more than one line.
    """
    # The payload replaces the shell, so that signals reach it.
    payload = [*PAYLOAD, *(["--token", token] if token is not None else []), "--", *command]
    return script_text(
        [*map(require_one_line, scheduler.script_lines(folder, request))],
        [
            f"cd -- {quoted(folder)} || exit 4",
            *environment.lines(),
            f"exec {' '.join(map(quoted, payload))}",
        ],
    )

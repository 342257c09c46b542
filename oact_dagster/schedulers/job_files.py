"""The script in each job folder, by which a user can submit that calculation by hand."""

from collections.abc import Sequence
from pathlib import Path

from oact_dagster.schedulers.job_array import ResourceRequest
from oact_dagster.schedulers.job_script import PAYLOAD, JobEnvironment, quoted, require_one_line, script_text
from oact_dagster.schedulers.protocol import Scheduler
from oact_dagster.schedulers.registry import SCHEDULERS, make_scheduler
from oact_dagster.settings.launcher import LauncherSettings


def job_file_names() -> set[str]:
    """The names of these scripts, of all schedulers."""
    return {scheduler.script_name for scheduler in SCHEDULERS.values()}


def job_environment(settings: LauncherSettings) -> JobEnvironment:
    """What every job of a campaign sets up."""
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
    """The name and the text of a job folder's script; empty for a launcher that is not a scheduler.

    See :func:`job_file_text`.
    """
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
        scheduler: whose directives it holds.
        folder: where the script will be; absolute.
        request: what the job asks for.
        command: the engine with its arguments.
        environment: what is set up first.
        token: of the attempt. Where a job of it runs already, the script runs nothing. None: there is no attempt.

    Raises:
        ValueError: a value has more than one line.
    """
    # The payload takes the script's place, so that signals reach it.
    payload = [*PAYLOAD, *(["--token", token] if token is not None else []), "--", *command]
    return script_text(
        [*map(require_one_line, scheduler.script_lines(folder, request))],
        [
            f"cd -- {quoted(folder)} || exit 4",
            *environment.lines(),
            f"exec {' '.join(map(quoted, payload))}",
        ],
    )

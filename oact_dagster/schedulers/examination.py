"""Asking a campaign's scheduler, before anything is submitted, what it would say to its jobs."""

from collections.abc import Sequence

from oact_dagster.errors import LauncherError, NoAnswerError
from oact_dagster.schedulers.protocol import Finding, PlannedJobs
from oact_dagster.schedulers.registry import make_scheduler
from oact_dagster.settings.launcher import LauncherSettings


def examine_jobs(settings: LauncherSettings, wanted: Sequence[PlannedJobs]) -> list[Finding]:
    """Ask the scheduler of ``launcher.kind``; processes of this machine need none.

    Args:
        settings: of the campaign.
        wanted: the jobs that it would submit.

    Returns:
        What was found; where the scheduler cannot be asked, that.
    """
    scheduler = make_scheduler(settings)
    if scheduler is None or not wanted:
        return []
    found: list[Finding] = []
    try:
        found.extend(scheduler.examine(wanted))
    except LauncherError as error:
        found.append(Finding(f"launcher.kind: {settings.kind}: {error}", blocks=True))
    except NoAnswerError as error:
        found.append(
            Finding(
                f"{settings.kind} does not answer ({error}): whether it takes the jobs could not be asked"
            )
        )
    return found

"""Taking a CSV in and running its structures in the foreground: what ``oact run`` and ``oact demo`` share."""

import sys
from collections.abc import Iterator

import click

from oact_dagster.campaign import Campaign
from oact_dagster.cli.environment import shown_path
from oact_dagster.cli.errors import EXIT_INTERRUPTED, RefusedError

SHOWN_REJECTIONS = 10


def check_before(campaign: Campaign) -> None:
    """Find all that would keep any structure from being run, before anything is marked running.

    Raises:
        RefusedError: with a line for each thing.
    """
    from oact_dagster.execution.engine import EngineError, find_engine
    from oact_dagster.execution.job_folder import input_settings
    from oact_dagster.orca.inputs import InputRefused, check_settings

    found = []
    try:
        find_engine(campaign)
    except EngineError as error:
        found.append(str(error))
    try:
        check_settings(input_settings(campaign), ())
    except InputRefused as error:
        found.append(f"{campaign.file}: orca: {error}")
    try:
        with campaign.csv.open("rb"):
            pass
    except OSError as error:
        found.append(f"{campaign.file}: csv: {campaign.csv}: {error.strerror or error}")
    if found:
        raise RefusedError("\n".join(found))


def take_in_if_needed(campaign: Campaign) -> None:
    """Take the CSV in where it is new or has changed, and say what came of it.

    Raises:
        RefusedError: the CSV is refused, or cannot be taken in.
    """
    from oact_dagster.defs.in_process import needs_intake, run_intake

    if not needs_intake(campaign):
        return
    click.echo(f"taking in {campaign.csv}")
    end = run_intake(campaign)
    if not end.success:
        raise RefusedError(end.message or "the intake did not succeed")
    for line in _intake_lines(campaign):
        click.echo(line)


def _intake_lines(campaign: Campaign) -> Iterator[str]:
    from oact_dagster.ledger.store import Ledger

    with Ledger(campaign.ledger) as ledger:
        rejected = ledger.count_rejections()
        yield f"{sum(ledger.count_by_status().values())} structures in the ledger, {rejected} rejected rows"
        for row in ledger.rejections(SHOWN_REJECTIONS):
            yield f"  row {row.orig_index} (line {row.line}) rejected: {row.reason}"
        if rejected > SHOWN_REJECTIONS:
            yield f"  and {rejected - SHOWN_REJECTIONS} more"


def run_structures(
    campaign: Campaign, select: str, *, limit: int | None = None, ignore_budget: bool = False
) -> int:
    """Run structures with a progress bar, then show the dashboard and what is left to do.

    Args:
        campaign: its settings.
        select: see :func:`oact_dagster.execution.selection.resolve`.
        limit: at most so many structures.
        ignore_budget: run also what has used up its budget.

    Returns:
        The exit code: 0 when every structure asked for is completed, 1 when not, 130 after Ctrl+C.

    Raises:
        RefusedError: nothing could be run.
    """
    from oact_dagster.cli.progress import make_progress
    from oact_dagster.defs.in_process import run_selection
    from oact_dagster.execution.selection import BY_STATUS, resolve
    from oact_dagster.ledger.store import Ledger

    with Ledger(campaign.ledger) as ledger:
        wanted = len(resolve(ledger, select, limit=limit, ignore_budget=ignore_budget).orig_indices)
    if not wanted:
        click.echo("nothing to compute")
        return _finish(campaign, [], whole=True)
    with make_progress() as progress:
        end = run_selection(campaign, select, limit=limit, ignore_budget=ignore_budget, watch=progress.watch)
    tally = progress.tally
    if not tally.began and not end.success and not end.cancelled:
        raise RefusedError(end.message or f"the run {end.run_id} did not begin")
    if not tally.computed and not tally.failed and tally.reused == tally.asked:
        click.echo("nothing to compute")
    problems = tally.problem_lines()
    if not (end.success or end.cancelled or tally.failed or tally.not_run):
        problems.append(f"the run did not succeed: {end.message}")
    code = _finish(campaign, problems, whole=select in BY_STATUS and limit is None)
    if end.cancelled:
        click.echo("oact: interrupted; the same command goes on where it stopped", err=True)
        return EXIT_INTERRUPTED
    return code


def _finish(campaign: Campaign, problems: list[str], *, whole: bool) -> int:
    """Show the dashboard, the problems and what to do about them; return the exit code."""
    from oact_dagster.cli.dashboard_text import dashboard_lines
    from oact_dagster.execution.summary import summarise
    from oact_dagster.ledger.store import Ledger

    with Ledger(campaign.ledger) as ledger:
        summary = summarise(ledger)
        set_aside = ledger.count_set_aside(campaign.retry.max_failures, campaign.retry.max_losses)
    click.echo()
    for line in dashboard_lines(summary, sys.stdout.encoding):
        click.echo(line)
    command = f"oact run {shown_path(campaign.file)}"
    left = summary.total - summary.completed
    if summary.total and not left:
        click.echo(f"\nall {summary.total} structures are completed")
    for line in problems:
        click.echo(f"oact: {line}", err=True)
    if summary.held:
        click.echo(
            f"oact: {summary.held} held: `oact release {shown_path(campaign.file)}` releases them", err=True
        )
    if set_aside:
        click.echo(
            f"oact: {set_aside} set aside, their budget (retry) is used up: `{command} --ignore-budget` runs them"
            " again",
            err=True,
        )
    if whole and left and not problems:
        click.echo(f"oact: {left} structures are not completed", err=True)
    if whole and not summary.total:
        click.echo("oact: there is no structure to run: every row of the CSV was rejected", err=True)
    return 1 if problems or (whole and (left or not summary.total)) else 0

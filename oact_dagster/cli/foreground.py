"""Intake and runs in the foreground, as ``oact run`` and ``oact demo`` share them."""

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from oact_dagster.cli.environment import shown_path
from oact_dagster.cli.errors import EXIT_INTERRUPTED, RefusedError, warn
from oact_dagster.settings.campaign import Campaign
from oact_dagster.text import pluralise

if TYPE_CHECKING:
    from oact_dagster.attempts.selection import Selection

SHOWN_REJECTIONS: Final = 10
SHOWN_GROUPS: Final = 3
"""Groups of structures with the same calculation that are shown."""


def check_before(campaign: Campaign, orca_option: str = "") -> None:
    """Find everything that would stop all structures, before any is marked running.

    ``orca_option`` is the option that sets ORCA's path; a message on a wrong path names it.

    Raises:
        RefusedError: with a line for each problem.
    """
    from oact_dagster.attempts.engine import find_engine
    from oact_dagster.attempts.input_text import input_settings
    from oact_dagster.attempts.job_layout import jobs_dir_refused
    from oact_dagster.attempts.setup_hook import load_setup_func
    from oact_dagster.errors import CampaignError, EngineError, InputRefused
    from oact_dagster.orca.inputs.writer import check_settings

    found = []
    try:
        find_engine(campaign)
    except EngineError as error:
        found.append(f"{error} ({orca_option})" if orca_option else str(error))
    try:
        check_settings(input_settings(campaign), ())
    except InputRefused as error:
        found.append(f"{campaign.file}: orca: {error}")
    try:
        load_setup_func(campaign)
    except CampaignError as error:
        found.append(str(error))
    try:
        if campaign.csv is not None:
            with campaign.csv.open("rb"):
                pass
    except OSError as error:
        found.append(f"{campaign.file}: csv: {campaign.csv}: {error.strerror or error}")
    if refused := jobs_dir_refused(campaign.jobs_dir):
        found.append(refused)
    if found:
        raise RefusedError("\n".join(found))


def take_in_if_needed(campaign: Campaign) -> None:
    """Take in the CSV if it is new or has changed, and print the result.

    Raises:
        RefusedError: the CSV is refused, or cannot be taken in.
    """
    from oact_dagster.defs.in_process import needs_intake, run_intake

    if not needs_intake(campaign):
        return
    click.echo(f"taking in {campaign.csv or campaign.ledger}")
    end = run_intake(campaign)
    if not end.success:
        raise RefusedError(end.message or "the intake did not succeed")
    for line in intake_lines(campaign):
        click.echo(line)


def intake_lines(campaign: Campaign) -> Iterator[str]:
    """Yield lines on the ledger of a campaign whose CSV has just been taken in."""
    from oact_dagster.ledger.store import Ledger

    with Ledger(campaign.ledger) as ledger:
        rejected = ledger.intake.count_rejections()
        structures = pluralise(sum(ledger.figures.count_by_status().values()), "structure")
        yield f"{structures} in the ledger, {pluralise(rejected, 'rejected row')}"
        for row in ledger.intake.rejections(SHOWN_REJECTIONS):
            yield f"  row {row.orig_index} (line {row.line}) rejected: {row.reason}"
        if rejected > SHOWN_REJECTIONS:
            yield f"  and {rejected - SHOWN_REJECTIONS} more: {_show_rejected(campaign)}"
        repeats, groups = ledger.intake.same_calculations(SHOWN_GROUPS)
        if repeats:
            shown = "; ".join(" = ".join(map(str, group)) for group in groups)
            more = "; …" if repeats > sum(len(group) - 1 for group in groups) else ""
            repeating = "1 structure repeats" if repeats == 1 else f"{repeats} structures repeat"
            yield f"{repeating} the calculation of another one: rows {shown}{more}"
    if campaign.charge_column is None:
        yield "charge_column is null: charge 0 for all"
    if campaign.spin_column is None:
        yield "spin_column is null: no unpaired electrons for all"


def _show_rejected(campaign: Campaign) -> str:
    return f"`oact dashboard {shown_path(campaign.file)} --show-rejected` lists them with the reasons"


def warn_of_cores(campaign: Campaign) -> None:
    """Warn if the concurrent calculations want more cores than this process may use."""
    # Parsl's launcher refuses such settings itself.
    if campaign.launcher.in_workers or not campaign.launcher.on_this_machine:
        return
    workers, cores = campaign.launcher.max_workers, campaign.orca.n_cores
    usable = usable_cores()
    if workers * cores > usable:
        warn(
            f"launcher.max_workers {workers} times orca.n_cores {cores} is {workers * cores} cores, but this process"
            f" may use only {usable}: calculations will slow each other down"
        )


def usable_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_structures(campaign: Campaign, selection: "Selection") -> int:
    """Run the selected structures with a progress bar; then show the dashboard and what is left to do.

    Returns:
        The exit code: 0 if every structure asked for is completed, 1 if not, 130 after Ctrl+C.

    Raises:
        RefusedError: nothing could be run.
    """
    from oact_dagster.attempts.selection import resolve
    from oact_dagster.cli.progress import make_progress
    from oact_dagster.defs.in_process import count_unshown, run_selection
    from oact_dagster.ledger.store import Ledger

    with Ledger(campaign.ledger) as ledger:
        rejected = ledger.intake.count_rejections()
        if rejected and not sum(ledger.figures.count_by_status().values()):
            raise RefusedError(
                f"nothing could be run: {'the only row' if rejected == 1 else f'all {rejected} rows'} of the CSV"
                f" {'was' if rejected == 1 else 'were'} rejected; {_show_rejected(campaign)}"
            )
        wanted = len(resolve(campaign, ledger, selection).orig_indices)
    unshown = count_unshown(campaign) if not wanted and selection.whole else 0
    if unshown:
        click.echo(f"adding to Dagster {pluralise(unshown, 'result')} that it does not show yet")
    elif not wanted:
        click.echo("nothing to compute")
        return _finish(campaign, [], whole=True)
    warn_of_cores(campaign)
    with make_progress() as progress:
        end = run_selection(campaign, selection, watch=progress.watch)
    tally = progress.tally
    if not tally.began and not end.success and not end.cancelled:
        raise RefusedError(end.message or f"the run {end.run_id} did not start")
    if not tally.computed and not tally.failed and tally.reused == tally.asked:
        click.echo("nothing to compute")
    problems = tally.problem_lines()
    if end.without_dagster:
        problems.append(end.message)
    elif not (end.success or end.cancelled or tally.failed or tally.not_run):
        problems.append(f"the run did not succeed: {end.message}")
    code = _finish(campaign, problems, whole=selection.whole)
    if end.cancelled:
        click.echo("oact: interrupted; the same command continues where it stopped", err=True)
        return EXIT_INTERRUPTED
    return code


def _finish(campaign: Campaign, problems: list[str], *, whole: bool) -> int:
    """Show the dashboard, the problems and their remedies; return the exit code."""
    from oact_dagster.cli.dashboard_text import dashboard_lines
    from oact_dagster.ledger.store import Ledger
    from oact_dagster.status.overview import overview_of
    from oact_dagster.status.staleness import stale_results

    with Ledger(campaign.ledger) as ledger:
        retry = campaign.retry
        summary = overview_of(ledger, retry, retry_key=campaign.retry_key())
        set_aside = summary.set_aside
        reasons = ledger.figures.set_aside_by_class(retry.max_failures, retry.max_losses) if set_aside else []
        stale = stale_results(campaign, ledger)
    click.echo()
    for line in dashboard_lines(summary, sys.stdout.encoding):
        click.echo(line)
    command = f"oact run {shown_path(campaign.file)}"
    left = summary.total - summary.completed
    if summary.total and not left:
        click.echo(
            "\nthe only structure is completed"
            if summary.total == 1
            else f"\nall {summary.total} structures are completed"
        )
    for line in problems:
        click.echo(f"oact: {line}", err=True)
    if summary.held:
        click.echo(
            f"oact: {summary.held} held: `oact release {shown_path(campaign.file)}` releases them", err=True
        )
    if stale:
        click.echo(
            f"oact: {pluralise(stale, 'result', 'was', 'were')} made with settings other than the present ones:"
            f" `{command} --stale` computes {'it' if stale == 1 else 'them'} again",
            err=True,
        )
    if whole and left and not problems:
        verb = "is" if left == 1 else "are"
        click.echo(f"oact: {pluralise(left, 'structure')} {verb} not completed", err=True)
    if whole and not summary.total:
        click.echo("oact: there is no structure to run", err=True)
    if set_aside:
        told = ", ".join(f"{kind} {count}" for kind, count in reasons)
        whose = "its" if set_aside == 1 else "their"
        click.echo(
            f"oact: {set_aside} set aside, {whose} budget (retry) is used up ({told}): `{command} --ignore-budget`"
            f" continues with {whose} remedies, as does a larger retry.max_failures (for lost ones: retry.max_losses)",
            err=True,
        )
    return 1 if problems or (whole and (left or not summary.total)) else 0

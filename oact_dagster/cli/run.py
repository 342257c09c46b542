"""``oact run``."""

from typing import Final

import click

_EXAMPLE: Final = """\
\b
Exit code: 0 when all structures asked for are completed, 1 when not, 2 when nothing could
be run, 130 after Ctrl+C.

\b
Example:
  oact run campaign.yaml
  oact run campaign.yaml --structures 0-9,15
"""


@click.command(epilog=_EXAMPLE)
@click.argument("campaign")
@click.option(
    "--structures", metavar="0-9,15", help="Only these structures (row numbers of the CSV, from 0)."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many, most urgent first.")
@click.option("--ignore-budget", is_flag=True, help="Run also what has used up its budget of retries.")
@click.option(
    "--stale",
    is_flag=True,
    help="Compute again the results that were made with other settings than the present.",
)
@click.option(
    "--take-over", is_flag=True, help="Take the ledger from another host that died while it had it."
)
@click.pass_context
def run(
    ctx: click.Context,
    campaign: str,
    structures: str | None,
    limit: int | None,
    ignore_budget: bool,
    stale: bool,
    take_over: bool,
) -> None:
    """Run a campaign's structures in the foreground: all that are not completed, or those named.

    CAMPAIGN is a campaign.yaml or its folder. The CSV is taken in first where it is new or has grown. Ctrl+C lets
    running calculations end in launcher.stop_grace_s; a second one ends them now. The same command goes on later.
    """
    from oact_dagster.attempts.selection import STALE, Selection, parse_indices
    from oact_dagster.cli.foreground import check_before, run_structures, take_in_if_needed
    from oact_dagster.settings.campaign import load_campaign

    if stale and structures is not None:
        raise click.UsageError("--stale and --structures exclude each other")
    settings = load_campaign(campaign)
    if structures is not None:
        parse_indices(structures)
    check_before(settings)
    take_in_if_needed(settings)
    words = structures or (STALE if stale else "unfinished")
    ctx.exit(run_structures(settings, Selection(words, limit, ignore_budget, take_over)))

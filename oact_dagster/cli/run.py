"""``oact run``."""

from typing import Final

import click

_EXAMPLE: Final = """\
\b
Exit code: 0 if all structures asked for are completed, 1 if not, 2 if nothing could be run,
130 after Ctrl+C.

\b
Example:
  oact run campaign.yaml
  oact run campaign.yaml --structures 0-9,15
"""


@click.command(epilog=_EXAMPLE)
@click.argument("campaign")
@click.option(
    "--structures", metavar="0-9,15", help="Run only these structures (row numbers of the CSV, from 0)."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Run at most N, most urgent first.")
@click.option("--ignore-budget", is_flag=True, help="Also run structures that have used up their retries.")
@click.option(
    "--stale",
    is_flag=True,
    help="Recompute results that were made with other settings.",
)
@click.option("--take-over", is_flag=True, help="Take over the ledger from a host that died while it had it.")
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
    """Run a campaign in the foreground.

    Runs all structures that are not completed, or those named. CAMPAIGN is a campaign.yaml or its folder. Takes in the
    CSV first if it is new or has grown. After Ctrl+C, running calculations may end within launcher.stop_grace_s; a
    second Ctrl+C ends them now. The same command continues later.
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

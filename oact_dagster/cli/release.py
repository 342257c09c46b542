"""``oact release``."""

from typing import Final

import click

from oact_dagster.cli.ledger_argument import found_ledger

EXAMPLE: Final = """\
\b
Example:
  oact release oact-demo --structures 0-9,15
  oact release workflow.db
"""


@click.command(epilog=EXAMPLE)
@click.argument("campaign", metavar="CAMPAIGN|DB")
@click.option("--structures", metavar="0-9,15", help="Only these; all held ones otherwise.")
def release(campaign: str, structures: str | None) -> None:
    """Release held structures, so that runs take them again.

    The argument is a campaign.yaml, its folder, or a ledger (workflow.db). Structures are held when a run is terminated
    in the web page.
    """
    from oact_dagster.execution.selection import parse_indices
    from oact_dagster.ledger.store import Ledger

    path, _ = found_ledger(campaign)
    named = None if structures is None else parse_indices(structures)
    with Ledger(path) as ledger:
        released = ledger.release(named)
    others = (
        f" of {len(named)} named ones; the others were not held" if named and released < len(named) else ""
    )
    click.echo(f"{released} structures released{others}")

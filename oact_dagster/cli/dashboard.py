"""``oact dashboard``."""

import json
import sys
from pathlib import Path
from typing import Final

import click

EXAMPLE: Final = """\
\b
Example:
  oact dashboard oact-demo
  oact dashboard workflow.db --json
  oact dashboard oact-demo --show-rejected
"""


@click.command(epilog=EXAMPLE)
@click.argument("campaign")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--show-rejected", is_flag=True, help="List all rejected rows of the CSV with the reasons.")
def dashboard(campaign: str, as_json: bool, show_rejected: bool) -> None:
    """Show what a campaign has done so far, also while it runs.

    CAMPAIGN is a campaign.yaml, its folder, or a ledger (workflow.db).
    """
    from oact_dagster.execution.summary import summarise
    from oact_dagster.ledger.store import Ledger

    with Ledger(_ledger_of(campaign)) as ledger:
        summary = summarise(ledger)
        rejections = ledger.rejections() if show_rejected else []
    if as_json:
        from oact_dagster.cli.dashboard_json import dashboard_json, rejections_json

        values = dashboard_json(summary)
        if show_rejected:
            values["rejections"] = rejections_json(rejections)
        click.echo(json.dumps(values, indent=2))
        return
    from oact_dagster.cli.dashboard_text import dashboard_lines, rejection_lines

    click.echo("\n".join(dashboard_lines(summary, sys.stdout.encoding)))
    if show_rejected:
        click.echo("\n" + "\n".join(rejection_lines(rejections)))


def _ledger_of(campaign: str) -> Path:
    path = Path(campaign).expanduser()
    if path.is_file():
        with path.open("rb") as stream:
            if stream.read(15) == b"SQLite format 3":
                return path
    from oact_dagster.campaign import load_campaign

    return load_campaign(path).ledger

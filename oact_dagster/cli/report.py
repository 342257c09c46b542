"""``oact report``."""

from pathlib import Path
from typing import Final

import click

from oact_dagster.cli.size_text import size_text
from oact_dagster.text import pluralise

_EXAMPLE: Final = """\
\b
Example:
  oact report campaign.yaml
  oact report campaign.yaml -o ~/report.html
"""


@click.command(epilog=_EXAMPLE)
@click.argument("campaign")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File to write (default: report.html beside campaign.yaml).",
)
def report(campaign: str, output: Path | None) -> None:
    """Write one HTML report of a campaign.

    CAMPAIGN is a campaign.yaml or its folder. The file needs no network. The ledger is only read, even while runs are
    at work. Overwrites an earlier report, but never any other file.
    """
    from oact_dagster.cli.bar import bar_on_stderr
    from oact_dagster.ledger.read_only import open_reader
    from oact_dagster.report.writer import write_report
    from oact_dagster.settings.campaign import load_campaign
    from oact_dagster.status.quality import evaluate

    settings = load_campaign(campaign)
    target = None if output is None else output.expanduser().absolute()
    with open_reader(settings.ledger) as ledger, bar_on_stderr("writing the report") as told:
        written = write_report(settings, ledger, target, quality=evaluate(settings, ledger), progress=told)
    structures = pluralise(written.structures, "structure", form=",")
    click.echo(f"{written.path}: {size_text(written.size)}, {structures}")

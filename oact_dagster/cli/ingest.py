"""``oact ingest``."""

import sys
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from oact_dagster.cli.bar import bar_on_stderr
from oact_dagster.cli.errors import RefusedError
from oact_dagster.text import pluralise, printable

_EXAMPLE: Final = """\
\b
Exit code: 0 if the CSV is taken in, with or without refused rows; 2 if the whole CSV is
refused, and nothing was written.

\b
Example:
  oact ingest architector_output.csv workflow.db
  oact ingest complexes.csv workflow.db --geometry-column xyz --spin-column null
  oact ingest campaign.yaml
"""

_NULL: Final = "null"


@click.command(epilog=_EXAMPLE)
@click.argument("csv", metavar="CSV|CAMPAIGN", type=click.Path(path_type=Path))
@click.argument("db", required=False, type=click.Path(path_type=Path))
@click.option(
    "--geometry-column",
    metavar="COLUMN",
    default="aligned_csd_core",
    show_default=True,
    help="Column of geometries: `El x y z` lines in Å, or XYZ.",
)
@click.option(
    "--charge-column",
    metavar="COLUMN",
    default="charge",
    show_default=True,
    help="Column of charges; null: 0 for all.",
)
@click.option(
    "--spin-column",
    metavar="COLUMN",
    default="uhf",
    show_default=True,
    help="Column of unpaired electrons; null: 0 for all.",
)
@click.option(
    "--annotate",
    metavar="COLUMN",
    multiple=True,
    help="Column to write into each input as a comment, such as metal_ox for the stand-in engine; repeatable.",
)
@click.pass_context
def ingest(
    ctx: click.Context,
    csv: Path,
    db: Path | None,
    geometry_column: str,
    charge_column: str,
    spin_column: str,
    annotate: tuple[str, ...],
) -> None:
    """Take a CSV into a ledger; run nothing.

    The ledger DB needs no campaign.yaml. Adds only new rows to an existing ledger. CAMPAIGN is a campaign.yaml or its
    folder, which names the CSV, its columns and the ledger. Checks every row, and keeps a row that cannot be computed
    apart with the reason. The CSV may only grow at its end afterwards.
    """
    from oact_dagster.intake.ingestion import ingest_campaign
    from oact_dagster.intake.ingestion import ingest_csv as take_in

    if db is None and (csv.is_dir() or csv.suffix in (".yaml", ".yml")):
        from oact_dagster.settings.campaign import load_campaign

        campaign = load_campaign(csv)
        for name in ("geometry_column", "charge_column", "spin_column", "annotate"):
            if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
                raise click.UsageError(
                    f"--{name.replace('_', '-')} has no effect: {campaign.file} names the columns"
                )
        with bar_on_stderr("taking in") as progress:
            report = ingest_campaign(campaign, progress)
        db = campaign.ledger
    elif db is None:
        raise click.UsageError(f"name the DB, too: oact ingest {csv} workflow.db")
    else:
        if not csv.expanduser().is_file():
            what = "is a folder" if csv.expanduser().is_dir() else "no such file"
            raise RefusedError(f"{csv}: {what}; name the CSV with the structures")
        with bar_on_stderr("taking in") as progress:
            report = take_in(
                csv,
                db,
                geometry_column=geometry_column,
                charge_column=_column(charge_column),
                spin_column=_column(spin_column),
                annotate=annotate or None,
                progress=progress,
            )
    for line in report.lines():
        click.echo(printable(line, sys.stdout.encoding))
    click.echo(f"{pluralise(report.structures, 'structure')} in {db}")


def _column(name: str) -> str | None:
    return None if name.strip().lower() == _NULL else name

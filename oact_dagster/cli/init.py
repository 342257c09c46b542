"""``oact init``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from oact_dagster.cli.campaign_folder import new_file, orca_command, say_what_next, valid_name, write_files
from oact_dagster.cli.errors import warn
from oact_dagster.text import pluralise

if TYPE_CHECKING:
    from oact_dagster.settings.campaign import Campaign

DRY_ROWS: Final = 5
NULL: Final = "null"

_EXAMPLE: Final = """\
\b
Example:
  oact init complexes.csv --folder campaign --orca /opt/orca_6_1_0/orca
  oact init --from-db old/workflow.db --folder campaign --orca /opt/orca_6_1_0/orca
"""


@click.command(epilog=_EXAMPLE)
@click.argument("csv", type=click.Path(path_type=Path), required=False)
@click.option(
    "--from-db",
    metavar="WORKFLOW_DB",
    type=click.Path(path_type=Path),
    help="Make the campaign from an existing ledger, also the older tool's, without its CSV.",
)
@click.option(
    "--jobs-dir",
    metavar="JOBS_DIR",
    type=click.Path(path_type=Path),
    help="With --from-db: folder of the job folders (default: from the ledger's rows).",
)
@click.option(
    "--folder",
    default=".",
    type=click.Path(path_type=Path),
    help="Folder to write to (default: the current one).",
)
@click.option("--name", help="The campaign's name (default: from the CSV's name).")
@click.option("--orca", metavar="PATH", help="The orca program, or standin (default: the orca on PATH).")
@click.option(
    "--profile", metavar="NAME", help="A site's settings, from ~/.config/oact/profiles.yaml or OACT_PROFILES."
)
@click.option("--geometry-column", metavar="COLUMN", help="Column of geometries (default: guessed).")
@click.option(
    "--charge-column", metavar="COLUMN", help="Column of charges; null: 0 for all (default: guessed)."
)
@click.option(
    "--spin-column",
    metavar="COLUMN",
    help="Column of unpaired electrons; null: 0 for all (default: guessed).",
)
@click.option("--force", is_flag=True, help="Overwrite an existing campaign.yaml.")
def init(
    csv: Path | None,
    from_db: Path | None,
    jobs_dir: Path | None,
    folder: Path,
    name: str | None,
    orca: str | None,
    profile: str | None,
    geometry_column: str | None,
    charge_column: str | None,
    spin_column: str | None,
    force: bool,
) -> None:
    """Write a campaign.yaml for your own CSV.

    Guesses the columns that you do not name, says why, and shows the first inputs. Runs nothing, and makes no job
    folders. With --from-db the structures come from a ledger: their results are compared with their folders and kept.
    """
    if (csv is None) == (from_db is None):
        raise click.UsageError("give a CSV, or a ledger with --from-db")
    if from_db is not None:
        if any(value is not None for value in (geometry_column, charge_column, spin_column)):
            raise click.UsageError(
                "column options need a CSV; with --from-db the structures are in the ledger"
            )
        from oact_dagster.cli.init_from_db import init_from_db

        init_from_db(from_db, folder, name=name, orca=orca, jobs_dir=jobs_dir, force=force, profile=profile)
        return
    if jobs_dir is not None:
        raise click.UsageError("--jobs-dir needs --from-db")
    stated: dict[str, str | None] = {} if geometry_column is None else {"geometry_column": geometry_column}
    for key, value in (("charge_column", charge_column), ("spin_column", spin_column)):
        if value is not None:
            stated[key] = None if value.strip().lower() == NULL else value
    assert csv is not None
    _init_from_csv(csv, folder, name, orca, profile, stated, force=force)


def _init_from_csv(
    csv: Path,
    folder: Path,
    name: str | None,
    orca: str | None,
    profile: str | None,
    stated: dict[str, str | None],
    *,
    force: bool,
) -> None:
    """Write the campaign's files; columns that are not stated are guessed.

    Raises:
        IntakeRefused: A stated column does not exist, or one that is not stated cannot be guessed.
    """
    from oact_dagster.cli.campaign_template import campaign_text
    from oact_dagster.intake.column_guess import guess_columns
    from oact_dagster.intake.first_inputs import first_inputs
    from oact_dagster.settings.campaign import CAMPAIGN_FILE, checked_profile, read_campaign

    csv, folder = (Path(os.path.abspath(path.expanduser())) for path in (csv, folder))
    file = new_file(folder, CAMPAIGN_FILE, force=force)
    site = None if profile is None else checked_profile(profile)
    columns = guess_columns(csv, stated)
    text = campaign_text(
        {
            "name": name or valid_name(csv.stem),
            "csv": csv.relative_to(folder) if csv.is_relative_to(folder) else csv,
            "geometry_column": columns.geometry,
            "charge_column": columns.charge,
            "spin_column": columns.spin,
            "annotate": columns.annotate,
            "orca.command": orca_command(orca, site),
        },
        site,
    )
    campaign = read_campaign(text, file)
    rows = list(first_inputs(campaign, DRY_ROWS))
    written = write_files(file, text, force=force)

    click.echo("Columns:")
    for key, reason in columns.reasons:
        click.echo(f"  {key}: {_shown_column(campaign, key)}  ({reason})")
    for warning in columns.warnings:
        warn(warning)
    click.echo(f"\nThe first {DRY_ROWS} inputs (dry run: nothing is written):")
    for row in rows:
        _show(row)
    click.echo("\n" + "\n".join(written))
    say_what_next(campaign)


def _shown_column(campaign: "Campaign", key: str) -> str:
    value = getattr(campaign, key)
    if value is None:
        return NULL
    return value if isinstance(value, str) else ", ".join(value) or "none"


def _show(row: object) -> None:
    from oact_dagster.intake.first_inputs import DryInput, DryRefusal

    if isinstance(row, DryRefusal):
        click.echo(f"  row {row.orig_index} (line {row.line}): refused: {row.reason}")
    elif isinstance(row, DryInput):
        click.echo(f"  row {row.orig_index}: {row.file}")
        click.echo(f"    {row.keywords}")
        click.echo(
            f"    charge {row.charge}, multiplicity {row.multiplicity}, {pluralise(row.natoms, 'atom')}"
        )
        for warning in row.warnings:
            click.echo(f"    warning: {warning}")

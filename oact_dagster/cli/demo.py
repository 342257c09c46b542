"""``oact demo``."""

import shutil
from pathlib import Path
from typing import Final

import click

from oact_dagster.cli.errors import RefusedError

_EXAMPLE: Final = """\
\b
Example:
  oact demo
  oact web oact-demo
"""


@click.command(epilog=_EXAMPLE)
@click.argument("folder", default="oact-demo", type=click.Path(path_type=Path))
@click.pass_context
def demo(ctx: click.Context, folder: Path) -> None:
    """Run 31 real metal complexes without ORCA.

    A stand-in engine takes ORCA's place. Makes FOLDER (oact-demo) with campaign.yaml, the CSV, the ledger and the job
    folders, and runs it from CSV to summary. Run again, it computes only what is missing.
    """
    _check_standin()
    folder = folder.expanduser()
    _make(folder)
    from oact_dagster.attempts.selection import Selection
    from oact_dagster.cli.environment import export_lines, shown_path
    from oact_dagster.cli.foreground import check_before, run_structures, take_in_if_needed
    from oact_dagster.settings.campaign import load_campaign

    settings = load_campaign(folder)
    check_before(settings)
    take_in_if_needed(settings)
    code = run_structures(settings, Selection("unfinished"))
    click.echo(f"\nThe web page on it:      oact web {shown_path(settings.folder)}")
    click.echo("For Dagster's own commands:")
    for line in export_lines(settings):
        click.echo(f"  {line}")
    ctx.exit(code)


def _check_standin() -> None:
    import importlib.util

    if importlib.util.find_spec("tblite") is None:
        raise RefusedError("the demo's stand-in engine needs tblite: pip install 'oact-dagster[demo]'")


def _make(folder: Path) -> None:
    """Make the demo's folder, or complete an unfinished one.

    Raises:
        RefusedError: the folder holds something else.
    """
    from oact_dagster import demo as package
    from oact_dagster.files import atomic_file
    from oact_dagster.settings.campaign import CAMPAIGN_FILE

    source = Path(package.__file__).parent
    if (folder / CAMPAIGN_FILE).exists():
        _check_is_demo(folder)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(
            f"{folder}: already exists and is not a demo; name another folder: oact demo OTHER"
        )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / CAMPAIGN_FILE, folder / CAMPAIGN_FILE)
    csv = folder / "structures.csv"
    if not csv.exists():
        with atomic_file(csv) as part:
            shutil.copyfile(source / "structures.csv", part)


def _check_is_demo(folder: Path) -> None:
    from oact_dagster.settings.campaign import STANDIN, load_campaign

    settings = load_campaign(folder)
    if settings.name != "demo" or settings.orca.command != STANDIN:
        raise RefusedError(
            f"{folder}: holds the campaign {settings.name}, which is not a demo; name another folder: oact demo OTHER,"
            f" or run that campaign: oact run {folder}"
        )

"""The folder of a new campaign: its files, its engine, and the next steps."""

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oact_dagster.cli.errors import RefusedError, warn

if TYPE_CHECKING:
    from oact_dagster.settings.campaign import Campaign
    from oact_dagster.settings.profiles import Profile


def new_file(folder: Path, name: str, *, force: bool) -> Path:
    """Return the path of the file to write.

    Raises:
        RefusedError: the file exists, and ``force`` is not set.
    """
    file = folder / name
    if file.exists() and not force:
        raise RefusedError(f"{file}: already exists; --force overwrites it, --folder writes elsewhere")
    return file


def write_files(file: Path, text: str, *, force: bool) -> list[str]:
    """Write ``campaign.yaml`` and ``definitions.py``; return a line for each.

    Raises:
        OSError: they cannot be written.
    """
    from oact_dagster.cli.campaign_template import DEFINITIONS

    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    definitions = file.parent / "definitions.py"
    kept = definitions.exists() and definitions.read_text(encoding="utf-8", errors="replace") != DEFINITIONS
    if not kept or force:
        definitions.write_text(DEFINITIONS, encoding="utf-8")
    return [
        f"Written: {file}",
        f"Kept as it was: {definitions}" if kept and not force else f"Written: {definitions}",
    ]


def valid_name(stem: str) -> str:
    """Make a campaign's name from a file's: letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_")[:60] or "campaign"


def orca_command(given: str | None, profile: "Profile | None" = None) -> str | None:
    """The value of ``orca.command``: what the user gave, else the orca on PATH; None leaves it to the profile."""
    from oact_dagster.settings.campaign import STANDIN

    if given is None and profile is not None and profile.orca_command is not None:
        return None
    if given == STANDIN:
        return STANDIN
    if given is not None and (os.sep in given or Path(given).is_file()):
        return os.path.abspath(Path(given).expanduser())
    name = given or "orca"
    found = shutil.which(name)
    return os.path.abspath(found) if found else name


def say_what_next(campaign: "Campaign") -> None:
    """Print what the user can do with a new campaign; warn if ORCA cannot run yet."""
    from oact_dagster.attempts.engine import find_engine
    from oact_dagster.cli.environment import export_lines, shown_path
    from oact_dagster.errors import EngineError
    from oact_dagster.settings.campaign import STANDIN

    try:
        find_engine(campaign)
    except EngineError as error:
        command = campaign.orca.command
        missing = not Path(command).exists() if os.sep in command else shutil.which(command) is None
        told = "there is no such program yet" if missing and command != STANDIN else "it cannot run yet"
        warn(f"{told}: {error}")
    click.echo("\nNext:")
    click.echo(f"  oact check {shown_path(campaign.file)}")
    click.echo(f"  oact run {shown_path(campaign.file)}")
    click.echo(f"  oact web {shown_path(campaign.folder)}")
    click.echo("For Dagster's own commands:")
    for line in export_lines(campaign):
        click.echo(f"  {line}")

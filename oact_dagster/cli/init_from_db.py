"""``oact init --from-db``: a campaign from an existing ledger."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oact_dagster.cli.bar import bar_on_stderr
from oact_dagster.cli.errors import warn
from oact_dagster.cli.ledger_argument import refuse_root
from oact_dagster.text import pluralise

if TYPE_CHECKING:
    from oact_dagster.maintenance.existing_ledger import Guess, ResultsChecked


def init_from_db(
    db: Path,
    folder: Path,
    *,
    name: str | None,
    orca: str | None,
    jobs_dir: Path | None,
    force: bool,
    profile: str | None = None,
) -> None:
    """Write a ``campaign.yaml`` for a ledger, after checking its keys and results; only read the ledger.

    Raises:
        RefusedError: a campaign.yaml exists already, or ``jobs_dir`` is the whole file system.
        CampaignError: the profile does not exist, or is wrong.
        FromLedgerRefused: rows have no ``orig_index``, or share one; or their folders do not show the jobs folder.
        LedgerError: the file cannot be read.
    """
    from oact_dagster.attempts.job_layout import JobLayout
    from oact_dagster.cli.campaign_folder import (
        new_file,
        orca_command,
        say_what_next,
        valid_name,
        write_files,
    )
    from oact_dagster.cli.campaign_template import campaign_text
    from oact_dagster.ledger.read_only import open_reader
    from oact_dagster.maintenance.existing_ledger import check_keys, compare_results, guess_folders
    from oact_dagster.settings.campaign import CAMPAIGN_FILE, checked_profile, read_campaign

    db, folder = (Path(os.path.abspath(path.expanduser())) for path in (db, folder))
    file = new_file(folder, CAMPAIGN_FILE, force=force)
    site = None if profile is None else checked_profile(profile)
    with open_reader(db) as ledger:
        total = check_keys(ledger)
        named = None if jobs_dir is None else Path(os.path.abspath(jobs_dir.expanduser()))
        if named is not None:
            refuse_root(named)
        guess = guess_folders(ledger, named)
        text = campaign_text(
            {
                "name": name or valid_name(folder.name if folder.name else db.stem),
                "csv": None,
                "ledger": _shown(db, folder),
                "jobs_dir": _shown(guess.jobs_dir, folder),
                "job_dir_pattern": guess.pattern,
                "orca.command": orca_command(orca, site),
            },
            site,
        )
        campaign = read_campaign(text, file)
        with bar_on_stderr("comparing results with folders") as bar:
            checked = compare_results(
                ledger, JobLayout.of(campaign, ledger), None if bar is None else lambda done: bar(done, total)
            )
        counts = ledger.figures.count_by_status()
    written = write_files(file, text, force=force)
    click.echo(
        f"{db}: {pluralise(total, 'structure')}: "
        + ", ".join(f"{count} {status}" for status, count in counts.items())
    )
    click.echo(f"Job folders: {campaign.jobs_dir / campaign.job_dir_pattern}  ({guess.reason})")
    _tell_elsewhere(guess)
    _tell(checked)
    click.echo("\n" + "\n".join(written))
    click.echo(
        "The file has the default level of theory: change it to that of the ledger's results before the first run."
    )
    say_what_next(campaign)


def _tell_elsewhere(guess: "Guess") -> None:
    if not guess.elsewhere:
        return
    shown = ", ".join(f"{one.orig_index}: {one.job_dir}" for one in guess.first_elsewhere)
    more = ", ..." if guess.elsewhere > len(guess.first_elsewhere) else ""
    warn(
        f"{pluralise(guess.elsewhere, 'structure', 'has its job folder', 'have their job folder')} outside"
        f" {guess.jobs_dir}; {'its' if guess.elsewhere == 1 else 'their'} next attempt will be inside"
        f" (orig_index {shown}{more})"
    )


def _tell(checked: "ResultsChecked") -> None:
    if checked.completed:
        click.echo(
            f"Results: {checked.good} of {pluralise(checked.completed, 'completed structure')}"
            f" {'is proved by its folder' if checked.good == 1 else 'are proved by their folders'}"
        )
    for problem, count in checked.problems.most_common():
        shown = ", ".join(map(str, checked.examples[problem]))
        more = ", ..." if count > len(checked.examples[problem]) else ""
        warn(f"{pluralise(count, 'completed structure')}: {problem} (orig_index {shown}{more})")


def _shown(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)

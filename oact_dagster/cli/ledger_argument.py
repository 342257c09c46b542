"""An argument that names a ledger, a ``campaign.yaml`` or a campaign's folder."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from oact_dagster.cli.errors import RefusedError

if TYPE_CHECKING:
    from oact_dagster.settings.campaign import Campaign


def found_ledger(given: str | Path) -> tuple[Path, "Campaign | None"]:
    """Return the ledger, and its campaign if one is known.

    Raises:
        RefusedError: there is no such ledger.
        CampaignError: the settings cannot be read.
    """
    from oact_dagster.intake.bare_campaign import campaign_beside
    from oact_dagster.settings.campaign import is_ledger_file, load_campaign

    path = Path(given).expanduser()
    if is_ledger_file(path):
        return path, campaign_beside(path)
    if path.is_file() and path.suffix not in (".yaml", ".yml"):
        # Neither SQLite nor settings: opening it as a ledger says what is wrong, or that it is empty.
        return path, None
    if not path.exists() and path.suffix == ".db":
        raise RefusedError(
            f"{path}: no such ledger; `oact ingest CSV {path.name}` makes one, or `oact ingest campaign.yaml` for a"
            " campaign"
        )
    campaign = load_campaign(path)
    return campaign.ledger, campaign


def found_jobs_dir(given: Path | None, campaign: "Campaign | None") -> Path:
    """Return the folder that holds the job folders: the given one, else the campaign's.

    Raises:
        click.UsageError: neither is known.
        RefusedError: there is no such folder, or it is the whole file system.
    """
    jobs = given or (campaign.jobs_dir if campaign is not None else None)
    if jobs is None:
        raise click.UsageError("name the JOBS_DIR, too: there is no campaign.yaml beside the ledger")
    if not jobs.is_dir():
        raise RefusedError(f"{jobs}: no such folder; name the folder that holds the job folders")
    refuse_root(jobs)
    return jobs


def refuse_root(jobs: Path) -> None:
    """Refuse the root of the file system as a jobs folder: everything in it would pass for job folders.

    Raises:
        RefusedError: the folder is the root.
    """
    resolved = jobs.expanduser().resolve()
    if resolved == resolved.parent:
        raise RefusedError(f"{jobs}: is the whole file system; name the folder that holds the job folders")

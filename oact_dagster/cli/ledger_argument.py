"""The argument that is a ledger, a ``campaign.yaml`` or a campaign's folder."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from oact_dagster.cli.errors import RefusedError

if TYPE_CHECKING:
    from oact_dagster.settings.campaign import Campaign


def found_ledger(given: str | Path) -> tuple[Path, "Campaign | None"]:
    """The ledger, and the campaign that it belongs to where one is known.

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
        # No SQLite file and no settings: the ledger says so, or that it is empty.
        return path, None
    if not path.exists() and path.suffix == ".db":
        raise RefusedError(
            f"{path}: no such ledger; `oact ingest CSV {path.name}` makes one, or `oact ingest campaign.yaml` that of a"
            " campaign"
        )
    campaign = load_campaign(path)
    return campaign.ledger, campaign


def found_jobs_dir(given: Path | None, campaign: "Campaign | None") -> Path:
    """The folder that holds the job folders: the one given, or the campaign's.

    Raises:
        click.UsageError: there is neither.
        RefusedError: there is no such folder, or it is the whole file system.
    """
    jobs = given or (campaign.jobs_dir if campaign is not None else None)
    if jobs is None:
        raise click.UsageError("name the JOBS_DIR, too: no campaign.yaml lies beside the ledger")
    if not jobs.is_dir():
        raise RefusedError(f"{jobs}: no such folder; name the one that holds the job folders")
    refuse_root(jobs)
    return jobs


def refuse_root(jobs: Path) -> None:
    """Refuse the whole file system as a jobs folder: everything in it would be taken for job folders.

    Raises:
        RefusedError: it is that.
    """
    resolved = jobs.expanduser().resolve()
    if resolved == resolved.parent:
        raise RefusedError(f"{jobs}: is the whole file system; name the folder that holds the job folders")

"""The argument that is a ledger, a ``campaign.yaml`` or a campaign's folder."""

from pathlib import Path
from typing import TYPE_CHECKING

from oact_dagster.cli.errors import RefusedError

if TYPE_CHECKING:
    from oact_dagster.campaign import Campaign


def found_ledger(given: str | Path) -> tuple[Path, "Campaign | None"]:
    """The ledger, and the campaign that it belongs to where one is known.

    Raises:
        RefusedError: there is no such ledger.
        CampaignError: the settings cannot be read.
    """
    from oact_dagster.campaign import is_ledger_file, load_campaign
    from oact_dagster.execution.bare_campaign import campaign_beside

    path = Path(given).expanduser()
    if is_ledger_file(path):
        return path, campaign_beside(path)
    if path.is_file() and path.suffix not in (".yaml", ".yml"):
        # No SQLite file and no settings: the ledger says so, or that it is empty.
        return path, None
    if not path.exists() and path.suffix == ".db":
        raise RefusedError(
            f"{path}: no such ledger; `oact ingest CSV {path.name}` makes one, or `oact run campaign.yaml`"
        )
    campaign = load_campaign(path)
    return campaign.ledger, campaign

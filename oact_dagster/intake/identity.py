"""What stays the same over a campaign's whole life, and is kept in its ledger."""

import json

from oact_dagster.ledger.connection import LedgerError
from oact_dagster.ledger.reading import LedgerReader
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign

_KEY = "campaign"


def fix_names(campaign: Campaign, ledger: Ledger) -> None:
    """Keep the campaign's name and asset prefix: what is green in Dagster is so under these names.

    Raises:
        LedgerError: the ledger was taken in under others.
    """
    check_names(campaign, ledger)
    if ledger.meta(_KEY) is None:
        ledger.set_meta(_KEY, json.dumps(_names(campaign)))


def check_names(campaign: Campaign, ledger: LedgerReader) -> None:
    """Compare the campaign's names with those of its intake.

    Raises:
        LedgerError: they have changed; both are in the text.
    """
    kept = ledger.meta(_KEY)
    if kept is None:
        return
    then, now = json.loads(kept), _names(campaign)
    for key, value in now.items():
        if then.get(key) != value:
            raise LedgerError(
                f"{campaign.file}: {key}: is {value!r}, and was {then.get(key)!r} when the CSV was taken in: set that"
                " back, or Dagster would show nothing of what is done"
            )


def check_identity(campaign: Campaign, ledger: LedgerReader) -> None:
    """Compare names and level of theory with what the ledger's results have.

    Raises:
        LedgerError: something has changed; both are in the text.
    """
    check_names(campaign, ledger)
    ledger.check_level_of_theory(campaign.level_of_theory())


def _names(campaign: Campaign) -> dict[str, object]:
    return {"name": campaign.name, "asset_prefix": list(campaign.asset_prefix)}

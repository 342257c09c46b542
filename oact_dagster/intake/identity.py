"""A campaign's identity, which never changes: its names and its level of theory, kept in the ledger."""

import json

from oact_dagster.ledger.connection import LedgerError
from oact_dagster.ledger.level_of_theory import check_level_of_theory
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign

_KEY = "campaign"


def fix_names(campaign: Campaign, ledger: Ledger) -> None:
    """Store the campaign's name and asset prefix, under which Dagster has its materializations.

    Raises:
        LedgerError: The ledger already has other names.
    """
    check_names(campaign, ledger)
    if ledger.meta(_KEY) is None:
        ledger.set_meta(_KEY, json.dumps(_names(campaign)))


def check_names(campaign: Campaign, ledger: LedgerReader) -> None:
    """Check that the campaign's names are those of its intake.

    Raises:
        LedgerError: They have changed; the message has both.
    """
    kept = ledger.meta(_KEY)
    if kept is None:
        return
    then, now = json.loads(kept), _names(campaign)
    for key, value in now.items():
        if then.get(key) != value:
            raise LedgerError(
                f"{campaign.file}: {key}: is {value!r}, but was {then.get(key)!r} when the CSV was taken in; restore"
                " it, or Dagster will not show what is done"
            )


def check_identity(campaign: Campaign, ledger: LedgerReader) -> None:
    """Check that names and level of theory are those in the ledger.

    Raises:
        LedgerError: Something has changed; the message has both values.
    """
    check_names(campaign, ledger)
    check_level_of_theory(ledger, campaign.level_of_theory())


def _names(campaign: Campaign) -> dict[str, object]:
    return {"name": campaign.name, "asset_prefix": list(campaign.asset_prefix)}

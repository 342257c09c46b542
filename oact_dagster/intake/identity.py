"""A campaign's identity, which never changes: its names and its level of theory, kept in the ledger."""

from typing import Any, Final

from oact_dagster.errors import LedgerError
from oact_dagster.ledger.documents import Document
from oact_dagster.ledger.level_of_theory import check_level_of_theory
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign

_NAMES: Final[Document[dict[str, Any] | None]] = Document(
    "campaign", dict[str, Any] | None, None, strict=True
)


def fix_names(campaign: Campaign, ledger: Ledger) -> None:
    """Store the campaign's name and asset prefix, under which Dagster has its materializations.

    Raises:
        LedgerError: The ledger already has other names.
    """
    check_names(campaign, ledger)
    if _NAMES.read(ledger) is None:
        _NAMES.write(ledger, _names(campaign))


def check_names(campaign: Campaign, ledger: LedgerReader) -> None:
    """Check that the campaign's names are those of its intake.

    Raises:
        LedgerError: They have changed; the message has both.
    """
    then = _NAMES.read(ledger)
    if then is None:
        return
    for key, value in _names(campaign).items():
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


def _names(campaign: Campaign) -> dict[str, Any]:
    return {"name": campaign.name, "asset_prefix": list(campaign.asset_prefix)}

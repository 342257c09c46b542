"""Decides, without reading a campaign's CSV, whether it must be taken in again or was refused."""

import json
from dataclasses import dataclass
from typing import Final

from oact_dagster.intake.run_order import is_ordered, order_key
from oact_dagster.ledger.documents import Document
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign

TAKEN_IN: Final = "csv_taken_in"
"""Key in the ledger's ``meta`` of the stamp of the CSV taken in last."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """The CSV that was refused last."""

    stamp: str = ""
    reason: str = ""


_REFUSED: Final = Document("csv_refused", _Refused, _Refused())


def csv_stamp(campaign: Campaign) -> str:
    """Return a text that changes when the CSV, or what is read from it, changes.

    Take it before the CSV is read, so that a CSV that grows in the meantime counts as changed.

    Raises:
        OSError: The CSV is missing.
    """
    if campaign.csv is None:
        return "null"
    stat = campaign.csv.stat()
    return json.dumps(
        {
            "csv": str(campaign.csv),
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "columns": [campaign.geometry_column, campaign.charge_column, campaign.spin_column],
            "annotate": list(campaign.annotate),
            # The default order is left out, so that stamps of older versions stay valid.
            **({"order": key} if (key := order_key(campaign)) else {}),
        }
    )


def is_taken_in(campaign: Campaign, ledger: Ledger) -> bool:
    """Return whether the ledger holds the present CSV, by its size, modification time and columns.

    A campaign that was made from a ledger has no CSV; only its order may be outdated.

    Raises:
        OSError: The CSV is missing.
    """
    if campaign.csv is None:
        return is_ordered(campaign, ledger)
    return ledger.meta(TAKEN_IN) == csv_stamp(campaign)


def note_taken_in(ledger: Ledger, stamp: str) -> None:
    """Store the stamp that was taken before a successful intake."""
    ledger.set_meta(TAKEN_IN, stamp)


def note_refused(ledger: Ledger, stamp: str, reason: str) -> None:
    """Keep why the CSV was refused, with the stamp that was taken before."""
    _REFUSED.write(ledger, _Refused(stamp, reason))


def why_refused(campaign: Campaign, ledger: LedgerReader) -> str:
    """Return why the present CSV was refused; empty if it was not, or has changed since."""
    refused = _REFUSED.read(ledger)
    try:
        return refused.reason if refused.stamp == csv_stamp(campaign) else ""
    except OSError:
        return ""

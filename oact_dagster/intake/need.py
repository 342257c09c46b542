"""Whether a campaign's CSV must be taken in again, or was refused as it is, decided without reading it."""

import json
from typing import Final

from oact_dagster.intake.run_order import is_ordered, order_key
from oact_dagster.ledger.reading import LedgerReader
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign

TAKEN_IN: Final = "csv_taken_in"
"""The key of the ledger's ``meta`` that says what was taken in last."""

_REFUSED: Final = "csv_refused"
"""Likewise, of the CSV that was refused last: its stamp and the reason."""


def csv_stamp(campaign: Campaign) -> str:
    """What changes when the CSV, or what is read of it, changes.

    To be taken before the CSV is read: one that grows meanwhile then counts as changed.

    Raises:
        OSError: the CSV is not there.
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
            # Without one it is as before there were any: what was taken in then is not read again.
            **({"order": key} if (key := order_key(campaign)) else {}),
        }
    )


def is_taken_in(campaign: Campaign, ledger: Ledger) -> bool:
    """Tell whether the ledger holds the CSV as it is now, by its size, its time of change and the columns.

    A campaign that was made from a ledger has no CSV, and nothing to take in but another order.

    Raises:
        OSError: the CSV is not there.
    """
    if campaign.csv is None:
        return is_ordered(campaign, ledger)
    return ledger.meta(TAKEN_IN) == csv_stamp(campaign)


def note_taken_in(ledger: Ledger, stamp: str) -> None:
    """Keep the stamp that was taken before an intake that has succeeded."""
    ledger.set_meta(TAKEN_IN, stamp)


def note_refused(ledger: Ledger, stamp: str, reason: str) -> None:
    """Keep why the CSV was refused, with the stamp that was taken before."""
    ledger.set_meta(_REFUSED, json.dumps({"stamp": stamp, "reason": reason}))


def why_refused(campaign: Campaign, ledger: LedgerReader) -> str:
    """Why the CSV was refused as it is now; empty where it was not, or has changed since."""
    try:
        refused = json.loads(ledger.meta(_REFUSED) or "{}")
        return str(refused["reason"]) if refused.get("stamp") == csv_stamp(campaign) else ""
    except (ValueError, KeyError, AttributeError, OSError):
        return ""

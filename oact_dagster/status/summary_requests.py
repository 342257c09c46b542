"""Decides when `campaign_summary` of a self-running campaign is outdated and must be made again.

Each run makes it at its end, but a campaign is usually paused or stopped after its last run.
"""

import json
import time
from dataclasses import dataclass, replace
from typing import Final

from oact_dagster.feed.state import PAUSED, read_feed_state
from oact_dagster.intake.csv_stamp import why_refused
from oact_dagster.ledger.documents import Document
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign

MOST_SUMMARY_TRIES: Final = 3
"""Largest number of requests for one summary if each run fails or dies."""

ASK_AGAIN_S: Final = 300.0
"""Time in s before another request, since a run takes some time."""


@dataclass(frozen=True, slots=True)
class _State:
    """Stored state of the summary and of the requests for it."""

    shown: str = json.dumps([[], "", ""])
    """The standing that `campaign_summary` shows; at first that of a campaign with nothing to report."""
    asked_for: str = ""
    """The standing that was requested and is not shown yet."""
    asked_at: float = 0.0
    """Unix time, s."""
    times: int = 0


SUMMARY: Final = Document("summary", _State, _State())


def standing(campaign: Campaign, ledger: LedgerReader) -> str:
    """Return a campaign's standing: text that changes when `campaign_summary` should be made again. Takes no time."""
    state = read_feed_state(ledger)
    # Whether the user has been told of a pause makes no difference.
    told = sorted(kind for kind in state.told if kind != PAUSED)
    return json.dumps([told, state.paused, why_refused(campaign, ledger)])


def note_shown(ledger: Ledger, shown: str) -> None:
    """Store the :func:`standing` that `campaign_summary` shows now; it was read before the summary was made."""
    SUMMARY.change(
        ledger, lambda state: _State(shown) if state.asked_for == shown else replace(state, shown=shown)
    )


def to_ask(campaign: Campaign, ledger: Ledger, *, under_way: bool, now: float | None = None) -> str:
    """Return a unique key if a run that makes `campaign_summary` should be requested now, else an empty text.

    Of several simultaneous callers only one gets a key, since the ledger stores the request. ``under_way`` says that a
    requested run has not ended; ``now`` is a Unix time in s.
    """
    at = time.time() if now is None else now
    present = standing(campaign, ledger)
    if present == SUMMARY.read(ledger).shown:
        return ""
    key = ""

    def change(state: _State) -> _State:
        nonlocal key
        key = ""
        times = state.times if state.asked_for == present else 0
        waits = times > 0 and (
            times >= MOST_SUMMARY_TRIES or under_way or 0 <= at - state.asked_at < ASK_AGAIN_S
        )
        if state.shown == present or waits:
            return state
        key = f"campaign_summary {at!r} {times + 1}"
        return _State(state.shown, present, at, times + 1)

    SUMMARY.change(ledger, change)
    return key

"""Whether `campaign_summary` must be made again: it does not say yet how a campaign that runs itself stands.

Each run makes it at its end. A pause, and what else keeps a campaign from going on, mostly comes about after the last
one.
"""

import json
import time
from dataclasses import asdict, dataclass, replace
from typing import Final

from oact_dagster.feed.state import PAUSED, read_feed_state
from oact_dagster.intake.need import why_refused
from oact_dagster.ledger.reading import LedgerReader
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign

MOST_SUMMARY_TRIES: Final = 3
"""So often it is asked for where its run fails, or dies, each time."""

ASK_AGAIN_S: Final = 300.0
"""Before that nothing is asked for again: a run needs its time, s."""

KEY: Final = "summary"
"""Of the ledger's ``meta``."""


@dataclass(frozen=True, slots=True)
class _State:
    """As the ledger keeps it."""

    shown: str = json.dumps([[], "", ""])
    """The standing that `campaign_summary` says; at first that of a campaign of which there is nothing to tell."""
    asked_for: str = ""
    """The standing for which it was asked for and that it does not say yet."""
    asked_at: float = 0.0
    """When that was, the last time; Unix time, s."""
    times: int = 0
    """How often."""


def standing(campaign: Campaign, ledger: LedgerReader) -> str:
    """How a campaign stands, as a text that changes when `campaign_summary` should be made again. Read in no time.

    Args:
        campaign: its settings.
        ledger: of the campaign.
    """
    state = read_feed_state(ledger)
    # Whether a pause has been told yet makes no difference.
    told = sorted(kind for kind in state.told if kind != PAUSED)
    return json.dumps([told, state.paused, why_refused(campaign, ledger)])


def note_shown(ledger: Ledger, shown: str) -> None:
    """Keep what `campaign_summary` says now; the standing that was read before it was made.

    Args:
        ledger: open for writing.
        shown: see :func:`standing`.
    """

    def change(text: str | None) -> str:
        state = _parsed(text)
        answered = state.asked_for == shown
        return json.dumps(asdict(_State(shown) if answered else replace(state, shown=shown)))

    ledger.change_meta(KEY, change)


def to_ask(campaign: Campaign, ledger: Ledger, *, under_way: bool, now: float | None = None) -> str:
    """Decide whether a run is to be asked for that makes `campaign_summary`; of several that decide at once, one does.

    Args:
        campaign: its settings.
        ledger: open for writing: what was asked for is kept there.
        under_way: whether a run that was asked for has not ended.
        now: Unix time, s.

    Returns:
        A key of the request, which no other one has; empty where nothing is to be asked for.
    """
    at = time.time() if now is None else now
    present = standing(campaign, ledger)
    if present == _parsed(ledger.meta(KEY)).shown:
        return ""
    key = ""

    def change(text: str | None) -> str:
        nonlocal key
        state, key = _parsed(text), ""
        times = state.times if state.asked_for == present else 0
        waits = times > 0 and (
            times >= MOST_SUMMARY_TRIES or under_way or 0 <= at - state.asked_at < ASK_AGAIN_S
        )
        if state.shown == present or waits:
            return text or json.dumps(asdict(state))
        key = f"campaign_summary {at!r} {times + 1}"
        return json.dumps(asdict(_State(state.shown, present, at, times + 1)))

    ledger.change_meta(KEY, change)
    return key


def _parsed(text: str | None) -> _State:
    try:
        kept = json.loads(text or "{}")
        return _State(
            str(kept.get("shown", _State().shown)),
            str(kept.get("asked_for", "")),
            float(kept.get("asked_at", 0.0)),
            int(kept.get("times", 0)),
        )
    except (ValueError, TypeError, AttributeError):
        return _State()

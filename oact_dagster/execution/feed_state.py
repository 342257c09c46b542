"""What a campaign that feeds itself must remember: that it is paused, and of what it has told."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Final

from oact_dagster.ledger.reading import LedgerReader
from oact_dagster.ledger.store import Ledger

KEY: Final = "feed"
"""Of the ledger's ``meta``."""


@dataclass(frozen=True, slots=True)
class FeedState:
    """As the ledger keeps it."""

    paused: str = ""
    """Why nothing is begun until somebody lets it go on; empty where it may."""
    since: float = 0.0
    """Attempts of before this Unix time say nothing any more: somebody has looked at them, s."""
    told: tuple[str, ...] = ()
    """What was told to whoever does not watch, and still is so: ``paused``, ``budget``, ``done``."""


def read_feed_state(ledger: LedgerReader) -> FeedState:
    """The state of a campaign's feed."""
    try:
        kept = json.loads(ledger.meta(KEY) or "{}")
        return FeedState(
            str(kept.get("paused", "")), float(kept.get("since", 0.0)), tuple(kept.get("told", ()))
        )
    except (ValueError, TypeError, AttributeError):
        return FeedState()


def write_feed_state(ledger: Ledger, state: FeedState) -> None:
    """Keep it."""
    ledger.set_meta(KEY, json.dumps(asdict(state)))


def let_go_on(ledger: Ledger, now: float) -> str:
    """Let a paused campaign go on; what failed until now is not counted against it any more.

    Returns:
        Why it was paused; empty where it was not.
    """
    state = read_feed_state(ledger)
    write_feed_state(ledger, FeedState(since=now))
    return state.paused


def first_time(ledger: Ledger, kind: str) -> bool:
    """Whether something has not been told yet; from now on it has."""
    state = read_feed_state(ledger)
    if kind in state.told:
        return False
    write_feed_state(ledger, replace(state, told=(*state.told, kind)))
    return True


def no_longer(ledger: Ledger, kind: str) -> None:
    """Note that something that was told is not so any more: the next time it is told again."""
    state = read_feed_state(ledger)
    if kind in state.told:
        write_feed_state(ledger, replace(state, told=tuple(one for one in state.told if one != kind)))

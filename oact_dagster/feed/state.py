"""State of a self-running campaign in the ledger: whether it is paused, and what it has announced."""

from dataclasses import dataclass, replace
from typing import Final

from oact_dagster.ledger.documents import Document
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.store import Ledger

PAUSED: Final = "paused"
BUDGET: Final = "budget"
DONE: Final = "done"
"""Kinds of what may have been announced."""

GO_ON: Final = "`oact release CAMPAIGN --feed` lets it go on"


@dataclass(frozen=True, slots=True)
class FeedState:
    """State of a campaign's feed as the ledger keeps it."""

    paused: str = ""
    """Why nothing is begun until the user lets it go on; empty if not paused."""
    after: int = 0
    """Last attempt that no longer counts, since the user has looked at it. A number and not a time: clocks jump."""
    told: tuple[str, ...] = ()
    """Conditions that were announced and still hold: ``paused``, ``budget``, ``done``."""


_STATE: Final = Document("feed", FeedState, FeedState())


def read_feed_state(ledger: LedgerReader) -> FeedState:
    """Read the state of a campaign's feed."""
    return _STATE.read(ledger)


def pause(ledger: Ledger, reason: str) -> None:
    """Begin nothing more until the user lets it go on. An earlier reason stays."""
    _STATE.change(ledger, lambda state: replace(state, paused=state.paused or reason))


def let_go_on(ledger: Ledger) -> str:
    """Let a paused campaign go on, without counting earlier failures, and return why it was paused (empty: was not)."""
    before = FeedState()

    def change(state: FeedState) -> FeedState:
        nonlocal before
        before = state
        if not state.paused:
            return state
        return FeedState(after=ledger.health.newest_attempt(), told=_without(state, PAUSED))

    _STATE.change(ledger, change)
    return before.paused


def first_time(ledger: Ledger, kind: str) -> bool:
    """Return whether a condition has not been announced yet, and mark it as announced."""
    first = False

    def change(state: FeedState) -> FeedState:
        nonlocal first
        first = kind not in state.told
        return replace(state, told=(*state.told, kind)) if first else state

    _STATE.change(ledger, change)
    return first


def no_longer(ledger: Ledger, kind: str) -> None:
    """Note that an announced condition no longer holds, so that it is announced again the next time."""
    if kind in read_feed_state(ledger).told:
        _STATE.change(ledger, lambda state: replace(state, told=_without(state, kind)))


def _without(state: FeedState, kind: str) -> tuple[str, ...]:
    return tuple(one for one in state.told if one != kind)

"""What a campaign that feeds itself must remember: that it is paused, and of what it has told."""

from dataclasses import dataclass, replace
from typing import Final

from oact_dagster.ledger.documents import Document
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.store import Ledger

PAUSED: Final = "paused"
BUDGET: Final = "budget"
DONE: Final = "done"
"""Of what may have been told."""

GO_ON: Final = "`oact release CAMPAIGN --feed` lets it go on"


@dataclass(frozen=True, slots=True)
class FeedState:
    """As the ledger keeps it."""

    paused: str = ""
    """Why nothing is begun until somebody lets it go on; empty where it may."""
    after: int = 0
    """Attempts up to this one say nothing any more: somebody has looked at them. A number, and no time: clocks jump."""
    told: tuple[str, ...] = ()
    """What was told to whoever does not watch, and still is so: ``paused``, ``budget``, ``done``."""


_STATE: Final = Document("feed", FeedState, FeedState())


def read_feed_state(ledger: LedgerReader) -> FeedState:
    """The state of a campaign's feed."""
    return _STATE.read(ledger)


def pause(ledger: Ledger, reason: str) -> None:
    """Begin nothing any more until somebody lets it go on, however the attempts to come turn out."""
    _STATE.change(ledger, lambda state: replace(state, paused=state.paused or reason))


def let_go_on(ledger: Ledger) -> str:
    """Let a paused campaign go on; what failed until now is not counted against it any more.

    Returns:
        Why it was paused; empty where it was not, and nothing has changed.
    """
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
    """Whether something has not been told yet; from now on it has, whoever asks."""
    first = False

    def change(state: FeedState) -> FeedState:
        nonlocal first
        first = kind not in state.told
        return replace(state, told=(*state.told, kind)) if first else state

    _STATE.change(ledger, change)
    return first


def no_longer(ledger: Ledger, kind: str) -> None:
    """Note that something that was told is not so any more: the next time it is told again."""
    if kind in read_feed_state(ledger).told:
        _STATE.change(ledger, lambda state: replace(state, told=_without(state, kind)))


def _without(state: FeedState, kind: str) -> tuple[str, ...]:
    return tuple(one for one in state.told if one != kind)

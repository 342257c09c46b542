"""Telling whoever does not watch until it has arrived: after delays that grow, and not for ever.

Which news is still on its way is in the ledger, so that a restart forgets nothing, and so that all sensors together try
as often as one would. A try is noted before it is made: a command that delivers and then fails, or takes its process
with it, is called a few times and not at every tick.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from oact_dagster.feed.decisions import Decision
from oact_dagster.feed.notification import notify
from oact_dagster.feed.state import read_feed_state
from oact_dagster.ledger.documents import Document
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign

MOST_TRIES: Final = 10
"""The last one is made eight and a half hours after the first."""

FIRST_DELAY_S: Final = 60.0
"""Between the first try and the second, s; twice as long after each of the others."""


@dataclass(frozen=True, slots=True)
class _News:
    """As the ledger keeps it, by its kind in the feed's state, as long as it is so."""

    text: str
    left: tuple[str, ...]
    """The ways by which it has not arrived."""
    tries: int = 0
    tried_at: float = 0.0
    """Unix time, s."""

    @property
    def next_at(self) -> float:
        """When it may be tried again; Unix time, s."""
        return self.tried_at + FIRST_DELAY_S * 2.0 ** (self.tries - 1) if self.tries else self.tried_at

    def is_due(self, at: float) -> bool:
        # A clock that was set back is no reason to wait for longer.
        return bool(self.left) and self.tries < MOST_TRIES and not self.tried_at <= at < self.next_at


NEWS: Final[Document[Mapping[str, _News]]] = Document("news", dict[str, _News], {})


def tell(campaign: Campaign, ledger: Ledger, decision: Decision, now: float | None = None) -> list[str]:
    """Tell what a decision has for whoever does not watch, and try once more what has not arrived and is due.

    Args:
        campaign: its settings.
        ledger: open for writing.
        decision: of the feed or of the retries.
        now: Unix time, s.

    Returns:
        What went wrong and when it is tried again, one line each: it stops nothing.
    """
    at = time.time() if now is None else now
    if not campaign.notify.ways:
        return []
    wrong = []
    for kind, news in _begun(campaign, ledger, decision, at).items():
        for way in news.left:
            found = notify(campaign.notify.only(way), campaign.name, [news.text])
            if not found:
                _note_arrived(ledger, kind, news.text, way)
            wrong += [f"{line}; {_what_follows(news)}" for line in found]
    return wrong


def _what_follows(news: _News) -> str:
    if news.tries >= MOST_TRIES:
        return f"tried {MOST_TRIES} times: it is not tried again"
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(news.next_at))
    return f"tried {news.tries} of {MOST_TRIES} times, again at {when}"


def _begun(campaign: Campaign, ledger: Ledger, decision: Decision, at: float) -> dict[str, _News]:
    """The news that is due, each with its try noted."""
    due: dict[str, _News] = {}

    def change(kept: Mapping[str, _News]) -> Mapping[str, _News]:
        due.clear()
        known = _with_new(kept, read_feed_state(ledger).told, decision, campaign.notify.ways, at)
        for kind, news in known.items():
            if news.is_due(at):
                known[kind] = due[kind] = replace(news, tries=news.tries + 1, tried_at=at)
        return known

    # Most ticks have nothing to tell, and need not lock the ledger to find that out.
    kept = NEWS.read(ledger)
    if change(kept) != kept:
        NEWS.change(ledger, change)
    return due


def _with_new(
    kept: Mapping[str, _News], told: Collection[str], decision: Decision, ways: tuple[str, ...], at: float
) -> dict[str, _News]:
    # What is not so any more need not arrive.
    known = {kind: news for kind, news in kept.items() if kind in told}
    # News that is not known is new even if it was decided before: that tick died, or nobody was to be told then.
    if decision.kind and (decision.news or decision.kind not in known):
        same = known.get(decision.kind)
        # Of two ticks at the same time the other may have been faster to tell it.
        if same is None or same.text != decision.text or not 0 <= at - same.tried_at < FIRST_DELAY_S:
            known[decision.kind] = _News(decision.text, ways)
    return {
        kind: replace(news, left=tuple(way for way in news.left if way in ways))
        for kind, news in known.items()
    }


def _note_arrived(ledger: Ledger, kind: str, text: str, way: str) -> None:
    def change(known: Mapping[str, _News]) -> Mapping[str, _News]:
        news = known.get(kind)
        if news is None or news.text != text:
            return known
        return {**known, kind: replace(news, left=tuple(one for one in news.left if one != way))}

    NEWS.change(ledger, change)

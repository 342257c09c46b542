"""Notices: send news to the user until it has arrived, with growing delays and a limited number of tries.

The ledger keeps the news still on its way, so that a restart forgets nothing and all sensors together try as often as
one would. Each try is recorded before it is made: a command that delivers and then fails, or kills its process, is
called a few times only and not at every tick.
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
"""Largest number of tries on each channel; the last one is made eight and a half hours after the first."""

FIRST_DELAY_S: Final = 60.0
"""Delay between the first try and the second, s; it doubles with each further try."""


@dataclass(frozen=True, slots=True)
class _News:
    """News as the ledger keeps it by its kind, while the condition holds."""

    text: str
    left: tuple[str, ...]
    """Channels on which it has not arrived."""
    tries: int = 0
    tried_at: float = 0.0
    """Unix time, s."""

    @property
    def next_at(self) -> float:
        """Unix time of the next try, s."""
        return self.tried_at + FIRST_DELAY_S * 2.0 ** (self.tries - 1) if self.tries else self.tried_at

    def is_due(self, at: float) -> bool:
        # Do not wait longer after the clock was set back.
        return bool(self.left) and self.tries < MOST_TRIES and not self.tried_at <= at < self.next_at


NEWS: Final[Document[Mapping[str, _News]]] = Document("news", dict[str, _News], {})


def send_news(campaign: Campaign, ledger: Ledger, decision: Decision, now: float | None = None) -> list[str]:
    """Send the news of a decision, and retry earlier news that is due.

    Returns:
        What went wrong and when it is tried again, one line each. Errors stop nothing.
    """
    at = time.time() if now is None else now
    if not campaign.notify.ways:
        return []
    wrong = []
    for kind, news in _due_news(campaign, ledger, decision, at).items():
        for way in news.left:
            found = notify(campaign.notify.only(way), campaign.name, [news.text])
            if not found:
                _note_arrival(ledger, kind, news.text, way)
            wrong += [f"{line}; {_what_follows(news)}" for line in found]
    return wrong


def _what_follows(news: _News) -> str:
    if news.tries >= MOST_TRIES:
        return f"tried {MOST_TRIES} times, giving up"
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(news.next_at))
    return f"tried {news.tries} of {MOST_TRIES} times, next try at {when}"


def _due_news(campaign: Campaign, ledger: Ledger, decision: Decision, at: float) -> dict[str, _News]:
    """Return the news that is due, after recording a try for each."""
    due: dict[str, _News] = {}

    def change(kept: Mapping[str, _News]) -> Mapping[str, _News]:
        due.clear()
        known = _with_new(kept, read_feed_state(ledger).told, decision, campaign.notify.ways, at)
        for kind, news in known.items():
            if news.is_due(at):
                known[kind] = due[kind] = replace(news, tries=news.tries + 1, tried_at=at)
        return known

    # Most ticks have no news, and need not lock the ledger to find that out.
    kept = NEWS.read(ledger)
    if change(kept) != kept:
        NEWS.change(ledger, change)
    return due


def _with_new(
    kept: Mapping[str, _News], told: Collection[str], decision: Decision, ways: tuple[str, ...], at: float
) -> dict[str, _News]:
    # News whose condition no longer holds need not arrive.
    known = {kind: news for kind, news in kept.items() if kind in told}
    # Unknown news is new even if it was announced before: that tick died, or no channel was set then.
    if decision.kind and (decision.news or decision.kind not in known):
        same = known.get(decision.kind)
        # Another tick at the same time may already have sent it.
        if same is None or same.text != decision.text or not 0 <= at - same.tried_at < FIRST_DELAY_S:
            known[decision.kind] = _News(decision.text, ways)
    return {
        kind: replace(news, left=tuple(way for way in news.left if way in ways))
        for kind, news in known.items()
    }


def _note_arrival(ledger: Ledger, kind: str, text: str, way: str) -> None:
    def change(known: Mapping[str, _News]) -> Mapping[str, _News]:
        news = known.get(kind)
        if news is None or news.text != text:
            return known
        return {**known, kind: replace(news, left=tuple(one for one in news.left if one != way))}

    NEWS.change(ledger, change)

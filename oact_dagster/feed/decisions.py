"""What a campaign that feeds itself begins next, and whether it should begin anything at all.

The sensors ask, and ask runs for structures; the runs claim them. So nothing here is decided twice when two daemons ask
at the same time: what a second run finds taken is not there for it.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from oact_dagster.feed.bad_hosts import bad_hosts
from oact_dagster.feed.state import (
    BUDGET,
    DONE,
    GO_ON,
    PAUSED,
    first_time,
    no_longer,
    pause,
    read_feed_state,
)
from oact_dagster.ledger.queue import Due
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster.text import pluralise

MOST_REQUESTS: Final = 4
"""Runs that are asked for at once: each costs the daemon a third of a second."""

SMALL_RUNS: Final = 2
"""While so many runs of a kind are under way, no run for a few more structures is asked for."""

_ASKED: Final = "all are asked for"
_WAITS: Final = "too few for one more run as yet"
_SHARED: Final = f"{SMALL_RUNS} runs share this machine already"
_TO_RUN: Final = (Status.TO_RUN, Status.READY)
_FAILED: Final = (Status.FAILED, Status.TIMEOUT)
_FAILURES: Final = (Outcome.FAILED, Outcome.TIMEOUT)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to ask runs for."""

    said: str
    """One line: what was seen, and what follows."""
    limits: Sequence[int] = ()
    """Structures of each run."""
    news: Sequence[str] = ()
    """What is to be told to whoever does not watch, once."""
    kind: str = ""
    """Of the news, as the feed's state has it; also where it was told before."""
    text: str = ""
    """Of the news, likewise."""


def due_of(campaign: Campaign, now: float) -> Due:
    """What makes a structure of a campaign ripe to be run."""
    return Due(now, campaign.retry.max_failures, campaign.retry.max_losses, campaign.retry_key())


def decide_feed(
    campaign: Campaign, ledger: Ledger, requested: int, now: float | None = None, *, runs: int = 0
) -> Decision:
    """Decide how many structures that have not failed are to be begun.

    Args:
        campaign: its settings.
        ledger: open for writing: a pause is kept there.
        requested: structures that runs were asked for and have not claimed yet.
        now: Unix time, s.
        runs: of this kind that were asked for and have not ended.
    """
    at = time.time() if now is None else now
    counts = ledger.figures.count_by_status()
    running, done = counts.get(Status.RUNNING, 0), counts.get(Status.COMPLETED, 0)
    hosts = bad_hosts(campaign, ledger, at)
    seen = f"{done} of {sum(counts.values())} completed, {running} running, {requested} asked for"
    seen += f", bad hosts: {', '.join(hosts)}" if hosts else ""
    unanswered = ledger.batches.unanswered(at)
    seen += f", {unanswered}" if unanswered else ""
    left = count_left(campaign, ledger, at)
    if left or running:
        no_longer(ledger, DONE)
    elif counts and not requested:
        text = f"the campaign {campaign.name} is done: {what_came(campaign, ledger, counts)}"
        return _told(ledger, DONE, text, f"{seen}: {text}")
    stop = _safety(campaign, ledger, at)
    if stop is not None:
        return stop
    due = ledger.queue.count_due(_TO_RUN, due_of(campaign, at))
    resting = sum(counts.get(status, 0) for status in _TO_RUN) - due
    seen += f", {due} due" + (f", {resting} resting, held or set aside" if resting else "")
    if not due:
        return Decision(f"{seen}: nothing to begin")
    return _ask_within_trial(
        campaign, ledger, seen, "more", running=running, due=due, requested=requested, runs=runs
    )


def decide_retry(
    campaign: Campaign, ledger: Ledger, requested: int, now: float | None = None, *, runs: int = 0
) -> Decision:
    """Decide how many structures that failed are to be tried again.

    Args:
        campaign: its settings.
        ledger: open for writing.
        requested: structures that runs were asked for and have not claimed yet.
        now: Unix time, s.
        runs: of this kind that were asked for and have not ended.
    """
    at = time.time() if now is None else now
    counts = ledger.figures.count_by_status()
    failed = sum(counts.get(status, 0) for status in _FAILED)
    due = ledger.queue.count_due(_FAILED, due_of(campaign, at))
    held, ever = ledger.figures.count_held(_FAILED), ledger.queue.count_due(_FAILED, _whenever(campaign, at))
    seen = f"{failed} failed or timed out, {due} due, {failed - ever - held} set aside, {ever - due} resting"
    seen += f", {held} held" if held else ""
    if not ever:
        return Decision(f"{seen}: nothing to try again")
    stop = _safety(campaign, ledger, at)
    if stop is not None:
        return stop
    if not due:
        return Decision(f"{seen}: nothing to try again yet")
    running = counts.get(Status.RUNNING, 0)
    return _ask_within_trial(
        campaign, ledger, seen, "again", running=running, due=due, requested=requested, runs=runs
    )


def why_stopped(campaign: Campaign, ledger: Ledger, now: float) -> tuple[str, str]:
    """Why a campaign begins nothing now; one of which too much fails is paused by this.

    Args:
        campaign: its settings.
        ledger: open for writing.
        now: Unix time, s.

    Returns:
        ``paused`` or ``budget``, and the reason in a line; two empty texts where it may go on.
    """
    state = read_feed_state(ledger)
    reason = state.paused
    if not reason and (failing := _failing(campaign, ledger, state.after, now)):
        # Where nothing is left to begin there is nothing to keep from going wrong.
        reason = failing if count_left(campaign, ledger, now) else ""
        if reason:
            pause(ledger, reason)
    if reason:
        return PAUSED, f"the campaign {campaign.name} is paused: {reason}; {GO_ON}"
    budget = campaign.feed.core_hours
    spent = 0.0 if budget is None else sum(ledger.figures.cores_spent().values())
    if budget is None or spent < budget:
        return "", ""
    text = f"the budget of the campaign {campaign.name} is spent: {spent:.4g} of {budget:g} core-hours"
    return BUDGET, f"{text} (feed.core_hours)"


def _safety(campaign: Campaign, ledger: Ledger, now: float) -> Decision | None:
    """A decision to begin nothing, where that must be; None where something may be begun."""
    kind, text = why_stopped(campaign, ledger, now)
    if kind != BUDGET:
        no_longer(ledger, BUDGET)
    return _told(ledger, kind, text) if kind else None


def _failing(campaign: Campaign, ledger: Ledger, after: int, now: float) -> str:
    """Why a campaign had better pause: too many of its last attempts failed."""
    feed = campaign.feed
    least = min(feed.window, feed.trial) if feed.trial else feed.window
    rate = feed.pause_at_failure_rate
    opened, refused = ledger.health.last_refused(feed.window, after)
    if opened >= least and refused > rate * opened:
        return (
            f"of {refused} of the last {pluralise(opened, 'attempt')} no input could be written"
            f" (feed.pause_at_failure_rate {rate:g})"
        )
    last = ledger.health.last_ended(feed.window, after)
    failures = [one for one in last if one.outcome in _FAILURES]
    if len(last) < least or len(failures) <= rate * len(last):
        return ""
    # Where thousands are begun at once those that fail early end first. What began with them, and computes for longer
    # than they took, has not failed.
    longest = max(one.elapsed for one in failures)
    began = min(one.ended_at for one in last) - longest
    if len(failures) <= rate * (len(last) + ledger.health.count_running_since(began, now - longest)):
        return ""
    by_class = Counter(one.failure_class or one.outcome.value for one in failures)
    classes = ", ".join(f"{count} {name}" for name, count in by_class.most_common(3))
    return (
        f"{len(failures)} of the last {pluralise(len(last), 'attempt')} failed: {classes}"
        f" (feed.pause_at_failure_rate {rate:g})"
    )


def _left_of_trial(campaign: Campaign, ledger: Ledger, at_work: int) -> int | None:
    """How many more structures the trial may begin; None when it is over."""
    trial = campaign.feed.trial
    ended = len(ledger.health.last_ended(trial, read_feed_state(ledger).after)) if trial else 0
    return None if ended >= trial else max(0, trial - ended - at_work)


def _whenever(campaign: Campaign, now: float) -> Due:
    """What is ripe sooner or later: rests do not count."""
    return replace(due_of(campaign, now), now=float(2**53))


def _ask_within_trial(
    campaign: Campaign,
    ledger: Ledger,
    seen: str,
    word: str,
    *,
    running: int,
    due: int,
    requested: int,
    runs: int,
) -> Decision:
    """Ask for as many of those that are due as there is room for, while a trial is on not for more than that.

    A trial is on at the start, and after somebody has let a paused campaign go on: also what failed before is tried
    again within it, so that a release too early costs few structures one of their attempts.
    """
    room = campaign.max_in_flight - running - requested
    trial = _left_of_trial(campaign, ledger, running + requested)
    full = "as many as may run at once"
    if trial is not None:
        if trial < room:
            full = "waiting for the trial"
        room = min(room, trial)
        seen += f" (trial of {campaign.feed.trial})"
    if room <= 0:
        return Decision(f"{seen}: {full}")
    limits = _limits(campaign, min(room, due - requested), runs)
    if not limits:
        here = campaign.launcher.on_this_machine and runs >= SMALL_RUNS
        return Decision(f"{seen}: {_ASKED if due <= requested else _SHARED if here else _WAITS}")
    return Decision(f"{seen}: {sum(limits)} {word} in {pluralise(len(limits), 'run')}", limits)


def _limits(campaign: Campaign, structures: int, runs: int) -> list[int]:
    """Structures of each run that is to be asked for.

    A run takes memory and one of a few places until its last structure has ended. Where some become due, or find room,
    with each tick, runs for so few would soon have all places: they gather until it is worth while.
    """
    least = min(campaign.batch_size, campaign.max_in_flight // 10)
    if structures <= 0 or (structures < least and runs >= SMALL_RUNS):
        return []
    # On one machine all share its cores: the second only fills them while the last structures of the first end.
    most = max(0, SMALL_RUNS - runs) if campaign.launcher.on_this_machine else MOST_REQUESTS
    whole, rest = divmod(structures, campaign.batch_size)
    return ([campaign.batch_size] * whole + ([rest] if rest else []))[:most]


def count_left(campaign: Campaign, ledger: LedgerReader, now: float) -> int:
    """Structures that will be begun or tried again, sooner or later.

    Args:
        campaign: its settings.
        ledger: of the campaign.
        now: Unix time, s.
    """
    return ledger.queue.count_due((*_TO_RUN, *_FAILED), _whenever(campaign, now))


def what_came(campaign: Campaign, ledger: LedgerReader, counts: Mapping[Status, int]) -> str:
    """What became of the structures of a campaign that is done, in a line.

    Args:
        campaign: its settings.
        ledger: of the campaign.
        counts: structures by status.
    """
    held, held_failed = ledger.figures.count_held(_TO_RUN), ledger.figures.count_held(_FAILED)
    failed = sum(counts.get(status, 0) for status in _FAILED) - held_failed
    left = sum(counts.get(status, 0) for status in _TO_RUN) - held
    parts = [f"{counts.get(Status.COMPLETED, 0)} completed"]
    parts += [f"{failed} failed and set aside"] if failed else []
    parts += [f"{held + held_failed} held"] if held + held_failed else []
    parts += [f"{left} set aside (retry.max_losses {campaign.retry.max_losses})"] if left else []
    return ", ".join(parts)


def _told(ledger: Ledger, kind: str, text: str, said: str | None = None) -> Decision:
    """A decision to begin nothing, which whoever does not watch is told of once."""
    news = (text,) if first_time(ledger, kind) else ()
    return Decision(said or text, news=news, kind=kind, text=text)

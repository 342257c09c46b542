"""Decisions of a self-running campaign: what to begin next, and whether to begin anything at all.

The sensors ask for a decision and then request runs; the runs claim the structures. Two daemons that ask at the same
time do no harm, since the second run finds the structures taken.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from oact_dagster.feed.bad_hosts import bad_hosts
from oact_dagster.feed.state import BUDGET, DONE, GO_ON, PAUSED, first_time, no_longer, pause, read_feed_state
from oact_dagster.ledger.queue import Due
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import FAILED_OUTCOMES, FAILED_STATUSES, WAITING_STATUSES, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster.text import pluralise

MOST_REQUESTS: Final = 4
"""Largest number of runs requested at once: each costs the daemon a third of a second."""

SMALL_RUNS: Final = 2
"""While this many runs of a kind are under way, no run is requested for only a few more structures."""

_ASKED: Final = "all have been requested"
_WAITS: Final = "too few for another run yet"
_SHARED: Final = f"{SMALL_RUNS} runs already share this machine"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to request from runs."""

    said: str
    """One line: what was found, and what follows."""
    limits: Sequence[int] = ()
    """Structures of each run to request."""
    news: Sequence[str] = ()
    """Texts to send as notices, once."""
    kind: str = ""
    """The kind of the notice, even if it was already sent."""
    text: str = ""
    """The text of the notice, even if it was already sent."""


def due_of(campaign: Campaign, now: float) -> Due:
    """Return the conditions under which a structure of a campaign is due."""
    return Due(now, campaign.retry.max_failures, campaign.retry.max_losses, campaign.retry_key())


def decide_feed(
    campaign: Campaign, ledger: Ledger, requested: int, now: float | None = None, *, runs: int = 0
) -> Decision:
    """Decide how many structures that have not failed to begin.

    Args:
        campaign: The settings.
        ledger: Ledger, open for writing, since it keeps a pause.
        requested: Structures requested from runs that have not claimed them yet.
        now: Unix time, s.
        runs: Requested runs of this kind that have not ended.
    """
    at = time.time() if now is None else now
    counts = ledger.figures.count_by_status()
    running, done = counts.get(Status.RUNNING, 0), counts.get(Status.COMPLETED, 0)
    hosts = bad_hosts(campaign, ledger, at)
    seen = f"{done} of {sum(counts.values())} completed, {running} running, {requested} requested"
    seen += f", bad hosts: {', '.join(hosts)}" if hosts else ""
    unanswered = ledger.batches.unanswered(at)
    seen += f", {unanswered}" if unanswered else ""
    left = count_left(campaign, ledger, at)
    if left or running:
        no_longer(ledger, DONE)
    elif counts and not requested:
        text = f"the campaign {campaign.name} is done: {outcome_summary(campaign, ledger, counts)}"
        return _stop(ledger, DONE, text, f"{seen}: {text}")
    stop = _safety(campaign, ledger, at)
    if stop is not None:
        return stop
    due = ledger.queue.count_due(WAITING_STATUSES, due_of(campaign, at))
    resting = sum(counts.get(status, 0) for status in WAITING_STATUSES) - due
    seen += f", {due} due" + (f", {resting} resting, held or set aside" if resting else "")
    if not due:
        return Decision(f"{seen}: nothing to begin")
    return _ask_within_trial(
        campaign, ledger, seen, "more", running=running, due=due, requested=requested, runs=runs
    )


def decide_retry(
    campaign: Campaign, ledger: Ledger, requested: int, now: float | None = None, *, runs: int = 0
) -> Decision:
    """Decide how many failed structures to try again. The arguments are those of :func:`decide_feed`."""
    at = time.time() if now is None else now
    counts = ledger.figures.count_by_status()
    failed = sum(counts.get(status, 0) for status in FAILED_STATUSES)
    due = ledger.queue.count_due(FAILED_STATUSES, due_of(campaign, at))
    held = ledger.figures.count_held(FAILED_STATUSES)
    ever = ledger.queue.count_due(FAILED_STATUSES, _due_ever(campaign, at))
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
    """Pause a campaign in which too many attempts fail, and return why it begins nothing now.

    Returns:
        ``paused`` or ``budget`` and the reason in one line, or two empty strings if it may go on.
    """
    state = read_feed_state(ledger)
    reason = state.paused
    if not reason and (failing := _failing(campaign, ledger, state.after, now)):
        # If nothing is left to begin, a pause would protect nothing.
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
    """Return a decision to begin nothing because of a pause or the budget, or None."""
    kind, text = why_stopped(campaign, ledger, now)
    if kind != BUDGET:
        no_longer(ledger, BUDGET)
    return _stop(ledger, kind, text) if kind else None


def _failing(campaign: Campaign, ledger: Ledger, after: int, now: float) -> str:
    """Return why a campaign should pause because too many of its last attempts failed; empty if not."""
    feed = campaign.feed
    least = min(feed.window, feed.trial) if feed.trial else feed.window
    rate = feed.pause_at_failure_rate
    limit = f"(feed.pause_at_failure_rate {rate:g})"
    opened, refused = ledger.health.last_refused(feed.window, after)
    if opened >= least and refused > rate * opened:
        return f"no input could be written for {refused} of the last {pluralise(opened, 'attempt')} {limit}"
    last = ledger.health.last_ended(feed.window, after)
    failures = [one for one in last if one.outcome in FAILED_OUTCOMES]
    if len(last) < least or len(failures) <= rate * len(last):
        return ""
    # When thousands begin at once, early failures end first. Structures that began with them and have computed for
    # longer than those took have not failed.
    longest = max(one.elapsed for one in failures)
    began = min(one.ended_at for one in last) - longest
    if len(failures) <= rate * (len(last) + ledger.health.count_running_since(began, now - longest)):
        return ""
    by_class = Counter(one.failure_class or one.outcome.value for one in failures)
    classes = ", ".join(f"{count} {name}" for name, count in by_class.most_common(3))
    return f"{len(failures)} of the last {pluralise(len(last), 'attempt')} failed: {classes} {limit}"


def _left_of_trial(campaign: Campaign, ledger: Ledger, at_work: int) -> int | None:
    """Return how many more structures the trial may begin; None when it is over."""
    trial = campaign.feed.trial
    ended = len(ledger.health.last_ended(trial, read_feed_state(ledger).after)) if trial else 0
    return None if ended >= trial else max(0, trial - ended - at_work)


def _due_ever(campaign: Campaign, now: float) -> Due:
    """Return the conditions under which a structure is due sooner or later, without rests."""
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
    """Request as many due structures as there is room for, and during a trial no more than it has left.

    There is a trial at the start and after a pause. Retries count towards it too, so that a premature release
    wastes only a few attempts.
    """
    room = campaign.max_in_flight - running - requested
    trial = _left_of_trial(campaign, ledger, running + requested)
    full = "max_in_flight is reached"
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
    """Return the number of structures of each run to request.

    A run takes memory and one of a few places until its last structure has ended. If a few structures become due with
    each tick, runs for them would soon fill all places, so they wait until there are enough for a run.
    """
    least = min(campaign.batch_size, campaign.max_in_flight // 10)
    if structures <= 0 or (structures < least and runs >= SMALL_RUNS):
        return []
    # On one machine all runs share the cores: a second run only fills them while the first one finishes.
    most = max(0, SMALL_RUNS - runs) if campaign.launcher.on_this_machine else MOST_REQUESTS
    whole, rest = divmod(structures, campaign.batch_size)
    return ([campaign.batch_size] * whole + ([rest] if rest else []))[:most]


def count_left(campaign: Campaign, ledger: LedgerReader, now: float) -> int:
    """Return the number of structures that will be begun or tried again sooner or later."""
    return ledger.queue.count_due((*WAITING_STATUSES, *FAILED_STATUSES), _due_ever(campaign, now))


def outcome_summary(campaign: Campaign, ledger: LedgerReader, counts: Mapping[Status, int]) -> str:
    """Return in one line what became of the structures of a finished campaign, from its counts by status."""
    held, held_failed = (
        ledger.figures.count_held(WAITING_STATUSES),
        ledger.figures.count_held(FAILED_STATUSES),
    )
    failed = sum(counts.get(status, 0) for status in FAILED_STATUSES) - held_failed
    left = sum(counts.get(status, 0) for status in WAITING_STATUSES) - held
    parts = [f"{counts.get(Status.COMPLETED, 0)} completed"]
    parts += [f"{failed} failed and set aside"] if failed else []
    parts += [f"{held + held_failed} held"] if held + held_failed else []
    parts += [f"{left} set aside (retry.max_losses {campaign.retry.max_losses})"] if left else []
    return ", ".join(parts)


def _stop(ledger: Ledger, kind: str, text: str, said: str | None = None) -> Decision:
    """Return a decision to begin nothing, with a notice if it was not announced before."""
    news = (text,) if first_time(ledger, kind) else ()
    return Decision(said or text, news=news, kind=kind, text=text)

"""How a campaign that runs itself stands: whether it begins anything, and if not, why."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from oact_dagster.feed.bad_hosts import can_leave_out, left_out
from oact_dagster.feed.decisions import count_left, due_of, what_came
from oact_dagster.feed.state import DONE, GO_ON, read_feed_state
from oact_dagster.intake.identity import check_identity
from oact_dagster.intake.need import why_refused
from oact_dagster.ledger.connection import LedgerError
from oact_dagster.ledger.reading import LedgerReader
from oact_dagster.ledger.states import Status
from oact_dagster.settings.campaign import Campaign
from oact_dagster.text import pluralise


@dataclass(frozen=True, slots=True)
class FeedOverview:
    """At one moment."""

    paused: str
    """Why nothing is begun until `oact release CAMPAIGN --feed`; empty where it may."""
    core_hours_spent: float
    """Of all attempts that have ended."""
    core_hours_budget: float | None
    trial: int
    """Structures of the trial; 0 where there is none."""
    trial_ended: int
    """How many of them have ended, lost and cancelled ones not counted."""
    bad_hosts: Mapping[str, int]
    """Each with the structures that were lost or crashed there."""
    hosts_left_out: bool
    """Whether calculations can be kept from these hosts; otherwise they are only told."""
    resting: int
    """Structures that wait for the time of their next attempt."""
    next_due_at: float | None
    """When the first of these is due; Unix time, s."""
    without_remedy: int
    """Failed structures for which nothing is left to try with these settings."""
    refused: str = ""
    """Why nothing can be run with the present settings; empty where it can."""
    unanswered: str = ""
    """Since when and why a scheduler does not answer the runs that follow its jobs; empty while it does."""
    csv_refused: str = ""
    """Why the CSV, as it is, was not taken in; empty where it was."""
    done: str = ""
    """What came of it, where the sensors have found it done and it still is; otherwise empty."""

    @property
    def budget_spent(self) -> bool:
        """Whether nothing more is begun for want of core-hours."""
        return self.core_hours_budget is not None and self.core_hours_spent >= self.core_hours_budget

    @property
    def stopped(self) -> bool:
        """Whether it begins nothing more until somebody does something."""
        return bool(self.paused or self.refused) or self.budget_spent

    def lines(self) -> Iterator[str]:
        """What a user should know, a line each."""
        if self.refused:
            yield f"REFUSED: {self.refused}"
        if self.csv_refused:
            yield f"CSV REFUSED: {self.csv_refused}"
        if self.unanswered:
            yield f"NO ANSWER: {self.unanswered}; its jobs go on, and nothing is decided about them until it does"
        if self.paused:
            yield f"PAUSED: {self.paused}; {GO_ON}"
        if self.done:
            yield f"Done: {self.done}"
        if self.core_hours_budget is not None:
            spent = "BUDGET SPENT" if self.budget_spent else "Budget"
            yield f"{spent}: {self.core_hours_spent:.4g} of {self.core_hours_budget:g} core-hours (feed.core_hours)"
        if 0 < self.trial_ended < self.trial:
            have = "has" if self.trial_ended == 1 else "have"
            yield f"Trial: {self.trial_ended} of {self.trial} structures {have} ended (feed.trial)"
        if self.bad_hosts:
            hosts = ", ".join(
                f"{host} ({pluralise(count, 'structure')})" for host, count in self.bad_hosts.items()
            )
            then = "left out; `oact release --host NAME` lets one in again"
            yield f"Bad hosts: {hosts}: {then if self.hosts_left_out else 'there is no other to run on'}"
        if self.resting:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.next_due_at))
            yield f"resting {self.resting} (before their next attempt; the first is due at {when})"
        if self.without_remedy:
            yield f"set aside {self.without_remedy} for whose failure no remedy is left"


def feed_overview(campaign: Campaign, ledger: LedgerReader, now: float | None = None) -> FeedOverview:
    """Look at a campaign that runs itself.

    Args:
        campaign: its settings.
        ledger: of the campaign.
        now: Unix time, s.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    state, feed = read_feed_state(ledger), campaign.feed
    at = time.time() if now is None else now
    due = due_of(campaign, at)
    resting, next_due_at = ledger.resting(due)
    return FeedOverview(
        paused=state.paused,
        core_hours_spent=sum(ledger.cores_spent().values()),
        core_hours_budget=feed.core_hours,
        trial=feed.trial,
        trial_ended=len(ledger.last_ended(feed.trial, state.after)) if feed.trial else 0,
        bad_hosts=left_out(ledger),
        hosts_left_out=can_leave_out(campaign),
        resting=resting,
        next_due_at=next_due_at,
        without_remedy=ledger.count_without_remedy(due),
        refused=_refusal(campaign, ledger),
        unanswered=ledger.unanswered(at),
        csv_refused=why_refused(campaign, ledger),
        done=_done(campaign, ledger, at) if DONE in state.told else "",
    )


def _done(campaign: Campaign, ledger: LedgerReader, now: float) -> str:
    # The sensors may be off since they found it done.
    counts = ledger.count_by_status()
    if counts.get(Status.RUNNING) or count_left(campaign, ledger, now):
        return ""
    return what_came(campaign, ledger, counts)


def _refusal(campaign: Campaign, ledger: LedgerReader) -> str:
    try:
        check_identity(campaign, ledger)
    except LedgerError as error:
        return str(error)
    return ""

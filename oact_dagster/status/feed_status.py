"""State of a self-running campaign: whether it starts anything, and if not, why."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from oact_dagster.errors import LedgerError
from oact_dagster.feed.bad_hosts import can_leave_out, left_out
from oact_dagster.feed.decisions import count_left, due_of, outcome_summary
from oact_dagster.feed.state import DONE, GO_ON, read_feed_state
from oact_dagster.intake.csv_stamp import why_refused
from oact_dagster.intake.identity import check_identity
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import Status
from oact_dagster.settings.campaign import Campaign
from oact_dagster.text import pluralise


@dataclass(frozen=True, slots=True)
class FeedOverview:
    """State of a self-running campaign at one moment. Texts are empty if they do not apply."""

    paused: str
    """Why nothing is started until `oact release CAMPAIGN --feed`."""
    core_hours_spent: float
    core_hours_budget: float | None
    trial: int
    """Structures in the trial; 0 without a trial."""
    trial_ended: int
    """Structures of the trial that have ended, without lost and cancelled ones."""
    bad_hosts: Mapping[str, int]
    """Number of structures lost or crashed on each bad host."""
    hosts_left_out: bool
    """Whether calculations can be kept away from these hosts; otherwise they are only reported."""
    resting: int
    """Structures waiting for the time of their next attempt."""
    next_due_at: float | None
    """When the first is due; Unix time, s."""
    without_remedy: int
    """Failed structures with nothing left to try with these settings."""
    refused: str = ""
    """Why nothing can run with the present settings."""
    unanswered: str = ""
    """Since when and why a scheduler has not answered the runs that monitor its jobs."""
    csv_refused: str = ""
    done: str = ""
    """The outcome, if the sensors found the campaign done and it still is."""

    @property
    def budget_spent(self) -> bool:
        """Whether nothing more is started because the core-hours are used up."""
        return self.core_hours_budget is not None and self.core_hours_spent >= self.core_hours_budget

    @property
    def stopped(self) -> bool:
        """Whether nothing more is started until somebody intervenes."""
        return bool(self.paused or self.refused) or self.budget_spent

    def lines(self) -> Iterator[str]:
        """Yield what a user should know, line by line."""
        if self.refused:
            yield f"REFUSED: {self.refused}"
        if self.csv_refused:
            yield f"CSV REFUSED: {self.csv_refused}"
        if self.unanswered:
            yield f"NO ANSWER: {self.unanswered}; its jobs go on, and nothing is decided about them until it answers"
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
            then = "avoided; `oact release --host NAME` readmits one"
            yield f"Bad hosts: {hosts}: {then if self.hosts_left_out else 'there is no other host to run on'}"
        if self.resting:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.next_due_at))
            yield f"resting {self.resting} (waiting for their next attempt; the first is due at {when})"
        if self.without_remedy:
            yield f"set aside {self.without_remedy} because no remedy is left for their failures"


def feed_overview(campaign: Campaign, ledger: LedgerReader, now: float | None = None) -> FeedOverview:
    """Read the state of a self-running campaign at ``now`` (Unix time, s; default: the present).

    Raises:
        LedgerError: The ledger cannot be read.
    """
    state, feed = read_feed_state(ledger), campaign.feed
    at = time.time() if now is None else now
    due = due_of(campaign, at)
    resting, next_due_at = ledger.queue.resting(due)
    return FeedOverview(
        paused=state.paused,
        core_hours_spent=sum(ledger.figures.cores_spent().values()),
        core_hours_budget=feed.core_hours,
        trial=feed.trial,
        trial_ended=len(ledger.health.last_ended(feed.trial, state.after)) if feed.trial else 0,
        bad_hosts=left_out(ledger),
        hosts_left_out=can_leave_out(campaign),
        resting=resting,
        next_due_at=next_due_at,
        without_remedy=ledger.queue.count_without_remedy(due),
        refused=_refusal(campaign, ledger),
        unanswered=ledger.batches.unanswered(at),
        csv_refused=why_refused(campaign, ledger),
        done=_done(campaign, ledger, at) if DONE in state.told else "",
    )


def _done(campaign: Campaign, ledger: LedgerReader, now: float) -> str:
    # The sensors may have been switched off after they found the campaign done.
    counts = ledger.figures.count_by_status()
    if counts.get(Status.RUNNING) or count_left(campaign, ledger, now):
        return ""
    return outcome_summary(campaign, ledger, counts)


def _refusal(campaign: Campaign, ledger: LedgerReader) -> str:
    try:
        check_identity(campaign, ledger)
    except LedgerError as error:
        return str(error)
    return ""

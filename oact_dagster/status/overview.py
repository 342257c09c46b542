"""Overview of a campaign for the dashboard, fast even for a million structures."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from oact_dagster.attempts.engine import is_standin
from oact_dagster.ledger.metrics import Metrics
from oact_dagster.ledger.quality import QualityCounts
from oact_dagster.ledger.queue import Due
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import FAILED_STATUSES, WAITING_STATUSES, Outcome, Status
from oact_dagster.settings.retry import RetrySettings

LOOKED_BACK_S: Final = 24 * 3600.0
"""The throughput counts attempts that ended within this time, s."""

LEAST_LOOKED_BACK_S: Final = 300.0
"""No throughput is given before this time, s: the first minutes of a campaign say nothing about its pace."""

ATTEMPTS_LOOKED_AT: Final = 20_000
"""Number of newest attempts that the throughput is computed from; there may be millions in all."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Recent throughput."""

    hours: float
    """Length of the period: a day, or the time since the oldest of the newest attempts was claimed."""
    completed: int
    failed: int
    """Including timed-out attempts."""
    completed_last_hour: int

    @property
    def per_hour(self) -> float:
        """Structures completed per hour."""
        return self.completed / self.hours


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one class with similar messages."""

    failure_class: str
    message: str
    """Message of one of them, shortened; numbers in the others may differ."""
    count: int
    example: int | None
    """``orig_index`` of one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignCounts:
    """Counts of a campaign at one moment. Lists have the most frequent entry first."""

    counts: Mapping[Status, int]
    running_started: int
    """Running structures that are computing."""
    held: int
    rejected: int
    engines: Counter[str]
    failures: tuple[tuple[str, int], ...]
    """``(failure class, structures)`` of failed and timed-out structures."""
    spent: Mapping[Outcome, float]
    """Core-hours of all closed attempts by outcome."""

    @property
    def total(self) -> int:
        """Structures in the ledger."""
        return sum(self.counts.values())

    @property
    def completed(self) -> int:
        """Structures with a result."""
        return self.counts.get(Status.COMPLETED, 0)

    @property
    def not_orca(self) -> int:
        """Results from the stand-in engine instead of ORCA."""
        return sum(count for engine, count in self.engines.items() if is_standin(engine))


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview(CampaignCounts):
    """Overview of a campaign at one moment. Lists have the most frequent entry first."""

    at: float
    """Unix time, s."""
    groups: tuple[FailureGroup, ...]
    throughput: Throughput | None
    """None if nothing has ended lately, or the campaign has just begun."""
    set_aside: int | None
    """Structures whose budget is used up; None if the budgets are not known."""
    metrics: Metrics | None
    """None unless asked for."""
    stuck: tuple[tuple[str, int], ...] = ()
    """``(reason, structures)`` of queued structures whose jobs may wait for ever."""
    host_faults: tuple[tuple[str, int], ...] = ()
    """``(host, attempts)`` of attempts that failed through a fault of the host."""
    without_remedy: int = 0
    """Failed structures within their budgets with nothing left to try; 0 if the settings are not known."""
    running_unfollowed: int = 0
    """Running structures without an attempt of ours; whether they are computing is not known."""
    quality: QualityCounts | None = None
    """The last results of the quality rules; None if there are none."""

    @property
    def running(self) -> int:
        """Structures that are queued or computing."""
        return self.counts.get(Status.RUNNING, 0)

    @property
    def queued(self) -> int:
        """Running structures that have not started."""
        return max(0, self.running - self.running_started - self.running_unfollowed)

    @property
    def left(self) -> int:
        """Structures still to be run, including failed ones within their budgets."""
        waiting = sum(self.counts.get(status, 0) for status in (*WAITING_STATUSES, Status.RUNNING))
        if self.set_aside is None:
            return waiting
        failed = sum(self.counts.get(status, 0) for status in FAILED_STATUSES)
        return max(0, waiting + failed - self.set_aside - self.without_remedy)

    @property
    def ends_at(self) -> float | None:
        """Estimated end at the recent throughput, Unix time in s; None if it cannot be estimated."""
        if self.throughput is None or not self.throughput.completed or not self.left:
            return None
        return self.at + 3600.0 * self.left / self.throughput.per_hour


def overview_of(
    ledger: LedgerReader,
    retry: RetrySettings | None = None,
    *,
    retry_key: str | None = None,
    metrics: bool = True,
    now: float | None = None,
) -> Overview:
    """Read the overview of a campaign. Only the rows of failed structures are read one by one.

    ``retry`` and ``retry_key`` (of the settings that decide whether anything is left to try) are None if not known.
    ``metrics`` adds figures of the results; ``now`` is a Unix time in s.

    Raises:
        LedgerError: The ledger cannot be read, or a row has an unknown status, which is named.
    """
    at = time.time() if now is None else now
    counts = ledger.figures.count_by_status()
    quality = ledger.quality.counts()
    groups = (
        tuple(FailureGroup(*group) for group in ledger.figures.failures_by_message())
        if any(counts.get(status) for status in FAILED_STATUSES)
        else ()
    )
    by_class: Counter[str] = Counter()
    for group in groups:
        by_class[group.failure_class] += group.count
    figures = ledger.figures.metrics() if metrics else None
    spent = ledger.figures.cores_spent()
    if figures is not None and figures.core_hours and Outcome.COMPLETED not in spent:
        # An old ledger has no attempts; its results have the costs.
        spent[Outcome.COMPLETED] = figures.core_hours
    return Overview(
        at=at,
        counts=counts,
        running_started=ledger.figures.count_running_started() if counts.get(Status.RUNNING) else 0,
        running_unfollowed=ledger.figures.count_running_unfollowed() if counts.get(Status.RUNNING) else 0,
        held=ledger.figures.count_held(),
        rejected=ledger.intake.count_rejections(),
        engines=engines_of(ledger),
        failures=tuple(sorted(by_class.items(), key=lambda item: (-item[1], item[0]))),
        groups=groups,
        spent=spent,
        throughput=_throughput(ledger, at),
        set_aside=None
        if retry is None
        else ledger.figures.count_set_aside(retry.max_failures, retry.max_losses),
        metrics=figures,
        stuck=tuple(ledger.figures.stuck_by_reason()) if counts.get(Status.RUNNING) else (),
        host_faults=tuple(ledger.figures.faults_by_host()),
        quality=quality if quality.judged else None,
        without_remedy=0
        if retry is None or retry_key is None
        else ledger.queue.count_without_remedy(Due(at, retry.max_failures, retry.max_losses, retry_key)),
    )


def engines_of(ledger: LedgerReader) -> Counter[str]:
    """Return the number of completed structures by engine."""
    return Counter({engine or "unknown": count for engine, count in ledger.figures.count_by_engine().items()})


def _throughput(ledger: LedgerReader, now: float) -> Throughput | None:
    pace = ledger.figures.pace(ATTEMPTS_LOOKED_AT, now - LOOKED_BACK_S, now - 3600.0)
    if pace.first_claimed_at is None or not pace.completed + pace.failed:
        return None
    # The period must stay positive even if the clock was set back.
    begin = max(now - LOOKED_BACK_S, pace.first_claimed_at)
    if now - begin < LEAST_LOOKED_BACK_S:
        return None
    return Throughput((now - begin) / 3600.0, pace.completed, pace.failed, pace.completed_last)

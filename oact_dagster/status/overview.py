"""A campaign at one moment in figures, fast at a million structures: what the dashboard shows."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from oact_dagster.ledger.metrics import Metrics
from oact_dagster.ledger.quality import QualityCounts
from oact_dagster.ledger.queue import Due
from oact_dagster.ledger.reading import LedgerReader
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.settings.retry import RetrySettings

LOOKED_BACK_S: Final = 24 * 3600.0
"""The throughput is that of the attempts that ended in this time, s."""

LEAST_LOOKED_BACK_S: Final = 300.0
"""What ended in the first minutes of a campaign says nothing of its pace, s."""

ATTEMPTS_LOOKED_AT: Final = 20_000
"""Newest attempts from which the throughput is taken; there may be millions."""

_FAILED: Final = (Outcome.FAILED, Outcome.TIMEOUT)


@dataclass(frozen=True, slots=True)
class Throughput:
    """What ended lately."""

    hours: float
    """Length of the time looked at: a day, or since the oldest of the attempts looked at was claimed."""
    completed: int
    failed: int
    """Failed and timed-out attempts."""
    completed_last_hour: int

    @property
    def per_hour(self) -> float:
        """Structures completed in an hour."""
        return self.completed / self.hours


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one class whose messages are alike."""

    failure_class: str
    message: str
    """Of one of them, cut; numbers may differ from one to the next."""
    count: int
    example: int | None
    """``orig_index`` of one of them."""


@dataclass(frozen=True, slots=True)
class Overview:
    """A campaign at one moment."""

    at: float
    """Unix time, s."""
    counts: Mapping[Status, int]
    running_started: int
    """How many of the running ones compute."""
    held: int
    rejected: int
    engines: Counter[str]
    """Completed structures by the engine that computed them."""
    failures: tuple[tuple[str, int], ...]
    """``(failure class, structures)`` of what is failed or timed out, most first."""
    groups: tuple[FailureGroup, ...]
    """The same by class and message, most first."""
    spent: Mapping[Outcome, float]
    """Core-hours of all closed attempts by outcome."""
    throughput: Throughput | None
    """None where nothing has ended lately, or the campaign has only begun."""
    set_aside: int | None
    """Structures whose budget is used up; None where the budgets are not known."""
    metrics: Metrics | None
    """None where they were not asked for."""
    stuck: tuple[tuple[str, int], ...] = ()
    """``(reason, structures)`` of queued ones whose jobs may wait for ever, most first."""
    host_faults: tuple[tuple[str, int], ...] = ()
    """``(host, attempts)`` that failed by a fault of the host, most first."""
    without_remedy: int = 0
    """Failed structures within their budgets for which nothing is left to try; 0 where the settings are not known."""

    running_unfollowed: int = 0
    """How many of the running ones have no attempt of ours, so that nobody can say whether they compute."""

    quality: QualityCounts | None = None
    """What the quality rules said when they were last asked; None where they never were."""

    @property
    def total(self) -> int:
        """How many structures the ledger has."""
        return sum(self.counts.values())

    @property
    def completed(self) -> int:
        """How many have a result."""
        return self.counts.get(Status.COMPLETED, 0)

    @property
    def running(self) -> int:
        """How many are queued or compute."""
        return self.counts.get(Status.RUNNING, 0)

    @property
    def queued(self) -> int:
        """How many of the running ones have not started."""
        return max(0, self.running - self.running_started - self.running_unfollowed)

    @property
    def not_orca(self) -> int:
        """How many results are no ORCA results but the stand-in engine's."""
        return sum(count for engine, count in self.engines.items() if "NOT ORCA" in engine)

    @property
    def left(self) -> int:
        """Structures that are still to be run: those that have failed only where the budgets say so."""
        waiting = sum(self.counts.get(status, 0) for status in (Status.TO_RUN, Status.READY, Status.RUNNING))
        if self.set_aside is None:
            return waiting
        failed = self.counts.get(Status.FAILED, 0) + self.counts.get(Status.TIMEOUT, 0)
        return max(0, waiting + failed - self.set_aside - self.without_remedy)

    @property
    def ends_at(self) -> float | None:
        """When the last structure would be done at the throughput of late; Unix time, s; None where nobody can say."""
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
    """Look at a campaign. No row of the structures is read one by one but those that have failed.

    Args:
        ledger: of the campaign.
        retry: its budgets, where they are known.
        retry_key: of its settings that decide whether anything is left to try, likewise.
        metrics: sum up the results, too.
        now: Unix time, s.

    Raises:
        LedgerError: the ledger cannot be read, or a row has an unknown status; it is named.
    """
    at = time.time() if now is None else now
    counts = ledger.count_by_status()
    quality = ledger.count_quality()
    groups = (
        tuple(FailureGroup(*group) for group in ledger.failures_by_message())
        if counts.get(Status.FAILED) or counts.get(Status.TIMEOUT)
        else ()
    )
    by_class: Counter[str] = Counter()
    for group in groups:
        by_class[group.failure_class] += group.count
    figures = ledger.metrics() if metrics else None
    spent = ledger.cores_spent()
    if figures is not None and figures.core_hours and Outcome.COMPLETED not in spent:
        # An old ledger kept no attempts, and the costs with its results.
        spent[Outcome.COMPLETED] = figures.core_hours
    return Overview(
        at=at,
        counts=counts,
        running_started=ledger.count_running_started() if counts.get(Status.RUNNING) else 0,
        running_unfollowed=ledger.count_running_unfollowed() if counts.get(Status.RUNNING) else 0,
        held=ledger.count_held(),
        rejected=ledger.count_rejections(),
        engines=engines_of(ledger),
        failures=tuple(sorted(by_class.items(), key=lambda item: (-item[1], item[0]))),
        groups=groups,
        spent=spent,
        throughput=_throughput(ledger, at),
        set_aside=None if retry is None else ledger.count_set_aside(retry.max_failures, retry.max_losses),
        metrics=figures,
        stuck=tuple(ledger.stuck_by_reason()) if counts.get(Status.RUNNING) else (),
        host_faults=tuple(ledger.faults_by_host()),
        quality=quality if quality.judged else None,
        without_remedy=0
        if retry is None or retry_key is None
        else ledger.count_without_remedy(Due(at, retry.max_failures, retry.max_losses, retry_key)),
    )


def engines_of(ledger: LedgerReader) -> Counter[str]:
    """Completed structures by the engine that computed them."""
    return Counter({engine or "unknown": count for engine, count in ledger.count_by_engine().items()})


def _throughput(ledger: LedgerReader, now: float) -> Throughput | None:
    newest = ledger.newest_attempts(ATTEMPTS_LOOKED_AT)
    ended = [one for one in newest if one.ended_at is not None and one.ended_at > now - LOOKED_BACK_S]
    counted = [one for one in ended if one.outcome is Outcome.COMPLETED or one.outcome in _FAILED]
    if not counted:
        return None
    # A clock that was set back must not make time run backwards.
    begin = max(now - LOOKED_BACK_S, min(one.claimed_at for one in newest))
    if now - begin < LEAST_LOOKED_BACK_S:
        return None
    completed = [one for one in counted if one.outcome is Outcome.COMPLETED]
    return Throughput(
        hours=(now - begin) / 3600.0,
        completed=len(completed),
        failed=len(counted) - len(completed),
        completed_last_hour=sum(1 for one in completed if (one.ended_at or 0.0) > now - 3600.0),
    )

"""A job to submit, and the state that its scheduler, or this machine, reports."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final


class Phase(StrEnum):
    """The phase of a job's life."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"
    """The scheduler does not know the job (any more), which alone decides nothing."""


class Cause(StrEnum):
    """Why a job ended, according to whatever ran it."""

    ITSELF = "itself"
    """Its command ended, well or not, or no cause is known."""
    TIME_LIMIT = "time limit"
    OUT_OF_MEMORY = "out of memory"
    NODE_FAILED = "node failed"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    WITHDRAWN = "withdrawn"
    """It was taken back from the queue, so its command never ran."""
    OUT_OF_TIME = "out of time"
    """It was not started, because it could not have ended in time."""
    NOT_STARTED = "not started"
    """Its command could not be started."""


@dataclass(frozen=True, slots=True)
class JobCosts:
    """The costs of a job from its scheduler's accounting; None for those that it does not give."""

    elapsed_s: float | None = None
    cpu_time_s: float | None = None
    """User and system time of all its processes."""
    max_rss_mb: float | None = None
    node: str | None = None


@dataclass(frozen=True, slots=True)
class JobState:
    """The state of a job as its scheduler reports it."""

    phase: Phase
    final: str = ""
    """How it ended, in the scheduler's own words (``exit 0``, ``TIMEOUT``): for people, never compared."""
    cause: Cause = Cause.ITSELF
    reason: str = ""
    """Why a queued job waits, in the scheduler's own words, or why an ended job was not started."""
    stuck: str = ""
    """Why a queued job may wait for ever, and what to do; empty if it only waits for its turn."""
    log: str = ""
    """The last lines of scheduler and job script, once the job has ended."""
    costs: JobCosts = JobCosts()
    """Known once the job has ended."""
    returncode: int | None = None
    """Exit code of the attempt's payload, negative for a signal; None if only a scheduler knows how the job ended."""


def ended_with(returncode: int) -> JobState:
    """The state of a job whose command ended with this exit code; a negative one is a signal."""
    final = f"signal {-returncode}" if returncode < 0 else f"exit {returncode}"
    return JobState(Phase.ENDED, final, returncode=returncode)


def not_started(reason: str) -> JobState:
    """The state of a job whose command could not be started."""
    return JobState(Phase.ENDED, f"not started: {reason}", Cause.NOT_STARTED, reason)


def out_of_time(reason: str) -> JobState:
    """The state of a job that was not started because it could not have ended in time."""
    return JobState(Phase.ENDED, "out of time", Cause.OUT_OF_TIME, reason)


WITHDRAWN: Final = JobState(Phase.ENDED, "never started", Cause.WITHDRAWN)
"""The state of a job that was taken back from the queue."""


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt, ready to start."""

    token: str
    folder: Path
    n_cores: int
    time_limit_s: float = 7200.0
    memory_mb: int | None = None
    """Memory to request for all its processes; None leaves it to the scheduler."""
    expected_cost: float = 0.0
    """Cost relative to other jobs, in arbitrary units; 0 if unknown."""
    avoid: tuple[str, ...] = ()
    """Hosts on which earlier attempts failed through no fault of their own."""

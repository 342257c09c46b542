"""Jobs: what is handed over, and what its scheduler, or this machine, says of it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final


class Phase(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"
    """The scheduler does not know it (any more); by itself that decides nothing."""


class Cause(StrEnum):
    """Why a job ended, as far as whoever ran it tells."""

    ITSELF = "itself"
    """Its command ended, well or not; or nothing is said of it."""
    TIME_LIMIT = "time limit"
    OUT_OF_MEMORY = "out of memory"
    NODE_FAILED = "node failed"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    WITHDRAWN = "withdrawn"
    """It was taken back while it was queued: its command never ran."""
    OUT_OF_TIME = "out of time"
    """It was never started, since it could not have ended in time."""
    NOT_STARTED = "not started"
    """Its command could not be started."""


@dataclass(frozen=True, slots=True)
class JobCosts:
    """What a job took, as its scheduler's accounting tells; None for what it does not tell."""

    elapsed_s: float | None = None
    cpu_time_s: float | None = None
    """Of all its processes, user and system."""
    max_rss_mb: float | None = None
    """Its largest memory."""
    node: str | None = None


@dataclass(frozen=True, slots=True)
class JobState:
    """What the scheduler says of a job."""

    phase: Phase
    final: str = ""
    """How it ended, in the scheduler's own words (``exit 0``, ``TIMEOUT``): for people, never compared."""
    cause: Cause = Cause.ITSELF
    reason: str = ""
    """Why a queued job waits, in the scheduler's own words; why an ended one was not started."""
    stuck: str = ""
    """The reason of a queued job that may wait for ever, with what to do; empty while it only waits for its turn."""
    log: str = ""
    """The last lines that scheduler and job script wrote, once it has ended."""
    costs: JobCosts = JobCosts()
    """Once it has ended."""
    returncode: int | None = None
    """Exit code of a payload that we ran ourselves, negative for a signal; None of a scheduler's job."""


def ended_with(returncode: int) -> JobState:
    """The state of a job whose command has ended, by its exit code; a negative one is a signal."""
    final = f"signal {-returncode}" if returncode < 0 else f"exit {returncode}"
    return JobState(Phase.ENDED, final, returncode=returncode)


def not_started(reason: str) -> JobState:
    """The state of a job whose command could not be started."""
    return JobState(Phase.ENDED, f"not started: {reason}", Cause.NOT_STARTED, reason)


def out_of_time(reason: str) -> JobState:
    """The state of a job that was not started, since it could not have ended in time."""
    return JobState(Phase.ENDED, "out of time", Cause.OUT_OF_TIME, reason)


WITHDRAWN: Final = JobState(Phase.ENDED, "never started", Cause.WITHDRAWN)
"""The state of a job that was taken back while it was queued."""


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt, ready to be started."""

    token: str
    folder: Path
    n_cores: int
    time_limit_s: float = 7200.0
    memory_mb: int | None = None
    """What to ask for with all its processes; None leaves it to the scheduler."""
    expected_cost: float = 0.0
    """How dear it is against the others, in a unit without meaning; 0 where that is not known."""
    avoid: tuple[str, ...] = ()
    """Hosts on which earlier attempts failed by no fault of theirs."""

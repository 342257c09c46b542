"""The protocol that a scheduler implements, and the types in it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, Self

from oact_dagster.schedulers.job_array import NAME_PREFIX, JobArray, ResourceRequest
from oact_dagster.schedulers.jobs import JobState
from oact_dagster.settings.launcher import LauncherSettings


@dataclass(frozen=True, slots=True)
class JobOptions:
    """The options of every job of a campaign, besides cores, time and memory."""

    queue: str | None = None
    qos: str | None = None
    allocation: str | None = None
    constraint: str | None = None
    extra: Sequence[str] = ()
    signal_before_limit_s: float = 120.0
    """How long before its time limit a job gets a signal to end its calculation, s; at most a quarter of the limit."""

    @classmethod
    def of(cls, settings: LauncherSettings) -> Self:
        """The options in a campaign's settings."""
        return cls(
            settings.queue,
            settings.qos,
            settings.allocation,
            settings.constraint,
            settings.extra_directives,
            settings.signal_before_limit_s,
        )


class Reply(StrEnum):
    """The outcome of a submit."""

    TAKEN = "taken"
    REFUSED = "refused"
    """The scheduler will not take these jobs."""
    FULL = "full"
    """It takes no more jobs for now, because of a limit on submitted jobs."""
    UNCLEAR = "unclear"
    """The answer was lost, so the scheduler may have the jobs."""


@dataclass(frozen=True, slots=True)
class SubmitAnswer:
    """A scheduler's answer to a submit."""

    reply: Reply
    job_ids: Mapping[int, str] = field(default_factory=dict)
    """The job id of each task that was taken."""
    told: str = ""
    """The scheduler's message, on one line."""
    unknown_hosts: Collection[str] = ()
    """Hosts to avoid that the scheduler does not know, and refused for that reason."""


ArrayNames = Mapping[str, str]
"""Job ids, each with the name of its array; the name is empty if the array's folder is gone."""


def is_ours(job_name: str, array_name: str) -> bool:
    """Whether a job with one of our ids is still ours.

    Schedulers use ids again, for example after a new set-up or in another Flux instance.

    Args:
        job_name: the array's name according to the scheduler.
        array_name: the name of the array that we submitted; empty if unknown.
    """
    return job_name == array_name if array_name else job_name.startswith(NAME_PREFIX)


@dataclass(frozen=True, slots=True)
class PlannedJobs:
    """Jobs that a campaign would submit."""

    request: ResourceRequest
    whose: str
    """The structures that need them, for messages."""
    longest_minutes: int | None = None
    """The longest time limit that a retry may request; None if unlimited."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An answer of the scheduler about a campaign's jobs, before any is submitted."""

    text: str
    blocks: bool = False
    """The jobs would be refused, or never start."""


class Scheduler(Protocol):
    """The commands of a scheduler. Each raises NoAnswerError if the scheduler does not answer."""

    kind: str
    why_unknown: str
    """Why it may not know a job that was submitted to it, as a clause."""
    task_variable: str
    """Environment variable with a job's number in its array."""
    script_name: str
    """The name of the script in a job folder with which a user can submit that calculation."""

    def __init__(self, options: JobOptions, timeout_s: float) -> None:
        """Take the options of every job, and the time limit of each command, s."""

    def script_lines(self, folder: Path, request: ResourceRequest) -> Sequence[str]:
        """The directives of that script, one on each line. They request the same as a submit.

        Raises:
            ValueError: a value has more than one line.
        """

    def largest_array(self) -> int:
        """The largest number of jobs in one submit."""

    def submit(self, array: JobArray) -> SubmitAnswer:
        """Submit all tasks of an array."""

    def find(self, arrays: Collection[JobArray]) -> Mapping[str, Mapping[int, str]]:
        """Find the job ids of all tasks of these arrays, by array name, including jobs that have just ended."""

    def active(self, names: Collection[str]) -> Mapping[str, str]:
        """Find the ids of waiting and running jobs with these names, by name."""

    def states(self, names: ArrayNames) -> Mapping[str, JobState]:
        """The states of jobs, without those that are unknown or whose id now belongs to another job."""

    def knows_ended_for_s(self) -> float:
        """How long the scheduler is sure to know an ended job, s; 0 if an unknown job proves nothing."""

    def cancel(self, names: ArrayNames) -> None:
        """Cancel jobs that are still ours."""

    def hosts(self) -> Collection[str] | None:
        """The nodes that may run our jobs, as the scheduler names them; None if it does not say."""

    def how_to_cancel(self, job_ids: Collection[str], names: Collection[str]) -> str:
        """The command with which a user cancels these jobs, which are all jobs of the arrays with these names."""

    def examine(self, wanted: Sequence[PlannedJobs]) -> Iterator[Finding]:
        """Ask whether jobs would be accepted and could start, without submitting any."""

    def why_pending(self, reason: str) -> str | None:
        """What a user should know about a job's reason to wait; None if the reason passes by itself."""

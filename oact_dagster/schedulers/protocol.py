"""What the launchers of Slurm and Flux want of their scheduler."""

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
    """What every job of a campaign asks for besides cores, time and memory."""

    queue: str | None = None
    qos: str | None = None
    allocation: str | None = None
    constraint: str | None = None
    extra: Sequence[str] = ()
    signal_before_limit_s: float = 120.0
    """How long before its time limit a job is told to end its calculation, s; at most a quarter of the limit."""

    @classmethod
    def of(cls, settings: LauncherSettings) -> Self:
        """The options of a campaign's jobs."""
        return cls(
            settings.queue,
            settings.qos,
            settings.allocation,
            settings.constraint,
            settings.extra_directives,
            settings.signal_before_limit_s,
        )


class Reply(StrEnum):
    """What a scheduler said to a submit."""

    TAKEN = "taken"
    REFUSED = "refused"
    """It will not take these jobs."""
    FULL = "full"
    """It takes no more for now: a limit on submitted jobs."""
    UNCLEAR = "unclear"
    """The answer was lost: it may have them."""


@dataclass(frozen=True, slots=True)
class SubmitAnswer:
    """A scheduler's answer to a submit."""

    reply: Reply
    job_ids: Mapping[int, str] = field(default_factory=dict)
    """Of each task that was taken."""
    told: str = ""
    """Its words, in one line."""
    unknown_hosts: Collection[str] = ()
    """Hosts to avoid that it refused because it does not know them."""


ArrayNames = Mapping[str, str]
"""Job ids, each with the name of the array that it was submitted in; empty where the array's folder is gone."""


def is_ours(job_name: str, array_name: str) -> bool:
    """Whether the job that has one of our ids is still ours.

    A scheduler that was set up anew, and another Flux instance, give out the same ids again.

    Args:
        job_name: of its array, as the scheduler has it.
        array_name: of the array that we submitted; empty where that is not known.
    """
    return job_name == array_name if array_name else job_name.startswith(NAME_PREFIX)


@dataclass(frozen=True, slots=True)
class PlannedJobs:
    """Jobs that a campaign would submit."""

    request: ResourceRequest
    whose: str
    """Of which structures, for messages."""
    longest_minutes: int | None = None
    """The longest time limit that a retry of one may ask for; None where none is set."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a scheduler says of a campaign's jobs before any is submitted."""

    text: str
    blocks: bool = False
    """They would be refused, or never start."""


class Scheduler(Protocol):
    """A scheduler's commands. Where it does not answer, NoAnswerError is raised and nothing is known."""

    kind: str
    why_unknown: str
    """Why it may not know jobs that were submitted to it, as a clause."""
    task_variable: str
    """Of a job's environment: its number in its array."""
    script_name: str
    """The name of the script in a job folder, by which a user submits it by hand."""

    def __init__(self, options: JobOptions, timeout_s: float) -> None:
        """Make it: with the options of every job, and the time limit of each command, s."""

    def script_lines(self, folder: Path, request: ResourceRequest) -> Sequence[str]:
        """The directives of that script, a line each: they ask for what a submit asks for.

        Raises:
            ValueError: a value has more than one line.
        """

    def largest_array(self) -> int:
        """How many jobs one call may submit."""

    def submit(self, array: JobArray) -> SubmitAnswer:
        """Submit all tasks of an array."""

    def find(self, arrays: Collection[JobArray]) -> Mapping[str, Mapping[int, str]]:
        """The job ids of each task of these arrays, by the array's name; also of those that ended a moment ago."""

    def active(self, names: Collection[str]) -> Mapping[str, str]:
        """The ids of jobs with these names that wait or run, by name."""

    def states(self, names: ArrayNames) -> Mapping[str, JobState]:
        """The states of jobs.

        A job that the scheduler does not know is left out, and so is one whose id somebody else's job has now.
        """

    def knows_ended_for_s(self) -> float:
        """How long it certainly knows a job that has ended, s; 0 where nothing follows from its not knowing one."""

    def cancel(self, names: ArrayNames) -> None:
        """End jobs that are still ours."""

    def hosts(self) -> Collection[str] | None:
        """The nodes on which jobs of ours may run, as the scheduler names them; None where it does not tell."""

    def how_to_cancel(self, job_ids: Collection[str], names: Collection[str]) -> str:
        """The command by which a user ends these jobs, which are all jobs of the arrays with these names."""

    def examine(self, wanted: Sequence[PlannedJobs]) -> Iterator[Finding]:
        """Ask whether jobs would be taken, and could start; nothing is submitted."""

    def why_pending(self, reason: str) -> str | None:
        """What a user should know of a reason to wait; None for one that passes by itself."""

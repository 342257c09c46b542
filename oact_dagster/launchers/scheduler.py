"""What the launchers of Slurm and Flux want of their scheduler."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from oact_dagster.launchers.job_array import JobArray, ResourceRequest
from oact_dagster.launchers.protocol import JobState


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


@dataclass(frozen=True, slots=True)
class Wanted:
    """Jobs that a campaign would submit."""

    request: ResourceRequest
    whose: str
    """Of which structures, for messages."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a scheduler says of a campaign's jobs before any is submitted."""

    text: str
    blocks: bool = False
    """They would be refused, or never start."""


class Scheduler(Protocol):
    """A scheduler's commands. Where it does not answer, NoAnswerError is raised and nothing is known."""

    kind: str
    task_variable: str
    """Of a job's environment: its number in its array."""

    def largest_array(self) -> int:
        """How many jobs one call may submit."""

    def submit(self, array: JobArray) -> SubmitAnswer:
        """Submit all tasks of an array."""

    def find(self, names: Collection[str]) -> Mapping[str, Mapping[int, str]]:
        """The job ids of each task in the queue, by the array's name; also of those that ended a moment ago."""

    def states(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
        """The states of jobs; one that the scheduler does not know is left out."""

    def knows_ended_for_s(self) -> float:
        """How long it certainly knows a job that has ended, s; 0 where nothing follows from its not knowing one."""

    def cancel(self, job_ids: Collection[str]) -> None:
        """End jobs."""

    def how_to_cancel(self, job_ids: Collection[str], names: Collection[str]) -> str:
        """The command by which a user ends these jobs, which are all jobs of the arrays with these names."""

    def examine(self, wanted: Sequence[Wanted]) -> Iterator[Finding]:
        """Ask whether jobs would be taken, and could start; nothing is submitted."""

    def why_pending(self, reason: str) -> str | None:
        """What a user should know of a reason to wait; None for one that passes by itself."""

"""What every launcher does: take many jobs, tell the state of many, cancel many.

The words are a scheduler's. A job here is one attempt of one structure; its folder is prepared, and its
command is the payload's.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol


class LauncherError(Exception):
    """Jobs cannot be run as asked; the text is one line that says why and what to do."""


NEVER_STARTED: Final = "never started"
"""``JobState.final`` of a job that was cancelled while it was queued: its command never ran."""


class Phase(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"
    """The scheduler does not know it (any more); by itself that decides nothing."""


@dataclass(frozen=True, slots=True)
class JobState:
    """What the scheduler says of a job."""

    phase: Phase
    final: str = ""
    """The scheduler's own word for how it ended (``exit 0``, ``signal 9``, ``TIMEOUT``), once it has."""


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt, ready to be started."""

    token: str
    folder: Path
    n_cores: int


class Launcher(Protocol):
    """Runs jobs somewhere."""

    kind: str

    def submit(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """Hand over jobs.

        Returns:
            The scheduler's job id for each token.

        Raises:
            LauncherError: none of them was taken.
        """

    def states(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
        """The state of each of these jobs."""

    def cancel(self, job_ids: Collection[str]) -> None:
        """End these jobs; those that have ended already are passed over."""

    def adopt(self, tokens: Collection[str]) -> Mapping[str, str]:
        """Find the jobs of a dead run again.

        Returns:
            The job id of each token that is still queued or runs, and can be followed from now on. Of the others no
            process is left afterwards.
        """

    def wait(self, seconds: float) -> None:
        """Return when a job may have changed its state, or after this time."""

    def close(self) -> None:
        """Let go of all resources; jobs that die with their parent have ended on return."""

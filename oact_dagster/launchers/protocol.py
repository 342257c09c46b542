"""What every launcher does: take many jobs, tell the state of many, cancel many.

The words are a scheduler's. A job here is one attempt of one structure; its folder is prepared, and its
command is the payload's.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from oact_dagster.schedulers.jobs import Job, JobState


@dataclass(frozen=True, slots=True)
class Orphan:
    """An attempt of a run that is gone."""

    token: str
    folder: Path
    job_id: str | None
    """As the ledger has it; None where its submit was never confirmed."""
    began: bool = False
    """The run that is gone saw its job run."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of jobs that were handed over. Those in neither are to be handed over again later."""

    taken: Mapping[str, str] = field(default_factory=dict)
    """The scheduler's job id for each token."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why, for each token that the scheduler will not take."""


class Launcher(Protocol):
    """Runs jobs somewhere."""

    kind: str
    jobs_outlive_process: bool
    """Jobs go on when this process ends: they belong to a scheduler."""

    def submit(self, jobs: Sequence[Job]) -> Submission:
        """Hand over jobs; those that are not taken yet (a submit limit, no answer) may be handed over again.

        Raises:
            LauncherError: nothing can be submitted here at all.
        """

    def by_hand(self, folders: Collection[Path]) -> Mapping[Path, str]:
        """Jobs that somebody submitted by hand from the script in a job folder, and that wait or run.

        Returns:
            The scheduler's job id for each folder that has one.

        Raises:
            LauncherError: the scheduler cannot be asked; nothing is known.
        """

    def withdraw(self, tokens: Collection[str]) -> Collection[str]:
        """Forget jobs that were handed over and not taken.

        Returns:
            Those of which it is certain that no scheduler has them.
        """

    def closing(self) -> str:
        """Why jobs that are not handed over yet had better not be any more; empty while they may."""

    def states(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
        """The state of each of these jobs, as of the last time that the scheduler said."""

    def cancel(self, job_ids: Collection[str]) -> None:
        """End these jobs; those that have ended already are passed over."""

    def how_to_cancel(self, job_ids: Collection[str]) -> str:
        """The command by which a user ends these jobs."""

    def adopt(self, orphans: Sequence[Orphan]) -> Mapping[str, str]:
        """Find the jobs of a dead run again.

        Returns:
            The job id of each token that can be followed from now on. Of the others nothing runs afterwards.

        Raises:
            LauncherError: the scheduler cannot be asked; nothing is known, and nothing has changed.
        """

    def notes(self) -> Sequence[str]:
        """What whoever watches should know, since the last call: a limit, no answer, a job that cannot start."""

    def unanswered(self) -> str:
        """Since when and why the scheduler does not answer, as a clause; empty while it does."""

    def wait(self, seconds: float) -> bool:
        """Return when a job may have changed its state, or after this time.

        Returns:
            Whether it is worth while to ask for states, and to hand over again what was not taken.
        """

    def close(self) -> None:
        """Let go of all resources; jobs that die with their parent have ended on return."""

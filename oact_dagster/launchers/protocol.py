"""The protocol of launchers: submit, follow and cancel many jobs at once.

The terms are those of a scheduler. A job is one attempt of one structure: its folder is prepared, and its command is
the payload's.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from oact_dagster.schedulers.jobs import Job, JobState


@dataclass(frozen=True, slots=True)
class Orphan:
    """An attempt whose run is gone."""

    token: str
    folder: Path
    job_id: str | None
    """As recorded in the ledger; None if its submit was never confirmed."""
    began: bool = False
    """Whether the old run saw the job running."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of submitted jobs. Jobs in neither mapping must be submitted again later."""

    taken: Mapping[str, str] = field(default_factory=dict)
    """The scheduler's job id for each token."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """The scheduler's reason for each token."""


class Launcher(Protocol):
    """Runs jobs somewhere."""

    kind: str
    jobs_outlive_process: bool
    """Whether jobs belong to a scheduler and continue after this process ends."""

    def submit(self, jobs: Sequence[Job]) -> Submission:
        """Submit jobs. Those not taken yet (submit limit, no answer) may be submitted again.

        Raises:
            LauncherError: nothing can be submitted here at all.
        """

    def by_hand(self, folders: Collection[Path]) -> Mapping[Path, str]:
        """Find waiting or running jobs that a user submitted from the script in a job folder.

        Returns:
            The scheduler's job id for each folder that has such a job.

        Raises:
            LauncherError: the scheduler does not answer.
        """

    def withdraw(self, tokens: Collection[str]) -> Collection[str]:
        """Forget jobs that were submitted but not taken, and return those that certainly no scheduler has."""

    def closing(self) -> str:
        """Why no more jobs should be submitted; empty while they may be."""

    def states(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
        """The last known state of each job."""

    def cancel(self, job_ids: Collection[str]) -> None:
        """Cancel jobs; those that have already ended are skipped."""

    def how_to_cancel(self, job_ids: Collection[str]) -> str:
        """The command with which a user cancels these jobs; empty if there is nothing to do."""

    def adopt(self, orphans: Sequence[Orphan]) -> Mapping[str, str]:
        """Find the jobs of a dead run.

        Returns:
            The job id for each token that can be followed from now on. Nothing of the others is left running.

        Raises:
            LauncherError: the scheduler does not answer; nothing has changed.
        """

    def notes(self) -> Sequence[str]:
        """News for the user since the last call: a limit, a silent scheduler, a job that cannot start."""

    def unanswered(self) -> str:
        """Since when and why the scheduler has not answered, as a clause; empty while it answers."""

    def wait(self, seconds: float) -> bool:
        """Wait until a job may have changed its state, but no longer than this.

        Returns:
            Whether to ask for states and submit again what was not taken.
        """

    def close(self) -> None:
        """Release all resources. Jobs that die with this process have ended on return."""


class ChildLauncher:
    """The part of a launcher that is the same wherever jobs end with this process."""

    jobs_outlive_process = False

    def by_hand(self, folders: Collection[Path]) -> Mapping[Path, str]:
        """None: job folders have no script to submit."""
        return {}

    def withdraw(self, tokens: Collection[str]) -> Collection[str]:
        """All: every job is taken at once, or never."""
        return tokens

    def closing(self) -> str:
        """Never: jobs are taken at any time."""
        return ""

    def how_to_cancel(self, job_ids: Collection[str]) -> str:
        """Nothing to do: jobs end with this process."""
        return ""

    def unanswered(self) -> str:
        """Never: there is no scheduler to ask."""
        return ""

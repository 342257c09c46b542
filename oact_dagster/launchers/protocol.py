"""What every launcher does: take many jobs, tell the state of many, cancel many.

The words are a scheduler's. A job here is one attempt of one structure; its folder is prepared, and its
command is the payload's.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol


class LauncherError(Exception):
    """Jobs cannot be run as asked; the text is one line that says why and what to do."""


NEVER_STARTED: Final = "never started"
"""``JobState.final`` of a job that was cancelled while it was queued: its command never ran."""

NOT_STARTED: Final = "not started"
"""How ``JobState.final`` begins of a job whose command could not be started, with the reason behind it."""

OUT_OF_TIME: Final = "out of time"
"""``JobState.final`` of a job that was not started since it could not have ended in time; ``reason`` says more."""

GONE: Final = "no longer known"
"""``JobState.final`` of a job that the scheduler does not know any more."""


class Phase(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"
    """The scheduler does not know it (any more); by itself that decides nothing."""


class Cause(StrEnum):
    """Who ended a job, as far as its scheduler tells."""

    ITSELF = "itself"
    """Its command ended, well or not; or nothing is said of it."""
    TIME_LIMIT = "time limit"
    OUT_OF_MEMORY = "out of memory"
    NODE_FAILED = "node failed"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"


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
    """The scheduler's own word for how it ended (``exit 0``, ``signal 9``, ``TIMEOUT``), once it has."""
    cause: Cause = Cause.ITSELF
    reason: str = ""
    """Why a queued job waits, in the scheduler's own words."""
    stuck: str = ""
    """The reason of a queued job that may wait for ever, with what to do; empty while it only waits for its turn."""
    log: str = ""
    """The last lines that scheduler and job script wrote, once it has ended."""
    costs: JobCosts = JobCosts()
    """Once it has ended."""


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
    survives: bool
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

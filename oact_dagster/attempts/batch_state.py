"""State shared by the parts of a batch: its structures by progress, and the events about them."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from oact_dagster.attempts.ending import LiveAttempt
from oact_dagster.attempts.engine import Engine
from oact_dagster.attempts.events import Completed, Event, Failed, InputWritten, NotRun
from oact_dagster.attempts.full_disk import why_full
from oact_dagster.attempts.job_folder import FolderWriter
from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.known_results import earlier_attempts
from oact_dagster.attempts.selection import BatchRequest
from oact_dagster.attempts.stop_request import StopRequest
from oact_dagster.launchers.attempt_files import OUTPUT_FILE
from oact_dagster.launchers.protocol import Launcher
from oact_dagster.ledger.states import StructureRecord
from oact_dagster.ledger.store import Ledger
from oact_dagster.orca.outputs.reader import tail
from oact_dagster.schedulers.jobs import Job
from oact_dagster.settings.campaign import Campaign

HEARTBEAT_S: Final = 30.0
"""Time between two signs of life in the ledger, s."""
_TAIL_LINES: Final = 20
"""Lines of output shown with a failure."""
NOT_OURS: Final = (
    "is marked running but has no attempt in this ledger, so another tool or a user marked it; if nothing runs, set it"
    " back to to_run"
)


class MessageChannel(Protocol):
    """Follows the message files of a batch's payloads."""

    def parameters(self) -> Mapping[str, str]:
        """Return what a payload needs to write messages into its folder's ``messages.jsonl``."""

    def follow(self, file: Path) -> None:
        """Read this file from now on."""

    def finish(self, file: Path) -> None:
        """Read the rest of this file; no more will be written to it."""


@dataclass(eq=False)
class BatchState:
    """State of one batch. The first fields are the arguments of :class:`~oact_dagster.attempts.batch.BatchRun`."""

    campaign: Campaign
    ledger: Ledger
    launcher: Launcher
    engine: Engine
    request: BatchRequest
    batch_id: str
    messages: MessageChannel | None
    stop: StopRequest
    clock: Callable[[], float]
    waiting: dict[str, tuple[Job, LiveAttempt]] = field(default_factory=dict)
    """Claimed and prepared attempts by token; the launcher has not accepted them yet."""
    live: dict[str, LiveAttempt] = field(default_factory=dict)
    """Submitted attempts by token."""
    unclear: set[str] = field(default_factory=set)
    """Tokens of attempts that may or may not have a job. They stay open for the next run."""
    others: set[int] = field(default_factory=set)
    """Structures that another run owns and this batch follows."""
    settled: set[int] = field(default_factory=set)
    """Structures whose final event has been yielded."""
    offered: set[int] = field(default_factory=set)
    """Structures of the supply that were looked at."""
    taken: set[int] = field(default_factory=set)
    """Structures already announced as taken in."""
    broken: str | None = None
    """Why nothing more can run; None while it can."""
    paused: str = ""
    """Why a self-running campaign starts nothing more; empty while it may."""
    recalled: set[str] = field(default_factory=set)
    """Tokens of attempts whose jobs were cancelled for that reason."""
    gave_up: bool = False
    """Whether an error of the launcher ends the batch."""

    def __post_init__(self) -> None:
        self.layout = JobLayout.of(self.campaign, self.ledger)
        self.writer = FolderWriter(self.campaign, self.layout)
        self.settings_hash = self.campaign.settings_hash()
        self.pending: deque[int] = deque(self.request.orig_indices)
        """Structures not yet looked at or claimed."""
        self.supply_left = self.request.supply
        """How many more structures may be claimed from the supply."""
        self._last_beat, self._last_unanswered = 0.0, ""

    def done(self, structures: Sequence[StructureRecord], *, followed: bool = False) -> Iterator[Event]:
        """Report results that existed before this batch, or that another run computed meanwhile (``followed``)."""
        attempts = self.ledger.history.good_attempts([structure.orig_index for structure in structures])
        earlier = earlier_attempts(self.ledger, attempts)
        for structure in structures:
            attempt = attempts.get(structure.orig_index)
            yield InputWritten(
                structure,
                attempt.input_hash if attempt else None,
                Path(structure.job_dir) if structure.job_dir else None,
                attempt.number if attempt else None,
                reused=True,
                settings_hash=attempt.settings_hash if attempt else None,
                remedy=attempt.remedy if attempt else None,
            )
            tried = earlier.get(structure.orig_index, ())
            yield Completed(structure, attempt, reused=not followed, followed=followed, attempts=tried)

    def failed(
        self, structure: StructureRecord, message: str, failure_class: str | None = None, log: str = ""
    ) -> Failed:
        """Make the event of a structure without a result.

        ``failure_class`` is the class of the last attempt, if it is not in the ledger yet. ``log`` is the job's log.
        """
        attempts = self.ledger.history.attempts(structure.orig_index)
        last = attempts[-1] if attempts else None
        folder = last.job_dir if last is not None and last.job_dir else structure.job_dir
        shown = tail(Path(folder) / OUTPUT_FILE, _TAIL_LINES) if folder else ""
        kind = failure_class or (last.failure_class if last is not None else None) or str(structure.status)
        return Failed(structure, kind, message, shown, attempts, log)

    def given_back(self, indices: Sequence[int], reason: str) -> Iterator[Event]:
        """Report structures that were given back to be run again, and hold them if the user terminated the run."""
        if self.stop.hold:
            self.ledger.hold(indices)
        yield from (NotRun(index, reason) for index in indices)

    def look_at_space(self) -> None:
        """Break the batch off if the disk is full, since every other attempt would fail too."""
        folder = self.campaign.jobs_dir
        if why := why_full(folder):
            self.broken = f"{folder}: {why}; nothing more was started"

    def beat(self) -> None:
        """Send the ledger a sign of life now and then, and at once if the scheduler starts or stops answering."""
        now, unanswered = time.monotonic(), self.launcher.unanswered()
        if now - self._last_beat >= HEARTBEAT_S or unanswered != self._last_unanswered:
            self._last_beat, self._last_unanswered = now, unanswered
            self.ledger.beat(self.batch_id, self.clock(), unanswered)

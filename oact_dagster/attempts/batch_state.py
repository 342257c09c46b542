"""What the parts of a batch share: its structures by how far they are, and how they are told of."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from oact_dagster.attempts.ending import LiveAttempt
from oact_dagster.attempts.engine import Engine
from oact_dagster.attempts.events import (
    Completed,
    Event,
    Failed,
    InputWritten,
    NotRun,
)
from oact_dagster.attempts.full_disk import why_full
from oact_dagster.attempts.job_folder import FolderWriter
from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.known_results import with_earlier_ones
from oact_dagster.attempts.message_channel import MessageChannel
from oact_dagster.attempts.selection import BatchRequest
from oact_dagster.attempts.stop_request import StopRequest
from oact_dagster.launchers.attempt_files import OUTPUT_FILE
from oact_dagster.launchers.protocol import Launcher
from oact_dagster.ledger.states import (
    StructureRecord,
)
from oact_dagster.ledger.store import Ledger
from oact_dagster.orca.outputs.reader import tail
from oact_dagster.schedulers.jobs import Job
from oact_dagster.settings.campaign import Campaign

HEARTBEAT_S: Final = 30.0
"""How often the ledger gets a sign of life, s."""
_TAIL_LINES: Final = 20
"""Of an output that are shown with a failure."""
NOT_OURS: Final = (
    "is marked running and has no attempt here: another tool or somebody's hand marked it; set it back to to_run where"
    " nothing runs"
)


class BatchState:
    """Of one batch; what it is made of are the arguments of :class:`~oact_dagster.attempts.batch.BatchRun`."""

    def __init__(
        self,
        campaign: Campaign,
        ledger: Ledger,
        launcher: Launcher,
        engine: Engine,
        request: BatchRequest,
        batch_id: str,
        messages: MessageChannel | None,
        stop: StopRequest,
        clock: Callable[[], float],
    ) -> None:
        self.campaign = campaign
        self.ledger = ledger
        self.launcher = launcher
        self.engine = engine
        self.request = request
        self.batch_id = batch_id
        self.messages = messages
        self.stop = stop
        self.clock = clock
        self.layout = JobLayout.of(campaign, ledger)
        self.writer = FolderWriter(campaign, self.layout)
        self.settings_hash = campaign.settings_hash()
        self.pending: deque[int] = deque(request.orig_indices)
        """To be looked at; not claimed."""
        self.waiting: dict[str, tuple[Job, LiveAttempt]] = {}
        """Claimed and prepared, by token; the launcher does not take them yet."""
        self.live: dict[str, LiveAttempt] = {}
        """Handed over, by token."""
        self.unclear: set[str] = set()
        """Attempts of which nobody knows whether they have a job: they stay open for the next run."""
        self.others: set[int] = set()
        """Another run has them: they are followed."""
        self.settled: set[int] = set()
        """Those that were told of; one word for each."""
        self.supply_left = request.supply
        """How many of those that come next may still be claimed."""
        self.offered: set[int] = set()
        """Those of them that were looked at."""
        self.taken: set[int] = set()
        """Those that were told of as taken in."""
        self.broken: str | None = None
        """Why nothing can be run any more."""
        self.paused = ""
        """Why a campaign that feeds itself begins nothing more."""
        self.recalled: set[str] = set()
        """Attempts whose jobs were taken back for that."""
        self.gave_up = False
        """Whether the batch ends by an error of its launcher."""
        self._last_beat, self._last_unanswered = 0.0, ""

    def done(self, structures: Sequence[StructureRecord], *, followed: bool = False) -> Iterator[Event]:
        """Tell of results that this batch did not compute.

        Args:
            structures: completed ones.
            followed: another run computed them while this one waited.
        """
        attempts = self.ledger.history.good_attempts([structure.orig_index for structure in structures])
        earlier = with_earlier_ones(self.ledger, attempts)
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
        """What is told of a structure without a result.

        Args:
            structure: which one.
            message: why.
            failure_class: of its last attempt, where the ledger does not say it yet.
            log: what its scheduler has said.
        """
        attempts = self.ledger.history.attempts(structure.orig_index)
        last = attempts[-1] if attempts else None
        folder = last.job_dir if last is not None and last.job_dir else structure.job_dir
        shown = tail(Path(folder) / OUTPUT_FILE, _TAIL_LINES) if folder else ""
        kind = failure_class or (last.failure_class if last is not None else None) or str(structure.status)
        return Failed(structure, kind, message, shown, attempts, log)

    def given_back(self, indices: Sequence[int], reason: str) -> Iterator[Event]:
        """Tell of structures that were claimed and are to be run again; held, where whoever stopped us wants that."""
        if self.stop.hold:
            self.ledger.hold(indices)
        yield from (NotRun(index, reason) for index in indices)

    def look_at_space(self) -> None:
        """After something was lost or not written: on a full disk everything else would be, too."""
        folder = self.campaign.jobs_dir
        if why := why_full(folder):
            self.broken = f"{folder}: {why}; nothing more was started"

    def beat(self) -> None:
        """Show the ledger now and then that this batch lives, and at once whether its scheduler answers."""
        now, unanswered = time.monotonic(), self.launcher.unanswered()
        if now - self._last_beat >= HEARTBEAT_S or unanswered != self._last_unanswered:
            self._last_beat, self._last_unanswered = now, unanswered
            self.ledger.beat(self.batch_id, self.clock(), unanswered)

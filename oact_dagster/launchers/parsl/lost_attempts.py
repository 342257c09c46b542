"""Attempts whose workers on other nodes were lost: they count as running until they have certainly ended.

A calculation that has lost its worker ends by itself, but not at once, and its node cannot be seen from here. Another
attempt begun before that would run beside it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from oact_dagster.launchers.attempt_files import read_exit
from oact_dagster.schedulers.jobs import Job

SEEN_S: Final = 5.0
"""Time until a payload's record is seen from here, s."""

MARGIN_S: Final = 15.0
"""Extra time for workers that have lost the interchange to end, s."""


@dataclass(slots=True)
class _Lost:
    job: Job
    why: str
    until: float


class LostAttempts:
    """Waits for the end of attempts.

    Args:
        stop_grace_s: time that a payload gives its engine to end, s.
        heartbeat_period_s: how often workers look for their interchange, s.
        heartbeat_threshold_s: time without the interchange after which workers end, s.
        clock: monotonic time, s.
    """

    def __init__(
        self,
        stop_grace_s: float,
        heartbeat_period_s: float,
        heartbeat_threshold_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._grace_s = stop_grace_s + SEEN_S
        self.longest_s = heartbeat_threshold_s + heartbeat_period_s + stop_grace_s + MARGIN_S
        """Time after which abandoned workers and all that they ran have ended, s."""
        self._clock = clock
        self._lost: dict[str, _Lost] = {}

    def __contains__(self, token: str) -> bool:
        return token in self._lost

    def __len__(self) -> int:
        return len(self._lost)

    def add(self, job: Job, why: str) -> None:
        """Wait for the end of an attempt that had begun, and whose worker was lost for the reason `why`."""
        self._lost[job.token] = _Lost(job, why, self._clock() + self.longest_s)

    def workers_have_ended(self) -> None:
        """Shorten the wait: all workers have ended, and their payloads know it."""
        soon = self._clock() + self._grace_s
        for lost in self._lost.values():
            lost.until = min(lost.until, soon)

    def nothing_is_left(self) -> None:
        """End the wait: nothing of these attempts is running any more."""
        for lost in self._lost.values():
            lost.until = self._clock()

    def take_ended(self) -> list[tuple[Job, str]]:
        """The attempts that have ended since the last call, and why their workers were lost."""
        now = self._clock()
        ended = [
            (lost.job, lost.why)
            for lost in self._lost.values()
            if now >= lost.until or read_exit(lost.job.folder, lost.job.token) is not None
        ]
        for job, _ in ended:
            del self._lost[job.token]
        return ended

"""Attempts whose workers were lost on other nodes: they count as running until their end is certain.

A calculation that has lost its worker ends by itself, but not at once, and from here nobody can look at its node.
Another attempt that began before this end would compute beside it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from oact_dagster.launchers.attempt_files import read_exit
from oact_dagster.schedulers.jobs import Job

SEEN_S: Final = 5.0
"""How long after its end a payload's record may take to be seen from here, s."""

MARGIN_S: Final = 15.0
"""What workers that miss the interchange may need for their end beside what is counted, s."""


@dataclass(slots=True)
class _Lost:
    job: Job
    why: str
    until: float


class LostAttempts:
    """Waits for the end of attempts.

    Args:
        stop_grace_s: how long a payload gives its engine to end, s.
        heartbeat_period_s: how often workers look for their interchange, s.
        heartbeat_threshold_s: how long they miss it before they end, s.
        clock: time that is never set back, s.
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
        """After this time workers that were left to themselves have ended, with all that they ran, s."""
        self._clock = clock
        self._lost: dict[str, _Lost] = {}

    def __contains__(self, token: str) -> bool:
        return token in self._lost

    def __len__(self) -> int:
        return len(self._lost)

    def add(self, job: Job, why: str) -> None:
        """Wait for the end of an attempt that its worker had begun.

        Args:
            job: the attempt.
            why: how its worker was lost.
        """
        self._lost[job.token] = _Lost(job, why, self._clock() + self.longest_s)

    def workers_have_ended(self) -> None:
        """Take in that the workers of all of them have ended: their payloads have heard of it."""
        soon = self._clock() + self._grace_s
        for one in self._lost.values():
            one.until = min(one.until, soon)

    def nothing_is_left(self) -> None:
        """Take in that nothing runs any more of any of them."""
        for one in self._lost.values():
            one.until = self._clock()

    def take_ended(self) -> list[tuple[Job, str]]:
        """Those that have ended since the last call, and how their workers were lost."""
        now = self._clock()
        ended = [
            one
            for one in self._lost.values()
            if now >= one.until or read_exit(one.job.folder, one.job.token) is not None
        ]
        for one in ended:
            del self._lost[one.job.token]
        return [(one.job, one.why) for one in ended]

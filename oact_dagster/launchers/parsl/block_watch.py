"""What the blocks of nodes of a pool do, as far as a user should know: those in which no worker connects."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PATIENCE_THRESHOLDS: Final = 3
"""For so many times the threshold of heartbeats a block may run before a worker connects."""


class BlockPhase(StrEnum):
    """Where a block is."""

    WAITS = "waits"
    RUNS = "runs"
    ENDED = "ended"
    GIVEN_BACK = "given back"
    """Parsl has cancelled it."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of nodes, as Slurm and the interchange tell."""

    number: int
    """From 0, in the order in which they were asked for."""
    job_id: str
    """Empty where Slurm refused it."""
    phase: BlockPhase
    connected: bool
    """Whether a worker of it was ever there."""
    since: str = ""
    """When it began to run, as Slurm prints it."""
    said: str = ""
    """The last lines of its errors, on one line, once it has ended."""


class BlockWatch:
    """Looks at all blocks of a pool, and finds those that have no worker.

    It is told of the blocks in one thread, and asked for its notes in another.

    Args:
        reach: what the workers try to reach, as a clause: *its workers try …*.
        patience_s: how long a block may run before a worker connects, s.
        least: so many blocks without a worker, and no other one, are no accident.
    """

    def __init__(self, reach: str, patience_s: float, least: int) -> None:
        self._reach = reach
        self._patience_s = patience_s
        self._least = max(1, least)
        self._lock = threading.Lock()
        self._notes: list[str] = []
        self._running_since: dict[int, tuple[float, str]] = {}
        self._told_silent: set[int] = set()
        self._ended: set[int] = set()
        self._told_causes: set[str] = set()

    def see(self, blocks: Sequence[Block], now: float) -> str:
        """Take in how the blocks are.

        Args:
            blocks: all that the pool ever had.
            now: time by a clock that is never set back, s.

        Returns:
            Why the pool is of no use: no block is left, and the last ones never had a worker. Empty where it is.
        """
        with self._lock:
            for block in blocks:
                if block.phase is BlockPhase.RUNS and not block.connected:
                    self._look_at_silent(block, now)
            failing = self._failing(blocks)
            for block in blocks:
                if _failed(block) and block.number not in self._ended:
                    self._ended.add(block.number)
                    self._tell_ended(block, told=bool(failing))
            return failing

    def notes(self) -> list[str]:
        """What has been found since the last call."""
        with self._lock:
            notes, self._notes = self._notes, []
            return notes

    def _look_at_silent(self, block: Block, now: float) -> None:
        begun, since = self._running_since.setdefault(block.number, (now, block.since))
        if now - begun >= self._patience_s and block.number not in self._told_silent:
            self._told_silent.add(block.number)
            self._notes.append(
                f"Slurm's job {block.job_id} has run since {since}, and no worker of it has connected: {self._advice}"
            )

    def _tell_ended(self, block: Block, *, told: bool) -> None:
        """Tell of a block that ended without a worker: once for each cause."""
        if not told and block.said not in self._told_causes:
            self._notes.append(self._end_of(block))
        self._told_causes.add(block.said)

    def _failing(self, blocks: Sequence[Block]) -> str:
        if any(block.phase in (BlockPhase.WAITS, BlockPhase.RUNS) for block in blocks):
            return ""
        last_good = max((block.number for block in blocks if block.connected), default=-1)
        failed = [block for block in blocks if _failed(block) and block.number > last_good]
        return self._end_of(failed[-1]) if len(failed) >= self._least else ""

    def _end_of(self, block: Block) -> str:
        if not block.job_id:
            return f"Slurm was asked for a block of nodes, and gave none: {block.said}"
        said = f"; its errors end: {block.said}" if block.said else ""
        if block.number in self._running_since:
            _, since = self._running_since[block.number]
            return (
                f"Slurm's job {block.job_id} ran from {since} on and has ended, and no worker of it connected:"
                f" {self._advice}{said}"
            )
        return (
            f"Slurm's job {block.job_id} has left the queue, and no worker of it had connected: it was cancelled, or"
            f" ended at once{said}"
        )

    @property
    def _advice(self) -> str:
        return (
            f"{self._reach}; where its nodes cannot reach that, set launcher.address to an address of this host that"
            " they can reach, and launcher.worker_ports to ports that are open to them; where worker_init hangs, mend"
            " that"
        )


def _failed(block: Block) -> bool:
    return block.phase is BlockPhase.ENDED and not block.connected

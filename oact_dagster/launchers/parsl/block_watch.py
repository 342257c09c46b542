"""Watches a pool's blocks of nodes for those in which no worker connects."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PATIENCE_THRESHOLDS: Final = 3
"""How many times the heartbeat threshold a block may run before a worker connects."""


class BlockPhase(StrEnum):
    """Where a block is in its life."""

    WAITS = "waits"
    RUNS = "runs"
    ENDED = "ended"
    GIVEN_BACK = "given back"
    """Parsl has cancelled it."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of nodes, as seen by Slurm and the interchange."""

    number: int
    """From 0, in the order of their requests."""
    job_id: str
    """Empty if Slurm refused it."""
    phase: BlockPhase
    connected: bool
    """Whether one of its workers ever connected."""
    since: str = ""
    """When it began to run, as Slurm prints it."""
    errors: str = ""
    """The last lines of its stderr, joined to one line, once it has ended."""


class BlockWatch:
    """Finds blocks of a pool that have no worker. One thread reports the blocks, another asks for notes.

    Args:
        reach: what the workers try to reach, as a clause: *its workers try …*.
        patience_s: how long a block may run before a worker connects, s.
        least: how many blocks in a row must fail before the pool counts as useless.
    """

    def __init__(self, reach: str, patience_s: float, least: int) -> None:
        self._reach = reach
        self._patience_s = patience_s
        self._least = max(1, least)
        self._lock = threading.Lock()
        self._notes: list[str] = []
        self._running_since: dict[int, tuple[float, str]] = {}
        self._noted_silent: set[int] = set()
        self._ended: set[int] = set()
        self._noted_errors: set[str] = set()

    def see(self, blocks: Sequence[Block], now: float) -> str:
        """Look at the blocks.

        Args:
            blocks: all blocks that the pool ever had.
            now: monotonic time, s.

        Returns:
            Why the pool is useless: no block is left, and the last ones never had a worker. Empty if it is not.
        """
        with self._lock:
            for block in blocks:
                if block.phase is BlockPhase.RUNS and not block.connected:
                    self._look_at_silent(block, now)
            failing = self._failing(blocks)
            for block in blocks:
                if _failed(block) and block.number not in self._ended:
                    self._ended.add(block.number)
                    # One note for each cause; the return value tells the rest.
                    if not failing and block.errors not in self._noted_errors:
                        self._notes.append(self._end_of(block))
                    self._noted_errors.add(block.errors)
            return failing

    def notes(self) -> list[str]:
        """The notes since the last call."""
        with self._lock:
            notes, self._notes = self._notes, []
            return notes

    def _look_at_silent(self, block: Block, now: float) -> None:
        begun, since = self._running_since.setdefault(block.number, (now, block.since))
        if now - begun >= self._patience_s and block.number not in self._noted_silent:
            self._noted_silent.add(block.number)
            self._notes.append(
                f"Slurm's job {block.job_id} has been running since {since}, but none of its workers has connected:"
                f" {self._advice}"
            )

    def _failing(self, blocks: Sequence[Block]) -> str:
        if any(block.phase in (BlockPhase.WAITS, BlockPhase.RUNS) for block in blocks):
            return ""
        last_good = max((block.number for block in blocks if block.connected), default=-1)
        failed = [block for block in blocks if _failed(block) and block.number > last_good]
        return self._end_of(failed[-1]) if len(failed) >= self._least else ""

    def _end_of(self, block: Block) -> str:
        if not block.job_id:
            return f"Slurm refused a block of nodes: {block.errors}"
        errors = f"; its stderr ends: {block.errors}" if block.errors else ""
        if block.number in self._running_since:
            _, since = self._running_since[block.number]
            return (
                f"Slurm's job {block.job_id} began at {since} and has ended, but none of its workers connected:"
                f" {self._advice}{errors}"
            )
        return (
            f"Slurm's job {block.job_id} has left the queue before any of its workers connected: it was cancelled, or"
            f" ended at once{errors}"
        )

    @property
    def _advice(self) -> str:
        return (
            f"{self._reach}; if its nodes cannot reach that, set launcher.address to an address of this host that they"
            " can reach, and launcher.worker_ports to ports that are open to them; also check whether worker_init hangs"
        )


def _failed(block: Block) -> bool:
    return block.phase is BlockPhase.ENDED and not block.connected

"""The program of a pilot: it fills its job's node with structures from the shared list.

``python -P -m oact_dagster.launchers.pilots.pilot --token TOKEN`` is started in the pilot's folder. It takes attempts
from the list one by one, as its workers become free, and runs each through Parsl as one payload process. It ends when
nothing is left to run, when nothing left can finish before its job ends, or when it is told to. It opens neither the
ledger nor anything of Dagster's.
"""

import argparse
import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

from oact_dagster.errors import LauncherError
from oact_dagster.launchers.allocation import AllocationEnd, cores_here, cores_missing, find_allocation_end
from oact_dagster.launchers.attempt_files import StartRecord, claim_folder
from oact_dagster.launchers.parsl.config import PoolOptions
from oact_dagster.launchers.parsl.launcher import ParslLauncher
from oact_dagster.launchers.payload import EXIT_NOT_MINE, scheduler_job_id
from oact_dagster.launchers.pilots.pilot_files import (
    BEAT_S,
    PilotEnd,
    PilotSpec,
    beat,
    read_pilot_spec,
    write_end,
)
from oact_dagster.launchers.pilots.shared_list import Entry, SharedList
from oact_dagster.schedulers.jobs import Cause, JobState, Phase, not_started
from oact_dagster.text import pluralise

_LOOK_S: Final = 1.0
"""Time between two checks whether the pilot, or one of its attempts, must end, s."""
EMPTY_LOOK_S: Final = 5.0
"""Time between two looks at a list that had nothing for this pilot, s."""
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGALRM)


def main(arguments: list[str]) -> int:
    """Run the pilot of the current folder.

    Returns:
        0 if it ended normally, 1 if its workers could not run, 3 if the folder is another pilot's: its job was requeued
        or submitted twice.
    """
    parser = argparse.ArgumentParser("pilot")
    parser.add_argument("--token", required=True)
    token: str = parser.parse_args(arguments).token
    folder = Path()
    spec = read_pilot_spec(folder)
    started = StartRecord(token, socket.gethostname(), os.getpid(), time.time(), scheduler_job_id())
    if spec is None or spec.token != token or not claim_folder(folder, started):
        print(f"pilot {token}: this folder belongs to another pilot; nothing was run", file=sys.stderr)
        return EXIT_NOT_MINE
    pilot = Pilot(spec, folder)
    try:
        reason = pilot.run()
    except LauncherError as error:
        print(f"pilot {token}: {error}", file=sys.stderr)
        write_end(folder, PilotEnd(token, str(error), pilot.finished))
        return 1
    print(f"pilot {token}: {reason}; {pluralise(pilot.finished, 'calculation', 'has', 'have')} ended")
    write_end(folder, PilotEnd(token, reason, pilot.finished))
    return 0


class Pilot:
    """Runs attempts from the list until there is a reason to end. `folder` is the pilot's own."""

    def __init__(self, spec: PilotSpec, folder: Path) -> None:
        self.finished = 0
        """Number of attempts whose payload has ended by itself."""
        self._spec = spec
        self._folder = folder
        self._list = SharedList(Path(spec.shared))
        self._end = _end_of(spec)
        self._launcher = ParslLauncher(
            PoolOptions(
                workers=spec.max_workers,
                cores_per_worker=spec.cores_per_worker,
                cpu_affinity=spec.cpu_affinity,
                setup=spec.worker_init,
                heartbeat_period_s=spec.heartbeat_period_s,
                heartbeat_threshold_s=spec.heartbeat_threshold_s,
            ),
            folder,
            spec.stop_grace_s,
            missing=self._missing,
            allocation_end=lambda: self._end,
            end_margin_s=spec.margin_s,
        )
        self._running: dict[str, Entry] = {}
        self._job_ids: dict[str, str] = {}
        self._marked: set[str] = set()
        self._stopped_by: signal.Signals | None = None
        self._left_behind = False
        self._last_beat = self._next_take = 0.0
        self._idle_since = time.monotonic()

    def run(self) -> str:
        """Run attempts, and return why the pilot ended.

        Raises:
            LauncherError: the workers cannot run; what had not begun is on the list again.
        """
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)
        try:
            while not (reason := self._why_end()):
                self._beat()
                self._end_marked()
                self._take()
                self._collect()
                for note in self._launcher.notes():
                    print(f"pilot {self._spec.token}: {note}", flush=True)
                self._launcher.wait(_LOOK_S)
            return reason
        finally:
            self._launcher.close()
            self._settle_all()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopped_by = self._stopped_by or signal.Signals(number)

    def _why_end(self) -> str:
        """Why the pilot must end; empty if it must not."""
        if self._stopped_by is not None:
            return f"told to end by {self._stopped_by.name}"
        if self._running:
            return ""
        if closing := self._launcher.closing():
            return closing
        if self._left_behind:
            return f"no waiting structure can finish before its job ends: {self._end}"
        if time.monotonic() - self._idle_since >= self._spec.idle_s and self._list.is_empty():
            return "nothing was left to run"
        return ""

    # --- taking -------------------------------------------------------------------------------------------------

    def _take(self) -> None:
        """Give each free worker the next attempt that can finish in time."""
        now = time.monotonic()
        if now < self._next_take or self._launcher.closing():
            return
        while len(self._running) < self._spec.max_workers:
            self._left_behind = False
            entry = self._list.take(self._spec.token, self._fits)
            if entry is None:
                self._next_take = now + EMPTY_LOOK_S
                return
            self._running[entry.token] = entry
            try:
                answer = self._launcher.submit([entry.job()])
            except LauncherError:
                self._give_back(entry)
                raise
            if entry.token in answer.refused:
                self._record_end(entry, not_started(answer.refused[entry.token]))
            else:
                self._job_ids[entry.token] = answer.taken[entry.token]
        self._next_take = 0.0

    def _fits(self, time_limit_s: float, expected_cost: float) -> bool:
        fits = self._launcher.fits(time_limit_s, expected_cost)
        self._left_behind = self._left_behind or not fits
        return fits

    def _missing(self) -> str:
        spec = self._spec
        if spec.oversubscribe:
            return ""
        return cores_missing(spec.max_workers, spec.cores_per_worker, cores_here(os.environ))

    # --- following ----------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Record the attempts that have ended."""
        states = self._launcher.states(list(self._job_ids.values()))
        for token, job_id in list(self._job_ids.items()):
            state = states[job_id]
            if state.phase is Phase.ENDED:
                self._settle(self._running[token], state)
        if self._running:
            self._idle_since = time.monotonic()

    def _settle(self, entry: Entry, state: JobState) -> None:
        """Record the end of an attempt, or put it back if it has not begun and is still wanted."""
        not_begun = state.cause in (Cause.WITHDRAWN, Cause.OUT_OF_TIME)
        if not_begun and entry.token not in self._marked:
            self._give_back(entry)
        else:
            self._record_end(entry, state)

    def _record_end(self, entry: Entry, state: JobState) -> None:
        self._forget(entry)
        self._list.end(entry.token, self._spec.token, state)
        self.finished += state.returncode is not None and state.returncode >= 0

    def _give_back(self, entry: Entry) -> None:
        self._forget(entry)
        self._list.give_back(entry, self._spec.token)

    def _forget(self, entry: Entry) -> None:
        self._running.pop(entry.token, None)
        self._job_ids.pop(entry.token, None)
        self._next_take = 0.0

    def _end_marked(self) -> None:
        """Cancel the attempts that are marked for it on the list."""
        if not self._running:
            return
        fresh = (self._list.cancelled() & self._running.keys()) - self._marked
        if fresh:
            self._marked |= fresh
            self._launcher.cancel([self._job_ids[token] for token in fresh])

    def _settle_all(self) -> None:
        """Once the workers have ended, settle everything they had."""
        if not self._running:
            return
        states = self._launcher.states(list(self._job_ids.values()))
        for token, entry in list(self._running.items()):
            state = states.get(self._job_ids.get(token, ""), JobState(Phase.UNKNOWN))
            ended = JobState(Phase.ENDED, "its pilot ended")
            self._settle(entry, state if state.phase is Phase.ENDED else ended)

    def _beat(self) -> None:
        if time.monotonic() - self._last_beat >= BEAT_S:
            self._last_beat = time.monotonic()
            beat(self._folder)


def _end_of(spec: PilotSpec) -> AllocationEnd:
    """When the pilot's job ends, according to its scheduler or else to the requested time."""
    known = find_allocation_end(os.environ)
    return known or AllocationEnd(time.time() + spec.time_limit_s, "launcher.n_hours")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

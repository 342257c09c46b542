"""Verdicts by the output alone, for jobs that other tools started and that left no other evidence."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oact_dagster.attempts.engine import ORCA_NAME, engine_of
from oact_dagster.ledger.states import SeenEnding, Status
from oact_dagster.orca.outputs.reader import Output, read_output, read_termination
from oact_dagster.orca.outputs.silence import SILENCE_LIMIT_S, silent_for_s
from oact_dagster.orca.outputs.terminations import Termination, TerminationReading

NORMAL: Final = 1
FAILED: Final = -1
SILENT: Final = -2
UNFINISHED: Final = 0


@dataclass(frozen=True, slots=True)
class SeenOutput:
    """State of a job according to its output."""

    code: int
    """1: ended normally; -1: failed; -2: no end and unchanged for a long time; 0: running or incomplete."""
    message: str | None
    """Why it failed or counts as silent."""
    there: bool
    """Whether there is an output."""

    @property
    def status(self) -> Status | None:
        """The structure's status that follows; None without an output."""
        if self.code == UNFINISHED:
            return Status.RUNNING if self.there else None
        return {NORMAL: Status.COMPLETED, FAILED: Status.FAILED, SILENT: Status.TIMEOUT}[self.code]


def see_output(path: Path, *, limit_s: float = SILENCE_LIMIT_S, now: float | None = None) -> SeenOutput:
    """Judge a job by its output. An end written by ORCA counts, however long ago the output changed.

    Args:
        path: An output, gzipped or not, or a job folder.
        limit_s: Time without a change after which an output without an end counts as silent, s.
        now: Unix time, s.
    """
    verdict = read_termination(path)
    silent = silent_for_s(path, now=now)
    if silent is None:
        return SeenOutput(UNFINISHED, None, there=False)
    if verdict.termination is Termination.NORMAL:
        return SeenOutput(NORMAL, None, there=True)
    if verdict.termination is not Termination.TRUNCATED:
        return SeenOutput(FAILED, failure_line(verdict), there=True)
    if silent >= limit_s:
        return SeenOutput(SILENT, silence(silent), there=True)
    return SeenOutput(UNFINISHED, None, there=True)


def failure_line(verdict: TerminationReading) -> str:
    """Return a failure in one line: its class and what the output says."""
    line = verdict.deciding_line.strip(" *\t") if verdict.deciding_line else verdict.reason
    return f"{verdict.termination}: {line}"


def silence(seconds: float) -> str:
    """Return a message that says how long an output has been silent."""
    long = f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
    return f"the output has no end and has not changed for {long if seconds >= 60 else f'{seconds:.0f} s'}"


def seen_ending(structure_id: int, folder: Path, seen: SeenOutput) -> SeenEnding | None:
    """Return the ending of a job for the ledger, or None if the job has not ended."""
    status = seen.status
    if status is None or status is Status.RUNNING:
        return None
    output = read_output(folder)
    engine, version = engine_of(output)
    return SeenEnding(
        structure_id,
        status,
        str(folder),
        seen.message,
        **numbers_of(output),
        not_orca=None if engine == ORCA_NAME else (engine, version),
    )


def numbers_of(output: Output) -> dict[str, float | int | None]:
    """Return the numbers of an output by the names of their result columns."""
    return {
        "final_energy": output.final_energy,
        "max_forces": output.max_abs_gradient_component,
        "scf_steps": output.scf_cycles_total,
        "wall_time": output.wall_time_s,
        "n_cores": output.n_cores,
    }

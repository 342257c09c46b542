"""Endings: read the files of an attempt whose job has ended, judge them, and make the record for the ledger."""

import math
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from oact_dagster.attempts.full_disk import found_no_space
from oact_dagster.attempts.output_verdict import silence
from oact_dagster.attempts.result import result_of
from oact_dagster.attempts.verdict import Evidence, judge
from oact_dagster.launchers.attempt_files import ERRORS_FILE, has_run, read_exit, read_spec, read_start
from oact_dagster.ledger.states import FAILED_OUTCOMES, Ending, Outcome, StructureRecord
from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.outputs.attempt_evidence import read_evidence
from oact_dagster.orca.outputs.reader import read_output
from oact_dagster.orca.outputs.silence import silent_for_s
from oact_dagster.schedulers.jobs import JobState
from oact_dagster.settings.retry import RetrySettings

OUTLIVED_S: Final = 600.0
"""How far past its own time limit a calculation may still be finishing, s."""

_ERRORS_READ: Final = 4096
_ERROR_SHOWN: Final = 300


@dataclass(slots=True, eq=False)
class LiveAttempt:
    """An attempt of ours whose job has not ended."""

    structure: StructureRecord
    token: str
    folder: Path
    job_id: str
    running: bool = False
    was_running: bool = False
    """The run that left it saw its job running, so it is judged and not given back."""
    followed: bool = False
    ends_by: float | None = None
    """Unix time by which its own time limit must have ended it, once looked up, s."""
    silent_since: float | None = None
    """Monotonic time since which its job has ended or is unknown without a record of its payload, s."""
    stuck: str = ""
    """Why its job may wait for ever, as in the ledger."""
    reported_stuck: set[str] = field(default_factory=set)
    """Such reasons already reported."""


def ending_of(
    live: LiveAttempt, state: JobState, n_cores: int, retry: RetrySettings, *, cancelled: bool, now: float
) -> Ending:
    """Judge an attempt whose job has ended.

    Args:
        live: The attempt.
        state: State of its job according to the launcher.
        n_cores: Cores that it was given, if its folder does not say.
        retry: Settings that say how long its structure rests.
        cancelled: Whether the user has asked for a stop.
        now: Unix time, s.
    """
    record = read_exit(live.folder, live.token)
    spec = read_spec(live.folder)
    output = read_output(live.folder)
    errors = _last_error(live.folder) if record is not None and record.returncode else ""
    no_space = record is None and found_no_space(live.folder, live.token, state)
    evidence = Evidence(
        live.token,
        record,
        output,
        state,
        cancelled,
        began=has_run(live.folder),
        errors=errors,
        found_no_space=no_space,
    )
    verdict = judge(evidence)
    began = record or read_start(live.folder, live.token)
    costs = state.costs
    elapsed = record.elapsed_s if record is not None else None
    has_numbers = verdict.outcome is Outcome.COMPLETED or evidence.own_output
    failed = verdict.outcome in (*FAILED_OUTCOMES, Outcome.LOST)
    ended_at = record.ended_at if record is not None else now
    before = live.structure.fail_count + live.structure.loss_count
    return Ending(
        token=live.token,
        outcome=verdict.outcome,
        ended_at=ended_at,
        failure_class=verdict.failure_class,
        message=verdict.message,
        # The scheduler's name of the host, since only that name keeps another attempt away from it.
        host=costs.node or (began.host if began is not None else None),
        started_at=began.started_at if began is not None else None,
        result=result_of(output, live.folder, live.structure.natoms, elapsed, live.structure.geometry)
        if has_numbers
        else None,
        # The allocation pays for the job's time, which may not be known.
        elapsed=costs.elapsed_s or elapsed,
        n_cores=spec.n_cores if spec is not None and spec.token == live.token else n_cores,
        evidence=read_evidence(output.file).to_json()
        if failed and evidence.own_output and output.file
        else {},
        cpu_time_s=costs.cpu_time_s or (record.cpu_time_s if record is not None else None),
        max_rss_mb=costs.max_rss_mb or (record.max_rss_mb if record is not None else None),
        not_before=ended_at + retry.delay_after(before + 1) if failed else 0.0,
    )


def _last_error(folder: Path) -> str:
    """Return the last line of the engine's standard error, shortened; empty if there is none."""
    try:
        with (folder / ERRORS_FILE).open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _ERRORS_READ))
            lines = stream.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:_ERROR_SHOWN] if lines else ""


def timed_out(ending: Ending, reason: str) -> Ending:
    """Turn the ending of an attempt that we ended for its silence into a timeout, if nothing else ended it."""
    if ending.outcome not in (Outcome.LOST, Outcome.CANCELLED):
        return ending
    return replace(
        ending, outcome=Outcome.TIMEOUT, failure_class=FailureClass.TIMEOUT, message=f"{reason}; it was ended"
    )


def overdue(live: LiveAttempt, silence_limit_s: float, now: float) -> str:
    """Return why a running attempt must be ended, for its silence or its own time limit; empty if it need not."""
    quiet = silent_for_s(live.folder, now=now)
    if quiet is not None and quiet >= silence_limit_s:
        return silence(quiet)
    if live.ends_by is None:
        spec, start = read_spec(live.folder), read_start(live.folder, live.token)
        live.ends_by = math.inf
        if spec is not None and start is not None:
            live.ends_by = start.started_at + spec.time_limit_s + spec.stop_grace_s + OUTLIVED_S
    # The output must be old too, so that a clock that jumps makes nothing overdue.
    if now >= live.ends_by and (quiet is None or quiet >= OUTLIVED_S):
        return "it has run past its time limit"
    return ""

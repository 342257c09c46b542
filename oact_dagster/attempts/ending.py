"""How an attempt whose job has ended is to be recorded: its files are read, judged, and made into a result."""

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from oact_dagster.attempts.engine import engine_of
from oact_dagster.attempts.full_disk import found_no_space
from oact_dagster.attempts.measures import bonds_of, energy_flag, scf_converged
from oact_dagster.attempts.output_verdict import silence
from oact_dagster.attempts.verdict import Evidence, judge
from oact_dagster.launchers.attempt_files import (
    ERRORS_FILE,
    OUTPUT_FILE,
    has_run,
    read_exit,
    read_spec,
    read_start,
)
from oact_dagster.ledger.states import Ending, Outcome, Result, StructureRecord
from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.outputs.attempt_evidence import read_evidence
from oact_dagster.orca.outputs.convergence import read_convergence
from oact_dagster.orca.outputs.reader import Output, read_output
from oact_dagster.orca.outputs.silence import silent_for_s
from oact_dagster.schedulers.jobs import JobState
from oact_dagster.settings.retry import RetrySettings

OUTLIVED_S: Final = 600.0
"""How long after its own time limit a calculation may still be at its end, s."""


_ERRORS_READ: Final = 4096
_ERROR_SHOWN: Final = 300


class LiveAttempt:
    """An attempt of ours whose job has not ended."""

    __slots__ = (
        "ends_by",
        "folder",
        "followed",
        "job_id",
        "running",
        "silent_since",
        "structure",
        "stuck",
        "token",
        "told_stuck",
        "was_running",
    )

    def __init__(self, structure: StructureRecord, token: str, folder: Path, job_id: str) -> None:
        self.structure = structure
        self.token = token
        self.folder = folder
        self.job_id = job_id
        self.running = False
        self.was_running = False
        """The run that left it saw its job run: it is judged, and not given back."""
        self.followed = False
        self.ends_by: float | None = None
        """Unix time by which it has ended by its own limit, once that has been looked up, s."""
        self.silent_since: float | None = None
        """Monotonic time since which its job has ended, or is not known, and its payload has not said how."""
        self.stuck = ""
        """Why its job may wait for ever, as the ledger has it."""
        self.told_stuck: set[str] = set()
        """The reasons that were told."""


def ending_of(
    live: LiveAttempt, state: JobState, n_cores: int, retry: RetrySettings, *, cancelled: bool, now: float
) -> Ending:
    """Judge an attempt whose job has ended.

    Args:
        live: which attempt, and where its files are.
        state: what the launcher says of its job.
        n_cores: cores that it was given, where its folder does not say.
        retry: how long its structure rests.
        cancelled: the user has asked for a stop.
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
    failed = verdict.outcome in (Outcome.FAILED, Outcome.TIMEOUT, Outcome.LOST)
    ended_at = record.ended_at if record is not None else now
    before = live.structure.fail_count + live.structure.loss_count
    return Ending(
        token=live.token,
        outcome=verdict.outcome,
        ended_at=ended_at,
        failure_class=verdict.failure_class,
        message=verdict.message,
        # As its scheduler calls it: that is the name by which another attempt can be kept away from it.
        host=costs.node or (began.host if began is not None else None),
        started_at=began.started_at if began is not None else None,
        result=result_of(output, live.folder, live.structure.natoms, elapsed, live.structure.geometry)
        if has_numbers
        else None,
        # What the allocation pays for is the job's time; a record of it there may be none.
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
    """The last line of an engine's standard error, cut; empty where it wrote none."""
    try:
        with (folder / ERRORS_FILE).open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _ERRORS_READ))
            lines = stream.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:_ERROR_SHOWN] if lines else ""


def timed_out(ending: Ending, reason: str) -> Ending:
    """The ending of an attempt that was ended by us since it had come to a standstill, where nothing else ended it."""
    if ending.outcome not in (Outcome.LOST, Outcome.CANCELLED):
        return ending
    return replace(
        ending,
        outcome=Outcome.TIMEOUT,
        failure_class=FailureClass.TIMEOUT,
        message=f"{reason}; it was ended",
    )


def overdue(live: LiveAttempt, silence_limit_s: float, now: float) -> str:
    """Why a running attempt is to be ended as timed out; empty where it is not.

    Args:
        live: the attempt.
        silence_limit_s: how long its output may stay as it is, s.
        now: Unix time, s.
    """
    quiet = silent_for_s(live.folder, now=now)
    if quiet is not None and quiet >= silence_limit_s:
        return silence(quiet)
    if live.ends_by is None:
        spec, start = read_spec(live.folder), read_start(live.folder, live.token)
        live.ends_by = math.inf
        if spec is not None and start is not None:
            live.ends_by = start.started_at + spec.time_limit_s + spec.stop_grace_s + OUTLIVED_S
    # A clock that jumps makes nothing overdue: its output would have to be old, too.
    if now >= live.ends_by and (quiet is None or quiet >= OUTLIVED_S):
        return "it has outlived its time limit"
    return ""


def result_of(output: Output, folder: Path, natoms: int, elapsed: float | None, geometry: str = "") -> Result:
    """What an output holds, as the ledger keeps it.

    Args:
        output: of an attempt.
        folder: its job folder.
        natoms: atoms of its structure.
        elapsed: wall time of the attempt, s, where the output does not say.
        geometry: of its structure, ``El x y z`` lines in Å, with which the bonds of its metals are compared.
    """
    engine, version = engine_of(output)
    bonds = bonds_of(output, geometry)
    return Result(
        final_energy=output.final_energy,
        max_forces=output.max_abs_gradient_component,
        max_atom_force_norm=output.max_atom_force_norm,
        scf_steps=output.scf_cycles_total,
        wall_time=output.wall_time_s if output.wall_time_s is not None else elapsed,
        n_cores=output.n_cores,
        engine=engine,
        engine_version=version,
        output_file=str(folder / OUTPUT_FILE),
        s2=output.s2,
        opt_cycles=output.opt_cycles,
        n_atoms=natoms,
        terminated_normally=output.terminated_normally,
        scf_converged=scf_converged(output),
        opt_converged=output.opt_converged,
        energy_flag=energy_flag(output),
        charge=output.charge,
        mult=output.mult,
        bonds_before=None if bonds is None else bonds.before,
        bond_stretch=None if bonds is None else round(bonds.stretch, 6),
        stretched_bond=None if bonds is None else bonds.bond,
        metals_alone=None if bonds is None else bonds.alone,
        convergence={} if output.file is None else read_convergence(output.file).to_json(),
    )

"""How an attempt whose job has ended is to be recorded: its files are read, judged, and made into a result."""

import socket
from pathlib import Path

from oact_dagster.execution.engine import STANDIN_NAME
from oact_dagster.execution.verdict import Evidence, judge
from oact_dagster.launchers.attempt_files import EXIT_FILE, OUTPUT_FILE, read_exit
from oact_dagster.launchers.protocol import JobState
from oact_dagster.ledger.states import Ending, Outcome, Result, StructureRecord
from oact_dagster.orca.outputs import Output, read_output


class LiveAttempt:
    """An attempt of ours whose job has not ended."""

    __slots__ = ("folder", "followed", "job_id", "running", "structure", "token")

    def __init__(self, structure: StructureRecord, token: str, folder: Path, job_id: str) -> None:
        self.structure = structure
        self.token = token
        self.folder = folder
        self.job_id = job_id
        self.running = False
        self.followed = False


def has_run(folder: Path) -> bool:
    """Tell whether anything was ever started in an attempt's folder."""
    return (folder / OUTPUT_FILE).exists() or (folder / EXIT_FILE).exists()


def ending_of(live: LiveAttempt, state: JobState, n_cores: int, *, cancelled: bool, now: float) -> Ending:
    """Judge an attempt whose job has ended.

    Args:
        live: which attempt, and where its files are.
        state: what the launcher says of its job.
        n_cores: cores that the attempt was given.
        cancelled: the user has asked for a stop.
        now: Unix time, s.
    """
    record = read_exit(live.folder, live.token)
    output = read_output(live.folder)
    verdict = judge(Evidence(live.token, record, output, state, cancelled))
    elapsed = record.elapsed_s if record is not None else None
    return Ending(
        token=live.token,
        outcome=verdict.outcome,
        ended_at=record.ended_at if record is not None else now,
        failure_class=verdict.failure_class,
        message=verdict.message,
        host=record.host if record is not None else socket.gethostname(),
        started_at=record.started_at if record is not None else None,
        result=_result(live, output, elapsed) if verdict.outcome is Outcome.COMPLETED else None,
        elapsed=elapsed,
        n_cores=n_cores,
    )


def _result(live: LiveAttempt, output: Output, elapsed: float | None) -> Result:
    if output.final_energy is None:
        raise ValueError(f"{live.folder}: a completed attempt without an energy")
    return Result(
        final_energy=output.final_energy,
        max_forces=output.max_abs_gradient_component,
        max_atom_force_norm=output.max_atom_force_norm,
        scf_steps=output.scf_cycles_total,
        wall_time=output.wall_time_s if output.wall_time_s is not None else elapsed,
        n_cores=output.n_cores,
        engine=STANDIN_NAME if output.is_standin else "ORCA",
        # The stand-in's output names the ORCA whose format it has.
        engine_version=f"format of {output.orca_version}" if output.is_standin else output.orca_version,
        output_file=str(live.folder / OUTPUT_FILE),
        s2=output.s2,
        opt_cycles=output.opt_cycles,
        n_atoms=live.structure.natoms,
    )

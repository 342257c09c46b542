"""Results that lie in a job folder although no attempt made them: its script was submitted by hand."""

import math
from pathlib import Path

from oact_dagster.attempts.ending import result_of
from oact_dagster.attempts.engine import STANDIN_NAME, Engine
from oact_dagster.attempts.input_text import input_text
from oact_dagster.attempts.output_verdict import FAILED, NORMAL, see_output
from oact_dagster.files import atomic_write
from oact_dagster.launchers.attempt_files import (
    ATTEMPT_FILE,
    EXIT_FILE,
    INPUT_FILE,
    AttemptSpec,
    ExitRecord,
    read_record,
    spec_text,
)
from oact_dagster.ledger.states import Claim, Ending, Outcome, Preparation
from oact_dagster.orca.inputs.writer import input_hash
from oact_dagster.orca.outputs.attempt_evidence import read_evidence
from oact_dagster.orca.outputs.reader import read_output
from oact_dagster.settings.campaign import Campaign


def ran_by_hand(
    campaign: Campaign, claim: Claim, folder: Path, engine: Engine, now: float
) -> tuple[Preparation, Ending] | str | None:
    """What is to be recorded of a calculation that is in a job folder already, in place of running it.

    It counts where its input is the one that would be written, its output echoes that input, and the output says how
    it ended; one without an end is run again.

    Args:
        campaign: its settings.
        claim: a structure that was never tried, with its attempt.
        folder: its job folder.
        engine: what would run it; an output of the stand-in is none of ORCA's.
        now: Unix time, s.

    Returns:
        What is to be recorded; or why an output that ended normally is not taken; None where there is none.

    Raises:
        InputRefused, GeometryError, StructureError: structure and settings do not go together.
    """
    structure = claim.structure
    try:
        text = (folder / INPUT_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    digest = input_hash(text)
    # Whether it still runs is not asked: what has no end, however old, says nothing.
    seen = see_output(folder, limit_s=math.inf, now=now)
    if seen.code not in (NORMAL, FAILED):
        return None
    completed = seen.code == NORMAL
    if digest != input_hash(input_text(campaign, structure, None)):
        return "its input is not the one that would be run" if completed else None
    output = read_output(folder)
    comments = tuple(line[1:].strip() for line in text.splitlines() if line.startswith("#"))
    if output.input_comments != comments:
        return "it does not echo the input beside it" if completed else None
    if output.is_standin != (engine.name == STANDIN_NAME):
        theirs = "the stand-in engine" if output.is_standin else "ORCA"
        return f"{theirs} made it, and the settings name another engine" if completed else None
    if completed and output.final_energy is None:
        return "it has no energy"
    record = read_record(folder / EXIT_FILE, ExitRecord)
    n_cores = output.n_cores or campaign.n_cores
    ending = Ending(
        token=claim.token,
        outcome=Outcome.COMPLETED if completed else Outcome.FAILED,
        ended_at=record.ended_at if record is not None else now,
        failure_class=None if completed else output.termination.failure_class,
        message=seen.message,
        host=record.host if record is not None else None,
        started_at=record.started_at if record is not None else None,
        result=result_of(
            output,
            folder,
            structure.natoms,
            record.elapsed_s if record is not None else None,
            structure.geometry,
        ),
        elapsed=record.elapsed_s if record is not None else output.wall_time_s,
        n_cores=n_cores,
        evidence={} if completed or output.file is None else read_evidence(output.file).to_json(),
        cpu_time_s=record.cpu_time_s if record is not None else None,
        max_rss_mb=record.max_rss_mb if record is not None else None,
    )
    return Preparation(claim.token, str(folder), digest, n_cores), ending


def make_it_the_attempts(claim: Claim, prepared: Preparation, engine: Engine) -> None:
    """Say in a job folder whose it is now, as in that of any attempt.

    Raises:
        OSError: it cannot be written.
    """
    spec = AttemptSpec(
        claim.token,
        claim.attempt,
        claim.structure.orig_index,
        engine.command,
        prepared.n_cores,
        time_limit_s=0.0,
        stop_grace_s=0.0,
    )
    atomic_write(Path(prepared.job_dir) / ATTEMPT_FILE, spec_text(spec))

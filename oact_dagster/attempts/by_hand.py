"""Results in job folders that no attempt made, because the user submitted the folder's script by hand."""

import math
from pathlib import Path

from oact_dagster.attempts.engine import STANDIN_NAME, Engine
from oact_dagster.attempts.input_text import input_text
from oact_dagster.attempts.output_verdict import FAILED, NORMAL, see_output
from oact_dagster.attempts.result import result_of
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


def result_by_hand(
    campaign: Campaign, claim: Claim, folder: Path, engine: Engine, now: float
) -> tuple[Preparation, Ending] | str | None:
    """Read a calculation that is already in a job folder, so that it need not be run.

    It counts if its input is the one that would be written, and its output echoes that input and says how it ended.
    A calculation without an end is run again.

    Args:
        campaign: The settings.
        claim: A structure that was never tried, with its attempt.
        folder: Its job folder.
        engine: The engine that would run it; outputs of the stand-in and of ORCA do not replace each other.
        now: Unix time, s.

    Returns:
        What to record, or why a normally ended output is not accepted, or None if there is no such calculation.

    Raises:
        InputRefused, GeometryError, StructureError: Structure and settings do not go together.
    """
    structure = claim.structure
    try:
        text = (folder / INPUT_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    digest = input_hash(text)
    # An output without an end says nothing, however old it is, so whether the job still runs does not matter.
    seen = see_output(folder, limit_s=math.inf, now=now)
    if seen.code not in (NORMAL, FAILED):
        return None
    completed = seen.code == NORMAL
    if digest != input_hash(input_text(campaign, structure, None)):
        return "its input differs from the one that would be run" if completed else None
    output = read_output(folder)
    comments = tuple(line[1:].strip() for line in text.splitlines() if line.startswith("#"))
    if output.input_comments != comments:
        return "it does not echo the input in its folder" if completed else None
    if output.is_standin != (engine.name == STANDIN_NAME):
        theirs = "the stand-in engine" if output.is_standin else "ORCA"
        return f"{theirs} made it, but the settings name another engine" if completed else None
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


def write_attempt_file(claim: Claim, prepared: Preparation, engine: Engine) -> None:
    """Write ``attempt.json`` into the job folder, so that it belongs to the attempt like any other.

    Raises:
        OSError: The file cannot be written.
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

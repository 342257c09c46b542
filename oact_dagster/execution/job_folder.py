"""The folder of an attempt: always a fresh one, there whole or not at all."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oact_dagster.campaign import Campaign
from oact_dagster.execution.engine import Engine
from oact_dagster.launchers.attempt_files import (
    ATTEMPT_FILE,
    INPUT_FILE,
    PAYLOAD_LOG,
    TOKEN_COMMENT,
    AttemptSpec,
    read_spec,
    spec_text,
)
from oact_dagster.ledger.states import Claim, StructureRecord
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.inputs import InputSettings, input_hash, render_input
from oact_dagster.orca.structure import Structure


@dataclass(frozen=True, slots=True)
class Prepared:
    """A folder that is ready to be run, or to be looked at."""

    folder: Path
    input_hash: str


def input_settings(campaign: Campaign) -> InputSettings:
    """What the campaign's settings say of every input."""
    return InputSettings(**campaign.orca.model_dump(exclude={"command"}))


def input_text(campaign: Campaign, structure: StructureRecord, token: str | None) -> str:
    """The text of a structure's ``orca.inp``.

    Args:
        campaign: its settings.
        structure: which structure.
        token: of the attempt that will run it; None for an input to look at.

    Raises:
        InputRefused, GeometryError, StructureError: structure and settings do not go together.
    """
    comments = [f"structure {structure.orig_index} of campaign {campaign.name}"]
    comments += [f"{column}: {value}" for column, value in structure.annotations.items()]
    if token is not None:
        comments.append(f"{TOKEN_COMMENT}: {token}")
    chemistry = Structure(parse_geometry(structure.geometry), structure.charge, structure.multiplicity - 1)
    return render_input(chemistry, input_settings(campaign), comments)


def prepare_attempt(campaign: Campaign, engine: Engine, claim: Claim, pipes: Mapping[str, str]) -> Prepared:
    """Write the folder of a new attempt; the one that was there is renamed as a whole.

    What still runs in the old folder goes on writing there, since engines are started with relative paths.

    Raises:
        InputRefused, GeometryError, StructureError: nothing was written.
        OSError: it could not be written; no half-written folder takes the place of the old one.
    """
    text = input_text(campaign, claim.structure, claim.token)
    spec = AttemptSpec(
        token=claim.token,
        attempt=claim.attempt,
        orig_index=claim.structure.orig_index,
        command=engine.command,
        n_cores=campaign.orca.n_cores,
        time_limit_s=campaign.launcher.job_timeout_s,
        stop_grace_s=campaign.launcher.stop_grace_s,
        environment=campaign.launcher.environment,
        pipes=dict(pipes),
    )
    folder = campaign.job_folder(claim.structure.orig_index, claim.structure.id)
    _replace(folder, {INPUT_FILE: text, ATTEMPT_FILE: spec_text(spec)}, claim.token)
    return Prepared(folder, input_hash(text))


def write_input_only(campaign: Campaign, structure: StructureRecord) -> Prepared:
    """Write a structure's input into its folder without an attempt, to be looked at.

    Raises:
        InputRefused, GeometryError, StructureError: nothing was written.
        OSError: it could not be written.
    """
    text = input_text(campaign, structure, None)
    folder = campaign.job_folder(structure.orig_index, structure.id)
    _replace(folder, {INPUT_FILE: text}, f"input-{os.getpid()}")
    return Prepared(folder, input_hash(text))


def folder_of_attempt(
    campaign: Campaign, job_dir: str | None, orig_index: int, structure_id: int, token: str
) -> Path:
    """Where an attempt's files are now: its folder, or what that was renamed to when a later attempt began."""
    folder = Path(job_dir) if job_dir else campaign.job_folder(orig_index, structure_id)
    for candidate in (folder, *_retired(folder)):
        spec = read_spec(candidate)
        if spec is not None and spec.token == token:
            return candidate
    return folder


def _replace(folder: Path, files: Mapping[str, str], mark: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{folder.name}.{mark}")
    try:
        fresh.mkdir()
        for name, text in files.items():
            (fresh / name).write_text(text, encoding="utf-8")
        _retire(folder)
        fresh.rename(folder)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _retire(folder: Path) -> None:
    if not folder.is_dir():
        return
    if {entry.name for entry in folder.iterdir()} <= {INPUT_FILE, ATTEMPT_FILE, PAYLOAD_LOG}:
        # An input to look at, or an attempt that was given back before it began: no attempt that anybody made.
        shutil.rmtree(folder)
        return
    spec = read_spec(folder)
    name = f"{folder.name}.attempt-{spec.attempt if spec is not None else 0}"
    target = folder.with_name(name)
    for again in range(2, 10_000):
        if not target.exists():
            break
        target = folder.with_name(f"{name}-{again}")
    folder.rename(target)


def _retired(folder: Path) -> Sequence[Path]:
    pattern = re.compile(re.escape(folder.name) + r"\.attempt-\d+(-\d+)?")
    try:
        return [entry for entry in folder.parent.iterdir() if pattern.fullmatch(entry.name)]
    except OSError:
        return []

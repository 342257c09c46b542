"""Proof of a structure's result: the output behind it, checked against the ledger."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oact_dagster.attempts.attempt_folders import attempt_folders
from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.verdict import Evidence
from oact_dagster.launchers.attempt_files import TOKEN_COMMENT
from oact_dagster.ledger.failures import LAUNCHER_BY_HAND
from oact_dagster.ledger.states import AttemptRecord, JobRecord
from oact_dagster.maintenance.existing_ledger import SAME_ENERGY_EH
from oact_dagster.maintenance.update import folder_of
from oact_dagster.orca.outputs.reader import Output, Termination, read_output
from oact_dagster.schedulers.jobs import JobState, Phase

_NO_ENERGY: Final = "has no energy in the ledger"
NO_FOLDER: Final = "its folder is missing"
NO_OUTPUT: Final = "its folder holds no output (any more)"
FOREIGN: Final = "the output in its folder is not from the attempt that completed it"
NOT_NORMAL: Final = "its output did not end normally"
_OTHER_ENERGY: Final = "its output and the ledger have different energies"
OTHER_CHARGE: Final = "its output and the ledger have different charges or multiplicities"


@dataclass(frozen=True, slots=True)
class Proof:
    """An output that proves a structure's result."""

    folder: Path
    output: Output


@dataclass(frozen=True, slots=True)
class Unproved:
    """Why a result is not proved."""

    reason: str
    """One of a few texts, so that reasons can be counted."""
    detail: str = ""


def proof_of(row: JobRecord, attempt: AttemptRecord | None, layout: JobLayout) -> Proof | Unproved:
    """Read the output of a completed structure and compare it with the ledger.

    The output of an attempt echoes its token. An output computed by hand or by another tool has none; it counts only if
    the ledger has no attempt for the result, or an attempt that merely took the result over. ``layout`` finds the
    folders that the ledger does not name.
    """
    if row.final_energy is None:
        return Unproved(_NO_ENERGY)
    folder = _folder(row, attempt, layout)
    if folder is None:
        named = attempt.job_dir if attempt is not None else row.job_dir
        return Unproved(NO_FOLDER, named or "")
    output = read_output(folder)
    if output.file is None:
        return Unproved(NO_OUTPUT, str(folder))
    if not _is_its_own(output, attempt):
        return Unproved(FOREIGN, str(folder))
    if output.termination is not Termination.NORMAL:
        return Unproved(NOT_NORMAL, f"{output.termination}, {folder}")
    return _agreeing(row, folder, output)


def _agreeing(row: JobRecord, folder: Path, output: Output) -> Proof | Unproved:
    said = float("nan") if row.final_energy is None else row.final_energy
    last = () if output.final_energy is None else (output.final_energy,)
    # The last energy of an optimisation belongs to the final geometry, which has no gradient.
    energies = output.energies or last if output.opt_cycles else last
    if not any(abs(energy - said) <= SAME_ENERGY_EH for energy in energies):
        found = "none" if output.final_energy is None else f"{output.final_energy!r} Eh"
        return Unproved(_OTHER_ENERGY, f"{found}, ledger {said!r} Eh")
    # The ledger of another tool may lack these values.
    pairs = (("charge", output.charge, row.charge), ("multiplicity", output.mult, row.spin))
    for what, printed, kept in pairs:
        if printed is not None and kept is not None and printed != kept:
            return Unproved(OTHER_CHARGE, f"{what} {printed}, ledger {kept}")
    return Proof(folder, output)


def same_atoms(row: JobRecord, symbols: tuple[str, ...]) -> bool:
    """Return whether an output has the structure's atoms, in any order, as far as the ledger tells."""
    kept = [word.strip().capitalize() for word in (row.elements or "").split(";") if word.strip()]
    if row.natoms is not None and row.natoms != len(symbols):
        return False
    return len(kept) != row.natoms or Counter(kept) == Counter(one.capitalize() for one in symbols)


def _is_its_own(output: Output, attempt: AttemptRecord | None) -> bool:
    if attempt is not None and Evidence(attempt.token, None, output, JobState(Phase.ENDED)).own_output:
        return True
    if any(comment.startswith(f"{TOKEN_COMMENT}:") for comment in output.input_comments):
        return False
    # Our attempts have a plan. One that took over an existing result has none.
    return attempt is None or attempt.launcher == LAUNCHER_BY_HAND or not attempt.plan


def _folder(row: JobRecord, attempt: AttemptRecord | None, layout: JobLayout) -> Path | None:
    """Return the present folder: the campaign may have been moved, and later attempts have other folders."""
    if attempt is None or attempt.launcher == LAUNCHER_BY_HAND:
        try:
            folder = folder_of(row, layout)
        except OSError:
            return None
        return folder if folder is not None and _is_folder(folder) else None
    there = None
    for candidate in _candidates(row, attempt, layout):
        try:
            for folder in attempt_folders(candidate, attempt.number, attempt.token):
                return folder
        except OSError:
            continue
        if there is None and _is_folder(candidate):
            there = candidate
    # The token in the output decides whether it is the attempt's.
    return there


def _candidates(row: JobRecord, attempt: AttemptRecord, layout: JobLayout) -> Iterator[Path]:
    seen = set()
    for name in (attempt.job_dir, row.job_dir):
        if name is None:
            continue
        named = Path(name)
        # The same name in the present jobs folder, with or without its former subfolder.
        moved = (layout.jobs_dir / named.name, layout.jobs_dir / named.parent.name / named.name)
        for folder in (named, *moved):
            if folder not in seen:
                seen.add(folder)
                yield folder


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False

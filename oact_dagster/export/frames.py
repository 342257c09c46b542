"""Source of frames: reads the ledger's rows and their folders, and counts with a reason what gives no frame."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from oact_dagster.attempts.engine import ORCA_NAME, engine_of
from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.export.frame import About, Frame, Value
from oact_dagster.export.proof import Proof, Unproved, proof_of, same_atoms
from oact_dagster.export.report import ExportReport
from oact_dagster.export.units import all_finite, energy_in_ev, forces_of
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import AttemptRecord, JobRecord, Status, StructureRecord
from oact_dagster.maintenance.existing_ledger import SAME_ENERGY_EH
from oact_dagster.orca.elements import ATOMIC_NUMBERS
from oact_dagster.orca.outputs.evaluations import Evaluation
from oact_dagster.orca.outputs.reader import read_evaluations
from oact_dagster.settings.campaign import Campaign

NOT_ORCA: Final = "NOT ORCA: numbers of a stand-in engine, which mean nothing for chemistry"
"""Warning in each frame that was not computed by ORCA."""

NO_ROW_OF_ITS_OWN: Final = "its orig_index is not unique"
NOT_COMPLETED_NOW: Final = "was reset or run again in the meantime"
NO_GRADIENT: Final = "its output has no gradient"
UNREADABLE_GRADIENT: Final = "a gradient in its output cannot be read"
_NO_ENERGY: Final = "its output prints no energy with the gradient"
NOT_CONVERGED: Final = "its energy is not fully converged"
NO_GEOMETRY: Final = "its output prints no geometry with the gradient"
NOT_FINITE: Final = "an energy, a coordinate or a force is NaN or infinite"
NO_ELEMENT: Final = "one of its atoms is not an element (a dummy atom)"
OTHER_ATOMS: Final = "its output and the ledger have different atoms"
_OTHER_ENERGY: Final = "the energy of its gradient differs from the ledger's"
NO_STEP: Final = "none of its steps can be used"
FAILED_CHECKS: Final = "failed checks"


@dataclass(frozen=True, slots=True)
class FrameSelection:
    """Which frames of a campaign to export."""

    all_steps: bool = False
    """Every evaluation with a gradient, not only the last one of each output."""
    include_flagged: bool = False
    """Include structures that failed checks."""


class FrameSource:
    """Yields the frames of structures, and reports what it leaves out.

    ``flagged`` has the names of the failed rules by ``orig_index``.
    """

    def __init__(
        self,
        campaign: Campaign,
        ledger: LedgerReader,
        layout: JobLayout,
        about: About,
        flagged: Mapping[int, Sequence[str]],
        wanted: FrameSelection,
        report: ExportReport,
    ) -> None:
        self._ledger = ledger
        self._layout = layout
        self._about = about
        self._flagged = flagged
        self._wanted = wanted
        self._report = report
        level = campaign.level_of_theory()
        keys = ("functional", "actinide_basis", "actinide_ecp", "non_actinide_basis", "hamiltonian")
        self._common: dict[str, Value] = {
            "campaign": campaign.name,
            **{key: None if level[key] is None else str(level[key]) for key in keys},
            "level_of_theory": about.level_of_theory,
            "oact_dagster_version": about.version,
        }

    def of(self, rows: Sequence[JobRecord]) -> Iterator[Frame]:
        """Yield the frames of some hundred completed structures at most, in order; report each one without a frame."""
        indices = [row.orig_index for row in rows if row.orig_index is not None]
        structures = self._ledger.structures.of(indices)
        attempts = self._ledger.history.good_attempts(indices)
        for row in rows:
            index = row.orig_index
            structure = None if index is None else structures.get(index)
            if index is None or structure is None or structure.id != row.id:
                self._report.leave(NO_ROW_OF_ITS_OWN, index)
            elif structure.status is not Status.COMPLETED:
                self._report.leave(NOT_COMPLETED_NOW, index)
            elif (failed := self._flagged.get(index)) and not self._wanted.include_flagged:
                self._report.leave(f"{FAILED_CHECKS}: {', '.join(failed)}", index)
            else:
                yield from self._of_one(row, structure, attempts.get(index))

    def _of_one(
        self, row: JobRecord, structure: StructureRecord, attempt: AttemptRecord | None
    ) -> Iterator[Frame]:
        index = structure.orig_index
        proof = proof_of(row, attempt, self._layout)
        if isinstance(proof, Unproved):
            self._report.leave(proof.reason, index, proof.detail)
            return
        fields = self._fields(structure, attempt, proof)
        evaluations, n_steps = self._evaluations(proof, index)
        written = 0
        for step, evaluation in evaluations:
            problem = problem_of(evaluation, row)
            if problem is None and not proof.output.opt_cycles and step == n_steps - 1:
                problem = _energy_problem(evaluation, row)
            if problem is None:
                yield self._frame(evaluation, structure, {**fields, "step": step, "n_steps": n_steps})
                written += 1
            elif self._wanted.all_steps and n_steps > 1:
                self._report.leave_step(problem, index, step)
            else:
                self._report.leave(problem, index)
                return
        if written:
            self._report.structures += 1
            self._report.frames += written
            self._report.not_orca += fields["warning"] is not None
            self._report.flagged += fields["failed_checks"] is not None
        elif evaluations:
            self._report.leave(NO_STEP, index)
        else:
            self._report.leave(UNREADABLE_GRADIENT if proof.output.n_gradients else NO_GRADIENT, index)

    def _evaluations(self, proof: Proof, index: int) -> tuple[list[tuple[int, Evaluation]], int]:
        """Return the wanted evaluations with their indices, and the number of gradients in the output."""
        output = proof.output
        n_steps = max(output.n_gradients or 0, 0 if output.evaluation is None else 1)
        if self._wanted.all_steps and n_steps > 1 and output.file is not None:
            every = read_evaluations(output.file)
            if unreadable := n_steps - len(every):
                self._report.leave_step(UNREADABLE_GRADIENT, index, None, unreadable)
            return list(enumerate(every)), n_steps
        return ([] if output.evaluation is None else [(n_steps - 1, output.evaluation)]), n_steps

    def _fields(
        self, structure: StructureRecord, attempt: AttemptRecord | None, proof: Proof
    ) -> dict[str, Value]:
        engine, version = engine_of(proof.output)
        failed = self._flagged.get(structure.orig_index)
        return {
            **self._common,
            "charge": structure.charge,
            "multiplicity": structure.multiplicity,
            "orig_index": structure.orig_index,
            "attempt": attempt.number if attempt is not None else None,
            "host": attempt.host if attempt is not None else None,
            "remedy": attempt.remedy if attempt is not None else None,
            "input_hash": attempt.input_hash if attempt is not None else None,
            "settings_hash": attempt.settings_hash if attempt is not None else None,
            "engine": engine,
            "engine_version": version,
            "warning": None if engine == ORCA_NAME else NOT_ORCA,
            "failed_checks": ", ".join(failed) if failed else None,
        }

    def _frame(
        self, evaluation: Evaluation, structure: StructureRecord, fields: Mapping[str, Value]
    ) -> Frame:
        assert evaluation.energy is not None  # problem_of has checked this
        assert evaluation.symbols is not None and evaluation.coordinates is not None
        said = structure.annotations
        return Frame(
            symbols=tuple(symbol.capitalize() for symbol in evaluation.symbols),
            positions=evaluation.coordinates,
            energy=energy_in_ev(evaluation.energy),
            forces=forces_of(evaluation.gradient),
            fields=fields,
            annotations={key: said[name] for key, name in self._about.columns.items() if name in said},
        )


def problem_of(evaluation: Evaluation, row: JobRecord) -> str | None:
    """Return why an evaluation, from an output that proves the structure's result, is unfit for training, or None."""
    if not evaluation.gradient:
        return NO_GRADIENT
    if evaluation.energy is None:
        return _NO_ENERGY
    if evaluation.energy_flag is not None:
        return NOT_CONVERGED
    if not evaluation.symbols or not evaluation.coordinates:
        return NO_GEOMETRY
    if not len(evaluation.symbols) == len(evaluation.coordinates) == len(evaluation.gradient):
        return NO_GEOMETRY
    if not (math.isfinite(evaluation.energy) and all_finite(evaluation.gradient)):
        return NOT_FINITE
    if not all_finite(evaluation.coordinates):
        return NOT_FINITE
    if not all(symbol.capitalize() in ATOMIC_NUMBERS for symbol in evaluation.symbols):
        return NO_ELEMENT
    return None if same_atoms(row, evaluation.symbols) else OTHER_ATOMS


def _energy_problem(evaluation: Evaluation, row: JobRecord) -> str | None:
    """Return why the evaluation of a single point is not that of the ledger's energy, or None."""
    assert evaluation.energy is not None and row.final_energy is not None
    return None if abs(evaluation.energy - row.final_energy) <= SAME_ENERGY_EH else _OTHER_ENERGY

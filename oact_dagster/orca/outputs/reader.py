"""Reader of ORCA's outputs (3.0 to 6.1): how a run ended, what it delivered, what it cost.

``read_output`` accepts any file or job folder, whatever its bytes. A missing value is None; every answer has a
termination and a reason. It reads bytes, never decodes a whole file, and needs bounded memory.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from oact_dagster.orca.outputs.engrad import Engrad, read_engrad_file
from oact_dagster.orca.outputs.evaluations import Evaluation, Vector, largest_component, largest_norm
from oact_dagster.orca.outputs.file_blocks import FileBlocks, UnreadableFileError, last_bytes
from oact_dagster.orca.outputs.input_echo import decode_line
from oact_dagster.orca.outputs.output_files import JobFolder
from oact_dagster.orca.outputs.partial_scan import scan_both_ends
from oact_dagster.orca.outputs.property_file import read_properties
from oact_dagster.orca.outputs.scan import OutputScan
from oact_dagster.orca.outputs.terminations import (
    OutputEvidence,
    Termination,
    TerminationReading,
    classify_end,
    judge_scheduler_messages,
)

__all__ = [
    "Engrad",
    "Evaluation",
    "Output",
    "Termination",
    "read_engrad",
    "read_evaluations",
    "read_output",
    "read_termination",
    "tail",
]

_SAME_ENERGY: Final = 1e-6
_LONGEST_LINE: Final = 400
_TAIL_READ: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Output:
    """Contents of an ORCA output. Energies are in Eh, gradients in Eh/bohr, times in s; missing values are None.

    Several jobs of one run (``$new_job``) count together. If a file holds several runs, the last one counts.
    """

    termination: Termination
    """How the run ended; compares equal to its plain string, e.g. ``"normal"``."""
    orca_version: str | None = None
    """As printed, e.g. ``6.1.0``, ``6.0.x``."""
    terminated_normally: bool = False
    """Whether ORCA says so and its last line (TOTAL RUN TIME) is there. This alone does not mean success:
    ``termination`` may still be opt_not_converged, scf_not_converged or unphysical."""
    final_energy: float | None = None
    """The last FINAL SINGLE POINT ENERGY; NaN or infinite if ORCA prints that."""
    final_energy_flag: str | None = None
    """Suffix of an energy that is not fully converged, e.g. ``(SCF not fully converged!)``."""
    energies: tuple[float, ...] = ()
    """All final single point energies (at most the last 250,000)."""
    scf_cycles_total: int | None = None
    """Sum over all SCFs, converged or not; None without any (CASSCF)."""
    scf_cycles_per_scf: tuple[int, ...] = ()
    """Cycles of each SCF that converged."""
    scf_cycles_not_converged: tuple[int, ...] = ()
    """Cycles of each SCF that did not."""
    n_cores: int | None = None
    """From the MPI banner, else from the echoed input, else 1."""
    wall_time_s: float | None = None
    """From TOTAL RUN TIME."""
    n_gradients: int | None = None
    max_abs_gradient_component: float | None = None
    """Largest component of the last gradient, which ORCA prints as MAX gradient."""
    max_atom_force_norm: float | None = None
    opt_cycles: int | None = None
    """Optimisation cycles begun; 0 without an optimisation."""
    opt_converged: bool | None = None
    """Whether the last optimisation converged; None without one."""
    charge: int | None = None
    mult: int | None = None
    s2: float | None = None
    """The last expectation value of S**2."""
    deciding_line: str | None = None
    """The line that decided the termination, stripped; None if the absence of a line decided."""
    reason: str = ""
    """Why this termination, in one line."""
    input_comments: tuple[str, ...] = ()
    """The comment lines of the echoed input, stripped and without ``#``."""
    file: Path | None = None
    """The file that was read; None if a folder holds no output."""
    is_standin: bool = False
    """Whether the banner says that this is NOT ORCA."""
    evaluation: Evaluation | None = None
    """The last evaluation with a gradient: energy, gradient and geometry that belong together."""

    @property
    def gradient_energy(self) -> float | None:
        """Energy that belongs to the last gradient, Eh. In an optimisation this is not ``final_energy``."""
        return self.evaluation.energy if self.evaluation else None

    @property
    def gradient(self) -> tuple[Vector, ...] | None:
        """The last gradient, n_atoms times (x, y, z), Eh/bohr."""
        return self.evaluation.gradient if self.evaluation else None

    @property
    def symbols(self) -> tuple[str, ...] | None:
        """Element symbols of the last gradient's geometry, n_atoms of them."""
        return self.evaluation.symbols if self.evaluation else None

    @property
    def coordinates(self) -> tuple[Vector, ...] | None:
        """Geometry of the last gradient, n_atoms times (x, y, z), Å."""
        return self.evaluation.coordinates if self.evaluation else None


def read_output(path: str | os.PathLike[str]) -> Output:
    """Read an ORCA output. Raises nothing, whatever the path is.

    The path is an output (gzipped or not, any name), or a job folder. In a folder the output is located (see
    ``output_files``), its ``.engrad`` supplies a missing gradient, its ``.property.txt`` a missing charge, multiplicity
    or energy, and the scheduler's file the reason why an output has no end.
    """
    return _read(*_located(path))


def read_termination(path: str | os.PathLike[str]) -> TerminationReading:
    """Read only how a run ended, as ``read_output`` would say, for surveys of thousands of folders.

    Reads only both ends of a large file if they are enough.
    """
    folder, file, why = _located(path)
    scan = scan_both_ends(file) if file is not None else None
    if scan is not None:
        return _verdict(scan, None)
    output = _read(folder, file, why)
    return TerminationReading(output.termination, output.deciding_line, output.reason)


def read_engrad(path: str | os.PathLike[str]) -> Engrad:
    """Read an ``.engrad`` file (gzipped or not), or the newest in a job folder. Raises nothing."""
    folder, file, _ = _located(path)
    if folder is not None:
        file = folder.engrad(None)
    return Engrad() if file is None else read_engrad_file(file)


def read_evaluations(path: str | os.PathLike[str]) -> tuple[Evaluation, ...]:
    """Read all evaluations with a gradient, in order: one for each optimisation cycle.

    Raises nothing. Memory grows with the number of evaluations.
    """
    _, file, _ = _located(path)
    try:
        return tuple(_scan(FileBlocks(file), OutputScan(every_evaluation=True)).evaluations) if file else ()
    except (OSError, ValueError, UnreadableFileError):
        return ()


def tail(path: str | os.PathLike[str], lines: int = 20) -> str:
    """Read the last ``lines`` printable lines of an output; "" if there is no such file.

    Blank lines are left out; each line is cut to 400 characters, with control characters as blanks.
    """
    _, file, _ = _located(path)
    try:
        data = b"" if file is None or lines < 1 else last_bytes(file, _TAIL_READ)
    except (OSError, ValueError, UnreadableFileError):
        return ""
    texts = [decode_line(line)[:_LONGEST_LINE] for line in data.splitlines()]
    return "\n".join([text for text in texts if text][-lines:])


def _located(path: str | os.PathLike[str]) -> tuple[JobFolder | None, Path | None, str]:
    """Return the folder if one was given, the file to read or None, and why there is no file."""
    given = Path(path)
    if not os.fspath(path):
        return None, None, "the path is empty"
    try:
        if not given.is_dir():
            return None, given, ""
        folder = JobFolder(given)
    except (OSError, ValueError) as error:
        return None, None, f"the folder cannot be read: {error}"
    return folder, folder.output(), "the folder holds no ORCA output"


def _read(folder: JobFolder | None, file: Path | None, why_no_file: str) -> Output:
    output = _read_file(file) if file is not None else Output(Termination.TRUNCATED, reason=why_no_file)
    if folder is None:
        return output
    return _from_scheduler(_from_properties(_from_engrad(output, folder), folder), folder)


def _scan(blocks: FileBlocks, scan: OutputScan) -> OutputScan:
    """Feed a file to a scan and finish the scan."""
    previous: bytes | None = None
    for block in blocks.text():
        if previous is not None:
            scan.feed(previous)
        previous = block
    scan.finish(previous or b"", intact=blocks.damage is None)
    return scan


def _read_file(file: Path) -> Output:
    try:
        blocks = FileBlocks(file)
    except UnreadableFileError as error:
        return Output(Termination.TRUNCATED, reason=str(error), file=file)
    scan = _scan(blocks, OutputScan())
    verdict = _verdict(scan, blocks.damage)
    evaluation = scan.evaluation
    gradient = evaluation.gradient if evaluation else ()
    component = largest_component(gradient)
    return Output(
        termination=verdict.termination,
        orca_version=scan.version,
        terminated_normally=scan.normal_end is not None,
        final_energy=scan.energies[-1] if scan.energies else None,
        final_energy_flag=scan.energy_flag,
        energies=tuple(scan.energies),
        scf_cycles_total=scan.scf_cycles,
        scf_cycles_per_scf=tuple(scan.scf_converged),
        scf_cycles_not_converged=tuple(scan.scf_not_converged),
        n_cores=_n_cores(scan, verdict.termination),
        wall_time_s=scan.wall_time_s,
        n_gradients=scan.n_gradients if scan.is_orca else None,
        max_abs_gradient_component=scan.printed_max_gradient if component is None else component,
        max_atom_force_norm=largest_norm(gradient),
        opt_cycles=scan.opt_cycles if scan.is_orca else None,
        opt_converged=scan.opt_converged,
        charge=scan.charge,
        mult=scan.mult,
        s2=scan.s2,
        deciding_line=verdict.deciding_line,
        reason=verdict.reason,
        input_comments=scan.echo.comments if scan.echo else (),
        file=file,
        is_standin=scan.standin,
        evaluation=evaluation,
    )


def _verdict(scan: OutputScan, damage: str | None) -> TerminationReading:
    verdict = classify_end(
        OutputEvidence(
            normal_end=scan.normal_end,
            final_energy=scan.energies[-1] if scan.energies else None,
            final_energy_line=scan.energy_line,
            final_scf_line=scan.energy_scf_line,
            scf_energy=scan.scf_energy,
            correlated=scan.echo is not None and scan.echo.correlated,
            semiempirical=scan.echo is not None and scan.echo.semiempirical,
            # SCF and last geometry of a layered calculation may belong to one of its layers.
            symbols=() if scan.energy_is_layered else scan.symbols,
            first_scf_energy=None if scan.energy_is_layered else scan.first_scf_energy,
            optimisation_converged=scan.opt_converged,
            since_last_cycle=scan.since_last_cycle,
            since_last_result=scan.since_last_result,
        )
    )
    if verdict.termination is not Termination.TRUNCATED or verdict.deciding_line is not None:
        return verdict
    if damage is not None:
        return TerminationReading(Termination.TRUNCATED, scan.last_line, f"the file has no end: {damage}")
    if scan.n_bytes == 0:
        return TerminationReading(
            Termination.TRUNCATED, None, "the file is empty: the run has not written anything yet"
        )
    if not scan.is_orca:
        return TerminationReading(Termination.TRUNCATED, scan.last_line, "the file is not an ORCA output")
    return TerminationReading(Termination.TRUNCATED, scan.last_line, verdict.reason)


def _n_cores(scan: OutputScan, termination: Termination) -> int | None:
    if scan.n_processes is not None:
        return scan.n_processes
    if scan.echo is not None and scan.echo.n_cores is not None:
        return scan.echo.n_cores
    # A serial run prints no number. But a file truncated before the number need not be from a serial run.
    unknown = termination is Termination.TRUNCATED and (scan.echo is None or not scan.echo.complete)
    return None if unknown or not scan.is_orca else 1


def _from_engrad(output: Output, folder: JobFolder) -> Output:
    """Take a missing gradient from the folder's ``.engrad``.

    ORCA writes that file with each gradient. If the output does not contain its energy, another run left it.
    """
    if output.evaluation is not None:
        return output
    path = folder.engrad(output.file)
    engrad = read_engrad_file(path) if path is not None else Engrad()
    if engrad.evaluation is None:
        return output
    energy = engrad.final_energy
    if output.energies and (
        energy is None or all(abs(energy - other) > _SAME_ENERGY for other in output.energies)
    ):
        return output
    return replace(
        output,
        max_abs_gradient_component=engrad.max_abs_gradient_component,
        max_atom_force_norm=engrad.max_atom_force_norm,
        evaluation=engrad.evaluation,
    )


def _from_properties(output: Output, folder: JobFolder) -> Output:
    """Take missing charge, multiplicity and (if the run ended normally) energy from ``.property.txt``."""
    lacks_energy = output.terminated_normally and output.final_energy is None
    if output.file is None or (output.charge is not None and output.mult is not None and not lacks_energy):
        return output
    path = folder.properties(output.file)
    if path is None:
        return output
    properties = read_properties(path)
    return replace(
        output,
        charge=properties.charge if output.charge is None else output.charge,
        mult=properties.mult if output.mult is None else output.mult,
        final_energy=properties.final_energy if lacks_energy else output.final_energy,
    )


def _from_scheduler(output: Output, folder: JobFolder) -> Output:
    """Look in the scheduler's files for the reason why an output has no end."""
    if output.termination is not Termination.TRUNCATED or output.file is None:
        return output
    verdict = judge_scheduler_messages(folder.scheduler_messages(output.file))
    if verdict is None:
        return output
    return replace(
        output, termination=verdict.termination, deciding_line=verdict.deciding_line, reason=verdict.reason
    )

"""Reader of Sella's optimisations: its log and its trajectory (ASE's ``.traj``, or extended XYZ).

Sella works in eV and Å, ORCA in Eh and bohr; names here include the unit. The fmax of Sella and ASE is the largest norm
of one atom's force.

The log has one line for each step::

         Step     Time          Energy         fmax         cmax       rtrust          rho
    Sella   0 15:34:54   -17046.320443       0.5345       0.0000       0.1000       1.0000

In Sella 2.6 the energy and fmax of a line belong to the previous step, so the converged step is not in the log. The
trajectory has each step's own forces and takes precedence.
"""

import math
import os
import re
from dataclasses import dataclass
from typing import Final

from oact_dagster.orca.energy_units import EV_PER_ANGSTROM_PER_HARTREE_PER_BOHR, EV_PER_HARTREE
from oact_dagster.orca.outputs.evaluations import Evaluation, Vector, largest_norm
from oact_dagster.orca.outputs.file_blocks import FileBlocks, UnreadableFileError
from oact_dagster.orca.outputs.trajectories import (
    TrajectoryFrame,
    read_ase_trajectory,
    read_extended_xyz,
)

_LOG_LINE: Final = (
    rb"(?mi)^[ \t]*[A-Za-z]\w*:?[ \t]+(\d{1,9})(?:\*|\[[^\]\n]*\])?[ \t]+\d\d:\d\d:\d\d[ \t]+"
    rb"([-+]?\d+\.\d+(?:e[-+]?\d+)?|nan)\*?[ \t]+(\d+\.\d+(?:e[-+]?\d+)?|nan|inf)(?:[ \t]+[^\n]*)?\n"
)


@dataclass(frozen=True, slots=True)
class SellaStep:
    """One step of an optimisation."""

    step: int
    energy_ev: float | None
    fmax_ev_per_angstrom: float | None
    """Largest norm of one atom's force, eV/Å, or None."""
    forces_ev_per_angstrom: tuple[Vector, ...] | None = None
    """n_atoms times (x, y, z), eV/Å; None without a trajectory."""
    symbols: tuple[str, ...] | None = None
    """n_atoms element symbols; None without a trajectory."""
    coordinates_angstrom: tuple[Vector, ...] | None = None
    """n_atoms times (x, y, z), Å; None without a trajectory."""

    @property
    def energy_hartree(self) -> float | None:
        """Energy in Eh."""
        return None if self.energy_ev is None else self.energy_ev / EV_PER_HARTREE

    @property
    def evaluation(self) -> Evaluation | None:
        """The step in ORCA's units (Eh, Eh/bohr, Å), or None without forces. A gradient is minus a force."""
        if self.forces_ev_per_angstrom is None:
            return None
        unit = -EV_PER_ANGSTROM_PER_HARTREE_PER_BOHR
        gradient = tuple((x / unit, y / unit, z / unit) for x, y, z in self.forces_ev_per_angstrom)
        return Evaluation(self.energy_hartree, None, gradient, self.symbols, self.coordinates_angstrom)


@dataclass(frozen=True, slots=True)
class SellaRun:
    """An optimisation by Sella."""

    steps: tuple[SellaStep, ...]
    """The steps in order, from the trajectory if there is one, else from the log."""
    converged: bool | None
    """Whether the last step's fmax is at most the given one; None if it is not known."""
    reason: str


def read_sella(
    log: str | os.PathLike[str] | None,
    trajectory: str | os.PathLike[str] | None = None,
    *,
    fmax_ev_per_angstrom: float,
) -> SellaRun:
    """Read an optimisation by Sella, which has converged at ``fmax_ev_per_angstrom``.

    Raises nothing; an unreadable file has no steps. The files (a trajectory is a ``.traj``, ``.xyz`` or ``.extxyz``)
    may be gzipped.
    """
    frames = () if trajectory is None else read_trajectory(trajectory)
    if frames:
        steps = tuple(_step(number, frame) for number, frame in enumerate(frames))
        source = "the trajectory"
    else:
        steps = () if log is None else read_sella_log(log)
        source = "the log"
    last = steps[-1].fmax_ev_per_angstrom if steps else None
    if last is None or math.isnan(last):
        return SellaRun(steps, None, f"{source} does not give the largest force of the last step")
    converged = last <= fmax_ev_per_angstrom
    relation = "at most" if converged else "above"
    reason = (
        f"fmax of step {steps[-1].step} in {source} is {last:.4f} eV/Å, {relation} {fmax_ev_per_angstrom:g}"
    )
    return SellaRun(steps, converged, reason)


def read_sella_log(log: str | os.PathLike[str]) -> tuple[SellaStep, ...]:
    """Read the log of Sella, or of one of ASE's optimisers, gzipped or not.

    Returns the steps of the last run in the file (a restart appends another run); empty for an unreadable file.
    """
    data = _whole(log)
    steps: list[SellaStep] = []
    for number, energy, fmax in re.findall(_LOG_LINE, data):
        if int(number) == 0:
            steps.clear()
        steps.append(SellaStep(int(number), _finite(float(energy)), float(fmax)))
    return tuple(steps)


def read_trajectory(trajectory: str | os.PathLike[str]) -> tuple[TrajectoryFrame, ...]:
    """Read the complete frames of a trajectory: ASE's ``.traj`` or extended XYZ, gzipped or not.

    The first bytes tell the format; an unreadable file has no frames.
    """
    data = _whole(trajectory)
    return read_ase_trajectory(data) if data.startswith(b"- of Ulm") else read_extended_xyz(data)


def _whole(path: str | os.PathLike[str]) -> bytes:
    try:
        return b"".join(FileBlocks(path))
    except UnreadableFileError:
        return b""


def _step(number: int, frame: TrajectoryFrame) -> SellaStep:
    return SellaStep(
        step=number,
        energy_ev=frame.energy_ev,
        fmax_ev_per_angstrom=largest_norm(frame.forces_ev_per_angstrom or ()),
        forces_ev_per_angstrom=frame.forces_ev_per_angstrom,
        symbols=frame.symbols,
        coordinates_angstrom=frame.coordinates_angstrom,
    )


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None

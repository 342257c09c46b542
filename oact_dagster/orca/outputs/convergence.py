"""The convergence of one output's SCF and optimisation, as a few numbers to store and plot."""

import math
import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from oact_dagster.orca.outputs.evaluations import Evaluation, largest_component
from oact_dagster.orca.outputs.file_blocks import FileBlocks, UnreadableFileError, last_bytes
from oact_dagster.orca.outputs.output_files import JobFolder
from oact_dagster.orca.outputs.scan import MOST_KEPT, OutputScan
from oact_dagster.orca.outputs.scf_tables import ScfIteration, last_scf

MOST_POINTS: Final = 60
"""Largest number of points kept of each kind."""

_TAIL: Final = 16 << 20
"""Bytes read from the end at first; for most single points that is the whole file."""

_OVERLAP: Final = 1 << 20
"""Bytes of a block that are read again with the next one, so that no table of iterations is split."""

_BANNER: Final = b"* O   R   C   A *"
_CYCLE: Final = b"GEOMETRY OPTIMIZATION CYCLE"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Convergence:
    """The convergence of one calculation; empty for what its output does not hold."""

    scf: tuple[float, ...] = ()
    """Absolute energy change in Eh of each iteration of the last SCF, from its second on; for TRAH, of each macro
    iteration. A change printed as zero counts as one unit in the last printed digit. Changes that are not finite are
    left out."""
    energies: tuple[float, ...] = ()
    """Energy of each optimisation cycle, Eh."""
    gradients: tuple[float, ...] = ()
    """Largest component of the Cartesian gradient of each cycle, Eh/bohr."""
    n_iterations: int = 0
    """Number of iterations of that SCF; ``scf`` is thinned out to ``MOST_POINTS``."""
    n_cycles: int = 0
    """Number of optimisation cycles; ``energies`` and ``gradients`` are thinned out likewise."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, rounded to what a picture needs, without empty ones.

        Energy changes become decimal logarithms (2 decimals), energies the last one in Eh and the differences from it
        in mEh (3 decimals), and gradients have 3 significant digits.
        """
        last = self.energies[-1] if self.energies else None
        values = {
            "scf": [round(math.log10(change), 2) for change in self.scf],
            "iterations": self.n_iterations,
            "energy": last,
            "meh": [round(1000 * (energy - last), 3) for energy in self.energies] if last is not None else [],
            "gradients": [float(f"{gradient:.3g}") for gradient in self.gradients],
            "cycles": self.n_cycles,
        }
        return {name: value for name, value in values.items() if value not in (None, [], 0)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Convergence":
        """Return the convergence from the output of ``to_json``, within its rounding.

        Values that are missing or not numbers (those of another version) count as empty.
        """
        scf = _numbers(raw.get("scf"))
        gradients = _numbers(raw.get("gradients"))
        last = _numbers([raw.get("energy")])
        relative = _numbers(raw.get("meh")) if last else []
        return cls(
            scf=tuple(10.0**change for change in scf if abs(change) < 300),
            energies=tuple(last[0] + difference / 1000 for difference in relative),
            gradients=tuple(gradients),
            n_iterations=_count(raw.get("iterations")),
            n_cycles=_count(raw.get("cycles")),
        )


def read_convergence(path: str | os.PathLike[str]) -> Convergence:
    """Read the convergence of the last SCF and of the optimisation. Raises nothing and needs bounded memory.

    Takes an output of ORCA 3 to 6.1, gzipped or not, or a job folder. If a file holds several runs, the last one
    counts. Reads the last 16 MiB, and the whole file only for an optimisation or if more than that follows the SCF.
    """
    given = Path(path)
    try:
        file = JobFolder(given).output() if given.is_dir() else given
        if file is None or not os.fspath(path):
            return Convergence()
        tail = last_bytes(file, _TAIL)
        tables = last_scf(_last_run(tail))
        optimises = _CYCLE in tail
        if not tables and len(tail) == _TAIL:
            tables, optimises = _last_scf_of(file)
        energies, gradients, n_cycles = _optimisation(file) if optimises else ((), (), 0)
    except (OSError, ValueError, UnreadableFileError):
        return Convergence()
    changes = _changes(tables)
    return Convergence(
        scf=thinned(changes, MOST_POINTS),
        energies=thinned(energies, MOST_POINTS),
        gradients=thinned(gradients, MOST_POINTS),
        n_iterations=sum(map(len, tables)),
        n_cycles=n_cycles,
    )


def thinned(values: Sequence[T], most: int) -> tuple[T, ...]:
    """Thin values out evenly to at most ``most`` (2 or more), in order; the first and the last stay."""
    if len(values) <= most:
        return tuple(values)
    step = (len(values) - 1) / (most - 1)
    return tuple(values[round(place * step)] for place in range(most))


def _last_run(data: bytes) -> bytes:
    """Return the output of the last run, if several are appended to each other."""
    position = data.rfind(_BANNER)
    while position >= 0:
        line = data.rfind(b"\n", 0, position) + 1
        if not data[line:position].strip():
            return data[position:]
        position = data.rfind(_BANNER, 0, line)
    return data


def _last_scf_of(file: Path) -> tuple[list[list[ScfIteration]], bool]:
    """Return the tables of a large file's last SCF, and whether the file may hold an optimisation."""
    tables: list[list[ScfIteration]] = []
    optimises = False
    carry = b""
    for block in FileBlocks(file).text():
        data = carry + block
        run = _last_run(data)
        tables = last_scf(run) or (tables if len(run) == len(data) else [])
        optimises = optimises or _CYCLE in run
        carry = data[-_OVERLAP:]
    return tables, optimises


def _changes(tables: Sequence[Sequence[ScfIteration]]) -> list[float]:
    """Return the absolute energy changes in Eh, from the second iteration of an SCF on."""
    changes: list[float] = []
    before: float | None = None
    for iteration in (iteration for table in tables for iteration in table):
        change = iteration.change
        if change is None and before is not None:
            change = iteration.energy - before
        if change is not None and before is not None and math.isfinite(change):
            changes.append(max(abs(change), iteration.least_change))
        before = iteration.energy
    return changes


def _optimisation(file: Path) -> tuple[Sequence[float], Sequence[float], int]:
    """Return energy (Eh) and largest gradient component (Eh/bohr) of each cycle, and the number of cycles."""
    scan = OutputScan(every_evaluation=True)
    taken: list[Evaluation] = scan.evaluations
    energies: deque[float] = deque(maxlen=MOST_KEPT)
    gradients: deque[float] = deque(maxlen=MOST_KEPT)

    def take(evaluations: Sequence[Evaluation]) -> None:
        for evaluation in evaluations:
            component = largest_component(evaluation.gradient)
            if evaluation.energy is not None and math.isfinite(evaluation.energy):
                energies.append(evaluation.energy)
            if component is not None and math.isfinite(component):
                gradients.append(component)

    previous: bytes | None = None
    for block in FileBlocks(file).text():
        if previous is not None:
            scan.feed(previous)
            if scan.evaluations is not taken:  # another run has begun in this file
                energies.clear()
                gradients.clear()
                taken = scan.evaluations
            # The energy of the last evaluation may be in the next block.
            take(taken[:-1])
            del taken[:-1]
        previous = block
    scan.finish(previous or b"")
    if scan.evaluations is not taken:
        energies.clear()
        gradients.clear()
    take(scan.evaluations)
    # ORCA prints no gradients with MiniPrint and the like.
    every = list(energies or (energy for energy in scan.energies if math.isfinite(energy)))
    # What follows the last cycle (the energy of the final geometry, numerical frequencies) is not a cycle.
    return every[: scan.opt_cycles], list(gradients)[: scan.opt_cycles], scan.opt_cycles


def _numbers(raw: Any) -> list[float]:
    """Return the finite numbers of a list; an empty list for anything else."""
    if not isinstance(raw, list | tuple):
        return []
    return [
        float(value)
        for value in raw
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]


def _count(raw: Any) -> int:
    return raw if isinstance(raw, int) and not isinstance(raw, bool) and raw > 0 else 0

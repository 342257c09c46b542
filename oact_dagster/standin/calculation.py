"""A calculation of the stand-in: a single point or an optimisation, computed and printed after the input's echo."""

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oact_dagster.orca.elements import ATOMIC_NUMBERS
from oact_dagster.standin import energy_report, relaxation_report, report
from oact_dagster.standin.engine import ScfConvergenceError, SinglePoint, TbliteEngine, TbliteError
from oact_dagster.standin.input_reader import InputRequest
from oact_dagster.standin.relaxation import NORMAL_THRESHOLDS, TOLERANCES, Relaxation
from oact_dagster.standin.surrogate import Surrogate
from oact_dagster.standin.units import BOHR_IN_ANGSTROM

Array = npt.NDArray[np.float64]


class Calculation:
    """One job, from its first geometry to ORCA's last line. Prints as it goes."""

    def __init__(self, job: InputRequest, surrogate: Surrogate, path: Path, started: float) -> None:
        """Prepare a job that began at ``started`` (``time.perf_counter()``).

        Result files are beside the input and have its stem.
        """
        self._job = job
        self._surrogate = surrogate
        self._path = path
        self._started = started
        self._engine = TbliteEngine(
            surrogate, job.scf_max_iterations, lambda iteration: print(energy_report.scf_row(iteration))
        )
        self._seconds: dict[str, float] = {}

    def run(self) -> bool:
        """Compute and print everything. Return whether the run ended normally, as an unconverged Opt does, too."""
        positions = np.array(self._job.positions, dtype=np.float64) / BOHR_IN_ANGSTROM
        self._seconds["Startup calculation"] = time.perf_counter() - self._started
        try:
            if self._job.opt_keyword is not None:
                self._optimise(positions, self._job.opt_keyword)
            else:
                self._single_point(positions)
        except ScfConvergenceError as error:
            print(energy_report.scf_failure(error.iterations))
            return self._fail(
                "LEANSCF",
                "unfortunately, the SCF has not converged. There may be a way out but we have to stop here",
            )
        except TbliteError as error:
            return self._fail("LEANSCF", str(error))
        except OSError as error:
            return self._fail("MAIN", f"cannot write {error.filename}: {error.strerror}")
        print(report.normal_end(self._seconds, time.perf_counter() - self._started))
        return True

    def _fail(self, module: str, message: str) -> bool:
        print(report.error_termination(module, message, self._path.name))
        return False

    def _single_point(self, positions: Array) -> None:
        title = "Energy+Gradient Calculation" if self._job.gradient else "Single Point Calculation"
        print(report.run_type(title))
        evaluation = self._energy(positions)
        if self._job.gradient:
            self._gradient(positions, evaluation)
        self._write_geometry(positions, evaluation.energy)

    def _optimise(self, positions: Array, keyword: str) -> None:
        job, tolerances = self._job, TOLERANCES.get(keyword, NORMAL_THRESHOLDS)
        print(report.run_type("Geometry Optimization Run"))
        print(relaxation_report.settings(tolerances, job.opt_max_cycles))
        relaxation = Relaxation(np.array(self._surrogate.numbers), positions, tolerances)
        trajectory = self._beside("_trj.xyz")
        trajectory.unlink(missing_ok=True)
        for cycle in range(1, job.opt_max_cycles + 1):
            print(relaxation_report.cycle_head(cycle))
            evaluation = self._energy(positions)
            self._gradient(positions, evaluation)
            self._write_geometry(positions, evaluation.energy, trajectory)
            began = time.perf_counter()
            step = relaxation.next_step(evaluation.energy, evaluation.gradient)
            self._spend("Geometry relaxation", time.perf_counter() - began)
            print(relaxation_report.step_section(step))
            if step.converged:
                # Like ORCA, take the last, small step and compute one more energy without a gradient.
                positions = positions + step.displacement
                print(relaxation_report.converged(cycle))
                final = self._energy(positions)
                self._write_geometry(positions, final.energy, trajectory)
                print(relaxation_report.run_done())
                return
            if cycle < job.opt_max_cycles:
                print(relaxation_report.more_cycles())
                positions = positions + step.displacement
        print(relaxation_report.not_converged())

    def _energy(self, positions: Array) -> SinglePoint:
        job = self._job
        print(report.geometry(job.symbols, positions))
        if job.n_cores > 1:
            print(report.parallel_banner(job.n_cores))
        n_basis_functions = self._engine.n_basis_functions(positions)
        description = self._surrogate.description()
        print(energy_report.scf_settings(job, self._path.stem, n_basis_functions, description))
        print(energy_report.scf_head())
        evaluation = self._engine.evaluate(positions)
        print(energy_report.scf_success(evaluation))
        self._spend("SCF iterations", evaluation.scf_seconds)
        return evaluation

    def _gradient(self, positions: Array, evaluation: SinglePoint) -> None:
        print(energy_report.gradient_section(self._job.symbols, positions, evaluation.gradient))
        _write_engrad(
            self._beside(".engrad"), self._job.symbols, positions, evaluation.energy, evaluation.gradient
        )
        self._spend("SCF Gradient evaluation", evaluation.gradient_seconds)

    def _write_geometry(self, positions: Array, energy: float, trajectory: Path | None = None) -> None:
        frame = _xyz_frame(self._path.stem, self._job.symbols, positions, energy)
        self._beside(".xyz").write_text(frame, encoding="ascii")
        if trajectory is not None:
            with trajectory.open("a", encoding="ascii") as file:
                file.write(frame)

    def _beside(self, ending: str) -> Path:
        return self._path.with_name(self._path.stem + ending)

    def _spend(self, module: str, seconds: float) -> None:
        self._seconds[module] = self._seconds.get(module, 0.0) + seconds


def _write_engrad(
    path: Path, symbols: tuple[str, ...], positions: Array, energy: float, gradient: Array
) -> None:
    """Write energy (Eh), gradient (Eh/bohr) and coordinates (bohr) of N atoms; arrays have shape (N, 3)."""
    lines = ["#", "# Number of atoms", "#", f" {len(symbols)}"]
    lines += ["#", "# The current total energy in Eh", "#", f"{energy:20.12f}"]
    lines += ["#", "# The current gradient in Eh/bohr", "#"]
    lines += [f"{component:21.12f}" for component in gradient.ravel()]
    lines += ["#", "# The atomic numbers and current coordinates in Bohr", "#"]
    for symbol, (x, y, z) in zip(symbols, positions, strict=True):
        lines.append(f"{ATOMIC_NUMBERS[symbol]:4d}  {x:12.7f} {y:12.7f} {z:12.7f} ")
    path.write_text("\n".join([*lines, ""]), encoding="ascii")


def _xyz_frame(name: str, symbols: tuple[str, ...], positions: Array, energy: float) -> str:
    """Return a geometry in XYZ format (Å) with the job's name and the energy (Eh) in the comment line."""
    lines = [str(len(symbols)), f"Coordinates from ORCA-job {name} E {energy:.12f}"]
    for symbol, (x, y, z) in zip(symbols, positions * BOHR_IN_ANGSTROM, strict=True):
        lines.append(f"  {symbol:<2s}{x:22.14f}{y:22.14f}{z:22.14f}")
    return "\n".join([*lines, ""])

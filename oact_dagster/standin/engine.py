"""Energies and gradients from tblite (GFN2-xTB). Set the number of threads before importing this module."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tblite import library
from tblite.exceptions import TBLiteRuntimeError
from tblite.interface import Calculator, Result

from oact_dagster.errors import OactError
from oact_dagster.standin.surrogate import Surrogate

Array = npt.NDArray[np.float64]

# At 0.1 the gradient agrees with energy differences to better than 1e-6 Eh/bohr. At tblite's default of 1 it is off by
# 5e-6, for a tenth fewer cycles.
ACCURACY: Final = 0.1
MIXER_DAMPING: Final = 0.4
"""tblite's default, set here because the SCF table prints it."""

# Actinyls replaced by lanthanides have almost no gap. Their SCF takes 50 to 500 cycles at tblite's default of 300 K,
# and 23 to 26 at 4000 K.
ELECTRONIC_TEMPERATURE: Final = 4000.0
"""Temperature of the Fermi smearing in K. The energy is the free energy, and the gradient is its derivative."""

_BOLTZMANN: Final = 3.166808578545117e-6
"""Eh/K."""

ENERGY_TOLERANCE: Final = 1e-6 * ACCURACY
"""Largest energy change in a converged SCF, Eh, as tblite derives it from the accuracy."""

DENSITY_TOLERANCE: Final = 2e-5 * ACCURACY
"""Largest RMS density change in a converged SCF, as tblite derives it from the accuracy."""

TBLITE_VERSION: Final = ".".join(map(str, library.get_version()))


@dataclass(frozen=True)
class Iteration:
    """One SCF iteration: number, energy and energy change (Eh), RMS density change, duration (s)."""

    number: int
    energy: float
    energy_change: float
    density_change: float
    seconds: float


@dataclass(frozen=True)
class SinglePoint:
    """A converged calculation at one geometry."""

    energy: float
    gradient: Array
    """(N, 3) derivatives of the energy in Eh/bohr."""
    iterations: tuple[Iteration, ...]
    scf_seconds: float
    """Wall time until the SCF had converged."""
    gradient_seconds: float
    """Wall time from there to the gradient."""


class ScfConvergenceError(OactError):
    """The SCF did not converge within the given number of iterations."""

    def __init__(self, iterations: int) -> None:
        super().__init__(f"SCF not converged in {iterations} cycles")
        self.iterations = iterations


class TbliteError(OactError):
    """tblite failed in another way, or returned numbers that are not finite."""


class TbliteEngine:
    """GFN2-xTB for one molecule. Each geometry starts from the density of the previous one."""

    def __init__(
        self, surrogate: Surrogate, max_iterations: int, on_iteration: Callable[[Iteration], None]
    ) -> None:
        """Prepare the calculations; ``on_iteration`` is called after each SCF iteration, while the SCF runs."""
        self._surrogate = surrogate
        self._max_iterations = max_iterations
        self._on_iteration = on_iteration
        self._iterations: list[Iteration] = []
        self._last = 0.0
        self._calculator: Any = None
        self._result: Result | None = None

    def evaluate(self, positions: Array) -> SinglePoint:
        """Return energy and gradient at ``positions``, shape (N, 3), in bohr.

        Raises:
            ScfConvergenceError: The SCF did not converge within the allowed iterations.
            TbliteError: Any other failure.
        """
        self._iterations.clear()
        start = self._last = time.perf_counter()
        try:
            if self._calculator is None:
                self._calculator = self._new_calculator(positions)
            else:
                self._calculator.update(positions)
            self._result = self._calculator.singlepoint(self._result)
            energy = float(self._result.get("energy"))
            gradient = np.array(self._result.get("gradient"), dtype=np.float64)
        except TBLiteRuntimeError as error:
            if "not converged" in str(error):
                raise ScfConvergenceError(len(self._iterations)) from error
            raise TbliteError(str(error)) from error
        if not (math.isfinite(energy) and np.isfinite(gradient).all()):
            raise TbliteError("the energy or the gradient is not finite")
        converged, end = self._last, time.perf_counter()
        return SinglePoint(energy, gradient, tuple(self._iterations), converged - start, end - converged)

    def n_basis_functions(self, positions: Array) -> int:
        """Return the number of GFN2-xTB's basis functions at ``positions``, shape (N, 3), in bohr.

        Raises:
            TbliteError: tblite refuses the molecule.
        """
        if self._calculator is None:
            self._calculator = self._new_calculator(positions)
        return int(self._calculator.get("orbital-map").size)

    def _new_calculator(self, positions: Array) -> Any:
        molecule = self._surrogate
        try:
            calculator = Calculator(
                "GFN2-xTB",
                np.array(molecule.numbers),
                positions,
                charge=float(molecule.charge),
                uhf=molecule.unpaired,
                logger=self._log,
                color=False,
            )
        except TBLiteRuntimeError as error:
            # For example, atoms are too close to each other.
            raise TbliteError(str(error)) from error
        calculator.set("accuracy", ACCURACY)
        calculator.set("mixer-damping", MIXER_DAMPING)
        calculator.set("temperature", ELECTRONIC_TEMPERATURE * _BOLTZMANN)
        calculator.set("max-iter", self._max_iterations)
        return calculator

    def _log(self, message: str) -> None:
        """Read the iterations from tblite's log: cycle, total energy, energy error, density error."""
        for line in message.splitlines():
            words = line.split()
            if len(words) != 4 or not words[0].isdecimal():
                continue
            now = time.perf_counter()
            energy, energy_change, density_change = map(float, words[1:])
            iteration = Iteration(int(words[0]), energy, energy_change, density_change, now - self._last)
            self._last = now
            self._iterations.append(iteration)
            self._on_iteration(iteration)

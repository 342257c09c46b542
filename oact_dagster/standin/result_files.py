"""The files beside the output in ORCA's format: ``.engrad``, ``.xyz`` and an optimisation's trajectory."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from oact_dagster.orca.elements import ATOMIC_NUMBERS
from oact_dagster.standin.units import BOHR_IN_ANGSTROM

Array = npt.NDArray[np.float64]


def write_engrad(
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


def xyz_frame(name: str, symbols: tuple[str, ...], positions: Array, energy: float) -> str:
    """Return one geometry in XYZ format, Å, with the job's name and the energy (Eh) in its comment line."""
    lines = [str(len(symbols)), f"Coordinates from ORCA-job {name} E {energy:.12f}"]
    for symbol, (x, y, z) in zip(symbols, positions * BOHR_IN_ANGSTROM, strict=True):
        lines.append(f"  {symbol:<2s}{x:22.14f}{y:22.14f}{z:22.14f}")
    return "\n".join([*lines, ""])

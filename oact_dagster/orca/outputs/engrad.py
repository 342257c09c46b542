"""ORCA's ``.engrad`` file: energy, gradient and geometry of one evaluation, as text.

The file has blocks of numbers with comment lines (``#``) above each: the number of atoms, the energy (Eh), the
3 n_atoms components of the gradient (Eh/bohr), and for each atom a line with atomic number and coordinates (bohr).
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from oact_dagster.orca.elements import SYMBOLS
from oact_dagster.orca.energy_units import ANGSTROM_PER_BOHR
from oact_dagster.orca.outputs.evaluations import Evaluation, Vector, largest_component, largest_norm
from oact_dagster.orca.outputs.file_blocks import FileBlocks, UnreadableFileError

_LARGEST: Final = 32 << 20
_MOST_ATOMS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Engrad:
    """Contents of an ``.engrad`` file; None for each part that is missing or incomplete."""

    n_atoms: int | None = None
    final_energy: float | None = None
    """Eh."""
    gradient: tuple[Vector, ...] | None = None
    """n_atoms times (x, y, z), Eh/bohr."""
    atomic_numbers: tuple[int, ...] | None = None
    coordinates_bohr: tuple[Vector, ...] | None = None
    """n_atoms times (x, y, z), bohr."""
    max_abs_gradient_component: float | None = None
    """Largest absolute component of the gradient, Eh/bohr."""
    max_atom_force_norm: float | None = None
    """Largest norm of one atom's gradient, Eh/bohr."""
    file: Path | None = None

    @property
    def evaluation(self) -> Evaluation | None:
        """The same as an evaluation, with coordinates in Å; None without a gradient."""
        if self.gradient is None:
            return None
        symbols: tuple[str, ...] | None = None
        coordinates: tuple[Vector, ...] | None = None
        if (
            self.atomic_numbers
            and self.coordinates_bohr
            and all(1 <= z <= len(SYMBOLS) for z in self.atomic_numbers)
        ):
            symbols = tuple(SYMBOLS[z - 1] for z in self.atomic_numbers)
            coordinates = tuple(
                (x * ANGSTROM_PER_BOHR, y * ANGSTROM_PER_BOHR, z * ANGSTROM_PER_BOHR)
                for x, y, z in self.coordinates_bohr
            )
        return Evaluation(self.final_energy, None, self.gradient, symbols, coordinates)


def read_engrad_file(path: Path) -> Engrad:
    """Read one ``.engrad`` file, gzipped or not; empty for a file that cannot be read or is not an ``.engrad``."""
    data = b""
    try:
        for block in FileBlocks(path).text():
            data += block
            if len(data) > _LARGEST:
                return Engrad()
    except UnreadableFileError:
        return Engrad()
    parsed = _parse(data)
    return replace(
        parsed,
        max_abs_gradient_component=largest_component(parsed.gradient or ()),
        max_atom_force_norm=largest_norm(parsed.gradient or ()),
        file=path,
    )


def _parse(data: bytes) -> Engrad:
    # A last line without a newline may end in the middle of a number.
    whole = data[: data.rfind(b"\n") + 1]
    lines = [
        line.split() for line in whole.splitlines() if line.strip() and not line.lstrip().startswith(b"#")
    ]
    try:
        n_atoms = int(lines[0][0][:9])
    except (IndexError, ValueError):
        return Engrad()
    if not 0 < n_atoms <= _MOST_ATOMS:
        return Engrad()
    energy = _numbers(lines[1:2], 1, 1)
    components = _numbers(lines[2 : 2 + 3 * n_atoms], 3 * n_atoms, 1)
    atoms = _numbers(lines[2 + 3 * n_atoms : 2 + 4 * n_atoms], n_atoms, 4)
    gradient = None
    if components:
        flat = [row[0] for row in components]
        gradient = tuple((flat[i], flat[i + 1], flat[i + 2]) for i in range(0, 3 * n_atoms, 3))
    numbers = coordinates = None
    if atoms and all(row[0].is_integer() for row in atoms):
        numbers = tuple(int(row[0]) for row in atoms)
        coordinates = tuple((row[1], row[2], row[3]) for row in atoms)
    return Engrad(n_atoms, energy[0][0] if energy else None, gradient, numbers, coordinates)


def _numbers(lines: list[list[bytes]], n_lines: int, n_columns: int) -> list[list[float]] | None:
    """Return the numbers of a block, or None unless it is complete and finite."""
    if len(lines) != n_lines:
        return None
    try:
        rows = [[float(word) for word in line] for line in lines]
    except ValueError:
        return None
    if any(len(row) != n_columns or not all(math.isfinite(number) for number in row) for row in rows):
        return None
    return rows

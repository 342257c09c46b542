"""How much disk space and how many files a campaign's calculations will take: an estimate, and what it is from.

Two ways, the first where it can be had:

- from the campaign's own finished job folders: a line through their sizes over n^2 a spin, n being the number of basis
  functions and the spins 1 for closed and 2 for open shells, because orbitals, densities and the matrices that the
  templates print are n x n for each spin;
- from a model. Orbital file and densities: 8 bytes for each element. The output: fitted to a single point of NpF3 in
  the template omol with ORCA 6.1 (n = 223, both spins, 1,888,596 bytes), of which the Fock matrices that ``P_Fockian``
  prints are 69 % (13.1 bytes an element) and the orbitals' populations 26 % (4.9 bytes; fewer in large molecules, since
  what is below 0.1 % is left out). Of optimisations, five outputs of ORCA 4.1 to 6.1 print such tables for the first
  and the last geometry only, and some 30 kB for each cycle.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oact_dagster.attempts.input_text import input_settings
from oact_dagster.launchers.attempt_files import (
    ATTEMPT_FILE,
    ERRORS_FILE,
    EXIT_FILE,
    INPUT_FILE,
    MESSAGES_FILE,
    OUTPUT_FILE,
    PAYLOAD_LOG,
)
from oact_dagster.orca.inputs.memory import functions_on
from oact_dagster.settings.campaign import STANDIN, Campaign

SAMPLED_FOLDERS: Final = 50
"""Finished job folders that are measured at most."""

MATRIX_BYTES: Final = 16.0
"""Of orbital file and densities, for each of the n^2 elements a spin."""

PRINTED_BYTES: Final = 18.0
"""Of the output, for each of the n^2 elements a spin."""

ORBITAL_BYTES: Final = 45.0
"""Of the output, for each orbital: its line among the orbital energies."""

PLAIN_BYTES: Final = 75_000.0
"""Of the output, whatever the size."""

COMPANION_BYTES: Final = 25_000.0
"""Input, property file, citations, records."""

ATOM_BYTES: Final = 300.0
"""Of input, gradient and property file, for each atom."""

CYCLE_BYTES: Final = 30_000.0
"""Of the output, for each cycle of an optimisation."""

ASSUMED_CYCLES: Final = 50
"""Of an optimisation."""

ATOMIC_GUESS_BYTES: Final = 115_000.0
"""Of the output of one atom's calculation (``orca_atom95.out``), see :class:`Sizes`."""

STANDIN_BYTES: Final = 10_000.0
"""Of a calculation of the stand-in engine, which writes no orbitals."""

STANDIN_ATOM_BYTES: Final = 425.0
"""Of a calculation of the stand-in engine, for each atom and geometry."""

RECORDS: Final = (INPUT_FILE, ATTEMPT_FILE, EXIT_FILE, MESSAGES_FILE, PAYLOAD_LOG, OUTPUT_FILE, ERRORS_FILE)
"""What any attempt leaves."""

ORCA_FILES: Final = (
    "orca.gbw", "orca.densities", "orca.densitiesinfo", "orca.engrad", "orca.property.txt", "orca.bibtex",
)  # fmt: skip
"""What ORCA 6 leaves beside its output after a single point with gradient; its temporary files are gone then."""

STANDIN_FILES: Final = ("orca.engrad", "orca.xyz")

OPTIMISATION_FILES: Final = ("orca.xyz", "orca_trj.xyz", "orca.opt")

STANDIN_OPTIMISATION_FILES: Final = ("orca_trj.xyz",)


@dataclass(frozen=True, slots=True)
class Size:
    """What the size of a calculation's files depends on."""

    basis_functions: int
    spins: int
    """2 where orbitals of both spins are computed, else 1."""
    natoms: int
    atomic_guesses: int = 0
    """Elements for which ORCA runs an atom of its own first."""

    @property
    def elements(self) -> int:
        """Elements of the matrices: n^2 for each spin."""
        return self.spins * self.basis_functions**2


class Sizes:
    """The sizes of a campaign's structures, quickly: what depends on an element alone is looked up once.

    Args:
        campaign: its settings.
    """

    def __init__(self, campaign: Campaign) -> None:
        self._settings = input_settings(campaign)
        self._broken_singlets = campaign.orca.uks_singlet
        # Guess PModel has no tabulated density of an atom with a core potential: ORCA 6.1 then runs the atom and
        # leaves its output, orca_atom93.out.
        guesses = any("PModel" in line for line in self._settings.template.scf)
        self._guesses = guesses and campaign.orca.command != STANDIN
        self._functions: dict[str, int] = {}
        self._with_potential: set[str] = set()

    def of(self, symbols: Sequence[str], multiplicity: int) -> Size:
        """The size of a structure.

        Args:
            symbols: of its atoms.
            multiplicity: 2S + 1.

        Raises:
            InputRefused: an element has no basis.
        """
        counts = Counter(symbols)
        for element in counts.keys() - self._functions.keys():
            self._functions[element] = functions_on(element, self._settings)
            if self._settings.ecp_of(element) is not None:
                self._with_potential.add(element)
        return Size(
            basis_functions=sum(self._functions[element] * count for element, count in counts.items()),
            spins=2 if multiplicity > 1 or self._broken_singlets else 1,
            natoms=len(symbols),
            atomic_guesses=len(self._with_potential & counts.keys()) if self._guesses else 0,
        )


@dataclass(frozen=True, slots=True)
class MeasuredFolder:
    """A finished job folder."""

    elements: int
    """See :attr:`Size.elements`."""
    bytes: int
    files: int
    """Its files, the folder itself not counted."""


@dataclass(frozen=True, slots=True)
class Model:
    """Bytes and files of one calculation."""

    origin: str
    """What the estimate is from, for the user."""
    optimise: bool
    standin: bool
    line: tuple[float, float] | None = None
    """Bytes at n^2 = 0 and bytes for each element, from finished folders; None for the documented model."""
    mean_files: float | None = None
    """Files of a finished folder; None for the documented list."""

    def bytes_of(self, size: Size) -> float:
        """Bytes of a calculation's files."""
        if self.line is not None:
            return self.line[0] + self.line[1] * size.elements
        cycles = ASSUMED_CYCLES if self.optimise else 0
        if self.standin:
            return STANDIN_BYTES + STANDIN_ATOM_BYTES * size.natoms * (1 + cycles)
        printed = PRINTED_BYTES * size.elements + ORBITAL_BYTES * size.spins * size.basis_functions
        return (
            PLAIN_BYTES
            + COMPANION_BYTES
            + ATOM_BYTES * size.natoms
            + MATRIX_BYTES * size.elements
            + printed * (2 if self.optimise else 1)
            + CYCLE_BYTES * cycles
            + ATOMIC_GUESS_BYTES * size.atomic_guesses
        )

    def files_of(self, size: Size) -> float:
        """Files of a calculation and their folder: what a file system counts as inodes."""
        if self.mean_files is not None:
            return self.mean_files + 1
        return len(files_left(optimise=self.optimise, standin=self.standin)) + size.atomic_guesses + 1


def files_left(*, optimise: bool, standin: bool) -> tuple[str, ...]:
    """Names of the files that a finished attempt leaves, without those of atoms ."""
    own, optimised = (
        (STANDIN_FILES, STANDIN_OPTIMISATION_FILES) if standin else (ORCA_FILES, OPTIMISATION_FILES)
    )
    return (*RECORDS, *own, *(optimised if optimise else ()))


def documented_model(campaign: Campaign) -> Model:
    """The model of a campaign without finished calculations."""
    standin = campaign.orca.command == STANDIN
    origin = (
        "a model of the stand-in engine's files"
        if standin
        else "a model in the number of basis functions, fitted to a real ORCA 6.1 output"
    )
    if campaign.orca.opt:
        origin += f"; {ASSUMED_CYCLES} cycles assumed for each optimisation"
    return Model(origin, optimise=campaign.orca.opt, standin=standin)


def measured_model(campaign: Campaign, folders: Sequence[MeasuredFolder]) -> Model:
    """The model from a campaign's own finished folders, or the documented one where there is none."""
    if not folders:
        return documented_model(campaign)
    count = len(folders)
    return Model(
        f"{count} finished job folder{'' if count == 1 else 's'} of this campaign",
        optimise=campaign.orca.opt,
        standin=campaign.orca.command == STANDIN,
        line=_line([(folder.elements, folder.bytes) for folder in folders]),
        mean_files=sum(folder.files for folder in folders) / count,
    )


def measure(folder: Path, elements: int) -> MeasuredFolder | None:
    """Measure a job folder and what lies in it; None where it is gone.

    Args:
        folder: the folder of a finished attempt.
        elements: see :attr:`Size.elements`.
    """
    try:
        sizes = list(_sizes(folder))
    except OSError:
        return None
    return MeasuredFolder(elements, sum(sizes), len(sizes)) if sizes else None


def _sizes(folder: Path) -> Iterator[int]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(Path(entry.path))
            else:
                yield entry.stat(follow_symlinks=False).st_size


def _line(points: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Return the line y = a + b x, neither of them negative, through points: least squares where that gives one."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread > 0:
        slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
        if slope <= 0:
            return mean_y, 0.0
        if (start := mean_y - slope * mean_x) >= 0:
            return start, slope
    # All of one size, or a line from below zero: what is known is the size for each element.
    return (0.0, mean_y / mean_x) if mean_x else (mean_y, 0.0)


@dataclass(frozen=True, slots=True)
class Room:
    """What is free on a file system."""

    bytes: int
    inodes: int | None
    """None on a file system that has no fixed number of them."""


def room_at(path: Path) -> Room | None:
    """What is free where a path lies or would be made; None where that cannot be told."""
    for place in (path, *path.parents):
        try:
            found = os.statvfs(place)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return Room(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)
    return None

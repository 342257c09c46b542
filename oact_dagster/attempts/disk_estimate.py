"""Estimate of the disk space and the number of files that a campaign's calculations will take.

The estimate comes from one of two sources, the first if possible:

- The campaign's own finished job folders: a line through their sizes against n^2 per spin, where n is the number of
  basis functions, with 1 spin for closed and 2 for open shells. Orbitals, densities and the matrices that the
  templates print are n x n for each spin.
- A model. Orbital file and densities take 8 bytes per element. The output is fitted to a single point of NpF3 with the
  template omol and ORCA 6.1 (n = 223, both spins, 1,888,596 bytes): 69 % are the Fock matrices printed by
  ``P_Fockian`` (13.1 bytes per element), and 26 % are the orbital populations (4.9 bytes per element, less in large
  molecules because values below 0.1 % are left out). Optimisations print such tables for the first and the last
  geometry only, plus some 30 kB per cycle (five outputs of ORCA 4.1 to 6.1).
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
from oact_dagster.text import pluralise

SAMPLED_FOLDERS: Final = 50
"""Largest number of finished job folders that are measured."""
MATRIX_BYTES: Final = 16.0
"""Orbital file and densities, per matrix element."""
PRINTED_BYTES: Final = 18.0
"""Output, per matrix element."""
ORBITAL_BYTES: Final = 45.0
"""Output, per orbital: its line in the table of orbital energies."""
PLAIN_BYTES: Final = 75_000.0
"""Output, independent of the size."""
COMPANION_BYTES: Final = 25_000.0
"""Input, property file, citations, records."""
ATOM_BYTES: Final = 300.0
"""Input, gradient and property file, per atom."""
CYCLE_BYTES: Final = 30_000.0
"""Output, per optimisation cycle."""
ASSUMED_CYCLES: Final = 50
"""Cycles of an optimisation."""
ATOMIC_GUESS_BYTES: Final = 115_000.0
"""Output of one atom's calculation (``orca_atom95.out``), see :class:`Sizes`."""
STANDIN_BYTES: Final = 10_000.0
"""Stand-in engine, which writes no orbitals: a calculation, independent of the size."""
STANDIN_ATOM_BYTES: Final = 425.0
"""Stand-in engine: per atom and geometry."""
RECORDS: Final = (INPUT_FILE, ATTEMPT_FILE, EXIT_FILE, MESSAGES_FILE, PAYLOAD_LOG, OUTPUT_FILE, ERRORS_FILE)
"""Files that every attempt leaves."""
ORCA_FILES: Final = (
    "orca.gbw", "orca.densities", "orca.densitiesinfo", "orca.engrad", "orca.property.txt", "orca.bibtex",
)  # fmt: skip
"""Files that ORCA 6 leaves beside its output after a single point with gradient."""
STANDIN_FILES: Final = ("orca.engrad", "orca.xyz")
OPTIMISATION_FILES: Final = ("orca.xyz", "orca_trj.xyz", "orca.opt")
STANDIN_OPTIMISATION_FILES: Final = ("orca_trj.xyz",)


@dataclass(frozen=True, slots=True)
class Size:
    """Quantities that determine the size of a calculation's files."""

    basis_functions: int
    spins: int
    """2 if orbitals of both spins are computed, else 1."""
    natoms: int
    atomic_guesses: int = 0
    """Elements for which ORCA first runs a calculation of the atom."""

    @property
    def elements(self) -> int:
        """Matrix elements: n^2 for each spin."""
        return self.spins * self.basis_functions**2


class Sizes:
    """Computes the sizes of a campaign's structures; properties of an element are looked up only once."""

    def __init__(self, campaign: Campaign) -> None:
        self._settings = input_settings(campaign)
        self._broken_singlets = campaign.orca.uks_singlet
        # The PModel guess has no tabulated density for atoms with a core potential. ORCA 6.1 then runs the atom and
        # leaves its output, for example orca_atom93.out.
        guesses = any("PModel" in line for line in self._settings.template.scf)
        self._guesses = guesses and campaign.orca.command != STANDIN
        self._functions: dict[str, int] = {}
        self._with_potential: set[str] = set()

    def of(self, symbols: Sequence[str], multiplicity: int) -> Size:
        """Return the size of a structure from its element symbols and its multiplicity, 2S + 1.

        Raises:
            InputRefused: An element has no basis.
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
    """Number of files, without the folder itself."""


@dataclass(frozen=True, slots=True)
class Model:
    """Estimates the bytes and files of one calculation."""

    origin: str
    """Source of the estimate, for the user."""
    optimise: bool
    standin: bool
    line: tuple[float, float] | None = None
    """Bytes at n^2 = 0 and bytes per matrix element, from finished folders; None for the documented model."""
    mean_files: float | None = None
    """Mean number of files in a finished folder; None for the documented list."""

    def bytes_of(self, size: Size) -> float:
        """Return the bytes of a calculation's files."""
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
        """Return the inodes of a calculation: its files and their folder."""
        if self.mean_files is not None:
            return self.mean_files + 1
        return len(files_left(optimise=self.optimise, standin=self.standin)) + size.atomic_guesses + 1


def files_left(*, optimise: bool, standin: bool) -> tuple[str, ...]:
    """Return the names of the files that a finished attempt leaves, without those of atomic guesses."""
    own, optimised = (
        (STANDIN_FILES, STANDIN_OPTIMISATION_FILES) if standin else (ORCA_FILES, OPTIMISATION_FILES)
    )
    return (*RECORDS, *own, *(optimised if optimise else ()))


def documented_model(campaign: Campaign) -> Model:
    """Return the model for a campaign without finished calculations."""
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
    """Return the model from a campaign's own finished folders, or the documented model if there are none."""
    if not folders:
        return documented_model(campaign)
    count = len(folders)
    return Model(
        f"{pluralise(count, 'finished job folder')} of this campaign",
        optimise=campaign.orca.opt,
        standin=campaign.orca.command == STANDIN,
        line=_fit_line([(folder.elements, folder.bytes) for folder in folders]),
        mean_files=sum(folder.files for folder in folders) / count,
    )


def measure(folder: Path, elements: int) -> MeasuredFolder | None:
    """Measure the folder of a finished attempt with these matrix elements; None if it is gone."""
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


def _fit_line(points: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Return a and b of the line y = a + b x through points: least squares if neither is negative then."""
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
    # All points have the same x, or the line starts below zero: only the size per element is known.
    return (0.0, mean_y / mean_x) if mean_x else (mean_y, 0.0)


@dataclass(frozen=True, slots=True)
class Room:
    """Free room on a file system."""

    bytes: int
    inodes: int | None
    """None if the file system has no fixed number of inodes."""


def room_at(path: Path) -> Room | None:
    """Return the free room on the file system of a path that may not exist yet; None if unknown."""
    for place in (path, *path.parents):
        try:
            found = os.statvfs(place)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return Room(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)
    return None

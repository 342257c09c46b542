"""Runs the stand-in as the launcher does, as a process in the job's folder, and takes its output apart."""

import csv
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import oact_dagster

PACKAGE_ROOT = Path(oact_dagster.__file__).parents[1]
DEMO_STRUCTURES = PACKAGE_ROOT / "oact_dagster" / "demo" / "structures.csv"

WATER = "O 0.0 0.0 0.12\nH 0.0 0.76 -0.48\nH 0.0 -0.76 -0.48"
URANYL = "U 0.02 0.0 0.0\nO 0.0 0.05 1.76\nO 0.0 0.0 -1.80"


@dataclass(frozen=True)
class Run:
    """One finished run."""

    folder: Path
    exit_code: int
    output: str
    errors: str

    @property
    def energies(self) -> list[float]:
        return [
            float(e) for e in re.findall(r"^FINAL SINGLE POINT ENERGY +(\S+)$", self.output, re.MULTILINE)
        ]

    @property
    def scf_cycles(self) -> list[int]:
        return [int(n) for n in re.findall(r"SCF CONVERGED AFTER +(\d+) CYCLES", self.output)]

    @property
    def gradients(self) -> list[list[float]]:
        """Every Cartesian gradient of the output, flat, in Eh/bohr."""
        tables = re.findall(r"^CARTESIAN GRADIENT\n-+\n\n((?:.+\n)+)", self.output, re.MULTILINE)
        return [[float(x) for row in table.splitlines() for x in row.split()[-3:]] for table in tables]

    @property
    def ended_normally(self) -> bool:
        return "****ORCA TERMINATED NORMALLY****" in self.output


def job_input(
    atoms: str, keywords: str = "EnGrad", charge: int = 0, multiplicity: int = 1, more: str = ""
) -> str:
    return f"! wB97M-V def2-TZVPD {keywords}\n{more}\n* xyz {charge} {multiplicity}\n{atoms}\n*\n"


def environment(**changes: str) -> dict[str, str]:
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(PACKAGE_ROOT), *([inherited] if inherited else [])])
    return {**os.environ, "PYTHONPATH": path, **changes}


def command(name: str = "orca.inp") -> list[str]:
    return [sys.executable, "-m", "oact_dagster.standin", name]


def run(folder: Path, text: str | bytes, **changes: str) -> Run:
    """Write ``orca.inp`` into the folder and run it, with changes of the environment."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orca.inp").write_bytes(text if isinstance(text, bytes) else text.encode())
    with (folder / "orca.out").open("wb") as out:
        done = subprocess.run(
            command(), cwd=folder, env=environment(**changes), stdout=out, stderr=subprocess.PIPE, check=False
        )
    output = (folder / "orca.out").read_bytes().decode("utf-8", "surrogateescape")
    return Run(folder, done.returncode, output, done.stderr.decode())


@dataclass(frozen=True)
class Engrad:
    """The content of an ``.engrad`` file."""

    energy: float
    gradient: list[float]
    numbers: list[int]
    positions: list[list[float]]


def read_engrad(path: Path) -> Engrad:
    """Read a file that has exactly the lines of ORCA 6.1's."""
    lines = path.read_text().split("\n")
    assert lines[:3] == ["#", "# Number of atoms", "#"]
    n = int(lines[3])
    assert lines[4:7] == ["#", "# The current total energy in Eh", "#"]
    assert lines[8:11] == ["#", "# The current gradient in Eh/bohr", "#"]
    gradient = lines[11 : 11 + 3 * n]
    head = 11 + 3 * n
    assert lines[head : head + 3] == ["#", "# The atomic numbers and current coordinates in Bohr", "#"]
    atoms = [line.split() for line in lines[head + 3 : head + 3 + n]]
    assert lines[head + 3 + n :] == [""]
    return Engrad(
        float(lines[7]),
        [float(x) for x in gradient],
        [int(atom[0]) for atom in atoms],
        [[float(x) for x in atom[1:]] for atom in atoms],
    )


@dataclass(frozen=True)
class Frame:
    """One geometry of an XYZ file: its energy in Eh and its positions in Å."""

    energy: float
    positions: list[list[float]]


def read_xyz(path: Path) -> list[Frame]:
    lines = iter(path.read_text().splitlines())
    frames = []
    for count in lines:
        comment = next(lines)
        assert comment.startswith("Coordinates from ORCA-job orca E ")
        atoms = [next(lines).split() for _ in range(int(count))]
        frames.append(Frame(float(comment.split()[-1]), [[float(x) for x in atom[1:]] for atom in atoms]))
    return frames


def demo_inputs() -> Iterator[tuple[str, str]]:
    """Give the name and the input of each structure of the demo."""
    with DEMO_STRUCTURES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            annotations = f"# metal_ox: {row['metal_ox']}"
            multiplicity = int(row["uhf"]) + 1
            yield (
                row["name"],
                job_input(
                    row["aligned_csd_core"].strip(),
                    charge=int(row["charge"]),
                    multiplicity=multiplicity,
                    more=f"{annotations}\n%scf\n  maxiter 500\nend",
                ),
            )

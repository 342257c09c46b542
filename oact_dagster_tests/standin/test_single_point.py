"""Single points end to end: the real engine, as a process, and what stands in its output and files."""

import random
import re
from pathlib import Path

import pytest
from cclib.io import ccopen
from cclib.parser.utils import convertor

from oact_dagster.orca.elements import ATOMIC_NUMBERS
from oact_dagster.standin.units import BOHR_IN_ANGSTROM
from oact_dagster_tests.standin.running import (
    URANYL,
    WATER,
    Run,
    demo_inputs,
    job_input,
    read_engrad,
    read_xyz,
    run,
)

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]


@pytest.fixture(scope="module")
def uranyl(tmp_path_factory: pytest.TempPathFactory) -> Run:
    text = job_input(URANYL, charge=2, more="# metal_ox: 6\n%pal\n  nprocs 2\nend")
    return run(tmp_path_factory.mktemp("uranyl"), text)


def displaced(atoms: str, step: list[float]) -> str:
    """Return the atoms moved by a step in bohr, one number for each coordinate."""
    lines = []
    for index, line in enumerate(atoms.splitlines()):
        symbol, *xyz = line.split()
        moved = (float(x) + BOHR_IN_ANGSTROM * step[3 * index + k] for k, x in enumerate(xyz))
        lines.append(f"{symbol} " + " ".join(f"{x:.14f}" for x in moved))
    return "\n".join(lines)


def slope(folder: Path, atoms: str, direction: list[float], **settings: object) -> float:
    """Return the derivative of the energy along a direction from two runs, in Eh/bohr."""
    h = 0.002
    energies = []
    for sign in (1, -1):
        text = job_input(displaced(atoms, [sign * h * d for d in direction]), **settings)  # type: ignore[arg-type]
        energies.append(run(folder / str(sign), text).energies[0])
    return (energies[0] - energies[1]) / (2 * h)


def test_the_gradient_of_water_is_the_slope_of_its_energy(tmp_path: Path) -> None:
    gradient = run(tmp_path, job_input(WATER)).gradients[0]
    assert max(map(abs, gradient)) > 0.01
    for coordinate in range(9):
        direction = [float(k == coordinate) for k in range(9)]
        assert slope(tmp_path, WATER, direction) == pytest.approx(gradient[coordinate], abs=2e-6)


def test_the_gradient_of_uranyl_is_the_slope_of_its_energy(tmp_path: Path, uranyl: Run) -> None:
    gradient = uranyl.gradients[0]
    generator = random.Random(7)
    for _ in range(3):
        direction = [generator.gauss() for _ in range(9)]
        expected = sum(g * d for g, d in zip(gradient, direction, strict=True))
        found = slope(tmp_path, URANYL, direction, charge=2, more="# metal_ox: 6")
        assert found == pytest.approx(expected, abs=1e-5)


def test_it_says_that_it_is_not_orca(uranyl: Run) -> None:
    head = uranyl.output.splitlines()[:40]
    assert any("NOT ORCA" in line for line in head)
    assert any("GFN2-xTB by tblite" in line for line in head)
    assert any(re.match(r" +Program Version 6\.1\.0 ", line) for line in head)
    assert "really computed: U replaced by Nd, charge -1, 0 unpaired electrons" in uranyl.output


def test_charge_multiplicity_and_electrons_are_those_of_the_input(uranyl: Run) -> None:
    for name, value in (
        ("Total Charge           Charge", 2),
        ("Multiplicity           Mult", 1),
        ("Number of Electrons    NEL", 106),
    ):
        assert re.search(rf"^ {name} +\.\.\.\. +{value}$", uranyl.output, re.MULTILINE)


def test_the_cores_of_the_input_are_printed_as_processes(uranyl: Run, tmp_path: Path) -> None:
    assert "Program running with 2 parallel MPI-processes" in uranyl.output
    assert "parallel MPI-processes" not in run(tmp_path, job_input(WATER)).output


def test_cycles_and_energy_are_those_of_tblite(uranyl: Run) -> None:
    # Imported here, where tblite is known to be installed.
    import numpy as np
    from tblite.interface import Calculator

    from oact_dagster.standin.input_reader import read_input

    job = read_input((uranyl.folder / "orca.inp").read_text())
    positions = np.array(job.positions) / BOHR_IN_ANGSTROM
    log: list[str] = []
    calculator = Calculator(
        "GFN2-xTB", np.array([60, 8, 8]), positions, charge=-1.0, uhf=0, logger=log.append
    )
    calculator.set("accuracy", 0.1)
    calculator.set("temperature", 4000 * 3.166808578545117e-6)
    energy = float(calculator.singlepoint().get("energy"))
    rows = [line for line in log if re.match(r" +\d+ +-", line)]
    assert uranyl.scf_cycles == [len(rows)]
    assert uranyl.energies == [pytest.approx(energy, abs=1e-8)]
    table = re.findall(r"^ +\d+ +-\d+\.\d{12} .+ 0\.400 +\d+\.\d$", uranyl.output, re.MULTILINE)
    assert len(table) == len(rows)


def test_the_printed_sums_belong_to_the_gradient(uranyl: Run) -> None:
    gradient = uranyl.gradients[0]
    norm = sum(g * g for g in gradient) ** 0.5
    for name, value in (
        ("Norm of the Cartesian gradient", norm),
        ("RMS gradient", norm / 3),
        ("MAX gradient", max(map(abs, gradient))),
    ):
        printed = re.search(rf"^{name} +\.\.\. +(\S+)$", uranyl.output, re.MULTILINE)
        assert printed is not None
        assert float(printed[1]) == pytest.approx(value, abs=5e-9)


def test_the_engrad_file_says_what_the_output_says(uranyl: Run) -> None:
    engrad = read_engrad(uranyl.folder / "orca.engrad")
    assert engrad.energy == uranyl.energies[0]
    assert engrad.gradient == pytest.approx(uranyl.gradients[0], abs=6e-10)
    assert engrad.numbers == [92, 8, 8]
    assert engrad.positions[1] == pytest.approx(
        [0.0, 0.05 / BOHR_IN_ANGSTROM, 1.76 / BOHR_IN_ANGSTROM], abs=6e-8
    )


def test_the_xyz_file_holds_the_geometry(uranyl: Run) -> None:
    (frame,) = read_xyz(uranyl.folder / "orca.xyz")
    assert frame.energy == uranyl.energies[0]
    assert frame.positions == [
        pytest.approx([0.02, 0.0, 0.0]),
        pytest.approx([0.0, 0.05, 1.76]),
        pytest.approx([0.0, 0.0, -1.8]),
    ]
    assert not (uranyl.folder / "orca_trj.xyz").exists()


def test_cclib_reads_the_same(uranyl: Run) -> None:
    data = ccopen(str(uranyl.folder / "orca.out")).parse()
    assert data.metadata["package"] == "ORCA"
    assert data.metadata["package_version"] == "6.1.0"
    assert data.metadata["success"]
    assert data.metadata["num_cpu"] == 2
    assert any("NOT ORCA" in warning for warning in data.metadata["warnings"])
    assert list(data.atomnos) == [ATOMIC_NUMBERS[symbol] for symbol in ("U", "O", "O")]
    assert (data.charge, data.mult) == (2, 1)
    assert data.scfenergies[0] / convertor(1, "hartree", "eV") == pytest.approx(uranyl.energies[0], abs=1e-10)
    assert list(data.grads[0].ravel()) == uranyl.gradients[0]


def test_nothing_on_stderr_and_both_last_lines(uranyl: Run) -> None:
    assert (uranyl.exit_code, uranyl.errors) == (0, "")
    last = uranyl.output.rstrip().splitlines()[-2:]
    assert last[0] == " " * 29 + "****ORCA TERMINATED NORMALLY****"
    assert re.fullmatch(r"TOTAL RUN TIME: 0 days 0 hours 0 minutes \d+ seconds \d+ msec", last[1])


def test_without_engrad_there_is_no_gradient(tmp_path: Path) -> None:
    done = run(tmp_path, job_input(WATER, "SP"))
    assert done.ended_normally
    assert len(done.energies) == 1
    assert "CARTESIAN GRADIENT" not in done.output
    assert not (tmp_path / "orca.engrad").exists()


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_echo_gives_back_every_line_with_its_comments(tmp_path: Path, line_end: str) -> None:
    lines = [
        "# token: 3f9a",
        "! EnGrad  # a comment behind keywords",
        '%base "Páez"',
        "",
        "* xyz 0 1",
        *WATER.splitlines(),
        "*",
    ]
    content = line_end.join([*lines, ""]).encode().replace("á".encode(), b"\xe1")
    done = run(tmp_path, content)
    assert done.ended_normally
    section = done.output.split("INPUT FILE\n")[1].splitlines()
    assert section[1] == "NAME = orca.inp"
    expected = [line.replace("á", "\udce1") for line in lines]
    assert section[2 : 2 + len(lines)] == [f"|{n:3d}> {line}" for n, line in enumerate(expected, start=1)]
    assert section[2 + len(lines)] == f"| {len(lines) + 1}>" + " " * 26 + "****END OF INPUT****"
    assert "|  1> # token: 3f9a\n" in done.output


def test_the_multiplicity_counts_without_f_elements(tmp_path: Path) -> None:
    singlet = run(tmp_path / "1", job_input(WATER)).energies[0]
    triplet = run(tmp_path / "3", job_input(WATER, multiplicity=3)).energies[0]
    assert triplet > singlet + 0.05


def test_every_structure_of_the_demo_converges(tmp_path: Path) -> None:
    results = {name: run(tmp_path / name, text) for name, text in demo_inputs()}
    assert len(results) == 31
    for name, done in results.items():
        assert (name, done.exit_code, done.errors) == (name, 0, "")
        assert done.ended_normally
        assert done.scf_cycles[0] > 1
        assert (done.folder / "orca.engrad").is_file()

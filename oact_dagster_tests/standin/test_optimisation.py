"""Optimisations end to end: cycles, trajectory, the files at the end, and an optimisation that gives up."""

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cclib.io import ccopen
from cclib.parser.utils import convertor

from oact_dagster.standin.units import BOHR_IN_ANGSTROM
from oact_dagster_tests.standin.running import (
    WATER,
    Run,
    command,
    demo_inputs,
    environment,
    job_input,
    read_engrad,
    read_xyz,
    run,
)

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]


@pytest.fixture(scope="module")
def relaxed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("water"), job_input(WATER, "Opt"))


def n_cycles(done: Run) -> int:
    return done.output.count("GEOMETRY OPTIMIZATION CYCLE")


def test_it_converges_with_all_criteria_met(relaxed: Run) -> None:
    assert (relaxed.exit_code, relaxed.errors) == (0, "")
    assert relaxed.ended_normally
    assert "HURRAY" in relaxed.output
    assert "THE OPTIMIZATION HAS CONVERGED" in relaxed.output
    tables = re.findall(r"\|Geometry convergence\|.+\n.+\n.+\n((?: +[A-Z].+\n)+)", relaxed.output)
    assert len(tables) == n_cycles(relaxed) > 1
    # Without an earlier energy the first table has four rows.
    assert [len(table.splitlines()) for table in tables] == [4] + [5] * (len(tables) - 1)
    assert [row.split()[-1] for row in tables[-1].splitlines()] == ["YES"] * 5
    assert all(" NO" in table for table in tables[:-1])


def test_one_more_energy_follows_without_a_gradient(relaxed: Run) -> None:
    n = n_cycles(relaxed)
    assert (len(relaxed.scf_cycles), len(relaxed.energies), len(relaxed.gradients)) == (n + 1, n + 1, n)
    assert relaxed.energies[-1] < relaxed.energies[0]
    assert max(map(abs, relaxed.gradients[-1])) < 3e-4
    assert max(map(abs, relaxed.gradients[0])) > 3e-4


def test_the_trajectory_holds_every_geometry_with_its_energy(relaxed: Run) -> None:
    frames = read_xyz(relaxed.folder / "orca_trj.xyz")
    assert [frame.energy for frame in frames] == relaxed.energies
    assert read_xyz(relaxed.folder / "orca.xyz") == [frames[-1]]
    start = [[float(x) for x in line.split()[1:]] for line in WATER.splitlines()]
    assert frames[0].positions == [pytest.approx(position) for position in start]


def test_the_engrad_file_belongs_to_the_last_gradient(relaxed: Run) -> None:
    engrad = read_engrad(relaxed.folder / "orca.engrad")
    assert engrad.energy == relaxed.energies[-2]
    assert engrad.gradient == pytest.approx(relaxed.gradients[-1], abs=6e-10)
    last_but_one = read_xyz(relaxed.folder / "orca_trj.xyz")[-2]
    for in_bohr, in_angstrom in zip(engrad.positions, last_but_one.positions, strict=True):
        assert [x * BOHR_IN_ANGSTROM for x in in_bohr] == pytest.approx(in_angstrom, abs=1e-7)


def test_the_last_gradient_is_that_of_a_single_point_there(relaxed: Run, tmp_path: Path) -> None:
    last_but_one = read_xyz(relaxed.folder / "orca_trj.xyz")[-2]
    atoms = "\n".join(
        f"{symbol} {x:.14f} {y:.14f} {z:.14f}"
        for symbol, (x, y, z) in zip(("O", "H", "H"), last_but_one.positions, strict=True)
    )
    single_point = run(tmp_path, job_input(atoms))
    assert single_point.energies[0] == pytest.approx(relaxed.energies[-2], abs=1e-7)
    assert single_point.gradients[0] == pytest.approx(relaxed.gradients[-1], abs=2e-5)


def test_cclib_reads_the_same(relaxed: Run) -> None:
    data = ccopen(str(relaxed.folder / "orca.out")).parse()
    assert data.optdone
    energies = [energy / convertor(1, "hartree", "eV") for energy in data.scfenergies]
    assert energies == pytest.approx(relaxed.energies, abs=1e-10)
    assert [list(gradient.ravel()) for gradient in data.grads] == relaxed.gradients
    assert len(data.atomcoords) == n_cycles(relaxed) + 1
    assert data.geovalues.shape == (n_cycles(relaxed), 5)


def test_out_of_cycles_is_a_normal_end(tmp_path: Path) -> None:
    done = run(tmp_path, job_input(WATER, "Opt", more="%geom\n  MaxIter 2\nend"))
    assert (done.exit_code, done.errors) == (0, "")
    assert n_cycles(done) == len(done.energies) == len(done.gradients) == 2
    assert "The optimization did not converge but reached the maximum number of" in done.output
    assert "HURRAY" not in done.output
    assert done.ended_normally
    assert not ccopen(str(tmp_path / "orca.out")).parse().optdone
    assert len(read_xyz(tmp_path / "orca_trj.xyz")) == 2
    assert read_engrad(tmp_path / "orca.engrad").energy == done.energies[-1]


def test_a_second_run_starts_a_new_trajectory(tmp_path: Path) -> None:
    text = job_input(WATER, "Opt", more="%geom MaxIter 1 end")
    run(tmp_path, text)
    run(tmp_path, text)
    assert len(read_xyz(tmp_path / "orca_trj.xyz")) == 1


def test_one_atom_is_at_its_minimum(tmp_path: Path) -> None:
    done = run(tmp_path, job_input("Ne 0 0 0", "Opt"))
    assert "HURRAY" in done.output
    assert n_cycles(done) == 1


def test_the_output_grows_and_sigterm_ends_the_run(tmp_path: Path) -> None:
    largest = max((text for _, text in demo_inputs()), key=len)
    (tmp_path / "orca.inp").write_text(largest.replace("EnGrad", "VeryTightOpt"))
    output = tmp_path / "orca.out"
    with output.open("wb") as out:
        process = subprocess.Popen(command(), cwd=tmp_path, env=environment(), stdout=out)
        try:
            deadline = time.monotonic() + 60
            while b"OPTIMIZATION CYCLE   2" not in output.read_bytes() and time.monotonic() < deadline:
                assert process.poll() is None
                time.sleep(0.05)
            size = output.stat().st_size
            assert size > 0
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=30)
    assert code == -signal.SIGTERM
    assert b"ORCA TERMINATED" not in output.read_bytes()
    assert len(read_xyz(tmp_path / "orca_trj.xyz")) >= 1

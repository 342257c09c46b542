"""The training set from outputs of a real ORCA: its numbers against what the outputs print, by independent readers."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from oact_dagster_tests.export.house import House, energies_in, tables_in

ase_io = pytest.importorskip("ase.io", reason="pip install 'oact-dagster[ase]'")
ase_db = pytest.importorskip("ase.db")

EV = 27.211386245988
BOHR = 0.529177210903
"""CODATA 2018: https://physics.nist.gov/cuu/Constants/ (Hartree in eV, Bohr radius)."""
FORCE = EV / BOHR

UO2, NPF3, DVB, AMO = 0, 1, 2, 3
FILES = {
    UO2: "oact__UO2_opt_logs.out",
    NPF3: "oact__NpF3_quacc_orca.out.gz",
    DVB: "cclib__basicORCA5.0__dvb_gopt.out",
    AMO: "oact__AmO_orca_atom95.out",
}
ELEMENTS = {UO2: "U;O;O", NPF3: "Np;F;F;F", DVB: "C;C;C;C;C;C;H;H;H;H;C;C;H;H;C;C;H;H;H;H", AMO: "Am"}
CHARGES = {UO2: (2, 1), NPF3: (0, 5), DVB: (0, 1), AMO: (0, 8)}


@pytest.fixture(scope="module")
def truth(orca_outputs: Path) -> dict[str, dict[str, Any]]:
    entries = json.loads((orca_outputs / "truth.json").read_text())
    return {entry["file"]: entry for entry in entries}


@pytest.fixture(scope="module")
def data(orca_outputs: Path) -> dict[int, bytes]:
    found = {}
    for index, name in FILES.items():
        text = (orca_outputs / name).read_bytes()
        found[index] = gzip.decompress(text) if name.endswith(".gz") else text
    return found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, data: dict[int, bytes]) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("real") / "campaign")
    for index in FILES:
        charge, multiplicity = CHARGES[index]
        house.put(index, data[index], ELEMENTS[index], charge, multiplicity, packed=index == NPF3)
    yield house
    house.ledger.close()


def test_the_last_gradients_evaluation_and_never_the_final_energy(
    house: House, data: dict[int, bytes], truth: dict[str, dict[str, Any]]
) -> None:
    report = house.export("last.extxyz")
    assert (report.structures, report.frames) == (3, 3)
    frames = {atoms.info["orig_index"]: atoms for atoms in ase_io.read(house.out / "last.extxyz", index=":")}
    assert sorted(frames) == [UO2, NPF3, DVB]
    for index, atoms in frames.items():
        known = truth[FILES[index]]
        # An optimisation's last energy is printed once more for its last geometry, and has no gradient.
        place = -2 if known["opt_cycles"] else -1
        assert atoms.get_potential_energy() == pytest.approx(known["energies"][place] * EV, abs=1e-9)
        assert energies_in(data[index])[place] == known["energies"][place]
        forces = atoms.get_forces()
        assert np.abs(forces).max() == pytest.approx(known["max_abs_gradient_component"] * FORCE, abs=1e-9)
        largest = np.linalg.norm(forces, axis=1).max()
        assert largest == pytest.approx(known["max_atom_force_norm"] * FORCE, abs=1e-7)
        gradient = np.array(tables_in(data[index], "CARTESIAN GRADIENT")[-1])
        assert np.allclose(forces, -gradient * FORCE, rtol=0, atol=1e-12)
        geometries = tables_in(data[index], "CARTESIAN COORDINATES (ANGSTROEM)")
        assert (atoms.positions == np.array(geometries[place])).all()
        assert (atoms.info["charge"], atoms.info["multiplicity"]) == CHARGES[index]
        assert ";".join(atoms.get_chemical_symbols()) == ELEMENTS[index]
        assert not atoms.pbc.any()
    optimised = frames[UO2].info
    assert (optimised["step"], optimised["n_steps"]) == (6, 7)
    assert (optimised["engine"], optimised["engine_version"], optimised["host"]) == ("ORCA", "6.1.0", "node7")
    assert (optimised["attempt"], optimised["input_hash"], optimised["campaign"]) == (1, "input0", "real")
    assert optimised["csv_name"] == "hydroxide 0"
    assert optimised["units"] == "energy eV, positions Angstrom, forces eV/Angstrom"
    assert "27.211386245988 eV" in optimised["constants"]
    assert "warning" not in optimised
    level = json.loads(optimised["level_of_theory"])
    assert level == house.campaign.level_of_theory()
    assert (optimised["functional"], optimised["actinide_ecp"]) == ("wB97M-V", "def-ECP")


def test_the_engrad_file_says_the_same(house: House, orca_outputs: Path) -> None:
    house.export("engrad.extxyz", orig_indices=[NPF3])
    atoms = ase_io.read(house.out / "engrad.extxyz")
    lines = gzip.decompress((orca_outputs / "oact__NpF3_quacc_orca.engrad.gz").read_bytes()).decode().split()
    numbers = [float(word) for word in lines if word.lstrip("-").replace(".", "").isdigit()]
    energy, gradient, rows = numbers[1], np.array(numbers[2:14]).reshape(4, 3), np.array(numbers[14:])
    assert atoms.get_potential_energy() == pytest.approx(energy * EV, abs=1e-9)
    assert np.allclose(atoms.get_forces(), -gradient * FORCE, rtol=0, atol=1e-7)
    assert np.allclose(atoms.positions, rows.reshape(4, 4)[:, 1:] * BOHR, rtol=0, atol=1e-6)
    assert list(atoms.numbers) == [93, 9, 9, 9]


@pytest.mark.parametrize("index", [UO2, DVB])
def test_each_step_of_an_optimisation(
    house: House, data: dict[int, bytes], truth: dict[str, dict[str, Any]], index: int
) -> None:
    report = house.export(f"steps{index}.extxyz", all_steps=True, orig_indices=[index])
    frames = ase_io.read(house.out / f"steps{index}.extxyz", index=":")
    known = truth[FILES[index]]
    assert report.frames == len(frames) == known["n_gradients"] == known["n_energies"] - 1
    gradients = tables_in(data[index], "CARTESIAN GRADIENT")
    geometries = tables_in(data[index], "CARTESIAN COORDINATES (ANGSTROEM)")
    assert len(gradients) == len(frames) and len(geometries) == len(frames) + 1
    for step, atoms in enumerate(frames):
        assert atoms.info["step"] == step and atoms.info["n_steps"] == len(frames)
        assert atoms.get_potential_energy() == pytest.approx(known["energies"][step] * EV, abs=1e-9)
        assert np.allclose(atoms.get_forces(), -np.array(gradients[step]) * FORCE, rtol=0, atol=1e-12)
        assert (atoms.positions == np.array(geometries[step])).all()


def test_forces_are_the_slope_of_the_energy_along_the_steps(house: House) -> None:
    # ΔE is about -½ (F1 + F2)·Δx: it would not be, if energies were taken from a neighbouring step.
    house.export("slope.extxyz", all_steps=True, orig_indices=[UO2])
    frames = ase_io.read(house.out / "slope.extxyz", index=":")
    # The step between passes the minimum, where a mean of two slopes says little.
    for one, two in ((frames[0], frames[1]), (frames[1], frames[2]), (frames[4], frames[5])):
        change = two.get_potential_energy() - one.get_potential_energy()
        mean = (one.get_forces() + two.get_forces()) / 2
        assert -(mean * (two.positions - one.positions)).sum() == pytest.approx(change, rel=0.03)


def test_what_has_no_gradient_is_left_out_and_said(house: House) -> None:
    report = house.export("none.extxyz", orig_indices=[AMO])
    assert (report.structures, report.frames, report.size) == (0, 0, 0)
    assert not (house.out / "none.extxyz").exists()
    [(reason, left)] = report.left_out.items()
    assert (reason, left.count, left.examples) == ("its output has no gradient", 1, ["3"])


def test_parquet_holds_the_same(house: House) -> None:
    house.export("all.extxyz", all_steps=True)
    report = house.export("all.parquet", "parquet", all_steps=True)
    frames = ase_io.read(house.out / "all.extxyz", index=":")
    file = pq.ParquetFile(house.out / "all.parquet")
    assert file.metadata.num_rows == len(frames) == report.frames == 11
    schema = file.schema_arrow
    units = {
        name: schema.field(name).metadata.get(b"unit") for name in ("energy", "forces", "positions", "host")
    }
    assert units == {
        "energy": b"eV",
        "forces": b"eV/Angstrom",
        "positions": b"Angstrom",
        "host": None,
    }
    assert schema.metadata[b"units"] == b"energy eV, positions Angstrom, forces eV/Angstrom"
    assert json.loads(schema.metadata[b"level_of_theory"]) == house.campaign.level_of_theory()
    assert b"warning" not in schema.metadata
    for row, atoms in zip(file.read().to_pylist(), frames, strict=True):
        assert row["energy"] == atoms.get_potential_energy()
        assert (np.array(row["forces"]) == atoms.get_forces()).all()
        assert (np.array(row["positions"]) == atoms.positions).all()
        assert row["numbers"] == list(atoms.numbers) and row["symbols"] == atoms.get_chemical_symbols()
        for key in ("charge", "multiplicity", "orig_index", "step", "n_steps", "engine_version", "csv_name"):
            assert row[key] == atoms.info[key]
    table = pd.read_parquet(house.out / "all.parquet")
    assert dict(table.groupby("orig_index").size()) == {UO2: 7, NPF3: 1, DVB: 3}
    assert np.stack(table["forces"][0]).shape == (3, 3)


def test_parquet_in_several_row_groups(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from oact_dagster.export import parquet

    monkeypatch.setattr(parquet, "FRAMES_AT_ONCE", 4)
    house.export("groups.parquet", "parquet", all_steps=True)
    file = pq.ParquetFile(house.out / "groups.parquet")
    sizes = [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)]
    assert sizes == [4, 4, 3]
    assert len(set(file.read(["energy"])["energy"].to_pylist())) == 11


def test_the_database_holds_the_same(house: House) -> None:
    house.export("all2.extxyz", all_steps=True)
    house.export("all.db", "ase-db", all_steps=True)
    frames = ase_io.read(house.out / "all2.extxyz", index=":")
    with ase_db.connect(house.out / "all.db") as database:
        rows = list(database.select())
        assert len(rows) == 11
        for row, written in zip(rows, frames, strict=True):
            atoms = row.toatoms()
            assert row.energy == atoms.get_potential_energy() == written.get_potential_energy()
            assert (atoms.get_forces() == written.get_forces()).all()
            assert (atoms.positions == written.positions).all() and (atoms.numbers == written.numbers).all()
            assert row.data["charge"] == row.total_charge == written.info["charge"]
            assert row.data["units"] == {
                "energy": "eV",
                "positions": "Angstrom",
                "forces": "eV/Angstrom",
            }
        [last] = database.select(orig_index=UO2, step=6)
        assert last.multiplicity == 1 and last.calculator == "orca" and last.csv_name == "hydroxide 0"
        assert len(list(database.select("Np"))) == 1
        assert database.metadata["units"] == "energy eV, positions Angstrom, forces eV/Angstrom"
        assert database.metadata["level_of_theory"] == house.campaign.level_of_theory()
    assert sorted(path.name for path in house.out.iterdir() if path.name.startswith((".", "all.db"))) == [
        "all.db"
    ]


def test_a_flagged_energy_is_no_training_data(tmp_path: Path, data: dict[int, bytes]) -> None:
    text = data[UO2]
    third = energies_in(text)[2]
    line = f"FINAL SINGLE POINT ENERGY      {third:.12f}".encode()
    assert text.count(line) == 1
    flagged = text.replace(line, line + b"   (SCF not fully converged!)")
    house = House(tmp_path / "campaign")
    house.put(0, flagged, ELEMENTS[UO2], 2, 1)
    report = house.export(all_steps=True)
    frames = ase_io.read(tmp_path / "out.extxyz", index=":")
    assert [atoms.info["step"] for atoms in frames] == [0, 1, 3, 4, 5, 6]
    [(reason, left)] = report.steps_left_out.items()
    assert (reason, left.count, left.examples) == ("its energy is not fully converged", 1, ["0 step 2"])
    assert report.left_out == {}
    house.ledger.close()


def test_not_a_number(tmp_path: Path, data: dict[int, bytes]) -> None:
    gradient = tables_in(data[NPF3], "CARTESIAN GRADIENT")[0][0][0]
    row = f"{gradient:.9f}".encode()
    assert data[NPF3].count(row) == 1
    house = House(tmp_path / "campaign")
    house.put(0, data[NPF3].replace(row, b"nan".rjust(len(row))), ELEMENTS[NPF3], 0, 5)
    report = house.export()
    assert list(report.left_out) == ["an energy, a coordinate or a force is NaN or infinite"]
    assert report.frames == 0 and not (tmp_path / "out.extxyz").exists()
    house.ledger.close()


def test_another_charge_or_multiplicity_than_the_ledgers(tmp_path: Path, data: dict[int, bytes]) -> None:
    house = House(tmp_path / "campaign")
    house.put(0, data[NPF3], ELEMENTS[NPF3], 0, 3)
    house.put(1, data[NPF3], ELEMENTS[NPF3], 1, 5)
    [(reason, left)] = house.export().left_out.items()
    assert reason == "its output and the ledger have different charges or multiplicities"
    assert left.examples == ["0: multiplicity 5, ledger 3", "1: charge 0, ledger 1"]
    house.ledger.close()


def test_an_optimisations_energy_may_be_that_of_any_step(tmp_path: Path, data: dict[int, bytes]) -> None:
    house = House(tmp_path / "campaign")
    energies = energies_in(data[UO2])
    house.put(0, data[UO2], ELEMENTS[UO2], 2, 1, final_energy=energies[3])
    house.put(1, data[UO2], ELEMENTS[UO2], 2, 1, final_energy=energies[3] + 1e-4)
    report = house.export()
    assert report.structures == 1
    assert list(report.left_out) == ["its output and the ledger have different energies"]
    house.ledger.close()

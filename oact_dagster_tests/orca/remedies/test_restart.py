"""What earlier attempts left to start from, and whether it is whole."""

import pytest

from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.outputs.gbw import is_whole_gbw
from oact_dagster.orca.outputs.reader import read_output
from oact_dagster.orca.remedies.restart import Leftovers, find_leftovers
from oact_dagster.orca.structure import Structure
from oact_dagster_tests.made_gbw import gbw
from oact_dagster_tests.orca.outputs import made_outputs as made

URANYL = Structure(parse_geometry("U 0 0 0\nO 0 0 1.76\nO 0 0 -1.76"), 2, 0)
MOVED = (("U", 0.0, 0.0, 0.0), ("O", 0.0, 0.0, 1.72), ("O", 0.0, 0.0, -1.72))
NEAR = (("U", 0.0, 0.0, 0.0), ("O", 0.0, 0.0, 0.1), ("O", 0.0, 0.0, -1.72))
GIVEN = (("U", 0.0, 0.0, 0.0), ("O", 0.0, 0.0, 1.76), ("O", 0.0, 0.0, -1.76))
DIMENSION = "  Basis Dimension        Dim             ....    6\n"


def test_a_whole_file(tmp_path):
    path = tmp_path / "orca.gbw"
    for spins in (1, 2):
        path.write_bytes(gbw(spins=spins, occupation=1.0))
        assert is_whole_gbw(path)
        assert is_whole_gbw(path, basis_functions=6, spins=spins)


def test_no_piece_of_a_file_is_whole(tmp_path):
    path = tmp_path / "orca.gbw"
    whole = gbw(spins=2, tail=b"")
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert not is_whole_gbw(path), length
        assert not is_whole_gbw(path, basis_functions=6, spins=2), length


@pytest.mark.parametrize(
    "data",
    [
        gbw(occupation=0.0),
        gbw(occupation=float("nan")),
        gbw(occupation=2.5),
        gbw(energy=float("nan")),
        gbw(energy=0.0),
    ],
)
def test_orbitals_that_cannot_be_some(tmp_path, data):
    path = tmp_path / "orca.gbw"
    path.write_bytes(data)
    assert not is_whole_gbw(path, basis_functions=6)


def test_another_layout_must_have_room_for_the_coefficients(tmp_path):
    path = tmp_path / "orca.gbw"
    path.write_bytes(b"another version".ljust(2 * 8 * 36))
    assert is_whole_gbw(path, basis_functions=6)
    assert is_whole_gbw(path, basis_functions=6, spins=2)
    path.write_bytes(b"another version".ljust(2 * 8 * 36 - 1))
    assert not is_whole_gbw(path, basis_functions=6, spins=2)
    assert not is_whole_gbw(path)
    # A dimension that is not the basis': the numbers there are others.
    path.write_bytes(gbw(n=6))
    assert not is_whole_gbw(path, basis_functions=60)


def test_what_is_no_file(tmp_path):
    assert not is_whole_gbw(tmp_path, basis_functions=1)
    assert not is_whole_gbw(tmp_path / "missing", basis_functions=1)
    (tmp_path / "empty").touch()
    assert not is_whole_gbw(tmp_path / "empty", basis_functions=1)


def attempt(tmp_path, name, atoms=MOVED, *, energy=-626.6, end="", **files):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "orca.inp").touch()
    (folder / "orca.out").write_text(
        made.banner()
        + made.settings()
        + DIMENSION
        + made.coordinates(atoms)
        + made.scf(energy=energy)
        + made.final_energy(energy)
        + made.gradient(atoms=atoms)
        + end
    )
    for stem, data in files.items():
        (folder / f"{stem}.gbw").write_bytes(data)
    return folder


def test_the_newest_whole_ones_count(tmp_path):
    first = attempt(tmp_path, "1", orca=gbw(), restart=gbw())
    second = attempt(tmp_path, "2", atoms=GIVEN, orca=gbw()[:99])
    third = tmp_path / "3"
    third.mkdir()
    assert find_leftovers([third, second, first], URANYL) == Leftovers(
        first / "orca.gbw", parse_geometry("U 0 0 0\nO 0 0 1.72\nO 0 0 -1.72")
    )
    assert find_leftovers([third, second], URANYL) == Leftovers()
    assert find_leftovers([], URANYL) == Leftovers()
    assert find_leftovers([tmp_path / "missing"], URANYL) == Leftovers()


def test_what_the_attempt_began_with_stands_in_for_what_it_did_not_finish(tmp_path):
    folder = attempt(tmp_path, "1", orca=gbw()[:-100], restart=gbw())
    assert find_leftovers([folder], URANYL).gbw == folder / "restart.gbw"


def test_the_size_of_the_basis_is_read_from_the_output(tmp_path):
    folder = attempt(tmp_path, "1", orca=b"another version".ljust(8 * 36))
    assert find_leftovers([folder], URANYL).gbw == folder / "orca.gbw"
    assert find_leftovers([folder], Structure(URANYL.geometry, 2, 2)).gbw is None


@pytest.mark.parametrize(
    "atoms",
    [
        GIVEN,
        NEAR,
        (MOVED[1], MOVED[0], MOVED[2]),
        MOVED[:2],
        (("Np", 0.0, 0.0, 0.0), *MOVED[1:]),
        (("U", 0.0, 0.0, float("nan")), *MOVED[1:]),
    ],
    ids=["no progress", "two atoms on one spot", "another order", "an atom less", "another element", "nan"],
)
def test_a_geometry_that_is_none_to_go_on_from(tmp_path, atoms):
    rows = made.GRADIENT[: len(atoms)]
    folder = tmp_path / "1"
    folder.mkdir()
    (folder / "orca.out").write_text(made.banner() + made.coordinates(atoms) + made.gradient(rows, atoms))
    assert find_leftovers([folder], URANYL).geometry is None


def test_the_last_geometry_of_a_real_optimisation(orca_outputs, tmp_path):
    (tmp_path / "orca.out").write_bytes((orca_outputs / "oact__UO2_opt_logs.out").read_bytes())
    (tmp_path / "orca.gbw").write_bytes(b"another version".ljust(8 * 183**2))
    last = read_output(tmp_path)
    structure = Structure(parse_geometry("U 0 0 0\nO 0 0 2.5\nO 0 0 -2.5"), last.charge, last.mult - 1)
    found = find_leftovers([tmp_path], structure)
    assert found.geometry.coordinates == last.coordinates
    assert (found.gbw is None) == (last.mult > 1)


def test_nothing_of_an_unphysical_attempt_or_before_it_counts(tmp_path):
    first = attempt(tmp_path, "1", orca=gbw())
    unphysical = attempt(tmp_path, "2", energy=-2e7, orca=gbw(), end=made.normal_end())
    third = attempt(tmp_path, "3", atoms=GIVEN)
    assert find_leftovers([third, unphysical, first], URANYL) == Leftovers()

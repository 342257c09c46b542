"""How the SCF, or the optimisation, of one output went."""

import gzip
import json
import math
from itertools import pairwise

import pytest

from oact_dagster.orca.outputs.convergence import MOST_POINTS, Convergence, read_convergence, thinned
from oact_dagster_tests.orca.outputs.made_outputs import (
    banner,
    cycle,
    echo,
    final_energy,
    normal_end,
    optimisation,
    populations,
    scf,
    single_point,
)

DIIS_3_TO_5 = "ITER       Energy         Delta-E        Max-DP      RMS-DP      [F,P]     Damp\n"
DIIS_6 = "Iteration    Energy (Eh)           Delta-E    RMSDP     MaxDP     DIISErr   Damp  Time(sec)\n"


def close(values, expected):
    return values == pytest.approx(expected, rel=1e-9, abs=0)


def read(tmp_path, text):
    file = tmp_path / "orca.out"
    file.write_text(text)
    return read_convergence(file)


# Real outputs: every number here was read from the files by eye.


def test_an_optimisation_of_orca_6(orca_outputs):
    found = read_convergence(orca_outputs / "oact__UO2_opt_logs.out")
    # The energy of the final geometry (-626.605298577892), behind the last cycle, is none of a cycle's.
    assert found.energies == (
        -626.440787184598,
        -626.522744961813,
        -626.583913800229,
        -626.597959539132,
        -626.604932642660,
        -626.605290578034,
        -626.605299205695,
    )
    printed = (
        0.2072471016,
        0.1745232387,
        0.1064199187,
        0.0809310359,
        0.0161636167,
        0.0021970105,
        0.0001374240,
    )
    assert found.gradients == pytest.approx(printed, abs=1e-9)
    assert found.n_cycles == 7
    assert found.scf == (1.56e-08, 8.69e-09)
    assert found.n_iterations == 3


def test_an_optimisation_of_orca_3_that_did_not_converge(orca_outputs):
    found = read_convergence(orca_outputs / "cclib-data__ORCA3.0__dvb_gopt_unconverged.out")
    assert found.energies == (
        -382.042651810160,
        -382.045813995163,
        -382.047959849644,
        -382.049230388887,
        -382.049935357823,
    )
    printed = (0.051460184, 0.041677925, 0.032138181, 0.023454713, 0.015355380)
    assert found.gradients == pytest.approx(printed, abs=1e-9)
    # SOSCF alone, whose first row prints the energy itself as its change.
    assert (len(found.scf), found.n_iterations) == (16, 17)
    assert max(found.scf) < 1e-3


def test_an_scf_of_orca_6_with_diis(orca_outputs):
    found = read_convergence(orca_outputs / "oact__NpF3_quacc_orca.out.gz")
    assert (len(found.scf), found.n_iterations) == (58, 59)
    assert found.scf[:4] == (17.0, 7.61, 4.43, 2.43)
    assert found.scf[-3:] == (4.48e-08, 1.53e-08, 2.05e-09)
    assert found.energies == found.gradients == ()


def test_an_scf_of_orca_5_that_goes_on_with_soscf(orca_outputs):
    found = read_convergence(orca_outputs / "cclib-data__ORCA5.0__ADBNA_Me_Mes_MesCz.log")
    assert close(
        found.scf,
        (
            *(1.146470340486, 0.063281211470, 0.011695930893, 0.005441905298, 0.000615952670),
            *(0.0001770573, 0.0000773735, 0.0000082735, 0.0000043120, 1.090e-7, 1.145e-7, 8.62e-8),
        ),
    )
    assert found.n_iterations == 13


def test_an_scf_of_orca_5_that_goes_on_with_trah(orca_outputs, tmp_path):
    whole = (orca_outputs / "cclib-data__ORCA5.0__1177.out").read_bytes()
    # The first of its SCFs goes on with TRAH; 20 iterations of DIIS and 6 macro iterations.
    first = tmp_path / "first.out"
    first.write_bytes(whole[: whole.index(b"UHF SPIN CONTAMINATION")])
    found = read_convergence(first)
    assert found.n_iterations == 26
    assert len(found.scf) == 25
    assert close(found.scf[:2], (0.001029120858, 0.000714060217))
    assert found.scf[18] == pytest.approx(0.000542701184)
    # The change of each macro iteration is the difference of the energies that are printed.
    assert found.scf[19] == pytest.approx(39.454343343968 - 39.4542476139, abs=1e-10)
    assert found.scf[20] == pytest.approx(39.457543537494 - 39.454343343968, abs=1e-11)
    assert found.scf[24] == pytest.approx(39.461545186352 - 39.461545183389, abs=1e-12)
    # The whole file: the last SCF has DIIS alone, and the gradients are printed in short.
    found = read_convergence(orca_outputs / "cclib-data__ORCA5.0__1177.out")
    assert close(found.scf, (1.60118668e-4, 8.1896558e-5, 1.30611120e-4, 2.4819989e-5, 1.84318e-7))


def test_an_scf_with_a_small_table_for_each_iteration(orca_outputs):
    found = read_convergence(orca_outputs / "cclib-data__ORCA4.2__dvb_sp_un.out")
    assert (len(found.scf), found.n_iterations) == (9, 10)
    assert close(found.scf[-3:], (5.2537425e-05, 4.8942978e-05, 1.1787706e-05))
    assert close(found.scf[0], 0.009451220659)


def test_an_scf_whose_numbers_run_into_each_other_is_thinned_out(orca_outputs):
    found = read_convergence(orca_outputs / "cclib-data__ORCA4.0__IrCl6_sp.out")
    assert (len(found.scf), found.n_iterations) == (MOST_POINTS, 125)
    assert close((found.scf[0], found.scf[-1]), (0.582792478068, 0.000037800796))


def test_every_real_output_has_as_many_iterations_as_orca_counts(orca_outputs):
    compared = 0
    for known in json.loads((orca_outputs / "truth.json").read_text()):
        cycles = known.get("scf_cycles_per_scf")
        path = orca_outputs / known["file"]
        if not cycles or known["termination"] == "scf_not_converged":
            continue
        found = read_convergence(path)
        assert found.n_iterations == cycles[-1], path.name
        assert len(found.scf) == min(cycles[-1] - 1, MOST_POINTS), path.name
        compared += 1
    assert compared >= 20


def test_every_real_output_comes_back_from_json(orca_outputs):
    for path in orca_outputs.iterdir():
        found = read_convergence(path)
        raw = found.to_json()
        again = Convergence.from_json(json.loads(json.dumps(raw)))
        assert again.to_json() == raw
        assert len(json.dumps(raw)) < 1500
        assert again.scf == pytest.approx(found.scf, rel=0.012)
        assert again.energies == pytest.approx(found.energies, abs=0.6e-6)
        assert again.gradients == pytest.approx(found.gradients, rel=0.006)
        assert (again.n_iterations, again.n_cycles) == (found.n_iterations, found.n_cycles)


# Files that are cut, empty, or something else.


def test_a_cut_optimisation_keeps_what_is_there(orca_outputs, tmp_path):
    whole = (orca_outputs / "oact__UO2_opt_logs.out").read_bytes()
    cut = tmp_path / "cut.out"
    # In the middle of the third SCF: after its line of iteration 5 and a half.
    third = whole.index(b"GEOMETRY OPTIMIZATION CYCLE   3")
    row = whole.index(b"\n    5    -626.", third)
    cut.write_bytes(whole[: row + 30])
    found = read_convergence(cut)
    assert found.energies == (-626.440787184598, -626.522744961813)
    assert len(found.gradients) == 2
    assert found.n_cycles == 3
    assert found.n_iterations == 4


@pytest.mark.parametrize("name", ["oact__UO2_opt_logs.out", "opi__geometry.out"])
def test_any_cut_raises_nothing(orca_outputs, tmp_path, name):
    whole = (orca_outputs / name).read_bytes()
    cut = tmp_path / "cut.out"
    energies = 0
    for end in range(0, len(whole), 9973):
        cut.write_bytes(whole[:end])
        found = read_convergence(cut)
        assert len(found.energies) >= energies
        energies = len(found.energies)


def test_gzipped_is_the_same(orca_outputs, tmp_path):
    plain = orca_outputs / "cclib__basicORCA6.0__dvb_gopt.out"
    packed = tmp_path / "orca.out.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_convergence(packed) == read_convergence(plain)
    assert read_convergence(packed).energies == (-382.055108617704, -382.055126570567, -382.055133025246)


def test_a_job_folder(orca_outputs, tmp_path):
    plain = orca_outputs / "cclib__basicORCA6.0__dvb_gopt.out"
    (tmp_path / "orca.out").write_bytes(plain.read_bytes())
    assert read_convergence(tmp_path) == read_convergence(plain)


def test_nothing_raises(tmp_path):
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "empty").touch()
    (tmp_path / "heading").write_text(DIIS_6)
    (tmp_path / "cycle").write_text(cycle(1))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"x" * 9999)[:40])
    (tmp_path / "nothing.gz").write_bytes(b"\x1f\x8b")
    for path in (*tmp_path.iterdir(), tmp_path / "missing", tmp_path / "x\0y", ""):
        found = read_convergence(path)
        assert found.scf == found.energies == found.gradients == ()
    assert read_convergence(tmp_path / "empty").to_json() == {}


# Composed outputs.


def test_a_change_that_prints_as_zero_is_the_last_digit(tmp_path):
    rows = (
        "  0   -264.3463303775   0.000000000000 0.04616628  0.00197460  0.2195504 0.8500\n"
        "  1   -264.3463303775   0.000000000000 0.04254246  0.00210472  0.1626237 0.8500\n"
        "  2   -264.3463303775  -0.000000000003 0.04254246  0.00210472  0.1626237 0.8500\n"
    )
    assert close(read(tmp_path, banner() + DIIS_3_TO_5 + rows).scf, (1e-12, 3e-12))


def test_no_number_is_left_out(tmp_path):
    row = "    {}    -157.1854922651515380    {}  2.32e-03  3.35e-02  4.73e-02  0.700   0.5\n"
    rows = [row.format(1, " 0.00e+00"), row.format(2, "-1.00e-02"), row.format(3, "     -nan")]
    found = read(tmp_path, banner() + DIIS_6 + "".join([*rows, row.format(4, " 2.00e-03")]))
    assert found.scf == (1e-2, 2e-3)
    assert found.n_iterations == 4


def test_of_appended_runs_the_last_counts(tmp_path):
    first, second = optimisation((-626.4, -626.5)), single_point()
    found = read(tmp_path, first + second)
    assert (found.energies, found.n_cycles, found.n_iterations) == ((), 0, 12)
    found = read(tmp_path, second + first)
    assert (found.energies, found.n_cycles, found.n_iterations) == ((-626.4, -626.5), 2, 3)
    # A run that has only just begun has no SCF yet.
    assert read(tmp_path, second + banner()) == Convergence()


def test_a_users_comment_is_no_table(tmp_path):
    assert read(tmp_path, banner() + echo(DIIS_6, "* GEOMETRY OPTIMIZATION CYCLE 1")).scf == ()


def test_an_scf_above_many_mb_of_populations_is_found(tmp_path):
    text = banner() + scf(9) + populations(17 << 20) + final_energy() + normal_end()
    assert read(tmp_path, text).n_iterations == 9
    above = optimisation((-626.4, -626.5)).partition("TOTAL RUN TIME")[0]
    found = read(tmp_path, above + populations(17 << 20) + normal_end())
    assert (found.energies, found.n_iterations) == ((-626.4, -626.5), 3)


def test_a_long_optimisation_is_read_whole(tmp_path):
    energies = tuple(-626.0 - 0.01 * number for number in range(80))
    found = read(tmp_path, optimisation(energies, bulk=300_000))
    assert (tmp_path / "orca.out").stat().st_size > 20 << 20
    assert found.n_cycles == 80
    assert len(found.energies) == len(found.gradients) == MOST_POINTS
    assert (found.energies[0], found.energies[-1]) == (energies[0], energies[-1])
    assert close(found.gradients[0], 0.0101)


def test_what_json_does_not_hold_is_empty():
    assert Convergence.from_json({}) == Convergence()
    odd = {"scf": "x", "meh": [1.0], "gradients": [1.0, None, "y", True, math.inf], "later": 1, "cycles": -1}
    assert Convergence.from_json(odd) == Convergence(gradients=(1.0,))
    assert Convergence.from_json({"scf": [-2, 1e9], "energy": "x"}).scf == (0.01,)


def test_json_is_rounded():
    found = Convergence((0.5, 1.23456e-7), (-100.00012345, -100.0), (0.0123456, 2e-5), 3, 2)
    assert found.to_json() == {
        "scf": [-0.3, -6.91],
        "iterations": 3,
        "energy": -100.0,
        "meh": [-0.123, 0.0],
        "gradients": [0.0123, 2e-5],
        "cycles": 2,
    }


@pytest.mark.parametrize("number", [0, 1, 2, 59, 60, 61, 62, 119, 1000])
def test_thinning_keeps_both_ends(number):
    values = tuple(range(number))
    kept = thinned(values, 60)
    assert len(kept) == min(number, 60)
    assert kept[:1] == values[:1]
    assert kept[-1:] == values[-1:]
    gaps = {after - before for before, after in pairwise(kept)}
    assert not gaps or max(gaps) - min(gaps) <= 1

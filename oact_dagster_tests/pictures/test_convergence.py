"""The small picture of a convergence."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oact_dagster.orca.outputs.convergence import MOST_POINTS, Convergence, read_convergence
from oact_dagster.pictures.convergence import convergence_picture
from oact_dagster.pictures.markdown import as_markdown
from oact_dagster_tests.pictures.checked import NAMESPACE, parsed, says_nothing, texts

SMALL = 2900


def lines_of(root):
    return [
        node.get("d")
        for node in root.iter(f"{NAMESPACE}path")
        if node.get("fill") == "none" and node.get("stroke-width") == "1.5"
    ]


def points_of(line):
    numbers = [float(text) for text in line.removeprefix("M").replace("-", " -").split()]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def test_an_scf(orca_outputs):
    root = parsed(convergence_picture(read_convergence(orca_outputs / "oact__NpF3_quacc_orca.out.gz")), SMALL)
    assert "SCF iteration" in texts(root)
    assert "|ΔE| per iteration, Eh" in texts(root)
    (line,) = lines_of(root)
    points = points_of(line)
    assert len(points) == 58
    # From 17 Eh to 2e-9 Eh: downwards, which is up in y.
    assert points[0][1] < points[-1][1]


def test_an_optimisation(orca_outputs):
    root = parsed(convergence_picture(read_convergence(orca_outputs / "oact__UO2_opt_logs.out")), SMALL)
    assert "optimisation cycle" in texts(root)
    assert "largest gradient, Eh/bohr" in texts(root)
    gradient, energy = map(points_of, lines_of(root))
    assert len(gradient) == len(energy) == 7
    assert [x for x, _ in gradient] == [x for x, _ in energy]
    assert [y for _, y in energy] == sorted(y for _, y in energy)


def test_one_cycle_is_no_optimisation(orca_outputs):
    found = read_convergence(orca_outputs / "opi__failed_scf.out")
    assert found.n_cycles == 1
    assert "SCF iteration" in texts(parsed(convergence_picture(found), SMALL))
    assert "SCF iteration" in texts(
        parsed(convergence_picture(Convergence((0.1,), (-1.0,), (0.1,), 2, 1)), SMALL)
    )


def test_every_real_output_fits(orca_outputs):
    drawn = 0
    for file in orca_outputs.iterdir():
        svg = convergence_picture(read_convergence(file))
        parsed(svg, SMALL)
        drawn += not says_nothing(svg)
    assert drawn >= 24


@pytest.mark.parametrize("cycles", [2, MOST_POINTS, 5000])
def test_the_worst_data_fits_a_data_uri_of_4_kb(cycles):
    number = min(cycles, MOST_POINTS)
    # Up and down over the whole picture, with long labels.
    energies = tuple(-28123.4567891 + 12.3456789 * (-1) ** place * math.cos(place) for place in range(number))
    gradients = tuple(10.0 ** (-9 + 9.9 * abs(math.sin(7 * place))) for place in range(number))
    svg = convergence_picture(Convergence((), energies, gradients, 0, cycles))
    parsed(svg, SMALL)
    assert len(as_markdown(svg, "")) - len("![]()") <= 4096
    changes = tuple(10.0 ** (-12 + 17.7 * abs(math.sin(3 * place))) for place in range(number))
    parsed(convergence_picture(Convergence(changes, n_iterations=cycles)), SMALL)


def test_what_was_thinned_out_keeps_its_axis():
    root = parsed(convergence_picture(Convergence(tuple([0.1] * 30 + [1e-5] * 30), n_iterations=501)), SMALL)
    assert {"100", "500"} <= set(texts(root))
    root = parsed(convergence_picture(Convergence((), tuple(range(60)), (), 0, 240)), SMALL)
    assert "200" in texts(root)


def test_a_cut_optimisation_does_not_stretch_what_is_there():
    found = Convergence((), (-1.0, -2.0, -3.0), (0.1, 0.01), 0, 4)
    gradient, energy = map(points_of, lines_of(parsed(convergence_picture(found))))
    assert [x for x, _ in gradient] == [x for x, _ in energy][:2]


def test_nothing():
    assert says_nothing(convergence_picture(Convergence()))
    assert says_nothing(convergence_picture(Convergence((math.nan, math.inf, 0.0), (math.nan,) * 5, (0.1,))))


numbers = st.lists(st.floats(), max_size=MOST_POINTS).map(tuple)


@given(numbers, numbers, numbers, st.integers(-1, 10**6), st.integers(-1, 10**6))
def test_any_numbers_give_a_picture(scf, energies, gradients, n_iterations, n_cycles):
    parsed(convergence_picture(Convergence(scf, energies, gradients, n_iterations, n_cycles)), SMALL)

"""Energies of different compositions against each other."""

import json
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oact_dagster.orca.elements import SYMBOLS
from oact_dagster.quality.energy_fit import EnergyTable, deviations, fit
from oact_dagster.quality.energy_model import FEWEST, EnergyModel
from oact_dagster.quality.measurements import Composition, composition_of
from oact_dagster.quality.rules import energy_breach

REFERENCE = {
    "U": -475.2, "Th": -408.1, "Am": -551.3, "C": -38.0, "H": -0.6, "N": -54.7, "O": -75.2, "F": -99.8, "Cl": -460.2,
}  # fmt: skip
LIGANDS = ("C", "H", "N", "O", "F", "Cl")
Row = tuple[Composition, int, float]


def made(
    count: int, seed: int = 1, noise: float = 0.003, metals: tuple[str, ...] = ("U", "Th", "Am")
) -> list[Row]:
    """Complexes with the sum of their atoms' energies, what the charge costs, and noise for each atom, Eh."""
    chance = random.Random(seed)
    rows = []
    for _ in range(count):
        atoms = chance.choices(LIGANDS, weights=[10, 14, 3, 4, 1, 1], k=chance.randint(8, 70))
        symbols = sorted([chance.choice(metals), *atoms])
        charge = chance.choice([-2, -1, 0, 0, 0, 1, 2, 3])
        energy = sum(REFERENCE[symbol] for symbol in symbols) + 0.3 * charge + 0.1 * charge**2
        energy += chance.gauss(0.0, noise) * len(symbols)
        rows.append((composition_of(";".join(symbols)), charge, energy))
    return rows


def table_of(rows: list[Row]) -> EnergyTable:
    table = EnergyTable()
    for place, row in enumerate(rows):
        assert table.add(*row) == place
    return table


def flagged(rows: list[Row], limit: float = 8.0) -> list[int]:
    table = table_of(rows)
    sigmas, totals, said = deviations(table, fit(table))
    return [
        int(row)
        for row in np.flatnonzero(said)
        if energy_breach(float(sigmas[row]), float(totals[row]), limit) > 0
    ]


@pytest.mark.parametrize("off", [-4.0, 4.0, 1000.0, -20000.0, math.nan, math.inf])
def test_an_outlier_is_found_and_nothing_else(off: float) -> None:
    rows = made(200)
    assert flagged(rows) == []
    composition, charge, energy = rows[77]
    rows[77] = composition, charge, energy + off
    assert flagged(rows) == [77]


def test_a_tenth_may_be_wrong_and_all_of_them_are_found() -> None:
    rows = made(400)
    wrong = list(range(3, 400, 10))
    for place in wrong:
        composition, charge, energy = rows[place]
        rows[place] = composition, charge, energy + 0.2 * composition.n_atoms
    assert flagged(rows) == wrong


def test_the_energies_of_the_elements_are_found_again() -> None:
    model = fit(table_of(made(2000)))
    found = dict(zip(model.elements, model.energies, strict=False))
    assert found.keys() == REFERENCE.keys()
    for symbol, energy in REFERENCE.items():
        assert found[symbol] == pytest.approx(energy, abs=0.03)
    assert model.energies[-2:] == pytest.approx((0.3, 0.1), abs=0.02)
    assert model.overall.sigma == pytest.approx(0.003, rel=0.1)
    assert set(model.by_metal) == {"U", "Th", "Am"}


def test_the_same_results_give_the_same_model() -> None:
    rows = made(300)
    assert fit(table_of(rows)) == fit(table_of(rows))


def test_one_structure_by_the_kept_model_is_judged_as_among_all() -> None:
    rows = made(150)
    rows[5] = rows[5][0], rows[5][1], rows[5][2] + 9.0
    table = table_of(rows)
    model = EnergyModel.from_json(json.loads(json.dumps(fit(table).to_json())))
    sigmas, totals, said = deviations(table, model)
    assert said.sum() > 140
    for place, row in enumerate(rows):
        one = model.deviation(*row)
        assert (one is not None) == said[place]
        if one is not None:
            assert one.sigmas == pytest.approx(float(sigmas[place]), abs=1e-6)
            assert one.total == pytest.approx(float(totals[place]), abs=1e-9)


def test_too_few_are_not_judged() -> None:
    same = [(composition_of("U;O;O"), 2, -625.6 + 0.001 * n) for n in range(FEWEST)]
    table = table_of(same)
    assert deviations(table, fit(table))[2].all()
    few = table_of(same[1:])
    assert not deviations(few, fit(few))[2].any()
    assert fit(few).deviation(*same[0]) is None


def test_what_nothing_is_like_is_not_judged() -> None:
    rows = made(100)
    alone = (composition_of("C;H;N;Np;O"), 0, -999.0)
    table = table_of([*rows, alone])
    model = fit(table)
    assert not deviations(table, model)[2][100], "its element's energy is its own"
    assert fit(table_of(rows)).deviation(*alone) is None
    # All have two O for each U: what one of them costs is not known.
    uranyl = [(composition_of(f"U;O;O{';F' * (n % 5)}"), 0, -625.6 - 99.8 * (n % 5)) for n in range(100)]
    model = fit(table_of(uranyl))
    assert model.deviation(composition_of("U;O;O;F"), 0, -725.4) is not None
    assert model.deviation(composition_of("U;O;O;O;F"), 0, -800.6) is None


@pytest.mark.parametrize("off", [0.0, 1.5, -120.0])
def test_nearly_as_many_elements_as_structures(off: float) -> None:
    # Of such a table some columns are sums of others, and each structure makes its own expectation.
    metals = (*SYMBOLS[88:103], *SYMBOLS[62:69])
    rows: list[Row] = []
    for place in range(28):
        water = 2 + place % 8
        text = ";".join([metals[place % len(metals)], *["O"] * water, *["H"] * 2 * water])
        rows.append((composition_of(text), 3, -10.0 - 5.07 * water - 0.01 * place))
    composition, charge, energy = rows[23]
    rows[23] = composition, charge, energy + off
    table = table_of(rows)
    model = fit(table)
    sigmas, _, said = deviations(table, model)
    assert np.isfinite(sigmas).all()
    assert not said.any()
    kept = EnergyModel.from_json(json.loads(json.dumps(model.to_json())))
    assert all(kept.deviation(*row) is None for row in rows)


def test_conformers_alone() -> None:
    """One composition has no energies of its elements, and its structures can be compared all the same."""
    chance = random.Random(4)
    rows = [(composition_of("U;Cl;Cl;Cl;Cl"), 0, -2315.0 + chance.gauss(0, 0.004)) for _ in range(60)]
    rows[9] = rows[9][0], 0, -2314.4
    rows[10] = rows[10][0], 0, -2314.96
    assert flagged(rows) == [9], "40 mEh is what conformers may differ by"


def test_energies_that_agree_to_the_last_digit() -> None:
    rows = [(composition_of("U;O;O"), 2, -625.6)] * 30
    assert flagged(rows) == []
    assert flagged([*rows, (composition_of("U;O;O"), 2, -625.5)]) == [30]


def test_a_metal_is_compared_with_its_own() -> None:
    """What is much for one metal may be little for another."""
    quiet = made(200, 1, 0.0005, ("Th",))
    loud = made(200, 2, 0.02, ("U",))
    model = fit(table_of(quiet + loud))
    assert model.by_metal["Th"].sigma < 0.002 < 0.01 < model.by_metal["U"].sigma
    for rows, expected in ((quiet, [7]), (loud, [])):
        composition, charge, energy = rows[7]
        changed = [*rows]
        changed[7] = composition, charge, energy + 0.03 * composition.n_atoms
        both = changed + loud if rows is quiet else changed + quiet
        assert flagged(both) == expected


def test_an_empty_table() -> None:
    model = fit(EnergyTable())
    assert (model.n, model.elements) == (0, ())
    assert [len(found) for found in deviations(EnergyTable(), model)] == [0, 0, 0]
    assert model.deviation(composition_of("U"), 0, 1.0) is None


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([-1.0, 1.0]),
    st.floats(0.1, 1e4),
    st.dictionaries(st.sampled_from((*LIGANDS, "U")), st.floats(-1000, 1000), max_size=7),
)
def test_where_the_zero_of_an_element_is_does_not_matter(
    seed: int, sign: float, size: float, shifts: dict[str, float]
) -> None:
    rows = made(120, seed)
    composition, charge, energy = rows[3]
    rows[3] = composition, charge, energy + sign * size * composition.n_atoms
    shifted = [
        (one, charge, energy + sum(shifts.get(symbol, 0.0) * n for symbol, n in one.counts.items()))
        for one, charge, energy in rows
    ]
    judged = deviations(table_of(rows), fit(table_of(rows)))[2][3]
    assert flagged(rows) == flagged(shifted) == ([3] if judged else [])

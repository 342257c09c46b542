"""The rules, one at a time: what holds, what does not, and what cannot be judged."""

import math
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oact_dagster.orca.elements import SYMBOLS
from oact_dagster.quality.limits import QualityLimits
from oact_dagster.quality.measurements import Deviation, Measured, composition_of
from oact_dagster.quality.rules import QUALITY_RULES, RuleResult, Severity, apply_rules, rules_in_force

GOOD: dict[str, Any] = {
    "terminated_normally": True,
    "scf_converged": True,
    "opt_converged": True,
    "energy_flag": None,
    "s2": 2.004,
    "charge": 0,
    "mult": 3,
    "bonds_before": 6,
    "bond_stretch": 1.02,
    "stretched_bond": "U1-O2",
    "metals_alone": 0,
}


def measured(
    *,
    elements: str = "U;F;F;F;F",
    charge: int = 0,
    multiplicity: int = 3,
    energy: float | None = -876.0,
    gradient: float | None = 0.002,
    deviation: Deviation | None = None,
    **changes: Any,
) -> Measured:
    found = deviation or Deviation(0.5, 0.01)
    return Measured(
        composition_of(elements), charge, multiplicity, energy, gradient, GOOD | changes, found
    )  # fmt: skip


def verdicts(one: Measured, limits: QualityLimits | None = None) -> dict[str, RuleResult]:
    return {verdict.rule: verdict for verdict in apply_rules(one, limits or QualityLimits())}


def test_a_good_result_breaks_no_rule() -> None:
    found = verdicts(measured())
    assert list(found) == [rule.name for rule in QUALITY_RULES]
    assert all(verdict.passed for verdict in found.values()), found
    assert {name for name, one in found.items() if one.severity is Severity.ERROR} == {
        "terminated_normally", "scf_converged", "optimization_converged", "electron_parity",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("one", "rule", "said"),
    [
        (measured(terminated_normally=False), "terminated_normally", "the output has no normal end"),
        (measured(scf_converged=False), "scf_converged", "SCF not converged"),
        (
            measured(energy_flag="(SCF not fully converged!)"),
            "scf_converged",
            "the energy is marked (SCF not fully converged!)",
        ),
        (measured(opt_converged=False), "optimization_converged", "optimisation not converged"),
        (
            measured(gradient=1.25),
            "forces_below_limit",
            "largest gradient component 1.25 Eh/bohr (limit 0.97 Eh/bohr)",
        ),
        (measured(gradient=math.nan), "forces_below_limit", "largest gradient component nan Eh/bohr"),
        (
            measured(s2=2.75),
            "spin_contamination",
            "<S²> 2.7500, 0.7500 from 2 for multiplicity 3 (limit 0.5)",
        ),
        (measured(s2=1.25), "spin_contamination", "0.7500 from 2"),
        (
            measured(deviation=Deviation(-9.5, -0.31)),
            "energy_in_range",
            "energy 0.31 Eh below that of similar structures, 9.5 robust standard deviations (limits 8, and 0.05 Eh)",
        ),
        (measured(deviation=Deviation(math.inf, 0.06)), "energy_in_range", "energy 0.06 Eh above"),
        (
            measured(energy=math.nan, deviation=Deviation(math.nan, math.nan)),
            "energy_in_range",
            "energy nan Eh",
        ),
        (
            measured(bond_stretch=1.7, stretched_bond="U1-F4"),
            "metal_bound",
            "U1-F4 is 1.700 times as long as before (limit 1.5)",
        ),
        (
            measured(bond_stretch=1.4, metals_alone=1),
            "metal_bound",
            "U1-O2 is 1.400 times as long as before (limit 1.5); 1 metal without any neighbour left",
        ),
        (
            measured(elements="U;F;F;F", mult=3),
            "electron_parity",
            "119 electrons cannot have multiplicity 3",
        ),
        (measured(charge=2, mult=3), "electron_parity", "the output has charge 0, the ledger 2"),
        (
            measured(multiplicity=1, s2=0.0),
            "electron_parity",
            "the output has multiplicity 3, the ledger 1",
        ),
    ],
)
def test_a_bad_result_breaks_its_rule_alone(one: Measured, rule: str, said: str) -> None:
    found = verdicts(one)
    assert said in found[rule].text
    assert [name for name, verdict in found.items() if verdict.passed is False] == [rule]


@pytest.mark.parametrize(
    ("one", "rule"),
    [
        (measured(terminated_normally=None), "terminated_normally"),
        (measured(scf_converged=None), "scf_converged"),
        (measured(opt_converged=None), "optimization_converged"),
        (measured(gradient=None), "forces_below_limit"),
        (measured(s2=None), "spin_contamination"),
        (measured(bond_stretch=None, metals_alone=None), "metal_bound"),
        (measured(elements="", charge=0, multiplicity=3, mult=None) , "electron_parity"),
    ],
)  # fmt: skip
def test_what_was_not_measured_is_not_judged(one: Measured, rule: str) -> None:
    if rule == "electron_parity":
        one.result = {**one.result, "charge": None}
    found = verdicts(one)
    assert (found[rule].passed, found[rule].text) == (None, "not measured")
    assert all(verdict.passed for name, verdict in found.items() if name != rule)


def test_a_result_of_an_older_version_is_judged_by_what_it_has() -> None:
    old = Measured(composition_of("O;H;H"), 0, 1, -76.0, 0.004, {"final_energy": -76.0, "engine": "ORCA"})
    found = {name: verdict.passed for name, verdict in verdicts(old).items()}
    assert found == {
        "terminated_normally": None, "scf_converged": None, "optimization_converged": None,
        "forces_below_limit": True, "spin_contamination": None, "energy_in_range": None,
        "metal_bound": None, "electron_parity": True,
    }  # fmt: skip


def test_a_limit_that_is_null_switches_its_rule_off() -> None:
    for one in fields(QualityLimits):
        names = {rule.name for rule in rules_in_force(QualityLimits(**{one.name: None}))}
        off = {rule.name for rule in QUALITY_RULES} - names
        assert len(off) == 1
        assert {rule.setting for rule in QUALITY_RULES if rule.name in off} == {one.name}
    assert verdicts(measured(s2=9.0), QualityLimits(max_spin_contamination=None)).keys() == {
        rule.name for rule in QUALITY_RULES if rule.name != "spin_contamination"
    }


def test_a_limit_is_told_in_the_description() -> None:
    [rule] = [rule for rule in QUALITY_RULES if rule.name == "forces_below_limit"]
    assert (
        rule.described(QualityLimits(max_gradient=0.5))
        == "no component of the gradient is larger than 0.5 Eh/bohr"
    )
    assert all(
        rule.described(QualityLimits()) and "{" not in rule.described(QualityLimits())
        for rule in QUALITY_RULES
    )


def test_an_energy_near_its_like_is_good_however_narrow_their_spread() -> None:
    assert verdicts(measured(deviation=Deviation(500.0, 0.049)))["energy_in_range"].passed
    assert verdicts(measured(deviation=Deviation(7.9, 12.0)))["energy_in_range"].passed


@given(st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=40), st.integers(-6, 6), st.integers(0, 9))
def test_parity_is_that_of_the_electrons(symbols: list[str], charge: int, unpaired: int) -> None:
    electrons = sum(SYMBOLS.index(symbol) + 1 for symbol in symbols) - charge
    one = Measured(composition_of(";".join(symbols)), charge, unpaired + 1, None, None)
    fits = electrons >= unpaired and (electrons - unpaired) % 2 == 0
    assert verdicts(one)["electron_parity"].passed is fits


@given(st.integers(1, 12), st.floats(0, 40))
def test_the_ideal_spin_is_that_of_the_multiplicity(multiplicity: int, s2: float) -> None:
    spin = (multiplicity - 1) / 2
    one = Measured(composition_of("O"), 0, multiplicity, None, None, {"s2": s2})
    assert one.spin_contamination == pytest.approx(abs(s2 - spin * (spin + 1)))
    assert one.spin_contamination is not None
    assert verdicts(one)["spin_contamination"].passed is (one.spin_contamination <= 0.5)

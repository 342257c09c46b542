"""The quality of a campaign's results, from outputs to what is kept of them."""

import json
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.attempts.engine import ORCA_NAME, STANDIN_NAME
from oact_dagster.attempts.result import result_of
from oact_dagster.intake.intake import take_in
from oact_dagster.ledger.by_hand import update_status
from oact_dagster.ledger.quality import QualityCounts
from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.states import NewStructure, Outcome, Result, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.orca.geometry import Geometry
from oact_dagster.orca.outputs.reader import read_evaluations, read_output
from oact_dagster.quality.measurements import composition_of
from oact_dagster.quality.rules import QUALITY_RULES, Severity
from oact_dagster.settings.campaign import Campaign, read_campaign
from oact_dagster.status.quality import (
    MODELS,
    Quality,
    RuleSummary,
    energy_model,
    evaluate,
    judge_one,
    judged_for,
)
from oact_dagster_tests.batches import batch
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.cli.command import oact
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.ledger.samples import claim, ending, quality_of, result, run, structure
from oact_dagster_tests.orca.outputs.made_outputs import optimisation, single_point
from oact_dagster_tests.quality.test_energies import REFERENCE, made

GOOD: dict[str, Any] = {
    "terminated_normally": True,
    "scf_converged": True,
    "charge": 0,
    "mult": 1,
    "bonds_before": 6,
    "bond_stretch": 1.0,
    "stretched_bond": "U1-O2",
    "metals_alone": 0,
}


def campaign_in(folder: Path, settings: str = "") -> Campaign:
    text = "name: test\ncsv: null\norca: {command: orca}\n" + settings
    (folder / "campaign.yaml").write_text(text)
    return read_campaign(text, folder / "campaign.yaml")


def even(symbols: list[str], charge: int) -> str:
    """Elements that can be a singlet."""
    nuclear = composition_of(";".join(symbols)).nuclear_charge
    assert nuclear is not None
    return ";".join([*symbols, "H"] if (nuclear - charge) % 2 else symbols)


def made_campaign(folder: Path, count: int = 200, **at: dict[str, Any]) -> tuple[Campaign, Ledger]:
    """Complexes with made energies; ``n5={...}`` changes the result of structure 5, ``off`` its energy, Eh."""
    campaign = campaign_in(folder)
    ledger = Ledger(campaign.ledger, create=True)
    chance = random.Random(3)
    structures, results = [], []
    for index, (composition, charge, _) in enumerate(made(count)):
        elements = even([s for s, n in composition.counts.items() for _ in range(n)], charge)
        natoms = elements.count(";") + 1
        structures.append(structure(index, elements=elements, natoms=natoms, charge=charge, multiplicity=1))
        energy = sum(REFERENCE[symbol] for symbol in elements.split(";"))
        energy += 0.3 * charge + 0.1 * charge**2 + chance.gauss(0, 0.003) * natoms
        changes = dict(at.get(f"n{index}", {}))
        energy += changes.pop("off", 0.0)
        results.append(result(**GOOD | {"charge": charge, "final_energy": energy} | changes))
    ledger.add_structures(structures)
    claims = claim(ledger, range(count), settings_hash=campaign.settings_hash())
    ledger.record(
        [ending(one.token, Outcome.COMPLETED, result=results[one.structure.orig_index]) for one in claims]
    )
    return campaign, ledger


def summary(quality: Quality, name: str) -> RuleSummary:
    [found] = [rule for rule in quality.rules if rule.name == name]
    return found


# --- what is measured when an attempt is recorded -------------------------------------------------------------


def measured(file: Path, geometry: str = "") -> Result:
    return result_of(read_output(file), file.parent, 3, 1.0, geometry)


def test_a_real_optimisation_of_uranyl(orca_outputs: Path) -> None:
    file = orca_outputs / "oact__UO2_opt_logs.out"
    first = read_evaluations(file)[0]
    assert first.symbols is not None and first.coordinates is not None
    found = measured(file, Geometry(first.symbols, first.coordinates).text())
    assert (found.terminated_normally, found.scf_converged, found.opt_converged) == (True, True, True)
    assert (found.energy_flag, found.charge, found.mult) == (None, 2, 1)
    # It began too long.
    assert (found.bonds_before, found.stretched_bond, found.metals_alone) == (2, "U1-O2", 0)
    assert found.bond_stretch == pytest.approx(0.839, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cclib-data__ORCA3.0__dvb_gopt_unconverged.out", (True, True, False, None)),
        ("cclib__basicORCA6.0__dvb_gopt.out", (True, True, True, None)),
        ("oact__NpF3_quacc_orca.out.gz", (True, True, None, None)),
        ("cclib-data__ORCA4.0__IrCl6_sp.out", (False, False, None, "(SCF not fully converged!)")),
        ("opi__failed_scf.out", (False, False, False, None)),
        (
            "arc__orca_wavefunction_not_converge_error.log",
            (False, False, None, "(Wavefunction not fully converged!)"),
        ),
    ],
)
def test_real_outputs(orca_outputs: Path, name: str, expected: tuple[Any, ...]) -> None:
    found = measured(orca_outputs / name)
    told = (found.terminated_normally, found.scf_converged, found.opt_converged, found.energy_flag)
    assert told == expected
    assert found.bond_stretch is None, "no geometry to compare with"


def test_a_ligand_that_left_in_an_optimisation(tmp_path: Path) -> None:
    file = tmp_path / "orca.out"
    file.write_text(optimisation())
    found = measured(file, "U 0 0 0\nO 0 0 1.0\nO 0 0 -1.2\n")
    assert (found.bonds_before, found.stretched_bond) == (2, "U1-O2")
    assert found.bond_stretch == pytest.approx(1.73)
    for geometry in ("U 0 0 0\nO 0 0 1.0", "O 0 0 1.0\nU 0 0 0\nO 0 0 -1", "nonsense"):
        assert measured(file, geometry).bond_stretch is None, "these are other atoms"


def test_an_energy_that_is_marked(tmp_path: Path) -> None:
    file = tmp_path / "orca.out"
    file.write_text(single_point(flag="(SCF not fully converged!)"))
    found = measured(file)
    assert (found.scf_converged, found.energy_flag) == (False, "(SCF not fully converged!)")


def test_what_an_attempt_leaves_is_judged_by_a_run(tmp_path: Path) -> None:
    engine = TestEngine(tmp_path)
    campaign = write_campaign(tmp_path / "c", 3, engine.path)
    with Ledger(campaign.ledger, create=True) as ledger:
        take_in(campaign, ledger)
        list(batch(campaign, ledger, [0, 1]))
        quality = evaluate(campaign, ledger)
        assert (quality.judged, quality.failed) == (2, {})
        checked = {rule.name: rule.checked for rule in quality.rules}
        assert checked["scf_converged"] == checked["forces_below_limit"] == checked["electron_parity"] == 2
        assert checked["metal_bound"] == checked["optimization_converged"] == 0
        assert ledger.history.good_attempts([0])[0].result["convergence"] == {}


# --- all results ----------------------------------------------------------------------------------------------


def test_one_wrong_energy_among_two_hundred(tmp_path: Path) -> None:
    campaign, ledger = made_campaign(tmp_path, n41={"off": 5.0})
    with ledger:
        quality = evaluate(campaign, ledger)
        assert quality.judged == 200
        assert quality.failed == {41: ("energy_in_range",)}
        found = summary(quality, "energy_in_range")
        assert (found.failed, found.severity) == (1, Severity.WARNING) and found.checked > 190
        [(index, text)] = found.worst
        assert (
            index == 41
            and "Eh above that of similar structures" in text
            and "(limits 8, and 0.05 Eh)" in text
        )
        off = campaign_in(tmp_path, "quality: {max_energy_deviation: null}\n")
        quiet = evaluate(off, ledger)
        assert quiet.failed == {} and quiet.models == {}
        assert "energy_in_range" not in {rule.name for rule in quiet.rules}


def test_each_rule_counts_and_shows_the_worst_first(tmp_path: Path) -> None:
    bad: dict[str, dict[str, Any]] = {f"n{n}": {"max_forces": 1.0 + n} for n in range(15)}
    bad["n20"] = {"scf_converged": False, "bond_stretch": 2.0}
    bad["n21"] = {"terminated_normally": None, "scf_converged": None, "bond_stretch": None}
    bad["n22"] = {"s2": 1.75}
    campaign, ledger = made_campaign(tmp_path, 30, **bad)
    with ledger:
        quality = evaluate(campaign, ledger)
    forces = summary(quality, "forces_below_limit")
    assert (forces.checked, forces.failed) == (30, 15)
    assert [index for index, _ in forces.worst] == [14, 13, 12, 11, 10, 9, 8, 7, 6, 5]
    assert forces.worst[0][1] == "largest gradient component 15 Eh/bohr (limit 0.97 Eh/bohr)"
    assert quality.failed[20] == ("scf_converged", "metal_bound")
    assert quality.failed.keys() == {*range(15), 20, 22}
    assert summary(quality, "scf_converged").checked == summary(quality, "metal_bound").checked == 29
    assert summary(quality, "spin_contamination").checked == 1
    assert [rule.name for rule in quality.rules] == [
        *(rule.name for rule in QUALITY_RULES), "one_orca_version", "one_level_of_theory",
    ]  # fmt: skip


def test_equal_ones_are_shown_in_the_order_of_the_csv(tmp_path: Path) -> None:
    campaign, ledger = made_campaign(tmp_path, 15, **{f"n{n}": {"scf_converged": False} for n in range(15)})
    with ledger:
        worst = summary(evaluate(campaign, ledger), "scf_converged").worst
    assert worst == tuple((n, "SCF not converged") for n in range(10))


def test_a_mixture_of_versions_and_settings(tmp_path: Path) -> None:
    at: dict[str, dict[str, Any]] = {f"n{n}": {"engine_version": "6.0.1"} for n in (3, 7)}
    campaign, ledger = made_campaign(tmp_path, 10, **at)
    with ledger:
        alike = evaluate(campaign, ledger)
        assert summary(alike, "one_level_of_theory").failed == 0
        found = summary(alike, "one_orca_version")
        assert (found.checked, found.failed, alike.failed) == (10, 2, {})
        assert found.worst == (
            (0, "8 results from ORCA 6.1.0, of which this is the first"),
            (3, "2 results from ORCA 6.0.1, of which this is the first"),
        )
        other = campaign_in(tmp_path).model_copy(
            update={"orca": campaign.orca.model_copy(update={"functional": "PBE"})}
        )
        level = summary(evaluate(other, ledger), "one_level_of_theory")
        assert (level.checked, level.failed) == (10, 10)
        assert level.worst == (
            (
                0,
                f"10 results from ORCA with the settings {campaign.settings_hash()}, of which this is the first",
            ),
        )
        assert other.settings_hash() in level.description


def test_the_energies_of_two_engines_are_not_compared(tmp_path: Path) -> None:
    at: dict[str, dict[str, Any]] = {
        f"n{n}": {"engine": STANDIN_NAME, "engine_version": "format of 6.1.0", "off": 400.0}
        for n in range(0, 300, 2)
    }
    campaign, ledger = made_campaign(tmp_path, 300, **at)
    with ledger:
        quality = evaluate(campaign, ledger, store=True)
        assert quality.failed == {}
        assert quality.models.keys() == {ORCA_NAME, STANDIN_NAME}
        assert summary(quality, "one_level_of_theory").failed == 150
        assert summary(quality, "one_orca_version").checked == 150
        for engine in quality.models:
            assert energy_model(ledger, engine) == quality.models[engine]
        assert energy_model(ledger, None) is None


# --- what is kept ----------------------------------------------------------------------------------------------


def test_nothing_is_written_unless_that_is_asked_for(tmp_path: Path) -> None:
    campaign, ledger = made_campaign(tmp_path, 30, n4={"scf_converged": False})
    with ledger:
        before = ledger.file.connection.total_changes
        evaluate(campaign, ledger)
        assert ledger.file.connection.total_changes == before
        found = evaluate(campaign, ledger, store=True)
        assert ledger.quality.counts() == QualityCounts(30, 1, {"scf_converged": 1})
        assert quality_of(ledger, [4])[4].judged_for == judged_for(campaign) == found.judged_for
        before = ledger.file.connection.total_changes
        assert evaluate(campaign, ledger, store=True) == found
        assert ledger.file.connection.total_changes == before, "nothing differs"
    with open_reader(campaign.ledger) as reader:
        assert evaluate(campaign, reader) == found
        with pytest.raises(ValueError, match="open for writing"):
            evaluate(campaign, reader, store=True)


def test_other_limits_judge_anew(tmp_path: Path) -> None:
    campaign, ledger = made_campaign(tmp_path, 12, n4={"max_forces": 0.5})
    with ledger:
        evaluate(campaign, ledger, store=True)
        assert ledger.quality.counts().failed == 0
        strict = campaign_in(tmp_path, "quality: {max_gradient: 0.1}\n")
        assert evaluate(strict, ledger, store=True).failed == {4: ("forces_below_limit",)}
        assert ledger.quality.counts() == QualityCounts(12, 1, {"forces_below_limit": 1})
        assert {one.judged_for for one in quality_of(ledger, range(12)).values()} == {judged_for(strict)}
        # A structure that is run again is judged again.
        update_status(ledger, 5, Status.TO_RUN)
        run(ledger, 4, Outcome.COMPLETED)
        assert ledger.quality.counts() == QualityCounts(11, 0, {})
        evaluate(strict, ledger, store=True)
        assert quality_of(ledger, [4])[4].attempt == 2


def test_one_structure_is_judged_as_among_all(tmp_path: Path) -> None:
    campaign, ledger = made_campaign(
        tmp_path, 200, n41={"off": -3.0}, n8={"s2": 2.0, "bond_stretch": 1.6}, n9={"max_forces": 2.0}
    )
    with ledger:
        quality = evaluate(campaign, ledger, store=True)
        assert quality.failed == {
            8: ("spin_contamination", "metal_bound"), 9: ("forces_below_limit",), 41: ("energy_in_range",),
        }  # fmt: skip
        model = energy_model(ledger, ORCA_NAME)
        attempts = ledger.history.good_attempts(range(200))
        shown = {index: text for rule in quality.rules for index, text in rule.worst}
        judged = 0
        for index, one in ledger.structures.of(range(200)).items():
            verdicts = judge_one(campaign, one, attempts[index].result, model)
            assert tuple(v.rule for v in verdicts if v.passed is False) == quality.failed.get(index, ())
            judged += sum(v.passed is not None for v in verdicts)
            assert shown.get(index, verdicts[-1].text) in {v.text for v in verdicts}
        assert judged == sum(rule.checked for rule in quality.rules[:-2])
        # A result that was just made, before it is in the ledger.
        fresh = Result(**{**attempts[8].result})
        one = ledger.structures.of([8])[8]
        assert judge_one(campaign, one, fresh, model) == judge_one(campaign, one, asdict(fresh), model)
        [unjudged] = [
            v for v in judge_one(campaign, one, replace(fresh, s2=None)) if v.rule == "energy_in_range"
        ]
        assert unjudged.passed is None


@pytest.mark.parametrize("kept", ["", "[]", "{", '{"ORCA": 3}', '{"ORCA": {"n": 4}}', "null"])
def test_a_model_that_cannot_be_read_is_none(tmp_path: Path, kept: str) -> None:
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        ledger.set_meta(MODELS.key, kept)
        assert energy_model(ledger, ORCA_NAME) is None


def test_results_of_older_versions_and_of_other_tools(tmp_path: Path) -> None:
    campaign, ledger = made_campaign(tmp_path, 4)
    with ledger:
        db = ledger.file.connection
        db.execute(
            'UPDATE attempts SET result = \'{"final_energy": -1.0, "engine": "ORCA"}\' WHERE structure_id = 1'
        )
        db.execute("UPDATE attempts SET result = NULL, engine = NULL WHERE structure_id = 2")
        db.execute("UPDATE attempts SET result = 'no JSON' WHERE structure_id = 3")
        db.execute("DELETE FROM attempts WHERE structure_id = 4")
        db.execute("UPDATE structures SET elements = 'Xx;C' WHERE id = 4")
        quality = evaluate(campaign, ledger, store=True)
        assert (quality.judged, quality.failed) == (4, {})
        checked = {rule.name: rule.checked for rule in quality.rules}
        assert (checked["forces_below_limit"], checked["scf_converged"], checked["electron_parity"]) == (
            4,
            0,
            3,
        )
        assert {index: kept.attempt for index, kept in quality_of(ledger, range(4)).items()} == {
            0: 1,
            1: 1,
            2: 1,
            3: 0,
        }


def test_an_empty_ledger(tmp_path: Path) -> None:
    campaign = campaign_in(tmp_path)
    with Ledger(campaign.ledger, create=True) as ledger:
        ledger.add_structures([NewStructure(0, "U", 1, 0, 1, "U 0 0 0", "row", "calculation", {})])
        quality = evaluate(campaign, ledger, store=True)
        assert (quality.judged, quality.failed, quality.models) == (0, {}, {})
        assert all((rule.checked, rule.failed, rule.worst) == (0, 0, ()) for rule in quality.rules)


def test_the_dashboard_tells_how_many_fail(tmp_path: Path) -> None:
    campaign, ledger = made_campaign(tmp_path, 12, n4={"scf_converged": False}, n5={"max_forces": 3.0})
    with ledger:
        assert "quality" not in oact("dashboard", campaign.ledger).stdout
        assert json.loads(oact("dashboard", campaign.ledger, "--json").stdout)["quality"] is None
        evaluate(campaign, ledger, store=True)
    line = "2 of 12 results fail a quality check (forces_below_limit: 1, scf_converged: 1)\n"
    assert line in oact("dashboard", campaign.ledger).stdout
    assert json.loads(oact("dashboard", campaign.ledger, "--json").stdout)["quality"] == {
        "judged": 12, "failed": 2, "failed_by_rule": {"forces_below_limit": 1, "scf_converged": 1},
    }  # fmt: skip

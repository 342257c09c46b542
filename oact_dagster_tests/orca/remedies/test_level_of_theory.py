"""No step of any ladder changes what is computed: the inputs of all of them, line by line."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.inputs.keywords import _contradiction
from oact_dagster.orca.inputs.writer import InputSettings, check_settings, input_hash, render_input
from oact_dagster.orca.remedies.ladders import NO_SCF_AT_FAULT
from oact_dagster.orca.remedies.next_input import (
    DEFAULT_LADDERS,
    STEPS,
    AttemptEvidence,
    Leftovers,
    PastAttempt,
    Plan,
    ResourceLimits,
    Stop,
    check_ladders,
    next_input,
)
from oact_dagster.orca.structure import Structure

F = FailureClass
URANYL = parse_geometry("U 0 0 0\nO 0 0 1.76\nO 0 0 -1.76")
LEFT = Leftovers(Path("/jobs/1/orca.gbw"), parse_geometry("U 0 0 0\nO 0 0 1.72\nO 0 0 -1.72"))

TEMPLATES = {
    "omol": {},
    "x2c": {"simple_input": "x2c", "actinide_basis": "SARC-DKH-TZVP", "non_actinide_basis": "x2c-TZVPall"},
    "dk3": {"simple_input": "dk3", "actinide_basis": "SARC-DKH-TZVP", "non_actinide_basis": "DKH-def2-TZVP"},
}
KINDS = {
    "closed shell": (Structure(URANYL, 2, 0), {}),
    "open shell": (Structure(URANYL, 2, 2), {}),
    "broken singlet": (Structure(URANYL, 2, 0), {"uks_singlet": True}),
    "kdiis": (Structure(URANYL, 2, 0), {"kdiis": True}),
    "optimisation": (Structure(URANYL, 2, 0), {"opt": True}),
}
FAILURES = {
    F.OUT_OF_MEMORY: AttemptEvidence(memory_asked_mb=9000),
    F.ABORTED: AttemptEvidence(error_in="GTOInt"),
}
# All that may differ from the plain input, besides the words below.
LINES_GONE = re.compile(r"! .*|  maxiter \d+|  nprocs \d+|%maxcore \d+|  Guess PModel|  rotate \{.*")
LINES_NEW = re.compile(r'! .*|  maxiter \d+|  nprocs \d+|%maxcore \d+|%moinp "restart.gbw"')
WORDS_GONE = {"NormalConv", "DIIS", "KDIIS", "NOSOSCF", "NoTRAH"}
WORDS_NEW = {"SlowConv", "VerySlowConv", "KDIIS", "SOSCF", "TRAH", "MORead"}


def demand_only_what_helps_differs(base, structure, plan):
    changed = plan.settings(base)
    check_settings(changed, structure.elements)
    plain, text = (render_input(structure, each).splitlines() for each in (base, changed))
    gone, new = set(plain) - set(text), set(text) - set(plain)
    assert all(LINES_GONE.fullmatch(line) for line in gone), gone
    assert all(LINES_NEW.fullmatch(line) for line in new), new
    # What stays, stays in its order.
    assert [line for line in plain if line not in gone] == [line for line in text if line not in new]
    (first,), (second,) = ([line.split() for line in lines if line[0] == "!"] for lines in (plain, text))
    assert set(first) - set(second) <= WORDS_GONE
    assert set(second) - set(first) <= WORDS_NEW
    assert _contradiction(second) is None
    assert len(text) == len(set(text)) + text.count("end") - 1
    scf = "\n".join(text[text.index("%scf") : text.index("%elprop")])
    assert scf.startswith("%scf\n  Convergence Tight\n  maxiter ")
    assert "THRESH 1e-12\n  TCUT 1e-13" in scf
    # An input either guesses or reads, and rotates only what it guessed.
    reads = "MORead" in second
    assert reads == plan.from_orbitals == ('%moinp "restart.gbw"' in text)
    if reads:
        assert "Guess" not in scf
        assert "rotate" not in scf
    else:
        assert ("Guess" in scf) == (base.simple_input == "omol")
        assert ("rotate" in scf) == base.uks_singlet
    return text


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_step_of_every_ladder(template, kind):
    structure, changes = KINDS[kind]
    base = InputSettings(**TEMPLATES[template], **changes)
    everything = check_ladders(
        {F.SCF_NOT_CONVERGED: ["restart", "slowconv", "veryslowconv", "kdiis", "soscf", "trah"]}
    )
    seen = set()
    for failure in F:
        evidence = FAILURES.get(failure, AttemptEvidence(near_convergence=True))
        for left in (LEFT, Leftovers()):
            for limits in (
                ResourceLimits(memory_mb=24_000, time_limit_s=7200.0),
                ResourceLimits(20_000, 3600.0),
            ):
                attempts = [PastAttempt(failure, Plan(), evidence)]
                for _ in range(8):
                    plan = next_input(
                        base,
                        structure,
                        attempts,
                        left=left,
                        limits=limits,
                        ladders=everything,
                        time_limit_s=3600.0,
                    )
                    if isinstance(plan, Stop):
                        break
                    demand_only_what_helps_differs(base, structure, plan)
                    seen.add(plan.remedy)
                    attempts.append(PastAttempt(failure, plan, evidence))
    missing = set(STEPS) - seen
    allowed = {"soscf"} if kind in ("open shell", "broken singlet") else set()
    allowed |= {"kdiis"} if kind == "kdiis" else set()
    allowed |= {"continue_geometry"} if kind != "optimisation" else set()
    assert missing == allowed


def test_what_only_changes_the_cost_leaves_the_version_of_the_data():
    structure, base = KINDS["closed shell"][0], InputSettings()
    plain = input_hash(render_input(structure, base))
    for plan in (Plan(maxcore=9000), Plan(n_cores=1), Plan(time_limit_s=1.0)):
        assert input_hash(render_input(structure, plan.settings(base))) == plain
    for plan in (Plan(from_orbitals=True), Plan(scf_maxiter=1000)):
        assert input_hash(render_input(structure, plan.settings(base))) != plain


ANY_EVIDENCE = st.builds(
    AttemptEvidence,
    near_convergence=st.sampled_from([None, False, True]),
    memory_asked_mb=st.none() | st.integers(1, 50_000),
    error_in=st.sampled_from([None, "GTOInt", "SCF"]),
)
ANY_LADDERS = st.dictionaries(
    st.sampled_from(
        [each for each in F if each is not F.UNPHYSICAL and each.facts.fault not in NO_SCF_AT_FAULT]
    ),
    st.lists(st.sampled_from(sorted(STEPS)), max_size=6),
    max_size=4,
)


@given_settings(max_examples=300, deadline=None)
@given(
    template=st.sampled_from(sorted(TEMPLATES)),
    kind=st.sampled_from(sorted(KINDS)),
    history=st.lists(st.tuples(st.none() | st.sampled_from(list(F)), ANY_EVIDENCE), min_size=1, max_size=12),
    left=st.sampled_from([LEFT, Leftovers(), Leftovers(gbw=LEFT.gbw), Leftovers(geometry=LEFT.geometry)]),
    limits=st.builds(
        ResourceLimits,
        st.none() | st.integers(500, 400_000),
        st.none() | st.floats(600.0, 1e6, allow_nan=False),
    ),
    ladders=st.just({}) | ANY_LADDERS,
)
def test_any_history_of_failures_gives_a_plan_that_keeps_the_level_of_theory_or_a_stop(
    template, kind, history, left, limits, ladders
):
    structure, changes = KINDS[kind]
    base = InputSettings(**TEMPLATES[template], **changes)
    attempts, plan = [], Plan()
    for failure, evidence in history:
        attempts.append(PastAttempt(failure, plan, evidence))
        plan = next_input(
            base,
            structure,
            attempts,
            left=left,
            limits=limits,
            ladders=check_ladders(ladders),
            time_limit_s=3600.0,
        )
        if isinstance(plan, Stop):
            assert len(plan.reason.splitlines()) == 1
            assert plan.reason.startswith(str(failure or F.ABORTED))
            return
        assert plan.remedy in check_ladders(ladders)[failure or F.ABORTED]
        assert not plan.from_orbitals or left.gbw
        assert not plan.from_geometry or (left.geometry and base.opt)
        if failure is F.UNPHYSICAL:
            assert not plan.from_orbitals
            assert not plan.from_geometry
        if plan.n_cores is not None and limits.memory_mb is not None:
            assert 1 <= plan.n_cores <= base.n_cores
        assert (
            plan.time_limit_s is None
            or limits.time_limit_s is None
            or plan.time_limit_s <= limits.time_limit_s
        )
        assert Plan.from_json(plan.to_json()) == plan
        demand_only_what_helps_differs(base, structure, plan)


@pytest.mark.parametrize("failure", sorted(set(F) - {F.LOST, F.OUT_OF_MEMORY, F.TIMEOUT}))
def test_every_ladder_ends(failure):
    attempts = [PastAttempt(F(failure), Plan(), AttemptEvidence(near_convergence=True))]
    while not isinstance(
        plan := next_input(
            InputSettings(opt=True), KINDS["closed shell"][0], attempts, left=LEFT, time_limit_s=9.0
        ),
        Stop,
    ):
        attempts.append(PastAttempt(F(failure), plan, AttemptEvidence(near_convergence=True)))
    assert len(attempts) == 1 + {F.ABORTED: 1}.get(F(failure), len(DEFAULT_LADDERS[F(failure)]))

"""Each ladder of remedies, step by step."""

from dataclasses import replace
from pathlib import Path

import pytest

from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.inputs.scf_method import ScfMethod
from oact_dagster.orca.inputs.writer import InputSettings, maxcore_of
from oact_dagster.orca.remedies.next_input import (
    DEFAULT_LADDERS,
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
URANYL = Structure(parse_geometry("U 0 0 0\nO 0 0 1.76\nO 0 0 -1.76"), 2, 0)
OPEN = Structure(URANYL.geometry, 2, 2)
MOVED = parse_geometry("U 0 0 0\nO 0 0 1.72\nO 0 0 -1.72")
GBW = Leftovers(gbw=Path("/jobs/job_1/orca.gbw"))
BOTH = Leftovers(gbw=GBW.gbw, geometry=MOVED)
NEAR = AttemptEvidence(near_convergence=True)
FAR = AttemptEvidence(near_convergence=False)
HOUR = 3600.0


def following(attempts, *, base=None, structure=URANYL, limit=HOUR, **rest):
    return next_input(base or InputSettings(), structure, attempts, time_limit_s=limit, **rest)


def climb(failure, *, steps=20, evidence=FAR, **rest):
    """Fail with the same class until a stop; return the plans and the stop."""
    attempts, plans = [PastAttempt(failure, Plan(), evidence)], []
    for _ in range(steps):
        plan = following(attempts, **rest)
        if isinstance(plan, Stop):
            assert len(plan.reason.splitlines()) == 1
            return plans, plan
        plans.append(plan)
        attempts.append(PastAttempt(failure, plan, evidence))
    return plans, None


def names(plans):
    return [plan.remedy for plan in plans]


def test_without_an_attempt_the_plan_is_plain():
    assert following([]) == Plan()
    assert Plan().settings(InputSettings()) == InputSettings()


def test_scf_far_from_convergence():
    plans, stop = climb(F.SCF_NOT_CONVERGED, left=GBW)
    assert plans == [
        Plan("slowconv", scf=ScfMethod(damping="SlowConv")),
        Plan("kdiis", scf=ScfMethod(accelerator="KDIIS")),
        Plan("soscf", scf=ScfMethod(soscf=True)),
        Plan("trah", scf=ScfMethod(accelerator="TRAH")),
    ]
    assert stop.reason == (
        "scf_not_converged after slowconv, kdiis, soscf, trah; "
        "look at the geometry, charge and uhf, or name more steps under remedies in campaign.yaml; "
        "restart: the SCF was not near convergence"
    )


def test_scf_near_convergence_restarts_with_twice_the_iterations():
    plans, _ = climb(F.SCF_NOT_CONVERGED, evidence=NEAR, left=GBW)
    assert names(plans) == ["restart", "slowconv", "kdiis", "soscf", "trah"]
    assert plans[0] == Plan("restart", scf_maxiter=1000, from_orbitals=True)
    assert plans[0].settings(InputSettings()).scf == ScfMethod(restart=True)
    # The next one begins afresh.
    assert plans[1] == Plan("slowconv", scf=ScfMethod(damping="SlowConv"))
    own = climb(F.SCF_NOT_CONVERGED, evidence=NEAR, left=GBW, base=InputSettings(scf_maxiter=80))[0]
    assert own[0].scf_maxiter == 160
    assert own[1].settings(InputSettings(scf_maxiter=80)).scf_maxiter == 80


def test_a_restart_keeps_the_method_that_came_near():
    slow = Plan("slowconv", scf=ScfMethod(damping="SlowConv"))
    attempts = [PastAttempt(F.SCF_NOT_CONVERGED, Plan(), FAR), PastAttempt(F.SCF_NOT_CONVERGED, slow, NEAR)]
    plan = following(attempts, left=GBW)
    assert plan == replace(slow, remedy="restart", scf_maxiter=1000, from_orbitals=True)
    assert plan.settings(InputSettings()).scf == ScfMethod(damping="SlowConv", restart=True)


def test_scf_without_whole_orbitals_is_not_restarted():
    assert names(climb(F.SCF_NOT_CONVERGED, evidence=NEAR)[0])[0] == "slowconv"


@pytest.mark.parametrize(
    ("structure", "base"), [(OPEN, InputSettings()), (URANYL, InputSettings(uks_singlet=True))]
)
def test_soscf_is_for_closed_shells(structure, base):
    assert names(climb(F.SCF_NOT_CONVERGED, structure=structure, base=base)[0]) == [
        "slowconv",
        "kdiis",
        "trah",
    ]


def test_what_the_settings_have_already_is_left_out():
    plans, _ = climb(F.SCF_NOT_CONVERGED, base=InputSettings(kdiis=True))
    assert names(plans) == ["slowconv", "soscf", "trah"]
    assert plans[0].scf == ScfMethod(damping="SlowConv", accelerator="KDIIS")


def test_an_optimisation_whose_scf_failed_goes_on_from_its_last_geometry():
    plans, _ = climb(F.SCF_NOT_CONVERGED, base=InputSettings(opt=True), left=BOTH)
    assert names(plans) == ["slowconv", "kdiis", "soscf", "trah"]
    assert all(plan.from_geometry and not plan.from_orbitals for plan in plans)
    plans, _ = climb(F.SCF_NOT_CONVERGED, left=BOTH)
    assert not any(plan.from_geometry for plan in plans)


@pytest.mark.parametrize(
    ("line", "left_out"),
    [
        ("%scf AutoTRAH true end", ["slowconv", "kdiis", "soscf", "trah"]),
        ('%moinp "mine.gbw"', ["restart"]),
        ("%scf Guess = PAtom end", ["restart"]),
        ("%geom maxiter 300 end", []),
    ],
)
def test_a_step_that_contradicts_the_users_own_lines_is_left_out(line, left_out):
    plans, stop = climb(F.SCF_NOT_CONVERGED, evidence=NEAR, left=GBW, base=InputSettings(extra_lines=(line,)))
    ladder = DEFAULT_LADDERS[F.SCF_NOT_CONVERGED]
    assert names(plans) == [name for name in ladder if name not in left_out]
    assert all(f"{name}: the extra line" in stop.reason for name in left_out)


def test_unphysical_begins_afresh():
    base = InputSettings(opt=True)
    plans, stop = climb(F.UNPHYSICAL, evidence=NEAR, left=BOTH, base=base)
    assert names(plans) == ["slowconv", "kdiis", "soscf", "trah"]
    assert not any(plan.from_orbitals or plan.from_geometry or plan.scf_maxiter for plan in plans)
    assert "bases" in stop.reason
    # Also what an earlier attempt began with.
    continued = Plan("continue_geometry", from_orbitals=True, from_geometry=True)
    attempts = [PastAttempt(F.OPT_NOT_CONVERGED, Plan()), PastAttempt(F.UNPHYSICAL, continued)]
    assert following(attempts, left=BOTH, base=base) == plans[0]
    again = check_ladders({"unphysical": ["again"]})
    assert following(attempts, left=BOTH, base=base, ladders=again) == Plan("again")


def test_no_method_is_tried_twice_from_the_same_start():
    slow = Plan("slowconv", scf=ScfMethod(damping="SlowConv"))
    attempts = [PastAttempt(F.SCF_NOT_CONVERGED, Plan(), FAR), PastAttempt(F.UNPHYSICAL, slow)]
    assert following(attempts).remedy == "kdiis"


def test_an_optimisation_that_did_not_converge_goes_on_twice():
    base = InputSettings(opt=True)
    plans, stop = climb(F.OPT_NOT_CONVERGED, base=base, left=BOTH)
    assert plans == [Plan("continue_geometry", from_orbitals=True, from_geometry=True)] * 2
    assert stop.reason.startswith("opt_not_converged after continue_geometry 2 times; look at the geometry")
    only_geometry = Leftovers(geometry=MOVED)
    assert (
        climb(F.OPT_NOT_CONVERGED, base=base, left=only_geometry)[0]
        == [Plan("continue_geometry", from_geometry=True)] * 2
    )
    plans, stop = climb(F.OPT_NOT_CONVERGED, base=base, left=GBW)
    assert plans == []
    assert "continue_geometry: no geometry with a gradient is left" in stop.reason


def test_memory_by_orcas_own_number():
    attempt = PastAttempt(F.OUT_OF_MEMORY, Plan(), AttemptEvidence(memory_asked_mb=2600), maxcore=2000)
    assert following([attempt]) == Plan("more_memory", maxcore=3100)
    # What it has is what it asks for: its number is not all that it needs.
    attempt = PastAttempt(F.OUT_OF_MEMORY, Plan(), AttemptEvidence(memory_asked_mb=289), maxcore=2000)
    assert following([attempt]) == Plan("more_memory", maxcore=3000)


def test_memory_without_a_number_grows_by_half():
    assert maxcore_of(URANYL, InputSettings()) == 2000
    plans, _ = climb(F.OUT_OF_MEMORY, steps=3)
    assert [(plan.remedy, plan.maxcore, plan.n_cores) for plan in plans] == [
        ("more_memory", 3000, None),
        ("more_memory", 4500, None),
        ("more_memory", 6750, None),
    ]
    assert climb(F.OUT_OF_MEMORY, steps=1, base=InputSettings(maxcore=1001))[0][0].maxcore == 1502


def test_memory_at_the_nodes_limit():
    plans, stop = climb(F.OUT_OF_MEMORY, limits=ResourceLimits(memory_mb=10_000))
    assert [(plan.remedy, plan.maxcore, plan.n_cores) for plan in plans] == [
        ("fewer_processes", 3000, 3),
        ("fewer_processes", 4500, 2),
        ("fewer_processes", 6750, 1),
    ]
    assert stop.reason == (
        "out_of_memory after fewer_processes 3 times; use nodes with more memory; "
        "more_memory: one process needs 10125 MB, but the node has 10000 MB; "
        "fewer_processes: one process needs 10125 MB, but the node has 10000 MB"
    )


def test_what_an_attempt_really_had_counts():
    attempt = PastAttempt(F.OUT_OF_MEMORY, Plan(), maxcore=4000, n_cores=2)
    assert following([attempt], limits=ResourceLimits(memory_mb=12_000)) == Plan("more_memory", maxcore=6000)
    timed = PastAttempt(F.TIMEOUT, Plan(), time_limit_s=2 * HOUR)
    assert following([timed]) == Plan("longer_limit", time_limit_s=4 * HOUR)


def test_other_axes_stay():
    slow = Plan("slowconv", scf=ScfMethod(damping="SlowConv"), time_limit_s=7200.0)
    attempts = [PastAttempt(F.SCF_NOT_CONVERGED, Plan()), PastAttempt(F.OUT_OF_MEMORY, slow)]
    more = following(attempts)
    assert more == replace(slow, remedy="more_memory", maxcore=3000)
    attempts.append(PastAttempt(F.LOST, more))
    assert following(attempts) == replace(more, remedy="again")
    attempts.append(PastAttempt(F.SCF_NOT_CONVERGED, replace(more, remedy="again")))
    assert following(attempts) == replace(more, remedy="kdiis", scf=ScfMethod(accelerator="KDIIS"))


def test_timeout_doubles_up_to_the_queues_limit():
    plans, stop = climb(F.TIMEOUT, limits=ResourceLimits(time_limit_s=5 * HOUR))
    assert [(plan.remedy, plan.time_limit_s) for plan in plans] == [
        ("longer_limit", 2 * HOUR),
        ("longer_limit", 4 * HOUR),
        ("longer_limit", 5 * HOUR),
    ]
    assert stop.reason == (
        "timeout after longer_limit 3 times; the same attempt would only time out again: use more n_cores, or a queue "
        "with a longer limit; longer_limit: the limit of 5 h is already the longest; "
        "restart_in_limit: nothing is left to start from"
    )


def test_timeout_starts_from_what_is_left():
    plans, stop = climb(
        F.TIMEOUT, limits=ResourceLimits(time_limit_s=2 * HOUR), left=BOTH, base=InputSettings(opt=True)
    )
    longer = Plan("longer_limit", time_limit_s=2 * HOUR, from_orbitals=True, from_geometry=True)
    assert plans == [longer, *[replace(longer, remedy="restart_in_limit")] * 2]
    assert isinstance(stop, Stop)
    plans, _ = climb(F.TIMEOUT, limits=ResourceLimits(time_limit_s=2 * HOUR), left=BOTH)
    assert plans[0] == replace(longer, from_geometry=False)
    # At the limit from the beginning.
    plans, _ = climb(F.TIMEOUT, limits=ResourceLimits(time_limit_s=HOUR), left=GBW)
    assert plans == [Plan("restart_in_limit", from_orbitals=True)] * 2


@pytest.mark.parametrize("failure", [F.INPUT_ERROR, F.INPUT_REFUSED])
def test_a_wrong_input_stops_with_its_message(failure):
    attempt = PastAttempt(failure, Plan(), message=f"{failure}: no basis\nfor Uuo " + "x" * 500)
    stop = following([attempt])
    assert stop.reason.startswith(f"{failure}; change the settings; no basis for Uuo xxx")
    assert len(stop.reason) < 300


@pytest.mark.parametrize(
    ("failure", "message", "advice"),
    [
        (
            F.INPUT_REFUSED,
            "uhf 1 does not fit UO2 with charge +2: 106 electrons need",
            "look at the row's charge and uhf",
        ),
        (
            F.INPUT_REFUSED,
            "U with charge +33 and uhf 1 has only -1 electrons",
            "look at the row's charge and uhf",
        ),
        (F.INPUT_REFUSED, "charge is 0.5; expected a whole number", "look at the row's charge and uhf"),
        (F.INPUT_REFUSED, "atoms 1 (H) and 2 (H) are 0.100 Å apart; expected", "look at the row's geometry"),
        (F.INPUT_REFUSED, "line 1 has the unknown element 'Uuo'; expected", "look at the row's geometry"),
        (F.INPUT_REFUSED, "the geometry is empty; expected lines", "look at the row's geometry"),
        (F.INPUT_REFUSED, "x2c has no default basis for U; for actinide_basis use", "change the settings"),
        (
            F.INPUT_REFUSED,
            "uks_singlet needs to know how many electrons the core potentials of I2 with charge +0 and uhf 0 replace",
            "change the settings",
        ),
        (F.INPUT_ERROR, "Error : multiplicity (2) is even and number of", "look at the row's charge and uhf"),
        (F.INPUT_ERROR, "UNRECOGNIZED OR DUPLICATED KEYWORD(S): WB97MV", "change the settings"),
    ],
)
def test_a_fault_of_the_data_is_not_one_of_the_settings(failure, message, advice):
    stop = following([PastAttempt(failure, Plan(), message=message)])
    assert stop.reason == f"{failure}; {advice}; {message}"


def test_what_helps_stands_in_the_first_160_characters():
    for failure in F:
        for evidence in (FAR, NEAR):
            _, stop = climb(failure, evidence=evidence, left=GBW, limits=ResourceLimits(4000, 2 * HOUR))
            if stop is not None:
                advice = next(part for part in stop.reason.split("; ")[1:] if ":" not in part[:20])
                assert stop.reason.index(advice) + len(advice) <= 160, stop.reason


def test_orbitals_of_the_users_own_bear_no_others():
    lines = ("! MORead", '%moinp "/orbitals/u.gbw"')
    single, optimised = (InputSettings(extra_lines=lines, opt=opt) for opt in (False, True))
    plans, stop = climb(F.TIMEOUT, limits=ResourceLimits(time_limit_s=2 * HOUR), left=GBW, base=single)
    assert plans == [Plan("longer_limit", time_limit_s=2 * HOUR)]
    assert "restart_in_limit: the extra line" in stop.reason
    plans, stop = climb(F.SCF_NOT_CONVERGED, evidence=NEAR, left=GBW, base=single)
    assert names(plans) == ["slowconv", "kdiis", "soscf", "trah"]
    assert "restart: the extra line" in stop.reason
    plans, _ = climb(F.OPT_NOT_CONVERGED, left=BOTH, base=optimised)
    assert plans == [Plan("continue_geometry", from_geometry=True)] * 2


@pytest.mark.parametrize(
    "failure", [F.DISK_FULL, F.MPI_ERROR, F.NOT_WRITTEN, F.TRUNCATED, F.NOT_STARTED, F.SETUP_FAILED]
)
def test_what_was_no_fault_of_the_input_is_tried_twice_more(failure):
    plans, stop = climb(failure)
    assert plans == [Plan("again")] * 2
    assert stop.reason.startswith(f"{failure} after again 2 times; ")


@pytest.mark.parametrize("failure", [F.ABORTED, None])
def test_an_abort_is_tried_once_more(failure):
    plans, stop = climb(failure)
    assert plans == [Plan("again")]
    assert stop.reason == (
        "aborted after again; look at the output; more_memory: nothing points to a lack of memory; "
        "fewer_processes: nothing points to a lack of memory"
    )


def test_an_abort_in_the_integrals_gets_more_memory_instead():
    evidence = AttemptEvidence(error_in="GTOInt")
    plans, stop = climb(F.ABORTED, evidence=evidence)
    assert plans == [Plan("more_memory", maxcore=3000)]
    assert "again: the integrals need more memory" in stop.reason
    plans, _ = climb(F.ABORTED, evidence=evidence, limits=ResourceLimits(memory_mb=10_000))
    assert plans == [Plan("fewer_processes", maxcore=3000, n_cores=3)]


def test_a_lost_attempt_is_repeated_as_often_as_its_budget_allows():
    plans, stop = climb(F.LOST, steps=30)
    assert plans == [Plan("again")] * 30
    assert stop is None


def test_a_lost_attempt_does_not_count_on_another_ladder():
    slow = Plan("slowconv", scf=ScfMethod(damping="SlowConv"))
    attempts = [
        PastAttempt(F.LOST, Plan()),
        PastAttempt(F.SCF_NOT_CONVERGED, Plan("again"), FAR),
        PastAttempt(F.LOST, slow),
        PastAttempt(F.ABORTED, replace(slow, remedy="again")),
    ]
    assert following(attempts) == replace(slow, remedy="again")


def test_a_start_that_is_no_longer_there_is_left_out():
    restarted = Plan("restart", scf_maxiter=1000, from_orbitals=True)
    attempts = [PastAttempt(F.SCF_NOT_CONVERGED, Plan(), NEAR), PastAttempt(F.LOST, restarted)]
    assert following(attempts, left=GBW) == replace(restarted, remedy="again")
    assert following(attempts) == replace(restarted, remedy="again", from_orbitals=False)


def test_a_ladder_of_the_campaigns_own():
    ladders = check_ladders({"scf_not_converged": ["trah", "veryslowconv", "trah"], "aborted": []})
    assert ladders[F.OUT_OF_MEMORY] == DEFAULT_LADDERS[F.OUT_OF_MEMORY]
    assert set(ladders) == set(F)
    plans, _ = climb(F.SCF_NOT_CONVERGED, ladders=ladders, left=BOTH, base=InputSettings(opt=True))
    assert names(plans) == ["trah", "veryslowconv", "trah"]
    # A single point would only repeat it.
    assert names(climb(F.SCF_NOT_CONVERGED, ladders=ladders)[0]) == ["trah", "veryslowconv"]
    assert following([PastAttempt(F.ABORTED, Plan())], ladders=ladders) == Stop("aborted; look at the output")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {"scf_not_convergd": []},
            "unknown failure class 'scf_not_convergd' (did you mean scf_not_converged?); expected one of scf_",
        ),
        (
            {"timeout": ["longer_limits"]},
            "unknown step 'longer_limits' on the ladder of timeout (did you mean longer_limit?); expected one of again",
        ),
        ({"timeout": "again"}, "the ladder of timeout is 'again'; expected a list of steps"),
        ({"timeout": [3]}, "unknown step 3 on the ladder of timeout; expected one of again"),
        (
            {"unphysical": ["restart"]},
            "restart on the ladder of unphysical would start from what an unphysical",
        ),
        *(
            (
                {failure: ["again", step]},
                f"{step} on the ladder of {failure} changes how the SCF converges, which cannot help",
            )
            for failure in ("lost", "disk_full", "mpi_error", "not_written", "not_started", "setup_failed")
            for step in ("slowconv", "trah")
        ),
        (
            {"input_error": ["kdiis"]},
            "kdiis on the ladder of input_error leaves the refused input as it is",
        ),
        (
            {"input_refused": ["again", "more_memory"]},
            "more_memory on the ladder of input_refused leaves the",
        ),
    ],
)
def test_a_ladder_that_cannot_be_one(raw, message):
    with pytest.raises(ValueError, match="expected") as error:
        check_ladders(raw)
    assert str(error.value).startswith(message)
    assert len(str(error.value).splitlines()) == 1


def test_another_way_to_convergence_may_help_where_an_scf_ran():
    for failure in ("timeout", "truncated", "aborted"):
        assert check_ladders({failure: ["slowconv", "trah"]})[F(failure)] == ("slowconv", "trah")


@pytest.mark.parametrize(
    "plan",
    [
        Plan(),
        Plan("restart", ScfMethod("SlowConv", "KDIIS", soscf=True, restart=True), 9, 8, 7, 6.5, True, True),
    ],
)
def test_a_plan_survives_json(plan):
    assert Plan.from_json(plan.to_json()) == plan
    raw = plan.to_json() | {"later": 1}
    if "scf" in raw:
        raw["scf"]["later"] = 2
    assert Plan.from_json(raw) == plan
    assert Plan().to_json() == {}


def test_evidence_survives_json():
    evidence = AttemptEvidence(near_convergence=False, memory_asked_mb=289, error_in="SCF", n_gradients=0)
    assert AttemptEvidence.from_json(evidence.to_json() | {"later": 1}) == evidence
    assert AttemptEvidence().to_json() == {}

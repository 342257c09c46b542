"""The verdict on every final state that Slurm 22.05 and Flux 0.88 were recorded to report."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.attempts.verdict import TABLE, Evidence, judge
from oact_dagster.ledger.states import Outcome
from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.outputs.reader import Output, read_output
from oact_dagster.schedulers.flux.states import job_state as flux_state
from oact_dagster.schedulers.jobs import Cause, JobState, Phase
from oact_dagster.schedulers.slurm.states import job_state as slurm_state
from oact_dagster_tests.attempts.test_verdict import (
    ABORTED,
    CANCELLED,
    CANCELLED_ROWS,
    COMPLETED,
    EXPECTED,
    LOST,
    NOT_STARTED,
    OUT_OF_MEMORY,
    OUTPUTS,
    SCF,
    TIMEOUT,
    TOKEN,
    TRUNCATED,
    record,
)

# What is recorded where the payload left no word and the output has no end.
SLURM = {
    # case: ((squeue's state and reason, exit code by scontrol), (sacct's state and exit code), class)
    "exit 0": (("COMPLETED", "None"), ("COMPLETED", "0:0"), LOST),
    "exit 7": (("FAILED", "NonZeroExitCode"), ("FAILED", "7:0"), LOST),
    "SIGSEGV": (("FAILED", "JobLaunchFailure"), ("FAILED", "0:11"), LOST),
    "bad log or work folder": (("FAILED", "JobLaunchFailure"), ("FAILED", "0:53"), LOST),
    "limit, TERM trapped": (("TIMEOUT", "TimeLimit"), ("TIMEOUT", "15:0"), TIMEOUT),
    "limit, trap exits 0": (("TIMEOUT", "TimeLimit"), ("TIMEOUT", "0:0"), TIMEOUT),
    "limit, TERM ignored": (("TIMEOUT", "TimeLimit"), ("TIMEOUT", "0:9"), TIMEOUT),
    "cancelled, running": (("CANCELLED", "None"), ("CANCELLED by 0", "0:0"), CANCELLED),
    "cancelled by a user": (("CANCELLED", "None"), ("CANCELLED by 1000", "0:0"), CANCELLED),
    "cancelled, pending": (("CANCELLED", "Resources"), ("CANCELLED by 0", "0:0"), CANCELLED),
    "out of memory": (("OUT_OF_MEMORY", "OutOfMemory"), ("OUT_OF_MEMORY", "0:125"), OUT_OF_MEMORY),
    "node died": (("NODE_FAIL", "NodeDown"), ("NODE_FAIL", "0:0"), LOST),
    "preempted": (("PREEMPTED", "None"), ("PREEMPTED", "15:0"), LOST),
    "impossible deadline": (("DEADLINE", "DeadLine"), ("DEADLINE", "1:0"), TIMEOUT),
    "node did not boot": (("BOOT_FAIL", "None"), ("BOOT_FAIL", "0:0"), LOST),
}  # fmt: skip

# No end: the job waits again, or goes on; nothing is judged.
SLURM_GOES_ON = {
    "node died, requeued": ("PENDING", "BeginTime", Phase.QUEUED),
    "being cancelled": ("COMPLETING", "None", Phase.RUNNING),
    "a word that we do not know": ("SOMETHING_NEW", "None", Phase.RUNNING),
}


def told(kind: str, note: str = "") -> dict[str, Any]:
    return {"occurred": True, "severity": 0, "type": kind, "note": note}


MISSING = "task 0 (host vm): start failed: nosuchcommand: No such file or directory"
FLUX = {
    "exit 0": ({"result": "COMPLETED", "returncode": 0, "waitstatus": 0}, LOST),
    "exit 7": ({"result": "FAILED", "returncode": 7, "waitstatus": 1792}, LOST),
    "SIGSEGV": ({"result": "FAILED", "returncode": 139, "waitstatus": 35584}, LOST),
    "limit": (
        {"result": "TIMEOUT", "returncode": 142, "waitstatus": 36352,
         "exception": told("timeout", "resource allocation expired")}, TIMEOUT,
    ),
    "limit, signal ignored": (
        {"result": "TIMEOUT", "returncode": 137, "waitstatus": 35072,
         "exception": told("timeout", "resource allocation expired")}, TIMEOUT,
    ),
    "cancelled, running": (
        {"result": "CANCELED", "returncode": 143, "waitstatus": 36608, "exception": told("cancel")}, CANCELLED,
    ),
    "cancelled, pending": ({"result": "CANCELED", "returncode": -128, "exception": told("cancel")}, CANCELLED),
    "command missing": (
        {"result": "FAILED", "returncode": 127, "waitstatus": 32512, "exception": told("exec", MISSING)}, LOST,
    ),
    "bad log folder": (
        {"result": "FAILED", "returncode": 1, "waitstatus": 256,
         "exception": told("exec", "shell_init: No such file or directory")}, LOST,
    ),
    "bad work folder": ({"result": "COMPLETED", "returncode": 0, "waitstatus": 0}, LOST),
    "node lost": (
        {"result": "FAILED", "returncode": 1, "waitstatus": 256,
         "exception": told("exec", "node failure on n4 (rank 3)")}, LOST,
    ),
    "node lost, by a signal": (
        {"result": "FAILED", "returncode": 143, "waitstatus": 36608,
         "exception": told("exec", "node failure on n4 (rank 3)")}, LOST,
    ),
    "unsatisfiable": (
        {"result": "FAILED", "returncode": 1, "exception":
         told("alloc", "unsatisfiable request: need 5 node(s), only 4 eligible")}, NOT_STARTED,
    ),
    "ended during start-up, limit": ({"result": "TIMEOUT", "returncode": 137, "waitstatus": 35072}, TIMEOUT),
    "ended during start-up, cancelled": ({"result": "CANCELED", "returncode": 137, "waitstatus": 35072}, CANCELLED),
}  # fmt: skip

STATES: dict[str, tuple[JobState, tuple[Any, Any]]] = {
    **{f"squeue: {case}": (slurm_state(*queue), kind) for case, (queue, _, kind) in SLURM.items()},
    **{f"sacct: {case}": (slurm_state(word, exit_code=code), kind)
       for case, (_, (word, code), kind) in SLURM.items()},
    **{f"flux: {case}": (flux_state({"state": "INACTIVE", **job}), kind) for case, (job, kind) in FLUX.items()},
    "vanished": (JobState(Phase.ENDED, "no longer known"), LOST),
}  # fmt: skip


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Output]:
    folder: Path = tmp_path_factory.mktemp("outputs")
    found = {}
    for number, (name, text) in enumerate(OUTPUTS.items()):
        file = folder / f"{number}.out"
        file.write_text(text)
        found[name] = read_output(file)
    return found


def judged(state: JobState, word: str, output: Output, *, cancelled: bool = False) -> tuple[Any, Any]:
    verdict = judge(Evidence(TOKEN, record(word), output, state, cancelled))
    assert "\n" not in str(verdict.message)
    return verdict.outcome, verdict.failure_class


@pytest.mark.parametrize("case", STATES)
def test_without_a_word_of_the_payload_the_scheduler_decides(outputs: dict[str, Output], case: str) -> None:
    state, kind = STATES[case]
    assert state.phase is Phase.ENDED
    for name in ("empty", "no end", "foreign", "foreign scf"):
        assert judged(state, "nothing", outputs[name]) == kind, name


@pytest.mark.parametrize("case", STATES)
@pytest.mark.parametrize("word", list(EXPECTED))
def test_a_result_of_its_own_counts_whatever_the_scheduler_says(
    outputs: dict[str, Output], case: str, word: str
) -> None:
    assert judged(STATES[case][0], word, outputs["good"]) == COMPLETED


@pytest.mark.parametrize("case", STATES)
def test_no_final_state_makes_a_result_of_what_is_none(outputs: dict[str, Output], case: str) -> None:
    for word in EXPECTED:
        for name in OUTPUTS:
            if name != "good":
                assert judged(STATES[case][0], word, outputs[name]) != COMPLETED, (word, name)


@pytest.mark.parametrize("case", STATES)
def test_an_engine_that_said_why_it_ended_is_believed(outputs: dict[str, Output], case: str) -> None:
    assert judged(STATES[case][0], "nothing", outputs["scf"]) == SCF
    assert judged(STATES[case][0], "exited 55", outputs["scf"]) == SCF


@pytest.mark.parametrize("case", STATES)
def test_what_the_payload_saw_is_believed(outputs: dict[str, Output], case: str) -> None:
    state, kind = STATES[case]
    assert judged(state, "time limit", outputs["no end"]) == TIMEOUT
    assert judged(state, "not started", outputs["empty"]) == NOT_STARTED
    # What ended the job ended the payload, and the engine: its exit code says nothing then.
    ended = kind if kind not in (LOST, NOT_STARTED) else None
    lost = "NODE_FAIL" in state.final or "PREEMPTED" in state.final or "BOOT_FAIL" in state.final
    lost = lost or "node failure" in state.final
    ended = LOST if lost else ended
    assert judged(state, "stopped", outputs["no end"]) == (ended or LOST)
    assert judged(state, "killed", outputs["no end"]) == (ended or ABORTED)
    assert judged(state, "exited 0", outputs["no end"]) == (ended or TRUNCATED)


@pytest.mark.parametrize("case", STATES)
def test_what_the_user_stopped_counts_against_nothing(outputs: dict[str, Output], case: str) -> None:
    for word in CANCELLED_ROWS:
        assert judged(STATES[case][0], word, outputs["no end"], cancelled=True) == CANCELLED


@pytest.mark.parametrize("case", STATES)
def test_a_node_that_failed_before_it_began_costs_nothing(outputs: dict[str, Output], case: str) -> None:
    state, kind = STATES[case]
    verdict = judge(Evidence(TOKEN, None, outputs["empty"], state, began=False))
    failed = state.cause is Cause.NODE_FAILED
    expected = (Outcome.CANCELLED, FailureClass.LOST) if failed else kind
    assert (verdict.outcome, verdict.failure_class) == expected


@pytest.mark.parametrize("case", STATES)
def test_what_found_no_space_is_lost_by_no_fault_of_its_own(outputs: dict[str, Output], case: str) -> None:
    state, kind = STATES[case]
    verdict = judge(Evidence(TOKEN, None, outputs["empty"], state, found_no_space=True))
    # A node that fails, a limit or a hand may end such a job as any other.
    by_itself = kind == LOST and state.cause is Cause.ITSELF
    expected = (Outcome.CANCELLED, FailureClass.DISK_FULL) if by_itself else kind
    assert (verdict.outcome, verdict.failure_class) == expected


@pytest.mark.parametrize("case", SLURM_GOES_ON)
def test_what_goes_on_has_no_verdict_yet(case: str) -> None:
    word, reason, phase = SLURM_GOES_ON[case]
    assert slurm_state(word, reason).phase is phase


def test_each_row_of_the_table_decides_some_case(outputs: dict[str, Output]) -> None:
    decided: dict[int, tuple[str, str, str]] = {}
    for case, (state, _) in STATES.items():
        for word in EXPECTED:
            for name, output in outputs.items():
                for cancelled, began, no_space in itertools.product((False, True), repeat=3):
                    found_no_space = no_space and record(word) is None
                    evidence = Evidence(
                        TOKEN, record(word), output, state, cancelled, began, found_no_space=found_no_space
                    )
                    row = next(number for number, rule in enumerate(TABLE) if rule.when(evidence))
                    decided.setdefault(row, (case, word, name))
    assert sorted(decided) == list(range(len(TABLE))), decided

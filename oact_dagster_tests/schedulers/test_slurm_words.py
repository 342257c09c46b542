"""Slurm's words as they were recorded, also of what runs in no test: accounting, and memory limits."""

import pytest

from oact_dagster.schedulers.command import Answer
from oact_dagster.schedulers.jobs import Cause, Phase
from oact_dagster.schedulers.protocol import Reply
from oact_dagster.schedulers.slurm.errors import reply_of, words_of
from oact_dagster.schedulers.slurm.states import job_state, why_pending

# Columns: squeue's state and reason, or sacct's state and exit code.
RECORDED = [
    ("COMPLETED", "None", "", "COMPLETED", Cause.ITSELF),
    ("FAILED", "NonZeroExitCode", "", "FAILED (NonZeroExitCode)", Cause.ITSELF),
    ("FAILED", "JobLaunchFailure", "", "FAILED (JobLaunchFailure)", Cause.ITSELF),
    ("TIMEOUT", "TimeLimit", "", "TIMEOUT (TimeLimit)", Cause.TIME_LIMIT),
    ("TIMEOUT", "", "0:0", "TIMEOUT", Cause.TIME_LIMIT),
    ("TIMEOUT", "", "15:0", "TIMEOUT (exit code 15:0)", Cause.TIME_LIMIT),
    ("CANCELLED", "Resources", "", "CANCELLED", Cause.CANCELLED),
    ("CANCELLED by 1000", "", "0:0", "CANCELLED by 1000", Cause.CANCELLED),
    ("OUT_OF_MEMORY", "", "0:125", "OUT_OF_MEMORY (exit code 0:125)", Cause.OUT_OF_MEMORY),
    (
        "OUT_OF_ME+",
        "",
        "0:125",
        "",
        None,
    ),  # without -P sacct cuts words off: no state that we know decides nothing
    ("NODE_FAIL", "NodeDown", "", "NODE_FAIL (NodeDown)", Cause.NODE_FAILED),
    ("PREEMPTED", "None", "", "PREEMPTED", Cause.PREEMPTED),
    ("DEADLINE", "None", "0:1", "DEADLINE (exit code 0:1)", Cause.TIME_LIMIT),
]


@pytest.mark.parametrize(("word", "reason", "code", "final", "cause"), RECORDED)
def test_final_states(word: str, reason: str, code: str, final: str, cause: Cause | None) -> None:
    state = job_state(word, reason, code)
    if cause is None:
        assert state.phase is Phase.RUNNING
    else:
        assert (state.phase, state.final, state.cause) == (Phase.ENDED, final, cause)


@pytest.mark.parametrize("word", ["RUNNING", "COMPLETING", "SUSPENDED", "SOMETHING_NEW", ""])
def test_states_that_decide_nothing(word: str) -> None:
    assert job_state(word).phase is Phase.RUNNING


def test_a_requeued_job_waits_again() -> None:
    state = job_state("PENDING", "BeginTime")
    assert (state.phase, state.reason) == (Phase.QUEUED, "BeginTime")
    assert why_pending("BeginTime") is None


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("Priority", None),
        ("Resources", None),
        ("QOSMaxJobsPerUserLimit", None),
        ("AssocGrpCpuLimit", None),
        ("PartitionTimeLimit", "lower launcher.n_hours"),
        ("PartitionNodeLimit", "more nodes"),
        ("DependencyNeverSatisfied", "never start"),
        ("QOSMaxWallDurationPerJobLimit", "may never start"),
        (
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
            "may never",
        ),
        ("ReqNodeNotAvail, UnavailableNodes:n3", "maintenance"),
    ],
)
def test_trap_10_reasons_that_do_not_pass_are_told(reason: str, told: str | None) -> None:
    found = why_pending(reason)
    assert (found is None) if told is None else (told in str(found))


@pytest.mark.parametrize(
    ("stderr", "reply"),
    [
        ("@Socket timed out on send/recv operation", Reply.UNCLEAR),
        ("@Unable to contact slurm controller (connect failure)", Reply.UNCLEAR),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit\n@Job violates"
         " accounting/QOS policy (job submit limit, user's size and/or time limits)", Reply.FULL),
        ("@invalid partition specified: nope", Reply.REFUSED),
        ("@Invalid account or account/partition combination specified", Reply.REFUSED),
        ("sbatch: error: Memory specification can not be satisfied\n@Requested"
         " node configuration is not available", Reply.REFUSED),
        ("sbatch: unrecognized option '--badopt'", Reply.REFUSED),
        ("@Invalid job array specification", Reply.REFUSED),
        ("@Required partition not available (inactive or drain)", Reply.REFUSED),
    ],
)  # fmt: skip
def test_what_sbatch_complains_of(stderr: str, reply: Reply) -> None:
    answer = Answer("sbatch", 1, "", stderr.replace("@", "sbatch: error: Batch job submission failed: "))
    assert reply_of(answer) is reply
    assert "\n" not in words_of(answer) and "sbatch:" not in words_of(answer)


def test_a_call_that_was_ended_says_nothing() -> None:
    assert reply_of(Answer("sbatch", None, "", "")) is Reply.UNCLEAR
    assert reply_of(Answer("sbatch", -9, "", "")) is Reply.UNCLEAR

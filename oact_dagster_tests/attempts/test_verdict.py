"""The verdict on every combination of what the payload, the output and the launcher say."""

import itertools
from pathlib import Path

import pytest

from oact_dagster.attempts.verdict import Evidence, judge
from oact_dagster.launchers.attempt_files import ExitRecord, How
from oact_dagster.ledger.states import Outcome
from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.outputs.reader import Output, read_output
from oact_dagster.orca.outputs.terminations import Termination
from oact_dagster.schedulers.jobs import Cause, JobState, Phase, not_started

TOKEN = "0123456789abcdef"
ECHO = "INPUT FILE\nNAME = orca.inp\n|  1> # oact_attempt: {token}\n|  2> ! EnGrad\n|  3>     ****END OF INPUT****\n"
HEAD = "                 * O   R   C   A *\n   Program Version 6.1.0  -   RELEASE   -\n" + "=" * 80 + "\n"
ENERGY = "SCF CONVERGED AFTER  9 CYCLES\nFINAL SINGLE POINT ENERGY     -76.000000000000\n"
END = "****ORCA TERMINATED NORMALLY****\nTOTAL RUN TIME: 0 days 0 hours 0 minutes 1 seconds 0 msec\n"
FAILED = "   SCF NOT CONVERGED AFTER 500 CYCLES\nORCA finished by error termination in SCF\n.... aborting the run\n"

OUTPUTS = {
    "good": HEAD + ECHO.format(token=TOKEN) + ENERGY + END,
    "no energy": HEAD + ECHO.format(token=TOKEN) + END,
    "scf": HEAD + ECHO.format(token=TOKEN) + FAILED,
    "no end": HEAD + ECHO.format(token=TOKEN) + ENERGY,
    "foreign": HEAD + ECHO.format(token="f" * 16) + ENERGY + END,
    "foreign scf": HEAD + ECHO.format(token="f" * 16) + FAILED,
    "empty": "",
}

COMPLETED = (Outcome.COMPLETED, None)
CANCELLED = (Outcome.CANCELLED, None)
LOST = (Outcome.LOST, FailureClass.LOST)
TIMEOUT = (Outcome.TIMEOUT, FailureClass.TIMEOUT)
SCF = (Outcome.FAILED, FailureClass.SCF_NOT_CONVERGED)
ABORTED = (Outcome.FAILED, FailureClass.ABORTED)
TRUNCATED = (Outcome.FAILED, FailureClass.TRUNCATED)
NOT_STARTED = (Outcome.CANCELLED, FailureClass.NOT_STARTED)

# The payload's word: the columns are the outputs in the order of OUTPUTS.
EXPECTED = {
    #              good       no energy    scf          no end       foreign      foreign scf  empty
    "exited 0": (COMPLETED, ABORTED, SCF, TRUNCATED, TRUNCATED, TRUNCATED, TRUNCATED),
    "exited 55": (COMPLETED, ABORTED, SCF, ABORTED, ABORTED, ABORTED, ABORTED),
    "killed": (COMPLETED, ABORTED, SCF, ABORTED, ABORTED, ABORTED, ABORTED),
    "time limit": (COMPLETED, TIMEOUT, TIMEOUT, TIMEOUT, TIMEOUT, TIMEOUT, TIMEOUT),
    "stopped": (COMPLETED, LOST, LOST, LOST, LOST, LOST, LOST),
    "not started": (COMPLETED, NOT_STARTED, NOT_STARTED, NOT_STARTED, NOT_STARTED, NOT_STARTED, NOT_STARTED),
    "nothing": (COMPLETED, ABORTED, SCF, LOST, LOST, LOST, LOST),
}
# The same when the user has asked for a stop: only what was stopped by it, or says nothing, is cancelled.
CANCELLED_ROWS = {
    "stopped": (COMPLETED, CANCELLED, CANCELLED, CANCELLED, CANCELLED, CANCELLED, CANCELLED),
    "nothing": (COMPLETED, CANCELLED, CANCELLED, CANCELLED, CANCELLED, CANCELLED, CANCELLED),
}
RECORDS = {
    "exited 0": (How.EXITED, 0),
    "exited 55": (How.EXITED, 55),
    "killed": (How.EXITED, -9),
    "time limit": (How.TIME_LIMIT, 0),  # a time limit may well end with exit code 0
    "stopped": (How.STOPPED, -15),
    "not started": (How.NOT_STARTED, None),
}


def record(word: str) -> ExitRecord | None:
    if word == "nothing":
        return None
    how, returncode = RECORDS[word]
    return ExitRecord(TOKEN, how, returncode, 1.0, 2.0, 1.0, "node", 1, f"told: {word}")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Output]:
    folder: Path = tmp_path_factory.mktemp("outputs")
    found = {}
    for number, (name, text) in enumerate(OUTPUTS.items()):
        file = folder / f"{number}.out"
        file.write_text(text)
        found[name] = read_output(file)
    return found


@pytest.mark.parametrize("final", ["exit 0", "exit 1", "signal 9", ""])
@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize(("word", "place"), list(itertools.product(EXPECTED, range(len(OUTPUTS)))))
def test_every_combination(
    outputs: dict[str, Output], word: str, place: int, cancelled: bool, final: str
) -> None:
    name = list(OUTPUTS)[place]
    rows = EXPECTED | CANCELLED_ROWS if cancelled else EXPECTED
    verdict = judge(Evidence(TOKEN, record(word), outputs[name], JobState(Phase.ENDED, final), cancelled))
    assert (verdict.outcome, verdict.failure_class) == rows[word][place], (word, name)
    assert (verdict.message is None) == (verdict.outcome is Outcome.COMPLETED)


OUT_OF_MEMORY = (Outcome.FAILED, FailureClass.OUT_OF_MEMORY)
ENDED_BY_SCHEDULER = {
    Cause.TIME_LIMIT: ("TIMEOUT (TimeLimit)", TIMEOUT),
    Cause.OUT_OF_MEMORY: ("OUT_OF_MEMORY", OUT_OF_MEMORY),
    Cause.NODE_FAILED: ("NODE_FAIL (NodeDown)", LOST),
    Cause.PREEMPTED: ("PREEMPTED", LOST),
    Cause.CANCELLED: ("CANCELLED by 1000", CANCELLED),
}


@pytest.mark.parametrize("place", range(len(OUTPUTS)))
@pytest.mark.parametrize("word", ["stopped", "killed", "exited 55", "exited 0", "nothing"])
@pytest.mark.parametrize("cause", list(ENDED_BY_SCHEDULER))
def test_what_the_scheduler_ended_has_its_class(
    outputs: dict[str, Output], cause: Cause, word: str, place: int
) -> None:
    name = list(OUTPUTS)[place]
    final, expected = ENDED_BY_SCHEDULER[cause]
    if name == "good":
        expected = COMPLETED
    elif name in ("scf", "no energy") and word != "stopped":
        # The engine had ended by itself, and said how, before its job was ended.
        expected = SCF if name == "scf" else ABORTED
    verdict = judge(Evidence(TOKEN, record(word), outputs[name], JobState(Phase.ENDED, final, cause)))
    assert (verdict.outcome, verdict.failure_class) == expected, (word, name)
    assert name in ("good", "scf", "no energy") or final in str(verdict.message)


@pytest.mark.parametrize("cause", list(ENDED_BY_SCHEDULER))
def test_what_the_payload_says_of_a_limit_or_a_start_outranks_the_scheduler(
    outputs: dict[str, Output], cause: Cause
) -> None:
    for word, expected in (("time limit", TIMEOUT), ("not started", NOT_STARTED)):
        verdict = judge(Evidence(TOKEN, record(word), outputs["no end"], JobState(Phase.ENDED, "x", cause)))
        assert (verdict.outcome, verdict.failure_class) == expected


def test_what_the_job_wrote_last_comes_with_its_loss(outputs: dict[str, Output]) -> None:
    state = JobState(Phase.ENDED, "FAILED (NonZeroExitCode)", log="loading\nmodule: not found\n")
    verdict = judge(Evidence(TOKEN, None, outputs["empty"], state))
    assert verdict.outcome is Outcome.LOST
    assert "FAILED (NonZeroExitCode); its log ends: module: not found" in str(verdict.message)


def test_a_payload_that_the_launcher_could_not_start_failed(outputs: dict[str, Output]) -> None:
    state = not_started("Resource temporarily unavailable")
    verdict = judge(Evidence(TOKEN, None, outputs["empty"], state))
    assert (verdict.outcome, verdict.failure_class) == NOT_STARTED
    assert "Resource temporarily unavailable" in str(verdict.message)


def test_every_termination_has_a_class_of_failure() -> None:
    names = {str(kind) for kind in Termination} - {"normal"}
    assert names <= {str(kind) for kind in FailureClass}

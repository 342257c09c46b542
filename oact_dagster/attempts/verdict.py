"""The verdict on an attempt, from its payload's record, its output and the scheduler's word together.

None of them alone decides: a job that left the queue may still run, a killed one may exit with 0, an output may belong
to another attempt, and an optimisation may end normally without having converged.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from oact_dagster.launchers.attempt_files import TOKEN_COMMENT, ExitRecord, How
from oact_dagster.ledger.states import Outcome
from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.outputs.reader import Output, Termination
from oact_dagster.schedulers.jobs import Cause, JobState


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything known of an attempt whose job has ended."""

    token: str
    record: ExitRecord | None
    """The payload's ``exit.json``, if it wrote one."""
    output: Output
    job: JobState
    cancelled: bool = False
    """Whether we ended it because the user asked for a stop."""
    began: bool = True
    """Whether its payload has begun."""
    errors: str = ""
    """Last line of the engine's standard error, if the engine ended with an error."""
    found_no_space: bool = False
    """Whether it has no record because it could not begin on a full disk."""

    @property
    def own_output(self) -> bool:
        """Whether the output echoes this attempt's token."""
        return f"{TOKEN_COMMENT}: {self.token}" in self.output.input_comments

    @property
    def good(self) -> bool:
        """Whether the output is this attempt's own, ended normally, and holds an energy."""
        output = self.output
        return (
            self.own_output and output.termination is Termination.NORMAL and output.final_energy is not None
        )

    @property
    def speaks(self) -> bool:
        """Whether the output is this attempt's own and says how it ended."""
        return self.own_output and self.output.termination is not Termination.TRUNCATED

    @property
    def ended_by_itself(self) -> bool:
        """Whether the engine ended before its job was ended, and its output says how."""
        stopped = self.record is not None and self.record.how is How.STOPPED
        failure = self.output.termination.failure_class
        unclear = failure is not None and failure.facts.also_when_stopped
        return self.own_output and not unclear and not stopped

    def ended_by(self, *causes: Cause) -> bool:
        """Whether one of these causes ended the job before the engine ended by itself."""
        return self.job.cause in causes and not self.ended_by_itself


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of an attempt."""

    outcome: Outcome
    failure_class: FailureClass | None
    message: str | None


@dataclass(frozen=True, slots=True)
class VerdictRule:
    """One row of the table: a condition and the verdict that follows."""

    when: Callable[[Evidence], bool]
    then: Callable[[Evidence], Verdict]


def _how(evidence: Evidence) -> How | None:
    return None if evidence.record is None else evidence.record.how


def _completed(evidence: Evidence) -> Verdict:
    return Verdict(Outcome.COMPLETED, None, None)


def _failed_as_output_says(evidence: Evidence) -> Verdict:
    output = evidence.output
    # ORCA draws boxes of asterisks around some of its messages.
    line = output.deciding_line.strip(" *\t") if output.deciding_line else output.reason
    failure = output.termination.failure_class or FailureClass.ABORTED
    return Verdict(Outcome.FAILED, failure, f"{failure}: {line}")


def _cancelled(evidence: Evidence) -> Verdict:
    reason = evidence.record.reason if evidence.record else "ended with its run"
    return Verdict(Outcome.CANCELLED, None, reason)


def _cancelled_in_queue(evidence: Evidence) -> Verdict:
    return Verdict(Outcome.CANCELLED, None, f"its job was cancelled ({evidence.job.final})")


def _timeout(evidence: Evidence) -> Verdict:
    return Verdict(Outcome.TIMEOUT, FailureClass.TIMEOUT, evidence.record.reason if evidence.record else None)


def _timeout_in_queue(evidence: Evidence) -> Verdict:
    message = f"its job reached its time limit ({evidence.job.final})"
    return Verdict(Outcome.TIMEOUT, FailureClass.TIMEOUT, message)


def _out_of_memory(evidence: Evidence) -> Verdict:
    message = f"its job used more memory than it asked for ({evidence.job.final})"
    return Verdict(Outcome.FAILED, FailureClass.OUT_OF_MEMORY, message)


def _lost_with_node(evidence: Evidence) -> Verdict:
    what = "was preempted" if evidence.job.cause is Cause.PREEMPTED else "lost its node"
    return Verdict(Outcome.LOST, FailureClass.LOST, f"its job {what} ({evidence.job.final})")


def _node_failed_first(evidence: Evidence) -> Verdict:
    # Nothing was computed, so this counts against the node and none of the structure's budgets.
    message = f"its node failed before it began ({evidence.job.final})"
    return Verdict(Outcome.CANCELLED, FailureClass.LOST, message)


def _not_started(evidence: Evidence) -> Verdict:
    what, reason = "its job", evidence.job.reason
    if evidence.record is not None:
        what, reason = "the engine", evidence.record.reason
    # Not the structure's fault, so it counts against none of its budgets.
    return Verdict(Outcome.CANCELLED, FailureClass.NOT_STARTED, f"{what} could not be started: {reason}")


def _crashed(evidence: Evidence) -> Verdict:
    code = evidence.record.returncode if evidence.record is not None else None
    killed = f"was killed by signal {-code}" if code is not None and code < 0 else ""
    what = killed or f"ended with exit code {code}"
    more = f"; its errors end: {evidence.errors}" if evidence.errors else ""
    message = f"the engine {what}, and its output has no end{more}"
    return Verdict(Outcome.FAILED, FailureClass.ABORTED, message)


def _cut_short(evidence: Evidence) -> Verdict:
    whose = "has no end" if evidence.own_output else "is not this attempt's"
    message = f"the engine ended with exit code 0, and its output {whose}"
    return Verdict(Outcome.FAILED, FailureClass.TRUNCATED, message)


def _found_no_space(evidence: Evidence) -> Verdict:
    # Not the structure's fault, so it counts against none of its budgets.
    message = "its payload could not begin: no space left on the disk of its job folder"
    return Verdict(Outcome.CANCELLED, FailureClass.DISK_FULL, message)


def _lost(evidence: Evidence) -> Verdict:
    if evidence.record is not None:
        return Verdict(Outcome.LOST, FailureClass.LOST, f"ended from outside: {evidence.record.reason}")
    said = evidence.job.final or "nothing"
    log = evidence.job.log.strip().rsplit("\n", 1)[-1]
    more = f"; its log ends: {log}" if log else ""
    message = f"its payload vanished without a record (the launcher says: {said}{more})"
    return Verdict(Outcome.LOST, FailureClass.LOST, message)


TABLE: Final[tuple[VerdictRule, ...]] = (
    # A complete result of this attempt counts, whatever else happened at its end.
    VerdictRule(lambda e: e.good, _completed),
    VerdictRule(lambda e: e.cancelled and _how(e) in (How.STOPPED, None), _cancelled),
    VerdictRule(lambda e: _how(e) is How.TIME_LIMIT, _timeout),
    VerdictRule(lambda e: _how(e) is How.NOT_STARTED, _not_started),
    # The scheduler ended the job. If it ended the engine first, the engine's exit code means nothing.
    VerdictRule(lambda e: e.ended_by(Cause.OUT_OF_MEMORY), _out_of_memory),
    VerdictRule(lambda e: e.ended_by(Cause.TIME_LIMIT), _timeout_in_queue),
    VerdictRule(lambda e: e.ended_by(Cause.CANCELLED), _cancelled_in_queue),
    VerdictRule(lambda e: e.ended_by(Cause.NODE_FAILED) and not e.began, _node_failed_first),
    VerdictRule(lambda e: e.ended_by(Cause.NODE_FAILED, Cause.PREEMPTED), _lost_with_node),
    VerdictRule(lambda e: _how(e) is How.STOPPED, _lost),
    # The payload saw the engine end by itself.
    VerdictRule(lambda e: _how(e) is How.EXITED and e.speaks, _failed_as_output_says),
    VerdictRule(lambda e: e.record is not None and e.record.returncode != 0, _crashed),
    VerdictRule(lambda e: e.record is not None, _cut_short),
    # No record: the payload died. What ORCA said before that still counts.
    VerdictRule(lambda e: e.speaks, _failed_as_output_says),
    VerdictRule(lambda e: e.job.cause is Cause.NOT_STARTED, _not_started),
    VerdictRule(lambda e: e.found_no_space, _found_no_space),
    VerdictRule(lambda e: True, _lost),
)
"""The first row that holds decides."""


def judge(evidence: Evidence) -> Verdict:
    """Return the verdict of the first row of :data:`TABLE` that holds."""
    for rule in TABLE:
        if rule.when(evidence):
            return rule.then(evidence)
    raise AssertionError("the last rule holds always")

"""The failure classes: one table of why attempts give no result, and what follows from each.

All code that depends on a failure's class asks this table. docs/architecture.md says how to add a class.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Self


class Fault(Enum):
    """What is at fault, which decides which steps a ladder may hold."""

    SCF = "the SCF"
    CALCULATION = "the calculation"
    """An SCF that does not converge may be behind it: it takes long, and may blow up."""
    INPUT = "the input"
    """No attempt can succeed before somebody changes the settings or the row."""
    NOT_THE_STRUCTURE = "not the structure"


class SchedulerMessage(Enum):
    """What a message of a class means in a scheduler's own files (``slurm-*.out``, ``flux-*.out``)."""

    IGNORED = "nothing"
    FIRST = "decides, even where the file also says that the scheduler ended the job"
    LAST = "decides, unless the file also says that the scheduler ended the job"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureFacts:
    """What holds for one class of failure."""

    name: str
    """As in users' files, ledgers and campaign.yaml."""
    looks_like: str
    """What has happened, in one line for users."""
    advice: str
    """What the user can do when no step is left, in one line."""
    fault: Fault
    ladder: tuple[str, ...]
    """Names of the steps, first to last. A step that appears twice may be tried twice."""
    as_often_as_it_helps: frozenset[str] = frozenset()
    """Steps that may be repeated without limit: each time they change something, or wait for the machine."""
    from_scratch: bool = False
    """The next attempt reuses nothing that this one left, because that would lead to the same failure."""
    no_input: bool = False
    also_when_stopped: bool = False
    """An engine stopped from outside leaves such an output, too."""
    scheduler_message: SchedulerMessage = SchedulerMessage.IGNORED
    avoid_host: bool = False
    """The structure's next attempts run on another host."""
    count_host: bool = False
    """Counts towards ``feed.bad_host_after``."""
    show_host: bool = False
    """The dashboard counts it by host."""


class FailureClass(StrEnum):
    """Why an attempt failed. A class that an output shows is named like its termination."""

    facts: FailureFacts

    def __new__(cls, facts: FailureFacts) -> Self:
        """Make a member whose text is its name, and attach the facts."""
        member = str.__new__(cls, facts.name)
        member._value_ = facts.name
        member.facts = facts
        return member

    SCF_NOT_CONVERGED = FailureFacts(
        name="scf_not_converged",
        looks_like="the SCF did not converge, or the energy is marked as not converged",
        advice="look at the geometry, charge and uhf, or name more steps under remedies in campaign.yaml",
        fault=Fault.SCF,
        ladder=("restart", "slowconv", "kdiis", "soscf", "trah"),
    )
    OPT_NOT_CONVERGED = FailureFacts(
        name="opt_not_converged",
        looks_like="the optimisation reached its maximum number of cycles",
        advice="look at the geometry, or allow more cycles (%geom MaxIter in extra_lines)",
        fault=Fault.CALCULATION,
        ladder=("continue_geometry", "continue_geometry"),
    )
    UNPHYSICAL = FailureFacts(
        name="unphysical",
        looks_like="a normal end with an impossible energy: an SCF that blew up",
        advice="look at the geometry, charge, uhf and bases, or name more steps under remedies in campaign.yaml",
        fault=Fault.SCF,
        ladder=("slowconv", "kdiis", "soscf", "trah"),
        from_scratch=True,
    )
    OUT_OF_MEMORY = FailureFacts(
        name="out_of_memory",
        looks_like="ORCA asks for more than %maxcore, or the system killed it for its memory",
        advice="use nodes with more memory",
        fault=Fault.CALCULATION,
        ladder=("more_memory", "fewer_processes"),
        as_often_as_it_helps=frozenset({"more_memory", "fewer_processes"}),
        scheduler_message=SchedulerMessage.FIRST,
    )
    INPUT_ERROR = FailureFacts(
        name="input_error",
        looks_like="ORCA refused the input",
        advice="change the settings",
        fault=Fault.INPUT,
        ladder=(),
    )
    DISK_FULL = FailureFacts(
        name="disk_full",
        looks_like="there was no room where the calculation ran",
        advice="make room where the jobs are",
        fault=Fault.NOT_THE_STRUCTURE,
        ladder=("again", "again"),
        scheduler_message=SchedulerMessage.FIRST,
        avoid_host=True,
        count_host=True,
        show_host=True,
    )
    MPI_ERROR = FailureFacts(
        name="mpi_error",
        looks_like="MPI could not start, or lost its processes",
        advice="look at the output",
        fault=Fault.NOT_THE_STRUCTURE,
        ladder=("again", "again"),
        scheduler_message=SchedulerMessage.LAST,
        avoid_host=True,
        count_host=True,
        show_host=True,
    )
    ABORTED = FailureFacts(
        name="aborted",
        looks_like="any other error end of ORCA, also a crash",
        advice="look at the output",
        fault=Fault.CALCULATION,
        # After an abort in the integrals, "again" does not apply, and "more_memory" follows.
        ladder=("again", "more_memory", "fewer_processes"),
        also_when_stopped=True,
        scheduler_message=SchedulerMessage.LAST,
        count_host=True,
    )
    TRUNCATED = FailureFacts(
        name="truncated",
        looks_like="the engine ended without an error code, and its output has no end",
        advice="look at the output",
        fault=Fault.CALCULATION,
        ladder=("again", "again"),
        also_when_stopped=True,
    )
    TIMEOUT = FailureFacts(
        name="timeout",
        looks_like="it ran into its time limit or that of its job, or wrote nothing for launcher.silence_limit_s",
        advice="the same attempt would only time out again: use more n_cores, or a queue with a longer limit",
        fault=Fault.CALCULATION,
        ladder=("longer_limit", "restart_in_limit", "restart_in_limit"),
        as_often_as_it_helps=frozenset({"longer_limit"}),
    )
    INPUT_REFUSED = FailureFacts(
        name="input_refused",
        looks_like="no input was written: the structure and the settings do not go together",
        advice="change the settings",
        fault=Fault.INPUT,
        ladder=(),
        no_input=True,
    )
    NOT_WRITTEN = FailureFacts(
        name="not_written",
        looks_like="the job folder could not be written",
        advice="make room where the jobs are, and see who may write there",
        fault=Fault.NOT_THE_STRUCTURE,
        ladder=("again", "again"),
        no_input=True,
    )
    NOT_STARTED = FailureFacts(
        name="not_started",
        looks_like="the engine, or the payload, could not be started",
        advice="see that the engine starts on the compute nodes",
        fault=Fault.NOT_THE_STRUCTURE,
        ladder=("again", "again"),
    )
    SETUP_FAILED = FailureFacts(
        name="setup_failed",
        looks_like="your own setup_func raised, and nothing was run",
        advice="look at the setup_func",
        fault=Fault.NOT_THE_STRUCTURE,
        ladder=("again", "again"),
        no_input=True,
    )
    LOST = FailureFacts(
        name="lost",
        looks_like="the payload vanished with its process or node, or was preempted",
        advice="see what the scheduler says of the nodes",
        fault=Fault.NOT_THE_STRUCTURE,
        ladder=("again",),
        # The ledger has a budget of its own for attempts that were lost.
        as_often_as_it_helps=frozenset({"again"}),
        avoid_host=True,
        count_host=True,
    )


def failure_classes(holds: Callable[[FailureFacts], bool]) -> tuple[FailureClass, ...]:
    """Return the classes whose facts meet a condition, in the order of the table."""
    return tuple(failure for failure in FailureClass if holds(failure.facts))


def find_failure_class(name: str | None) -> FailureClass | None:
    """Return the class of this name, or None if there is no such class."""
    return next((failure for failure in FailureClass if failure == name), None)

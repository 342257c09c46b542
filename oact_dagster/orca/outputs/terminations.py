"""How an ORCA run ended: the table of rules, and the function that applies it.

To recognise a new message, add a row to ``TERMINATION_RULES``. The first row that matches decides, so put specific rows
above general ones. The message goes into ``signs`` in lower case; a sign with a capital letter never matches. Use
``WITH_AN_ABORT`` for words that harmless messages contain, too: such a row counts only if a row of ``ABORTED`` matches
as well.
"""

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from oact_dagster.orca.failures import FailureClass, SchedulerMessage, find_failure_class
from oact_dagster.orca.outputs.energy_bounds import why_unphysical
from oact_dagster.orca.outputs.input_echo import decode_line


class Termination(StrEnum):
    """How a run ended, according to its output."""

    NORMAL = "normal"
    SCF_NOT_CONVERGED = FailureClass.SCF_NOT_CONVERGED
    OPT_NOT_CONVERGED = FailureClass.OPT_NOT_CONVERGED
    UNPHYSICAL = FailureClass.UNPHYSICAL
    OUT_OF_MEMORY = FailureClass.OUT_OF_MEMORY
    INPUT_ERROR = FailureClass.INPUT_ERROR
    DISK_FULL = FailureClass.DISK_FULL
    MPI_ERROR = FailureClass.MPI_ERROR
    ABORTED = FailureClass.ABORTED
    TRUNCATED = FailureClass.TRUNCATED

    @property
    def failure_class(self) -> FailureClass | None:
        """The class of failure of the same name; None of a normal end."""
        return find_failure_class(self)


class Where(StrEnum):
    """Which part of an output a rule looks at."""

    NORMAL_END = "the line of a normal end, when ORCA's last line (TOTAL RUN TIME) follows it"
    FINAL_ENERGY = "the line of the last energy, of a run that ended normally"
    FINAL_SCF = "the line of the last SCF before the last energy, of a run that ended normally"
    FINAL_ENERGY_VALUE = "the last energy itself, of a run that ended normally: see energy_bounds.py"
    LAST_OPTIMISATION = "after the last optimisation cycle began, of a run that ended normally"
    OPEN_OPTIMISATION = "an optimisation that never said it converged, of a run that ended normally"
    AFTER_LAST_RESULT = "after the last energy, gradient or converged SCF, of a run that did not end normally"
    WITH_AN_ABORT = "as AFTER_LAST_RESULT, and only beside a line that says that the run was aborted"
    NO_END = "nothing: fits every run that did not end normally"


class TerminationRule(NamedTuple):
    """One row of the table."""

    termination: Termination
    """The answer if the row matches."""
    where: Where
    """The part of the output that is searched."""
    why: str
    """The reason, in one line."""
    signs: tuple[str, ...] = ()
    """Plain lower-case texts. A line that contains one of them, in any case, is a candidate. Empty if ``where`` alone
    decides."""
    line: bytes | None = None
    """Regular expression that the line must match, too; None if the sign is enough."""
    told_below: bool = False
    """Whether the lines below give details, such as the keyword that ORCA does not know."""


_T = Termination
_W = Where

ABORTED: Final[tuple[TerminationRule, ...]] = (
    TerminationRule(
        _T.ABORTED, _W.AFTER_LAST_RESULT, "a module of ORCA failed", ("orca finished by error termination",)
    ),
    TerminationRule(
        _T.ABORTED,
        _W.AFTER_LAST_RESULT,
        "ORCA aborted",
        ("aborting the", "aborted the", "aborts the"),
        rb"(?i)\babort\w+ the (?:run|calculation|job)",
    ),
    TerminationRule(
        _T.ABORTED,
        _W.AFTER_LAST_RESULT,
        "ORCA stopped in its code",
        ("[file ",),
        rb"^\s*\[file [^\]]+, line \d+[^\]]*\]:",
    ),
    TerminationRule(
        _T.ABORTED, _W.AFTER_LAST_RESULT, "a process was killed by a signal", ("exited on signal",)
    ),
    TerminationRule(
        _T.ABORTED,
        _W.AFTER_LAST_RESULT,
        "ORCA crashed",
        (
            "segmentation fault",
            "illegal instruction",
            "bus error",
            "*** process received signal ***",
            "terminate called after",
            "terminate called without",
            "forrtl: severe",
            "fatal error",
        ),
    ),
    TerminationRule(_T.ABORTED, _W.AFTER_LAST_RESULT, "ORCA called MPI_Abort", ("mpi_abort was invoked",)),
    TerminationRule(
        _T.ABORTED,
        _W.AFTER_LAST_RESULT,
        "a process of ORCA failed",
        ("non-zero exit code", "non-zero status"),
    ),
    TerminationRule(
        _T.ABORTED,
        _W.AFTER_LAST_RESULT,
        "ORCA could not be started",
        ("error while loading shared libraries",),
    ),
    TerminationRule(
        _T.ABORTED,
        _W.AFTER_LAST_RESULT,
        "ORCA could not be started",
        ("not found", "no such file"),
        rb"^\S*sh: (?:(?:line )?\d+: )?\S*\borca: (?:(?:command )?not found|No such file)",
    ),
    TerminationRule(_T.ABORTED, _W.AFTER_LAST_RESULT, "ORCA says so", ("orca terminated not normally",)),
)
"""Any other error termination: the last rows before ``NO_END``, and the condition for ``WITH_AN_ABORT``."""

SCHEDULER_RULES: Final[tuple[TerminationRule, ...]] = (
    TerminationRule(
        _T.TRUNCATED,
        _W.AFTER_LAST_RESULT,
        "the scheduler ended the job at its time limit",
        ("due to time limit", "time limit exceeded", "type=timeout"),
    ),
    TerminationRule(
        _T.TRUNCATED,
        _W.AFTER_LAST_RESULT,
        "the scheduler ended the job",
        ("due to preemption", "due to node fail", "node failure", "cancelled at", "type=cancel"),
    ),
)
"""A scheduler's messages about a job it ended, in the output or in its own file (``slurm-*.out``, ``flux-*.out``)."""

TERMINATION_RULES: Final[tuple[TerminationRule, ...]] = (
    # Runs that ended normally, but perhaps without a valid result.
    TerminationRule(_T.UNPHYSICAL, _W.FINAL_ENERGY_VALUE, "ORCA ended normally with an impossible energy"),
    TerminationRule(
        _T.SCF_NOT_CONVERGED,
        _W.FINAL_ENERGY,
        "ORCA ended normally with an energy that is not converged",
        ("not fully converged", "not converged"),
    ),
    TerminationRule(
        _T.SCF_NOT_CONVERGED,
        _W.FINAL_SCF,
        "ORCA ended normally with an energy whose SCF did not converge",
        ("scf not converged after",),
    ),
    TerminationRule(
        _T.OPT_NOT_CONVERGED,
        _W.LAST_OPTIMISATION,
        "the optimisation reached its maximum number of cycles",
        ("the optimization did not converge but reached",),
    ),
    TerminationRule(
        _T.OPT_NOT_CONVERGED, _W.OPEN_OPTIMISATION, "the optimisation never said that it converged"
    ),
    TerminationRule(_T.NORMAL, _W.NORMAL_END, "ORCA ended normally"),
    # Runs that did not end normally. Input errors first: then ORCA did not even start to calculate.
    TerminationRule(
        _T.INPUT_ERROR,
        _W.AFTER_LAST_RESULT,
        "ORCA does not know a keyword of the input, or the keyword appears twice",
        ("unrecognized or duplicated keyword",),
        told_below=True,
    ),
    TerminationRule(
        _T.INPUT_ERROR,
        _W.AFTER_LAST_RESULT,
        "ORCA refused the input",
        ("input error",),
        rb"(?i)^\s*INPUT ERROR",
        told_below=True,
    ),
    TerminationRule(
        _T.INPUT_ERROR,
        _W.AFTER_LAST_RESULT,
        "a basis set lacks an element",
        ("not available for this element", "basis functions on atom", "no basis set"),
        rb"(?i)not available for this element|no (?:\w+ +)?basis functions on atom"
        rb"|no basis set (?:was )?(?:found|available)",
    ),
    TerminationRule(
        _T.INPUT_ERROR,
        _W.AFTER_LAST_RESULT,
        "charge and multiplicity do not fit together",
        ("multiplicity (",),
        rb"Error\s*:\s*multiplicity \(-?\d+\) is \w+ and number of electrons",
    ),
    TerminationRule(
        _T.INPUT_ERROR,
        _W.AFTER_LAST_RESULT,
        "ORCA stopped while reading the input",
        (
            "[file orca_main/maininp",
            "[file orca_main/main_input",
            "[file orca_main/mainchk.",
            "[file orca_main/readinp.",
            "expect a '$', '!', '%'",
            "dummy atom or point charge expected in coords",
        ),
    ),
    TerminationRule(
        _T.INPUT_ERROR,
        _W.WITH_AN_ABORT,
        "ORCA does not understand the input",
        (
            "unknown identifier in",
            "unrecognized symbol in",
            "invalid assignment",
            "invalid keyword",
            "invalid input",
        ),
    ),
    TerminationRule(
        _T.INPUT_ERROR,
        _W.AFTER_LAST_RESULT,
        "ORCA did not find its input",
        ("input file",),
        rb"(?i)(?:cannot|could ?n[o']t) open (?:the )?input file|input file .*(?:does not exist|not found)",
    ),
    TerminationRule(
        _T.DISK_FULL,
        _W.AFTER_LAST_RESULT,
        "the disk is full",
        ("no space left on device", "disk quota exceeded", "not enough disk space"),
    ),
    TerminationRule(
        _T.DISK_FULL,
        _W.WITH_AN_ABORT,
        "the disk is full",
        ("disk full", "not enough space for /dev/shm/"),
    ),
    # The line with the number of MB first: a remedy needs the number.
    TerminationRule(
        _T.OUT_OF_MEMORY,
        _W.WITH_AN_ABORT,
        "ORCA asks for more memory than %maxcore gives",
        ("maxcore",),
        rb"(?i)increase\s+%?maxcore.*\d",
    ),
    TerminationRule(
        _T.OUT_OF_MEMORY,
        _W.WITH_AN_ABORT,
        "ORCA asks for more memory than %maxcore gives",
        ("maxcore",),
        rb"(?i)increase\s+%?maxcore",
    ),
    TerminationRule(
        _T.OUT_OF_MEMORY,
        _W.WITH_AN_ABORT,
        "ORCA asks for more memory than %maxcore gives",
        ("not a single batch is possible",),
    ),
    TerminationRule(
        _T.OUT_OF_MEMORY,
        _W.AFTER_LAST_RESULT,
        "ORCA did not get the memory it needs",
        ("enough memory", "insufficient memory", "out of memory", "std::bad_alloc", "cannot allocate memory"),
        rb"(?i)error.*(?:not enough|insufficient|out of) memory|std::bad_alloc|cannot allocate memory",
    ),
    TerminationRule(
        _T.OUT_OF_MEMORY,
        _W.WITH_AN_ABORT,
        "ORCA did not get the memory it needs",
        ("memory", "allocate"),
        rb"(?i)(?:not enough|insufficient|out of|no more) memory|memory allocation fail|allocat\w+ (?:of )?memory fail"
        rb"|(?:fail\w*|unable|could not|cannot) (?:to )?allocate",
    ),
    TerminationRule(
        _T.OUT_OF_MEMORY,
        _W.AFTER_LAST_RESULT,
        "the system killed the job for its memory",
        (
            "oom-kill",
            "oom_kill",
            "oom kill",
            "out of memory: kill",
            "exceeded memory limit",
            "exceeded job memory limit",
            "state: out_of_memory",
        ),
    ),
    TerminationRule(
        _T.SCF_NOT_CONVERGED,
        _W.AFTER_LAST_RESULT,
        "the wavefunction did not converge",
        ("wavefunction is not fully converged",),
    ),
    TerminationRule(
        _T.SCF_NOT_CONVERGED, _W.AFTER_LAST_RESULT, "the SCF did not converge", ("scf not converged after",)
    ),
    TerminationRule(
        _T.SCF_NOT_CONVERGED, _W.WITH_AN_ABORT, "the SCF went astray", ("serious problem in soscf",)
    ),
    TerminationRule(
        _T.SCF_NOT_CONVERGED,
        _W.WITH_AN_ABORT,
        "the SCF did not converge",
        ("cas-scf", "casscf", "the scf has not converged"),
        rb"(?i)\bCAS-?SCF\b.*\bnot\b.*converge|the SCF has not converged",
    ),
    TerminationRule(
        _T.OPT_NOT_CONVERGED,
        _W.AFTER_LAST_RESULT,
        "the optimisation reached its maximum number of cycles",
        ("the optimization did not converge but reached",),
    ),
    # When the scheduler ends a job, processes die by a signal, and ORCA's own error termination follows.
    *SCHEDULER_RULES,
    # Open MPI's runtime (ORTE, PRTE) and PMIx. Some PMIx messages are harmless, so they need an abort beside them.
    # mpirun also complains after ORCA crashed by itself, which is not MPI's fault.
    TerminationRule(
        _T.MPI_ERROR,
        _W.AFTER_LAST_RESULT,
        "MPI failed",
        (
            "orte has lost communication",
            "prte has lost communication",
            "orte was unable to",
            "prte was unable to",
            "orte daemon has unexpectedly failed",
            "prte daemon has unexpectedly failed",
            "not enough slots available",
            "mpi_init has failed",
            "it looks like mpi_init failed",
            "it looks like orte_init failed",
            "it looks like prte_init failed",
            "it looks like opal_init failed",
            "mpirun was unable to launch",
            "mpirun was unable to find",
            "mpirun was unable to start",
            "mpirun has detected an attempt to run as root",
            "tried to bind a new process, and something went wrong",
            "unable to complete a tcp connection",
        ),
    ),
    # In the runtime's own format, with host and process or the job's name; a run that continues prints more results
    # below. Messages about PMIx's shared memory are harmless.
    TerminationRule(
        _T.MPI_ERROR,
        _W.AFTER_LAST_RESULT,
        "MPI failed",
        ("orte_error_log", "prte_error_log", "pmix error:"),
        rb"^\s*(?:\[[\w.-]+:\d+\]\s*)?\[\[\d+,\d+\],\d+\]\s*(?:ORTE|PRTE)_ERROR_LOG:"
        rb"|^\s*\[[\w.-]+:\d+\]\s*PMIX ERROR:(?!.*\bin file \S*(?:gds_|dstore_|psec_))",
    ),
    TerminationRule(
        _T.MPI_ERROR,
        _W.WITH_AN_ABORT,
        "MPI failed",
        ("orte_error_log", "prte_error_log", "pmix", "btl_tcp", "mpi_err_"),
        rb"(?i)(?:orte|prte)_error_log|pmix.*(?:error|fail)|btl_tcp.*(?:failed|reset|refused)|MPI_ERR_\w+",
    ),
    TerminationRule(
        _T.MPI_ERROR,
        _W.AFTER_LAST_RESULT,
        "MPI could not be started",
        ("not found",),
        rb"\b(?:mpirun|orted): (?:command )?not found",
    ),
    # ORCA's own message says more than the abort line that follows.
    TerminationRule(
        _T.ABORTED,
        _W.WITH_AN_ABORT,
        "a module of ORCA failed",
        ("(orca",),
        rb"(?i)\berror\s*\(ORCA[^)]*\)\s*:\s*(?!\.*\s*aborting)\S",
    ),
    *ABORTED,
    TerminationRule(
        _T.TRUNCATED, _W.NO_END, "the file has no end: the run is still going, or it was cut off"
    ),
)
"""The table. The first row that matches decides."""

_BELOW: Final = 4 << 10
_LINES_BELOW: Final = 6
_LONGEST_TOLD: Final = 200
_PLACE_IN_THE_CODE: Final = rb"^\s*\[file [^\]]*\]:?"
_NOT_OF_THE_MESSAGE: Final = r"INPUT FILE|NAME = |\|\s*\d+>|\*{3,}|ORCA finished|TOTAL RUN TIME"


class OutputEvidence(NamedTuple):
    """The facts of one run that decide its termination."""

    normal_end: bytes | None
    final_energy: float | None
    """The last energy, Eh."""
    final_energy_line: bytes
    final_scf_line: bytes
    """The line on the end of the last SCF before that energy; empty without one."""
    symbols: tuple[str, ...]
    """Element symbols of the molecule; empty if not known."""
    first_scf_energy: float | None
    """Energy of the last iteration of the (last job's) first SCF, Eh, or None."""
    scf_energy: float | None
    """Total energy of the last SCF, Eh, or None."""
    correlated: bool
    """Whether the energy includes a correlation energy beside the SCF energy."""
    semiempirical: bool
    optimisation_converged: bool | None
    """Whether the optimisation converged; None without one."""
    since_last_cycle: bytes
    """The text from the last optimisation cycle's gradient on, with any message of failure."""
    since_last_result: bytes
    """The text after the last energy, gradient or converged SCF, as far as it is kept."""


class TerminationReading(NamedTuple):
    """A termination with the line that decided (None if the absence of a line did), and the reason in one line."""

    termination: Termination
    deciding_line: str | None
    reason: str


def classify_end(evidence: OutputEvidence) -> TerminationReading:
    """Return the answer of the first row of the table that matches."""
    texts: dict[Where, Text] = {}
    if evidence.normal_end is None:
        texts[Where.AFTER_LAST_RESULT] = Text(evidence.since_last_result)
        if any(texts[Where.AFTER_LAST_RESULT].line_of(rule) is not None for rule in ABORTED):
            texts[Where.WITH_AN_ABORT] = texts[Where.AFTER_LAST_RESULT]
    else:
        texts[Where.FINAL_ENERGY] = Text(evidence.final_energy_line)
        texts[Where.FINAL_SCF] = Text(evidence.final_scf_line)
        if evidence.optimisation_converged is False:
            texts[Where.LAST_OPTIMISATION] = Text(evidence.since_last_cycle)
    for rule in TERMINATION_RULES:
        if rule.where in texts:
            line = texts[rule.where].line_of(rule)
            if line is not None:
                return TerminationReading(rule.termination, line, rule.why)
        elif not rule.signs:
            verdict = _without_signs(rule, evidence)
            if verdict is not None:
                return verdict
    raise AssertionError("the last row matches every run without a normal end, and NORMAL_END every other")


def _without_signs(rule: TerminationRule, evidence: OutputEvidence) -> TerminationReading | None:
    """Return the answer of a row that searches for no text, or None."""
    if evidence.normal_end is None:
        return TerminationReading(rule.termination, None, rule.why) if rule.where is Where.NO_END else None
    if rule.where is Where.FINAL_ENERGY_VALUE and evidence.final_energy is not None:
        why = why_unphysical(
            evidence.final_energy,
            evidence.symbols,
            evidence.first_scf_energy,
            # A correlation energy may exceed the change that is allowed for an SCF.
            scf_energy=evidence.scf_energy if evidence.correlated else evidence.final_energy,
            semiempirical=evidence.semiempirical,
        )
        return (
            TerminationReading(rule.termination, decode_line(evidence.final_energy_line), why)
            if why
            else None
        )
    open_optimisation = rule.where is Where.OPEN_OPTIMISATION and evidence.optimisation_converged is False
    if open_optimisation or rule.where is Where.NORMAL_END:
        return TerminationReading(rule.termination, decode_line(evidence.normal_end), rule.why)
    return None


class Text:
    """A part of an output, for case-insensitive searches.

    Signs are searched in a lower-case copy. A regular expression then reads only the lines that contain one, which is a
    hundred times as fast as searching with it.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._small = text.lower()

    def line_of(self, rule: TerminationRule) -> str | None:
        """Return the first line that matches a rule with signs, stripped, or None. Earlier signs take precedence."""
        for sign in rule.signs:
            position = self._small.find(sign.encode())
            while position >= 0:
                end = self._text.find(b"\n", position)
                end = end if end >= 0 else len(self._text)
                line = self._text[self._text.rfind(b"\n", 0, position) + 1 : end]
                if rule.line is None or re.search(rule.line, line):
                    return decode_line(line) + (self._told_below(end) if rule.told_below else "")
                position = self._small.find(sign.encode(), end)
        return None

    def _told_below(self, end: int) -> str:
        """Return the details below the line that ends at ``end``, as ``: details``; empty without any."""
        told: list[str] = []
        for line in self._text[end : end + _BELOW].split(b"\n")[1 : 1 + _LINES_BELOW]:
            text = decode_line(re.sub(_PLACE_IN_THE_CODE, b"", line))
            if re.match(_NOT_OF_THE_MESSAGE, text):
                break
            if any(map(str.isalnum, text)):
                told.append(" ".join(text.split()))
            elif told:
                break
        return f": {' '.join(told)[:_LONGEST_TOLD]}" if told else ""


def judge_scheduler_messages(messages: Iterable[bytes]) -> TerminationReading | None:
    """Read from a scheduler's messages, newest first, why an output has no end; None if they do not tell."""
    for message in messages:
        text = Text(message)
        for rule in _RULES_OF_SCHEDULER_FILES:
            line = text.line_of(rule)
            if line is not None:
                return TerminationReading(rule.termination, line, rule.why)
    return None


def _rules_for(meaning: SchedulerMessage) -> Iterator[TerminationRule]:
    """Yield the rules for a scheduler's own files whose class gives their messages this meaning."""
    for rule in TERMINATION_RULES:
        failure = rule.termination.failure_class
        if rule.where is Where.AFTER_LAST_RESULT and failure and failure.facts.scheduler_message is meaning:
            yield rule


_RULES_OF_SCHEDULER_FILES: Final = (
    *_rules_for(SchedulerMessage.FIRST),
    *SCHEDULER_RULES,
    *_rules_for(SchedulerMessage.LAST),
)

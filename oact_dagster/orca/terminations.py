"""How an ORCA run ended: the table of rules, and the judge that goes through it.

To teach it a new message, add a row to ``RULES``: the first row that fits decides, so a specific one stands above a
general one. Patterns are regular expressions on bytes; ``(?m)^`` anchors at the beginning of a line.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from oact_dagster.orca.input_echo import text_of
from oact_dagster.orca.unphysical import why_unphysical


class Termination(StrEnum):
    """What an output file says of its end."""

    NORMAL = "normal"
    SCF_NOT_CONVERGED = "scf_not_converged"
    OPT_NOT_CONVERGED = "opt_not_converged"
    UNPHYSICAL = "unphysical"
    OUT_OF_MEMORY = "out_of_memory"
    INPUT_ERROR = "input_error"
    DISK_FULL = "disk_full"
    MPI_ERROR = "mpi_error"
    ABORTED = "aborted"
    TRUNCATED = "truncated"


class Where(StrEnum):
    """Which part of an output a rule looks at."""

    NORMAL_END = "the line of a normal end, when ORCA's last line (TOTAL RUN TIME) follows it"
    FINAL_ENERGY = "the line of the last energy, of a run that ended normally"
    FINAL_ENERGY_VALUE = "the last energy itself, of a run that ended normally: see unphysical.py"
    LAST_OPTIMISATION = "after the last optimisation cycle began, of a run that ended normally"
    OPEN_OPTIMISATION = "an optimisation that never said it converged, of a run that ended normally"
    AFTER_LAST_RESULT = "after the last energy, gradient or converged SCF, of a run that did not end normally"
    WITH_AN_ABORT = "as AFTER_LAST_RESULT, and only beside a line that says that the run was aborted"
    NO_END = "nothing: fits every run that did not end normally"


class Rule(NamedTuple):
    """One row of the table.

    Attributes:
        termination: The answer if the row fits.
        where: The part of the output that is searched.
        pattern: A regular expression for it (compiled on first use: most runs end normally); None where ``where``
            says all.
        why: The reason, in a line.
    """

    termination: Termination
    where: Where
    pattern: bytes | None
    why: str


_T = Termination
_W = Where

ABORTED: Final[tuple[Rule, ...]] = (
    Rule(_T.ABORTED, _W.AFTER_LAST_RESULT, rb"ORCA finished by error termination", "a module of ORCA failed"),
    Rule(
        _T.ABORTED,
        _W.AFTER_LAST_RESULT,
        rb"(?i)\babort(?:ing|s|ed) the (?:run|calculation|job)",
        "ORCA aborted",
    ),
    Rule(
        _T.ABORTED,
        _W.AFTER_LAST_RESULT,
        rb"(?m)^\[file [^\]\n]+, line \d+[^\]\n]*\]:",
        "ORCA stopped in its code",
    ),
    Rule(_T.ABORTED, _W.AFTER_LAST_RESULT, rb"(?i)exited on signal \d+", "a process was killed by a signal"),
    Rule(
        _T.ABORTED,
        _W.AFTER_LAST_RESULT,
        rb"(?i)segmentation fault|illegal instruction|bus error",
        "ORCA crashed",
    ),
    Rule(_T.ABORTED, _W.AFTER_LAST_RESULT, rb"\*\*\* Process received signal \*\*\*", "ORCA crashed"),
    Rule(_T.ABORTED, _W.AFTER_LAST_RESULT, rb"terminate called (?:after|without)", "ORCA crashed"),
    Rule(_T.ABORTED, _W.AFTER_LAST_RESULT, rb"forrtl: severe|(?m:^)\s*FATAL ERROR", "ORCA crashed"),
    Rule(_T.ABORTED, _W.AFTER_LAST_RESULT, rb"MPI_ABORT was invoked", "ORCA called MPI_Abort"),
    Rule(
        _T.ABORTED,
        _W.AFTER_LAST_RESULT,
        rb"process(?:es)? (?:returned a|exited with) non-zero (?:exit code|status)",
        "a process of ORCA failed",
    ),
    Rule(
        _T.ABORTED,
        _W.AFTER_LAST_RESULT,
        rb"error while loading shared libraries|orca\S*: (?:command not found|No such file)",
        "ORCA could not be started",
    ),
)
"""Any other error end: the last rows before ``NO_END``, and what ``WITH_AN_ABORT`` asks for."""

RULES: Final[tuple[Rule, ...]] = (
    # Runs that ended normally: what they delivered may still be no result.
    Rule(_T.UNPHYSICAL, _W.FINAL_ENERGY_VALUE, None, "ORCA ended normally with an impossible energy"),
    Rule(
        _T.SCF_NOT_CONVERGED,
        _W.FINAL_ENERGY,
        rb"(?i)not (?:fully )?converged",
        "ORCA ended normally with an energy that is not converged",
    ),
    Rule(
        _T.OPT_NOT_CONVERGED,
        _W.LAST_OPTIMISATION,
        rb"(?i)the optimization (?:did not converge|has not converged) but reached the maximum number of",
        "the optimisation reached its maximum number of cycles",
    ),
    Rule(_T.OPT_NOT_CONVERGED, _W.OPEN_OPTIMISATION, None, "the optimisation never said that it converged"),
    Rule(_T.NORMAL, _W.NORMAL_END, None, "ORCA ended normally"),
    # Runs that did not. The input first: ORCA then did not even start to calculate.
    Rule(_T.INPUT_ERROR, _W.AFTER_LAST_RESULT, rb"(?m)^[ \t]*INPUT ERROR", "ORCA refused the input"),
    Rule(
        _T.INPUT_ERROR,
        _W.AFTER_LAST_RESULT,
        rb"UNRECOGNIZED OR DUPLICATED KEYWORD",
        "ORCA does not know a keyword of the input, or it is there twice",
    ),
    Rule(
        _T.INPUT_ERROR,
        _W.AFTER_LAST_RESULT,
        rb"(?i)not available for this element|no basis functions on atom|no basis set (?:was )?(?:found|available)",
        "a basis set lacks an element",
    ),
    Rule(
        _T.INPUT_ERROR,
        _W.AFTER_LAST_RESULT,
        rb"Error\s*:\s*multiplicity \(-?\d+\) is \w+ and number of electrons",
        "charge and multiplicity cannot go together",
    ),
    Rule(
        _T.INPUT_ERROR,
        _W.AFTER_LAST_RESULT,
        rb"(?m)^\[file orca_main/maininp\w*\.cpp, line \d+",
        "ORCA's reader of the input stopped",
    ),
    Rule(
        _T.INPUT_ERROR,
        _W.WITH_AN_ABORT,
        rb"(?i)unknown identifier in|unrecognized symbol in|invalid assignment|invalid (?:keyword|input)",
        "ORCA does not understand the input",
    ),
    Rule(
        _T.INPUT_ERROR,
        _W.AFTER_LAST_RESULT,
        rb"(?i)(?:cannot|could ?n[o']t) open (?:the )?input file|input file [^\n]*(?:does not exist|not found)",
        "ORCA did not find its input",
    ),
    Rule(
        _T.DISK_FULL,
        _W.AFTER_LAST_RESULT,
        rb"(?i)no space left on device|disk quota exceeded|not enough disk space",
        "the disk is full",
    ),
    # The line with the number of MB first: it is what a remedy needs.
    Rule(
        _T.OUT_OF_MEMORY,
        _W.WITH_AN_ABORT,
        rb"(?i)increase\s+%?maxcore[^\n]*\d",
        "ORCA asks for more memory than %maxcore gives",
    ),
    Rule(
        _T.OUT_OF_MEMORY,
        _W.WITH_AN_ABORT,
        rb"(?i)increase\s+%?maxcore",
        "ORCA asks for more memory (%maxcore)",
    ),
    Rule(
        _T.OUT_OF_MEMORY,
        _W.AFTER_LAST_RESULT,
        rb"(?i)error[^\n]*(?:not enough|insufficient|out of) memory|std::bad_alloc|cannot allocate memory",
        "ORCA did not get the memory it needs",
    ),
    Rule(
        _T.OUT_OF_MEMORY,
        _W.WITH_AN_ABORT,
        rb"(?i)(?:not enough|insufficient|out of|no more) memory|memory allocation fail|allocat\w+ (?:of )?memory fail"
        rb"|(?:fail\w*|unable|could not|cannot) (?:to )?allocate",
        "ORCA did not get the memory it needs",
    ),
    Rule(
        _T.OUT_OF_MEMORY,
        _W.AFTER_LAST_RESULT,
        rb"(?i)oom[-_ ]kill|out of memory: kill|exceeded (?:job |step )?memory limit",
        "the system killed the job for its memory",
    ),
    Rule(
        _T.SCF_NOT_CONVERGED,
        _W.AFTER_LAST_RESULT,
        rb"wavefunction IS NOT FULLY CONVERGED",
        "the wavefunction did not converge",
    ),
    Rule(_T.SCF_NOT_CONVERGED, _W.AFTER_LAST_RESULT, rb"SCF NOT CONVERGED AFTER", "the SCF did not converge"),
    Rule(
        _T.SCF_NOT_CONVERGED,
        _W.WITH_AN_ABORT,
        rb"(?i)\bCAS-?SCF\b[^\n]*\bnot\b[^\n]*converge|the SCF has not converged",
        "the SCF did not converge",
    ),
    Rule(
        _T.OPT_NOT_CONVERGED,
        _W.AFTER_LAST_RESULT,
        rb"(?i)the optimization (?:did not converge|has not converged) but reached the maximum number of",
        "the optimisation reached its maximum number of cycles",
    ),
    # Open MPI's runtime (ORTE, PRTE) and PMIx. Some PMIx messages are harmless, hence the abort beside them; and an
    # ORCA that crashed by itself makes mpirun complain too, which is no fault of MPI's.
    Rule(
        _T.MPI_ERROR,
        _W.AFTER_LAST_RESULT,
        rb"ORTE has lost communication|ORTE was unable to|PRTE has lost communication|PRTE was unable to"
        rb"|An? (?:ORTE|PRTE) daemon has unexpectedly failed|not enough slots available|MPI_INIT has failed"
        rb"|it looks like (?:MPI_INIT|orte_init|prte_init|opal_init)\S* failed|It looks like \w+_init failed"
        rb"|mpirun was unable to (?:launch|find|start)|mpirun: command not found|orted: command not found"
        rb"|tried to bind a new process, and something went wrong|unable to complete a TCP connection",
        "MPI failed",
    ),
    Rule(
        _T.MPI_ERROR,
        _W.WITH_AN_ABORT,
        rb"ORTE_ERROR_LOG|PRTE_ERROR_LOG|PMIX[_ ]ERROR|PMIx[^\n]* (?:error|failed)|pmix_init[^\n]*fail"
        rb"|mca_btl_tcp\w*[^\n]*(?:failed|reset|refused)|MPI_ERR_\w+",
        "MPI failed",
    ),
    # ORCA's own message says more than the line of the abort that follows it.
    Rule(
        _T.ABORTED,
        _W.WITH_AN_ABORT,
        rb"(?i)\berror[ \t]*\(ORCA[^)\n]*\)[ \t]*:[ \t]*(?!\.*[ \t]*aborting)[^\s]",
        "a module of ORCA failed",
    ),
    *ABORTED,
    Rule(_T.TRUNCATED, _W.NO_END, None, "the file has no end: the run is still going on, or it was cut off"),
)
"""The table. The first row that fits decides."""

SCHEDULER_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        _T.TRUNCATED,
        _W.NO_END,
        rb"(?i)due to time limit|time limit exceeded|exceeded[^\n]*time limit|exception[^\n]*type=timeout",
        "the scheduler ended the job at its time limit",
    ),
    Rule(
        _T.TRUNCATED,
        _W.NO_END,
        rb"(?i)due to (?:preemption|node fail)|cancelled at|exception[^\n]*type=cancel|node failure",
        "the scheduler ended the job",
    ),
)
"""What a scheduler's own file (``slurm-*.out``, ``flux-*.out``) may add to an output without an end."""


_OF_THE_MACHINE: Final = frozenset({_T.MPI_ERROR, _T.ABORTED})


class Evidence(NamedTuple):
    """What the judge looks at.

    Attributes:
        normal_end: The line of the normal end, or None.
        final_energy: Eh, the last energy, or None.
        final_energy_line: The line it stands in.
        symbols: Element symbols of the molecule, empty where they are not known.
        first_scf_energy: Eh, the last iteration of the (last job's) first SCF, or None.
        optimisation_converged: None without an optimisation.
        since_last_cycle: The text from the last optimisation cycle's gradient on, for the message of its failure.
        since_last_result: The text behind the last energy, gradient or converged SCF, as far as it is kept.
    """

    normal_end: bytes | None
    final_energy: float | None
    final_energy_line: bytes
    symbols: tuple[str, ...]
    first_scf_energy: float | None
    optimisation_converged: bool | None
    since_last_cycle: bytes
    since_last_result: bytes


class Verdict(NamedTuple):
    """A termination, the line that decided it, and why.

    Attributes:
        termination: The answer.
        deciding_line: The line of the output, or None where its absence decided.
        reason: One line.
    """

    termination: Termination
    deciding_line: str | None
    reason: str


def judge(evidence: Evidence) -> Verdict:
    """Go through the table and return what its first fitting row says.

    Args:
        evidence: Of one run.

    Returns:
        The verdict.
    """
    for rule in RULES:
        fits, line, why = _fits(rule, evidence)
        if fits:
            return Verdict(rule.termination, line, why or rule.why)
    raise AssertionError("the last row fits always")


def _fits(rule: Rule, evidence: Evidence) -> tuple[bool, str | None, str | None]:
    """Whether a row fits, the deciding line and, where it says more than the row, the reason."""
    normal = evidence.normal_end
    if rule.where in (Where.AFTER_LAST_RESULT, Where.WITH_AN_ABORT, Where.NO_END):
        if normal is not None:
            return False, None, None
        if rule.where is Where.NO_END:
            return True, None, None
        line = first_line(rule.pattern, evidence.since_last_result)
        if line is not None and rule.where is Where.WITH_AN_ABORT:
            aborted = any(
                first_line(other.pattern, evidence.since_last_result) is not None for other in ABORTED
            )
            return aborted, line, None
        return line is not None, line, None
    if normal is None:
        return False, None, None
    if rule.where is Where.FINAL_ENERGY_VALUE:
        if evidence.final_energy is None:
            return False, None, None
        why = why_unphysical(evidence.final_energy, evidence.symbols, evidence.first_scf_energy)
        return why is not None, text_of(evidence.final_energy_line), why
    if rule.where is Where.FINAL_ENERGY:
        line = first_line(rule.pattern, evidence.final_energy_line)
        return line is not None, line, None
    if rule.where is Where.LAST_OPTIMISATION:
        if evidence.optimisation_converged is not False:
            return False, None, None
        line = first_line(rule.pattern, evidence.since_last_cycle)
        return line is not None, line, None
    if rule.where is Where.OPEN_OPTIMISATION:
        return evidence.optimisation_converged is False, text_of(normal), None
    return True, text_of(normal), None


def first_line(pattern: bytes | None, text: bytes) -> str | None:
    """The whole line of a pattern's first match.

    Args:
        pattern: What to look for.
        text: Where.

    Returns:
        The line, stripped, or None where there is no match.
    """
    match = None if pattern is None else re.search(pattern, text)
    if match is None:
        return None
    # A pattern may begin with blanks that reach over lines: the line is the one in which the match ends.
    begin = text.rfind(b"\n", 0, max(match.start(), match.end() - 1)) + 1
    end = text.find(b"\n", match.end())
    return text_of(text[begin : end if end >= 0 else len(text)])


def judge_scheduler_messages(messages: Iterable[bytes]) -> Verdict | None:
    """Say what a scheduler's own messages add to an output without an end.

    Args:
        messages: The ends of the scheduler's files, newest first.

    Returns:
        A verdict, or None where they say nothing of an end.
    """
    plain = [rule for rule in RULES if rule.where is Where.AFTER_LAST_RESULT]
    limits = [
        rule for rule in plain if rule.termination in (Termination.OUT_OF_MEMORY, Termination.DISK_FULL)
    ]
    # A job that reached its time limit also leaves processes that died by a signal: the limit is the reason.
    rules = (*limits, *SCHEDULER_RULES, *(rule for rule in plain if rule.termination in _OF_THE_MACHINE))
    for text in messages:
        for rule in rules:
            line = first_line(rule.pattern, text)
            if line is not None:
                return Verdict(rule.termination, line, rule.why)
    return None

"""The ``!`` line: its keywords, and which of a user's own keywords and extra lines are refused."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from oact_dagster.errors import InputRefused
from oact_dagster.orca.inputs.basis import looks_like_a_basis
from oact_dagster.orca.inputs.extra_lines import own_words
from oact_dagster.orca.inputs.functionals import is_composite, known_functional
from oact_dagster.orca.inputs.potentials import is_potential
from oact_dagster.orca.inputs.settings import InputSettings

_GUESSES: Final = frozenset({"MOREAD", "PMODEL", "PATOM", "HUECKEL", "HCORE"})
_EXCLUSIVE: Final[tuple[frozenset[str], ...]] = (
    frozenset({"DIIS", "KDIIS", "NODIIS"}),
    frozenset({"SOSCF", "NOSOSCF"}),
    frozenset({"TRAH", "NOTRAH"}),
    # TRAH replaces the other accelerators.
    frozenset({"TRAH", "DIIS"}),
    frozenset({"TRAH", "KDIIS"}),
    frozenset({"TRAH", "SOSCF"}),
    _GUESSES,
    frozenset({"NBO", "NONBO"}),
    frozenset({"NPA", "NONPA"}),
    frozenset({"MBIS", "NOMBIS"}),
    frozenset({"EASYCONV", "NORMALCONV", "SLOWCONV", "VERYSLOWCONV"}),
    frozenset({"DEFGRID1", "DEFGRID2", "DEFGRID3"}),
    frozenset({"USESYM", "NOUSESYM"}),
    frozenset({"RIJCOSX", "NOCOSX", "NORI", "RIJK"}),
    frozenset({"RHF", "UHF", "ROHF", "RKS", "UKS", "ROKS"}),
    frozenset({"ENGRAD", "OPT", "COPT", "OPTTS", "SP", "ENERGY", "MD", "IRC", "NEB", "NEB-TS", "GOAT"}),
)
_HAMILTONIANS: Final = re.compile(r"(DLU-)?(DKH\d?|ZORA|X2C|IORA)(/RI)?", re.IGNORECASE)
_THRESHOLDS: Final = re.compile(r"(SLOPPY|LOOSE|NORMAL|STRONG|VERYTIGHT|EXTREME)SCF", re.IGNORECASE)
_UNITS: Final = frozenset({"BOHRS", "BOHR"})
_SCF_WAYS: Final = frozenset({"NRSCF", "AHSCF"})
_OF_A_SETTING: Final = "keyword that belongs to a setting"
_RESTART: Final = "the restart from orbitals"
_OTHER_JOBS: Final = frozenset({"$new_job", "%coords", "%base"})
_BLOCKS_OF_SETTINGS: Final = {
    "%pal": "n_cores",
    "%maxcore": "maxcore",
    "%rel": "simple_input",
    "newecp": "actinide_ecp",
    "ecp": "actinide_ecp",
    "gtoname": "actinide_basis and non_actinide_basis",
    "newgto": "actinide_basis and non_actinide_basis",
}
_OF_THE_SCF_METHOD: Final = frozenset(
    {"diis", "kdiis", "soscf", "nr", "trah", "autotrah"}
    | {"cnvdiis", "cnvkdiis", "cnvsoscf", "cnvnr", "cnvdamp"}
)
"""Keys of ``%scf`` that would override the keywords of an ``ScfMethod`` on the ``!`` line."""
_OF_THE_METHOD: Final = {"runtyp": "opt"} | dict.fromkeys(
    ("functional", "exchange", "correlation"), "functional"
)
"""Keys of ``%method`` that a setting sets."""
_OF_THE_GUESS: Final = frozenset({"guess", "rotate", "moinp", "autostart"})
"""Keys of ``%scf`` that would override or alter the orbitals read from a file."""
_OF_THE_SPINS: Final = frozenset({"hftyp", "rotate"})
"""Keys of ``%scf`` that would make a broken-symmetry singlet restricted, or mix its orbitals again."""


def keyword_line(settings: InputSettings, *, broken_singlet: bool) -> tuple[str, ...]:
    """Return the keywords of the ``!`` line, in order; ``broken_singlet`` breaks the spin symmetry of a singlet."""
    template = settings.template
    functional = tuple(settings.functional.split())
    unrestricted = "UHF" if "HF" in map(str.upper, functional) else "UKS"
    method = settings.scf_method
    replaced = {"NormalConv": method.damping, "DIIS": method.accelerator}
    if method.accelerator == "TRAH":
        replaced |= {"DIIS": "", "NoTRAH": "TRAH"}
    if method.soscf:
        replaced["NOSOSCF"] = "SOSCF"
    if settings.nbo:
        replaced |= {"NONBO": "NBO", "NONPA": ""}
    words = (
        *functional,
        settings.line_basis,
        template.hamiltonian,
        # Without a basis on the line ORCA starts from def2-SVP, which brings its potentials.
        "NoECP" if template.hamiltonian and settings.line_basis is None else None,
        unrestricted if broken_singlet else None,
        "Opt" if settings.opt else "EnGrad",
        *(replaced.get(word, word) for word in template.keywords),
        "MBIS" if settings.mbis else None,
        "MORead" if method.restart else None,
    )
    return tuple(word for word in words if word)


def own_keywords(settings: InputSettings) -> tuple[str, ...]:
    """Return the keywords of the user's own ``!`` lines, in upper case.

    Raises:
        InputRefused: The lines are malformed.
    """
    return tuple(word.word.upper() for word in own_words(settings.extra_lines) if word.block == "!")


def names_a_guess(settings: InputSettings) -> bool:
    """Return whether a user's own keyword chooses the initial guess, which the template's ``Guess`` would override."""
    return not _GUESSES.isdisjoint(own_keywords(settings))


def check_own_lines(settings: InputSettings) -> None:
    """Check a user's own keywords: those in ``functional`` and in ``extra_lines``.

    Raises:
        InputRefused: A line is malformed, begins another part of the input, sets what a setting sets, or repeats or
            contradicts keywords that are already there.
    """
    functional = settings.functional.split()
    for line in settings.extra_lines:
        words = _code(line).lower().split()
        if any(word.startswith("*") or word in _OTHER_JOBS for word in words):
            raise InputRefused(
                f"the extra line {line!r} begins new coordinates, a new job or other files; remove it"
            )
        if decided := next((word for word in words if word in _BLOCKS_OF_SETTINGS), None):
            raise _sets_what(line, _BLOCKS_OF_SETTINGS[decided])
    own = own_words(settings.extra_lines)
    for word in own:
        if word.block == "%scf" and word.word == "convergence":
            raise InputRefused(
                f"the extra line {word.line!r} sets the SCF convergence, which every template sets to Tight; "
                "remove it",
                kind=_OF_A_SETTING,
            )
        if setter := _overridden_by(settings, word.block, word.word):
            raise _sets_what(word.line, setter)
    extra = [word.word for word in own if word.block == "!"]
    if decided := _belongs_to_a_setting(settings, [*functional, *extra]):
        raise InputRefused(decided, kind=_OF_A_SETTING)
    _check_functionals(settings, extra)
    reads = "MOREAD" in map(str.upper, extra)
    if reads and not settings.scf_method.restart and not any(word.block == "%moinp" for word in own):
        raise InputRefused(
            'MORead needs a file of orbitals; add %moinp "/path/to/orbitals.gbw" to extra_lines'
        )
    written = keyword_line(settings, broken_singlet=settings.uks_singlet)
    if wrong := _contradiction([*written, *extra]):
        raise InputRefused(f"{wrong}; check functional and extra_lines", kind="contradicting keywords")


def _code(line: str) -> str:
    """Return a line without its comments. A comment ends at the next ``#`` or with the line."""
    if not isinstance(line, str):
        raise InputRefused(f"the extra line {line!r} is not text")
    return " ".join(line.split("#")[::2])


def _sets_what(line: str, setter: str) -> InputRefused:
    # A remedy's SCF method and its restart are not settings that a user could change.
    use = "" if setter in ("scf", _RESTART) else f"; use {setter}"
    return InputRefused(f"the extra line {line!r} sets what {setter} sets{use}", kind=_OF_A_SETTING)


def _check_functionals(settings: InputSettings, extra: Sequence[str]) -> None:
    """Refuse two functionals: ORCA would silently use one of them."""
    named = [word for word in settings.functional.split() if known_functional(word)]
    if second := next((word for word in extra if known_functional(word)), None):
        raise InputRefused(
            f"{second} in extra_lines is a second functional beside {settings.functional}; name one, in functional",
            kind=_OF_A_SETTING,
        )
    if len(named) > 1:
        raise InputRefused(
            f"functional names {' and '.join(named)}; expected one functional", kind="contradicting keywords"
        )


def _overridden_by(settings: InputSettings, block: str, word: str) -> str | None:
    """Return the setting that a user's own word in a block (both in lower case) would override, or None."""
    method = settings.scf_method
    if word == "%moinp" and method.restart:
        return _RESTART
    if block == "%method":
        return _OF_THE_METHOD.get(word)
    if block != "%scf":
        return None
    if word == "maxiter":
        return "scf_maxiter"
    if word in _OF_THE_GUESS and method.restart:
        return _RESTART
    if word in _OF_THE_SPINS and settings.uks_singlet:
        return "uks_singlet"
    # With the template's own SCF method such a line is allowed: nobody has asked for another method.
    if (
        word in _OF_THE_SCF_METHOD
        and replace(method, restart=False) != replace(settings, scf=None).scf_method
    ):
        return "scf"
    return None


def _contradiction(words: Iterable[str]) -> str | None:
    """Return what is wrong with the keywords of all ``!`` lines of one input together, or None.

    ORCA stops at a repeated keyword. Of two that exclude each other it silently uses one.
    """
    counts = Counter(word.upper() for word in words)
    for word, count in counts.items():
        if count > 1:
            return f"the keyword {word} would appear twice"
    for group in _EXCLUSIVE:
        if len(both := sorted(group & counts.keys())) > 1:
            return f"the keywords {' and '.join(both)} exclude each other"
    return None


def _belongs_to_a_setting(settings: InputSettings, words: Sequence[str]) -> str | None:
    """Return a message for the first of the user's own keywords that is up to a setting, or None."""
    for word in words:
        if _HAMILTONIANS.fullmatch(word):
            return f"{word} chooses a Hamiltonian; use simple_input"
        if re.fullmatch(r"PAL\d+", word, re.IGNORECASE):
            return f"{word} chooses the number of processes; use n_cores"
        if _THRESHOLDS.fullmatch(word):
            return f"{word} chooses the SCF threshold, which every template sets to Tight; remove it"
        if is_composite(word):
            return (
                f"{word} is a composite method with its own basis and core potentials; use a functional such as "
                "wB97M-V, and set the bases with actinide_basis and non_actinide_basis"
            )
        hamiltonian = settings.template.hamiltonian
        if hamiltonian and is_potential(word) and word.lower() != "noecp":
            return (
                f"{word} chooses core potentials, but {settings.simple_input} treats all electrons ({hamiltonian}); "
                "remove it"
            )
        if is_potential(word):
            return f"{word} chooses core potentials; use actinide_ecp and the bases"
        if looks_like_a_basis(word):
            return f"{word} is a basis set; use actinide_basis and non_actinide_basis"
        if word.upper() in _UNITS:
            return f"{word} changes the unit of the coordinates, which are written in Å; remove it"
        if word.upper() in _SCF_WAYS:
            return f"{word} chooses how the SCF converges; use kdiis and the steps under remedies"
        if hamiltonian and word.upper() == "NOFINITENUC":
            return f"{word} switches off the finite nuclei of {settings.simple_input}; remove it"
    return None

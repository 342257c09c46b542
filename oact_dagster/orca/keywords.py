"""The ``!`` line: the words of it, and which of a user's own words it does not bear."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from oact_dagster.orca.basis import known_basis
from oact_dagster.orca.input_settings import InputRefused, InputSettings
from oact_dagster.orca.potentials import CORE_ELECTRONS

_EXCLUSIVE: Final[tuple[frozenset[str], ...]] = (
    frozenset({"DIIS", "KDIIS", "NODIIS"}),
    frozenset({"SOSCF", "NOSOSCF"}),
    frozenset({"TRAH", "NOTRAH"}),
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
_POTENTIALS: Final = frozenset({"noecp", *(name.lower() for name in CORE_ELECTRONS)})
_BLOCKS_OF_SETTINGS: Final = {
    "%pal": "n_cores",
    "%maxcore": "maxcore",
    "%rel": "simple_input",
    "newecp": "actinide_ecp",
    "ecp": "actinide_ecp",
    "gtoname": "actinide_basis and non_actinide_basis",
    "newgto": "actinide_basis and non_actinide_basis",
}


def keyword_line(settings: InputSettings, *, broken_singlet: bool) -> tuple[str, ...]:
    """Return the words of the ``!`` line, in order.

    Args:
        settings: The settings.
        broken_singlet: Whether this is a singlet whose spin symmetry is to be broken.
    """
    template = settings.template
    functional = tuple(settings.functional.split())
    unrestricted = "UHF" if "HF" in map(str.upper, functional) else "UKS"
    replaced = {"DIIS": "KDIIS"} if settings.kdiis else {}
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
    )
    return tuple(word for word in words if word)


def check_own_lines(settings: InputSettings) -> None:
    """Check a user's own keywords: those beside the functional and the extra lines.

    Raises:
        InputRefused: A line would leave its place in the input, sets what a setting sets, or holds keywords
            that are there already or exclude others.
    """
    functional = settings.functional.split()
    extra: list[str] = []
    for line in settings.extra_lines:
        if not isinstance(line, str) or not line.strip() or not line.isprintable():
            raise InputRefused(f"the extra line {line!r} is empty or has a newline or control character")
        # A comment ends at the next "#" or with the line.
        code = " ".join(line.split("#")[::2])
        words = code.lower().split()
        if any(word.startswith("*") or word in ("$new_job", "%coords", "%base") for word in words):
            raise InputRefused(
                f"the extra line {line!r} begins other coordinates, another job or other files"
            )
        if decided := next((word for word in words if word in _BLOCKS_OF_SETTINGS), None):
            raise InputRefused(f"the extra line {line!r} sets what {_BLOCKS_OF_SETTINGS[decided]} sets")
        extra += code.partition("!")[2].replace("!", " ").split()
    if decided := _belongs_to_a_setting([*functional, *extra]):
        raise InputRefused(decided)
    written = keyword_line(settings, broken_singlet=settings.uks_singlet)
    if wrong := _contradiction([*written, *extra]):
        raise InputRefused(f"{wrong}; look at functional and extra_lines")


def _contradiction(words: Iterable[str]) -> str | None:
    """Return what is wrong with the words of all ``!`` lines of one input together, or None.

    ORCA stops at a keyword that is there twice, and of two that exclude each other one wins without a word.
    """
    counts = Counter(word.upper() for word in words)
    for word, count in counts.items():
        if count > 1:
            return f"the keyword {word} would be there twice"
    for group in _EXCLUSIVE:
        if len(both := sorted(group & counts.keys())) > 1:
            return f"the keywords {' and '.join(both)} exclude each other"
    return None


def _belongs_to_a_setting(words: Sequence[str]) -> str | None:
    """Return which of a user's own keywords the settings decide, and which setting, or None."""
    for word in words:
        if _HAMILTONIANS.fullmatch(word):
            return f"{word} chooses a Hamiltonian, which simple_input does"
        if re.fullmatch(r"PAL\d+", word, re.IGNORECASE):
            return f"{word} chooses the number of processes, which n_cores does"
        if _THRESHOLDS.fullmatch(word):
            return f"{word} chooses the SCF threshold, which every template sets to Tight"
        if known_basis(word):
            return f"{word} is a basis set, which actinide_basis and non_actinide_basis name"
        if word.lower() in _POTENTIALS:
            return f"{word} chooses core potentials, which actinide_ecp and the bases do"
    return None

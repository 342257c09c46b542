"""What is refused before an input is written, and what is only said: settings against their elements."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from oact_dagster.orca import potentials
from oact_dagster.orca.basis import is_auxiliary, is_file, is_relativistic, known_basis, sets_covering
from oact_dagster.orca.basis_tables import FROM_ORCA_6_1
from oact_dagster.orca.elements import ACTINIDES, ATOMIC_NUMBERS, LANTHANIDES
from oact_dagster.orca.input_settings import InputRefused, InputSettings
from oact_dagster.orca.keywords import check_own_lines
from oact_dagster.orca.spans import as_spans

_BREAKS_QUOTES: Final = frozenset("\"'\\#")
_BREAKS_A_WORD: Final = frozenset("%!$;{}[]")


def check_settings(settings: InputSettings, elements: Iterable[str]) -> list[str]:
    """Refuse settings that give no correct input for these elements, and say what is merely doubtful.

    Args:
        settings: The settings.
        elements: The elements of one structure, or of a whole campaign.

    Returns:
        Warnings, one line each: a name that is in no table, a set that needs a certain version of ORCA, a
        basis contracted for another Hamiltonian.

    Raises:
        InputRefused: A value that is impossible or could break out of its place in the input; keywords that
            contradict each other; a core potential, named or implicit, with a relativistic Hamiltonian; an
            actinide without a basis; a known basis or potential without an element.
    """
    return list(checked(settings, frozenset(elements)))


@lru_cache(maxsize=4096)
def checked(settings: InputSettings, elements: frozenset[str]) -> tuple[str, ...]:
    """Do what ``check_settings`` does, once for each combination."""
    if unknown := sorted(elements - ATOMIC_NUMBERS.keys()):
        raise InputRefused(f"unknown element {unknown[0]!r}; expected symbols from H to Lr")
    _check_values(settings)
    check_own_lines(settings)
    _check_potentials(settings, elements)
    _check_coverage(settings, elements)
    return (*_unknown_names(settings, elements), *_doubts(settings, elements))


def _check_values(settings: InputSettings) -> None:
    """Refuse values that are no such thing, or that would break out of their word, quotes or line."""
    template = settings.template  # refuses an unknown one
    _check_name("functional", settings.functional, blanks=True)
    _check_name("non_actinide_basis", settings.non_actinide_basis)
    if settings.actinide_basis is not None:
        _check_name("actinide_basis", settings.actinide_basis)
    if settings.actinide_ecp is not None:
        _check_name("actinide_ecp", settings.actinide_ecp)
    bases = (settings.actinide_basis, settings.non_actinide_basis)
    files = sorted({basis for basis in bases if basis and is_file(basis)})
    if len(files) > 1:
        raise InputRefused(
            f"actinide_basis and non_actinide_basis are two files, {' and '.join(files)}; "
            "ORCA reads one: put both sets into it and name it twice"
        )
    for what, number in (
        ("n_cores", settings.n_cores),
        ("scf_maxiter", settings.scf_maxiter),
        ("maxcore", settings.maxcore),
    ):
        if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 1):
            raise InputRefused(f"{what} is {number!r}; expected a whole number, 1 or more")
    if template.hamiltonian and settings.actinide_ecp:
        raise InputRefused(
            f"actinide_ecp {settings.actinide_ecp} is a core potential, and {settings.simple_input} treats "
            f"all electrons ({template.hamiltonian}); leave it out and name an all-electron actinide_basis "
            "such as SARC-DKH-TZVP"
        )


def _check_name(what: str, value: str, *, blanks: bool = False) -> None:
    """Refuse a name or a file that would not stay one word of the input, or one string in quotes."""
    if not isinstance(value, str) or not value or value != value.strip():
        raise InputRefused(f"{what} is {value!r}; expected a name without blanks around it")
    if not value.isprintable() or not _BREAKS_QUOTES.isdisjoint(value):
        raise InputRefused(
            f"{what} is {value!r}; quotes, backslashes, '#' and control characters break the input"
        )
    if is_auxiliary(value):
        raise InputRefused(f"{what} is {value}, a fitting basis; expected an orbital basis or a file")
    if what.endswith("basis") and is_file(value):
        return
    if not value.isascii() or not _BREAKS_A_WORD.isdisjoint(value) or (len(value.split()) > 1 and not blanks):
        raise InputRefused(f"{what} is {value!r}; expected a name as ORCA's manual spells it")


def _check_potentials(settings: InputSettings, elements: frozenset[str]) -> None:
    """Refuse a potential that comes with a basis under a relativistic Hamiltonian, or lacks an element."""
    template = settings.template
    for element in sorted(elements):
        named = settings.named_ecp_of(element)
        covered = potentials.covered_by(named) if named else None
        if covered is not None and element not in covered:
            raise InputRefused(f"{named} has no core potential for {element}; def-ECP has one for Ac-Lr")
        if not template.hamiltonian:
            continue
        what = "actinide_basis" if element in ACTINIDES else "non_actinide_basis"
        basis = settings.basis_of(element)
        brought = potentials.brought_by(basis, element) if basis and not is_file(basis) else None
        if brought is None and (brought := settings.ecp_of(element)):
            what, basis = "non_actinide_basis", settings.line_basis
        if brought:
            raise InputRefused(
                f"{basis} brings {brought} for {element}, and {settings.simple_input} treats all electrons "
                f"({template.hamiltonian}); name as {what} {_instead(settings, elements, what)}"
            )


def _check_coverage(settings: InputSettings, elements: frozenset[str]) -> None:
    """Refuse an actinide without a basis, and a known basis without an element."""
    template = settings.template
    for what, role in (
        ("actinide_basis", elements & ACTINIDES),
        ("non_actinide_basis", elements - ACTINIDES),
    ):
        if not role:
            continue
        basis = settings.basis_of(min(role))
        if basis is None:
            raise InputRefused(
                f"{settings.simple_input} has no basis of its own for {', '.join(sorted(role))}; "
                f"name as {what} {_instead(settings, elements, what)}"
            )
        known = known_basis(basis)
        if known and (missing := role - known.elements):
            raise InputRefused(
                f"{basis} has no functions for {', '.join(sorted(missing))} "
                f"(it covers {as_spans(known.elements)}); name as {what} {_instead(settings, elements, what)}"
            )
    if missing := elements & template.auxiliary_lacks:
        raise InputRefused(
            f"the fitting basis of {settings.simple_input} (SARC/J) has no functions for "
            f"{', '.join(sorted(missing))}; x2c generates its own (AutoAux)"
        )


def _instead(settings: InputSettings, elements: frozenset[str], what: str) -> str:
    """Return what could be named as a basis for the elements that ``what`` is for."""
    role = elements & ACTINIDES if what == "actinide_basis" else elements - ACTINIDES
    relativistic = settings.template.hamiltonian is not None
    names = [
        name for name in sets_covering(role, relativistic=relativistic) if not name.startswith("SARC-ZORA")
    ]
    if settings.template.hamiltonian == "DKH":
        names.sort(key=lambda name: not ("DKH" in name or name.startswith("ANO-RCC")))
    # Triple zeta is what the templates are meant for.
    names.sort(key=lambda name: "TZ" not in name)
    return ", ".join([*names[:3], "or a file"]) if names else "a file: no known set covers them all"


def _unknown_names(settings: InputSettings, elements: frozenset[str]) -> list[str]:
    warnings = []
    bases = sorted({basis for element in elements if (basis := settings.basis_of(element))})
    for basis in bases:
        if not is_file(basis) and known_basis(basis) is None:
            warnings.append(
                f"the basis {basis} is in no table: whether it covers every element is not checked"
            )
    for ecp in sorted({ecp for element in elements if (ecp := settings.named_ecp_of(element))}):
        if potentials.covered_by(ecp) is None:
            warnings.append(
                f"the core potential {ecp} is in no table: whether it covers every actinide is not checked"
            )
    return warnings


def _doubts(settings: InputSettings, elements: frozenset[str]) -> list[str]:
    warnings = []
    template = settings.template
    line_basis = settings.line_basis
    if line_basis is None and not template.hamiltonian:
        if brought := sorted(element for element in elements - ACTINIDES if settings.ecp_of(element)):
            warnings.append(
                f"non_actinide_basis is a file, and ORCA puts its def2-ECP on {', '.join(brought)} "
                "all the same: the file must be made for it"
            )
    elif line_basis is not None:
        known = known_basis(line_basis)
        late = sorted(elements & LANTHANIDES - {"La"})
        if known and known.name in FROM_ORCA_6_1 and late:
            warnings.append(f"{known.name} has {', '.join(late)} only from ORCA 6.1 on")
    for basis in sorted({basis for element in elements if (basis := settings.basis_of(element))}):
        if known_basis(basis) is None:
            continue
        if template.hamiltonian and not is_relativistic(basis):
            warnings.append(
                f"{basis} is not contracted for a relativistic Hamiltonian, which {settings.simple_input} has"
            )
        if not template.hamiltonian and is_relativistic(basis):
            warnings.append(
                f"{basis} is contracted for a relativistic Hamiltonian, which {settings.simple_input} has not"
            )
    return warnings

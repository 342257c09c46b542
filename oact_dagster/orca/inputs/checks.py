"""Checks of settings against elements before an input is written: what is refused, and what only gets a warning."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from oact_dagster.errors import InputRefused
from oact_dagster.orca.elements import ACTINIDES, ATOMIC_NUMBERS, LANTHANIDES
from oact_dagster.orca.inputs import potentials
from oact_dagster.orca.inputs.basis import (
    contracted_for,
    is_all_electron,
    is_auxiliary,
    is_file,
    is_relativistic,
    known_basis,
    sets_covering,
)
from oact_dagster.orca.inputs.basis_files import read_basis_file
from oact_dagster.orca.inputs.basis_tables import FROM_ORCA_6_1
from oact_dagster.orca.inputs.functionals import doubt as functional_doubt
from oact_dagster.orca.inputs.keywords import check_own_lines
from oact_dagster.orca.inputs.scf_method import ACCELERATORS, DAMPINGS
from oact_dagster.orca.inputs.settings import InputSettings
from oact_dagster.orca.spans import as_spans

_POTENTIAL_AND_BASIS: Final = "core potential does not match the basis"
_BREAKS_QUOTES: Final = frozenset("\"'\\#")
_BREAKS_A_WORD: Final = frozenset("%!$;{}[]")


def check_settings(settings: InputSettings, elements: Iterable[str]) -> list[str]:
    """Refuse settings that cannot give a correct input for these elements, and warn of doubtful ones.

    Returns:
        Warnings, one line each: a name that is not in the tables, a set that needs a certain version of ORCA, a basis
        contracted for another Hamiltonian.

    Raises:
        InputRefused: A value is impossible or would break the syntax of the input; keywords contradict each other; a
            core potential, named or implied, meets a relativistic Hamiltonian; an actinide has no basis; a known basis
            or potential lacks an element; a potential meets an all-electron basis or one made for another potential;
            a basis file is not one, or lacks an element.
    """
    wanted = frozenset(elements)
    return [*check_settings_once(settings, wanted), *check_files(settings, wanted)]


@lru_cache(maxsize=4096)
def check_settings_once(settings: InputSettings, elements: frozenset[str]) -> tuple[str, ...]:
    """Do what ``check_settings`` does, without the basis files; cached for each combination."""
    if unknown := sorted(elements - ATOMIC_NUMBERS.keys()):
        raise InputRefused(
            f"unknown element {unknown[0]!r}; expected symbols from H to Lr", kind="unknown element"
        )
    _check_values(settings)
    check_own_lines(settings)
    _check_potentials(settings, elements)
    _check_cores(settings, elements)
    _check_coverage(settings, elements)
    return (*_unknown_names(settings, elements), *_doubts(settings, elements))


def _check_values(settings: InputSettings) -> None:
    """Refuse values of the wrong kind, and those that would break out of their word, quotes or line."""
    template = settings.template  # raises for an unknown one
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
            "ORCA reads only one: put both sets into one file and name it for both"
        )
    for what, number in (
        ("n_cores", settings.n_cores),
        ("scf_maxiter", settings.scf_maxiter),
        ("maxcore", settings.maxcore),
    ):
        if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 1):
            raise InputRefused(f"{what} is {number!r}; expected a whole number, 1 or more")
    for what, value, allowed in (
        ("damping", settings.scf_method.damping, DAMPINGS),
        ("accelerator", settings.scf_method.accelerator, ACCELERATORS),
    ):
        if value not in allowed:
            raise InputRefused(f"{what} is {value!r}; expected one of {', '.join(allowed)}")
    if template.hamiltonian and settings.actinide_ecp:
        raise InputRefused(
            f"actinide_ecp {settings.actinide_ecp} is a core potential, but {settings.simple_input} treats "
            f"all electrons ({template.hamiltonian}); leave it out and set an all-electron actinide_basis "
            "such as SARC-DKH-TZVP",
            kind="core potential with a relativistic Hamiltonian",
        )


def _check_name(what: str, value: str, *, blanks: bool = False) -> None:
    """Refuse a name or file that would not stay one word, or one quoted string, in the input."""
    if not isinstance(value, str) or not value or value != value.strip():
        raise InputRefused(f"{what} is {value!r}; expected a name without leading or trailing blanks")
    if not value.isprintable() or not _BREAKS_QUOTES.isdisjoint(value):
        raise InputRefused(
            f"{what} is {value!r}; quotes, backslashes, '#' and control characters break the input"
        )
    if is_auxiliary(value):
        raise InputRefused(f"{what} is {value}, a fitting basis; expected an orbital basis or a file")
    if what.endswith("basis") and is_file(value):
        return
    if not value.isascii() or not _BREAKS_A_WORD.isdisjoint(value) or (len(value.split()) > 1 and not blanks):
        raise InputRefused(f"{what} is {value!r}; expected a name as spelled in ORCA's manual")


def _check_potentials(settings: InputSettings, elements: frozenset[str]) -> None:
    """Refuse a potential that lacks an element, or that a basis brings along under a relativistic Hamiltonian."""
    template = settings.template
    for element in sorted(elements):
        named = settings.named_ecp_of(element)
        covered = potentials.covered_by(named) if named else None
        if covered is not None and element not in covered:
            raise InputRefused(
                f"{named} has no core potential for {element}; def-ECP covers Ac-Lr",
                kind="no core potential for an element",
            )
        if not template.hamiltonian:
            continue
        what = "actinide_basis" if element in ACTINIDES else "non_actinide_basis"
        basis = settings.basis_of(element)
        brought = potentials.brought_by(basis, element) if basis and not is_file(basis) else None
        if brought is None and (brought := settings.ecp_of(element)):
            what, basis = "non_actinide_basis", settings.line_basis
        if brought:
            own = "its core potential" if basis and brought.lower() == basis.lower() else brought
            raise InputRefused(
                f"{basis} brings {own} for {element}, but {settings.simple_input} treats all electrons "
                f"({template.hamiltonian}); for {what} use {_instead(settings, elements, what)}",
                kind="core potential with a relativistic Hamiltonian",
            )


def _check_cores(settings: InputSettings, elements: frozenset[str]) -> None:
    """Refuse a potential on an actinide whose basis is all-electron or was made for another potential."""
    for element in sorted(elements & ACTINIDES):
        named, basis = settings.named_ecp_of(element), settings.basis_of(element)
        if not named or not basis or is_file(basis):
            continue
        if is_all_electron(basis):
            core = potentials.core_electrons(named, element)
            raise InputRefused(
                f"{basis} describes all electrons of {element}, but {named} replaces "
                f"{f'{core} of them' if core else 'its core'}; for actinide_basis use "
                f"{_instead(settings, elements, 'actinide_basis')}, or for simple_input use x2c or dk3",
                kind=_POTENTIAL_AND_BASIS,
            )
        brought = potentials.brought_by(basis, element)
        if brought and not potentials.belong_together(brought, named):
            instead = f"for actinide_ecp use {brought}"
            if named == settings.template.actinide_ecp:
                instead += f", or for actinide_basis use {_instead(settings, elements, 'actinide_basis')}"
            raise InputRefused(
                f"{basis} on {element} is made for {brought}, not for {named}; {instead}",
                kind=_POTENTIAL_AND_BASIS,
            )


def check_files(settings: InputSettings, elements: frozenset[str]) -> list[str]:
    """Refuse a basis file that is not one or lacks an element; warn where that cannot be checked.

    Not part of ``check_settings_once``, because a file may change. A missing file is for the caller to report, who
    knows the folder.

    Raises:
        InputRefused: See ``check_settings``.
    """
    warnings = []
    for what, basis, role in (
        ("actinide_basis", settings.actinide_basis, elements & ACTINIDES),
        ("non_actinide_basis", settings.non_actinide_basis, elements - ACTINIDES),
    ):
        found = read_basis_file(basis) if basis and is_file(basis) else None
        if found is None:
            continue
        if found.problem:
            raise InputRefused(
                f"{what} {basis} is not a basis file: {found.problem}; expected ORCA's format (GAMESS-US: the "
                "element, then its shells, such as S 3 with three numbered primitives)",
                kind="not a basis file",
            )
        if settings.template.hamiltonian and (cores := role & found.potentials):
            raise InputRefused(
                f"{what} {basis} has a core potential for {', '.join(sorted(cores))}, but {settings.simple_input} "
                f"treats all electrons ({settings.template.hamiltonian}); use a file or a set without one",
                kind="core potential with a relativistic Hamiltonian",
            )
        missing = ", ".join(sorted(role - found.elements))
        if missing and found.recognised:
            raise InputRefused(
                f"{what} {basis} has no functions for {missing} (it covers {as_spans(found.elements)}); add them, or "
                "use another basis",
                kind="basis without functions for an element",
            )
        if missing:
            warnings.append(
                f"{what} {basis} is in an unknown format; cannot check whether it has functions for {missing}"
            )
    return warnings


def _check_coverage(settings: InputSettings, elements: frozenset[str]) -> None:
    """Refuse an actinide without a basis, and a known basis that lacks an element."""
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
                f"{settings.simple_input} has no default basis for {', '.join(sorted(role))}; "
                f"for {what} use {_instead(settings, elements, what)}",
                kind="actinide without a basis",
            )
        known = known_basis(basis)
        if known and (missing := role - known.elements):
            raise InputRefused(
                f"{basis} has no functions for {', '.join(sorted(missing))} "
                f"(it covers {as_spans(known.elements)}); for {what} use {_instead(settings, elements, what)}",
                kind="basis without functions for an element",
            )
    if missing := elements & template.auxiliary_lacks:
        raise InputRefused(
            f"the fitting basis of {settings.simple_input} (SARC/J) has no functions for "
            f"{', '.join(sorted(missing))}; x2c generates its own (AutoAux)",
            kind="basis without functions for an element",
        )


def _instead(settings: InputSettings, elements: frozenset[str], what: str) -> str:
    """Return bases that would do for the elements that the setting ``what`` applies to."""
    role = elements & ACTINIDES if what == "actinide_basis" else elements - ACTINIDES
    hamiltonian = settings.template.hamiltonian
    names = [
        name
        for name in sets_covering(role, relativistic=hamiltonian is not None)
        if not hamiltonian or (contracted_for(name) or "") in hamiltonian
    ]
    if hamiltonian == "DKH":
        names.sort(key=lambda name: not ("DKH" in name or name.startswith("ANO-RCC")))
    # Triple-zeta sets first: the templates are meant for them.
    names.sort(key=lambda name: "TZ" not in name)
    return ", ".join([*names[:3], "or a file"]) if names else "a file: no known set covers them all"


def _unknown_names(settings: InputSettings, elements: frozenset[str]) -> list[str]:
    unknown = functional_doubt(settings.functional.split())
    warnings = [unknown] if unknown else []
    # ORCA reads the basis on the "!" line even if no element uses it.
    named = {settings.line_basis, *map(settings.basis_of, elements)}
    for basis in sorted(basis for basis in named if basis):
        if not is_file(basis) and known_basis(basis) is None:
            warnings.append(f"unknown basis {basis}: cannot check whether it covers every element")
    for ecp in sorted({ecp for element in elements if (ecp := settings.named_ecp_of(element))}):
        if potentials.covered_by(ecp) is None:
            warnings.append(f"unknown core potential {ecp}: cannot check whether it covers every actinide")
    return warnings


def _doubts(settings: InputSettings, elements: frozenset[str]) -> list[str]:
    warnings = []
    template = settings.template
    line_basis = settings.line_basis
    if line_basis is None and not template.hamiltonian:
        if brought := sorted(element for element in elements - ACTINIDES if settings.ecp_of(element)):
            warnings.append(
                f"non_actinide_basis is a file, but ORCA still puts its def2-ECP on {', '.join(brought)}: "
                "the file must be made for it"
            )
    elif line_basis is not None:
        known = known_basis(line_basis)
        late = sorted(elements & LANTHANIDES - {"La"})
        if known and known.name in FROM_ORCA_6_1 and late:
            warnings.append(f"{known.name} covers {', '.join(late)} only from ORCA 6.1 on")
    for basis in sorted({basis for element in elements if (basis := settings.basis_of(element))}):
        if is_file(basis):
            continue
        made_for = contracted_for(basis)
        if template.hamiltonian and known_basis(basis) and not is_relativistic(basis):
            warnings.append(
                f"{basis} is not contracted for a relativistic Hamiltonian, but {settings.simple_input} uses one"
            )
        elif template.hamiltonian and made_for and made_for not in template.hamiltonian:
            warnings.append(
                f"{basis} is contracted for {made_for}, but {settings.simple_input} uses {template.hamiltonian}"
            )
        elif not template.hamiltonian and is_relativistic(basis):
            warnings.append(
                f"{basis} is contracted for a relativistic Hamiltonian, but {settings.simple_input} uses none"
            )
    return warnings

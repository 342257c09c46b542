"""Writer of ``orca.inp``: the same structure and settings give the same bytes on every machine."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from oact_dagster.errors import InputRefused
from oact_dagster.orca.elements import ATOMIC_NUMBERS
from oact_dagster.orca.inputs import potentials
from oact_dagster.orca.inputs.basis import is_all_electron, is_file, known_basis
from oact_dagster.orca.inputs.checks import check_files, check_settings, check_settings_once
from oact_dagster.orca.inputs.keywords import keyword_line, names_a_guess
from oact_dagster.orca.inputs.memory import estimate_maxcore, functions_on, number_of_basis_functions
from oact_dagster.orca.inputs.settings import InputSettings
from oact_dagster.orca.inputs.templates import OUTPUT_BLOCKS
from oact_dagster.orca.structure import Structure

__all__ = [
    "RESTART_FILE",
    "InputSettings",
    "check_settings",
    "estimate_maxcore",
    "input_hash",
    "maxcore_of",
    "number_of_basis_functions",
    "render_input",
]

RESTART_FILE: Final = "restart.gbw"
"""The file of orbitals to start from. ORCA cannot start from ``orca.gbw``, because it overwrites that file."""

_LONGEST_COMMENT: Final = 200
_KR: Final = ATOMIC_NUMBERS["Kr"]
_FILE_OF_A_BASIS: Final = re.compile(r'(?i)\b(GTOName\s+")[^"]*/([^"/]*")')


@dataclass(frozen=True, slots=True)
class _Frame:
    """The part of an input that depends only on the settings and the elements."""

    until_scf: str
    """Text up to the last line of ``%scf``."""
    behind_scf: str
    """Text from the ``end`` of ``%scf`` to that of ``%pal``."""
    functions: dict[str, int]
    """Number of basis functions of each element."""
    core: dict[str, int | None]
    """Number of electrons that a potential replaces on each element; None if not tabulated."""
    from_files: bool


def render_input(structure: Structure, settings: InputSettings, comments: Sequence[str] = ()) -> str:
    """Return the text of ``orca.inp``, ending in a newline. Each comment becomes one ``#`` line at the top.

    Raises:
        InputRefused: ``check_settings`` refuses the settings, or the electrons do not fit the basis or potentials.
    """
    broken_singlet = settings.uks_singlet and structure.uhf == 0
    elements = structure.elements
    frame = _frame(settings, elements, broken_singlet)
    if frame.from_files:
        check_files(settings, elements)
    symbols = structure.geometry.symbols
    functions = sum(symbols.count(element) * number for element, number in frame.functions.items())
    electrons = _electrons_left(structure, frame)
    _check_electrons(structure, electrons, functions, counted=broken_singlet)
    rotation = ""
    # The symmetry of orbitals read from a file is broken already; another rotation would undo it.
    if broken_singlet and electrons is not None and not settings.scf_method.restart:
        # Orbitals count from 0; the first electrons / 2 of each spin are occupied. Mix HOMO and LUMO of the second
        # spin (operator 1) by 20 degrees.
        lumo = electrons // 2
        rotation = f"  rotate {{{lumo - 1}, {lumo}, 20, 1, 1}} end\n"
    maxcore = settings.maxcore or _estimated(functions, structure, settings)
    return "".join(
        (
            *(f"# {_one_line(comment)}".rstrip() + "\n" for comment in comments),
            frame.until_scf,
            rotation,
            frame.behind_scf,
            f"%maxcore {maxcore}\n",
            *(f"{line}\n" for line in settings.extra_lines),
            f"* xyz {structure.charge} {structure.multiplicity}\n",
            structure.geometry.text(),
            "*\n",
        )
    )


def maxcore_of(structure: Structure, settings: InputSettings) -> int:
    """Return the memory of each process in MB, as ``render_input`` writes it.

    Raises:
        InputRefused: maxcore must be estimated, but an element has no basis.
    """
    if settings.maxcore is not None:
        return settings.maxcore
    return _estimated(number_of_basis_functions(structure, settings), structure, settings)


def _estimated(functions: int, structure: Structure, settings: InputSettings) -> int:
    broken_singlet = settings.uks_singlet and structure.uhf == 0
    return estimate_maxcore(functions, open_shell=structure.uhf > 0 or broken_singlet)


def input_hash(text: str) -> str:
    """Return 16 hexadecimal digits that identify what an input computes: its results' data version.

    The hash leaves out comment lines (the attempt's token is one), trailing white space, and what only changes the
    cost: the block ``%pal`` and the line ``%maxcore``. A basis file counts by its name, not its folder.
    """
    kept: list[str] = []
    in_pal = False
    for raw in text.splitlines():
        line = raw.rstrip()
        words = line.split(None, 1)
        if not words or words[0][0] == "#":
            continue
        first = words[0].lower()
        # A block without its end must not swallow the rest of the input.
        in_pal = first == "%pal" or (in_pal and first[0] not in "%!*")
        if in_pal:
            in_pal = "end" not in line.lower().split()
        elif first != "%maxcore":
            kept.append(line)
    code = "\n".join(kept)
    if "gtoname" in code.lower():
        code = _FILE_OF_A_BASIS.sub(r"\1\2", code)
    return hashlib.sha256(code.encode()).hexdigest()[:16]


@lru_cache(maxsize=4096)
def _frame(settings: InputSettings, elements: frozenset[str], broken_singlet: bool) -> _Frame:
    check_settings_once(settings, elements)
    template = settings.template
    restart = settings.scf_method.restart
    until_scf = [f"! {' '.join(keyword_line(settings, broken_singlet=broken_singlet))}"]
    if restart:
        until_scf.append(f'%moinp "{RESTART_FILE}"')
    if template.rel:
        until_scf += ["%rel", *(f"  {line}" for line in template.rel), "end"]
    until_scf += ["%scf", "  Convergence Tight", f"  maxiter {settings.scf_iterations}"]
    # Orbitals from a file replace any other guess. So does a user's own keyword, which a line of %scf would override.
    own_guess = restart or names_a_guess(settings)
    until_scf += [f"  {line}" for line in template.scf if not (own_guess and line.startswith("Guess "))]
    behind_scf = ["%basis"]
    files = sorted(
        {basis for element in elements if (basis := settings.basis_of(element)) and is_file(basis)}
    )
    behind_scf += [f'  GTOName "{file}"' for file in files]
    for element in sorted(elements):
        basis = settings.basis_of(element)
        if basis and not is_file(basis):
            behind_scf.append(f'  NewGTO {element} "{basis}" end')
        if ecp := settings.named_ecp_of(element):
            behind_scf.append(f'  NewECP {element} "{ecp}" end')
    behind_scf += ["end", "%pal", f"  nprocs {settings.n_cores}", "end"]
    core = {element: _core(settings, element) for element in elements}
    return _Frame(
        until_scf="\n".join(until_scf) + "\n",
        behind_scf="end\n" + OUTPUT_BLOCKS + "\n".join(behind_scf) + "\n",
        functions={element: functions_on(element, settings) for element in sorted(elements)},
        core=core,
        from_files=bool(files),
    )


def _core(settings: InputSettings, element: str) -> int | None:
    """Return the number of electrons that a potential replaces on an element, or None if not known."""
    if ecp := settings.ecp_of(element):
        return potentials.core_electrons(ecp, element)
    basis = settings.line_basis
    # An unknown set may imply a potential, but hardly any does up to Kr.
    unknown = basis is not None and known_basis(basis) is None and not is_all_electron(basis)
    return None if unknown and ATOMIC_NUMBERS[element] > _KR else 0


def _electrons_left(structure: Structure, frame: _Frame) -> int | None:
    """Return the number of electrons that no potential replaces, or None if a potential is not tabulated."""
    electrons = structure.electrons
    for element, core in frame.core.items():
        if core is None:
            return None
        electrons -= core * structure.geometry.symbols.count(element)
    return electrons


def _check_electrons(structure: Structure, electrons: int | None, functions: int, *, counted: bool) -> None:
    """Refuse too few electrons beside the potentials, or more than the basis has room for."""
    what = f"{structure.formula()} with charge {structure.charge:+d} and uhf {structure.uhf}"
    if electrons is None:
        if counted:
            raise InputRefused(
                f"uks_singlet needs to know how many electrons the core potentials of {what} replace, but a potential "
                "is unknown, or non_actinide_basis is, which may imply one; use a known basis such as def2-TZVPD",
                kind="unknown core potential",
            )
        return
    if electrons < max(structure.uhf, 1):
        raise InputRefused(
            f"{what} has only {electrons} electrons beside the core potentials",
            kind="too few electrons",
        )
    occupied = (electrons + structure.uhf) // 2 + (1 if counted else 0)
    if occupied > functions:
        raise InputRefused(
            f"{what} needs {occupied} orbitals of one spin, but the basis has {functions} functions",
            kind="more electrons than the basis has room for",
        )


def _one_line(comment: str) -> str:
    """Return a comment as one printable line that ORCA reads as nothing but a comment.

    Every separator and control character becomes a blank. So do ``#``, because it ends a comment for ORCA (manual
    6.0, chapter 4), which would read the rest of the line as input, and ``$`` (``$new_job``).
    """
    plain = "".join(
        " " if character == "#" or not character.isprintable() else character for character in comment
    )
    words = " ".join(unicodedata.normalize("NFC", plain).replace("$", " ").split())
    return words[:_LONGEST_COMMENT]

"""The size of a calculation: its number of basis functions and the memory that each process needs."""

import math
from typing import Final

from oact_dagster.errors import InputRefused
from oact_dagster.orca.inputs.basis import functions_of
from oact_dagster.orca.inputs.settings import InputSettings
from oact_dagster.orca.structure import Structure

LEAST_MAXCORE: Final = 2000
"""Smallest estimate written into an input, in MB."""


def number_of_basis_functions(structure: Structure, settings: InputSettings) -> int:
    """Return the number of contracted spherical basis functions of a structure.

    Exact for the default bases (183 for UO2, 223 for NpF3, as ORCA 6.1 prints); an upper estimate for files and for
    names that are not in the tables. ``basis_tables`` gives the source of each number.

    Raises:
        InputRefused: An actinide has no basis, or a basis has no functions for an element.
    """
    symbols = structure.geometry.symbols
    return sum(symbols.count(element) * functions_on(element, settings) for element in structure.elements)


def functions_on(element: str, settings: InputSettings) -> int:
    """Return the number of basis functions of one atom; see ``number_of_basis_functions``."""
    basis = settings.basis_of(element)
    if basis is None:
        raise InputRefused(
            f"{settings.simple_input} has no default basis for {element}; set actinide_basis",
            kind="actinide without a basis",
        )
    try:
        return functions_of(basis, element)
    except KeyError:
        raise InputRefused(
            f"{basis} has no functions for {element}", kind="basis without functions for an element"
        ) from None


def estimate_maxcore(basis_functions: int, *, open_shell: bool) -> int:
    """Return an upper estimate of the memory of one process in MB, at least ``LEAST_MAXCORE``.

    This is the fit of the Open Molecules 2025 data set: 0.00767 n^1.5 + 361 for closed shells and 0.01646 n^1.5 - 320
    for open shells, where n is the number of basis functions. A broken-symmetry singlet counts as an open shell.
    """
    n_to_the_three_halves = math.pow(basis_functions, 1.5)
    needed = 0.01646 * n_to_the_three_halves - 320 if open_shell else 0.00767 * n_to_the_three_halves + 361
    return max(LEAST_MAXCORE, math.ceil(needed))

"""The templates of levels of theory: what each puts on the ``!`` line and into ``%rel`` and ``%scf``."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

DEFAULT_MAXITER: Final = 500
"""Largest number of SCF iterations of every template, unless the settings say otherwise."""

OUTPUT_BLOCKS: Final = """\
%elprop
  Dipole true
  Quadrupole true
end
%output
  Print[P_ReducedOrbPopMO_L] 1
  Print[P_ReducedOrbPopMO_M] 1
  Print[P_BondOrder_L] 1
  Print[P_BondOrder_M] 1
  Print[P_Fockian] 1
  Print[P_OrbEn] 2
end
"""
"""What every template computes and prints besides energy and gradient."""


@dataclass(frozen=True, slots=True)
class Template:
    """A level of theory without its functional and bases."""

    hamiltonian: str | None
    """Keyword of the scalar-relativistic Hamiltonian; None for the non-relativistic one."""
    keywords: tuple[str, ...]
    """Keywords of the ``!`` line after the run type."""
    rel: tuple[str, ...]
    """Lines of ``%rel``; empty for no such block."""
    scf: tuple[str, ...]
    """Lines of ``%scf`` after ``Convergence`` and ``maxiter``."""
    actinide_basis: str | None
    """Default basis of the actinides; None if the settings must name one."""
    actinide_ecp: str | None
    auxiliary_lacks: frozenset[str]
    """Elements that the fitting basis in ``keywords`` does not cover."""


_CONVERGENCE: Final = (
    *("NoUseSym", "DIIS", "NOSOSCF", "NormalConv", "DEFGRID3"),
    *("ALLPOP", "NoTRAH", "NONBO", "NONPA"),
)
_SCF: Final = ("THRESH 1e-12", "TCUT 1e-13", "Shift Shift 0.1 ErrOff 0.1 end")

TEMPLATES: Final[Mapping[str, Template]] = MappingProxyType(
    {
        # The level of the Open Molecules 2025 data set, with a small-core potential on the actinides.
        "omol": Template(
            hamiltonian=None,
            keywords=("RIJCOSX", "def2/J", *_CONVERGENCE),
            rel=(),
            scf=(*_SCF, "DIISMaxEq 7", "Guess PModel"),
            actinide_basis="ma-def-TZVP",
            actinide_ecp="def-ECP",
            auxiliary_lacks=frozenset(),
        ),
        # All-electron, exact two-component Hamiltonian in its diagonal local approximation.
        "x2c": Template(
            hamiltonian="DLU-X2C",
            keywords=("RIJCOSX", "AutoAux", *_CONVERGENCE),
            rel=("FiniteNuc true", "DLU true", "LightAtomThresh 0"),
            scf=_SCF,
            actinide_basis=None,
            actinide_ecp=None,
            auxiliary_lacks=frozenset(),
        ),
        # All-electron, Douglas-Kroll-Hess Hamiltonian.
        "dk3": Template(
            hamiltonian="DKH",
            keywords=("RIJCOSX", "SARC/J", *_CONVERGENCE),
            rel=("FiniteNuc true",),
            scf=_SCF,
            actinide_basis=None,
            actinide_ecp=None,
            auxiliary_lacks=frozenset({"Fr", "Ra"}),
        ),
    }
)

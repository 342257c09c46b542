"""The SCF convergence method: what a remedy may change without changing the result."""

from dataclasses import dataclass
from typing import Final

DAMPINGS: Final = ("NormalConv", "SlowConv", "VerySlowConv")
ACCELERATORS: Final = ("DIIS", "KDIIS", "TRAH")


@dataclass(frozen=True, slots=True)
class ScfMethod:
    """How the SCF is made to converge, never how tightly. The defaults are those of every template.

    These keywords do not modify the convergence criteria (ORCA's manual 6.0, section 4.2, "Convergence strategies").
    ``check_settings`` refuses unknown values.
    """

    damping: str = "NormalConv"
    accelerator: str = "DIIS"
    """``DIIS``, ``KDIIS`` or ``TRAH``. TRAH replaces DIIS and the template's NoTRAH; with the others NoTRAH stays."""
    soscf: bool = False
    restart: bool = False
    """Start from the orbitals in ``restart.gbw``: ``MORead`` and ``%moinp``, no other guess, and no ``rotate``, because
    the spin symmetry of those orbitals is broken already."""

"""How an SCF is brought to converge: what a remedy may change without changing what it converges to."""

from dataclasses import dataclass
from typing import Final

DAMPINGS: Final = ("NormalConv", "SlowConv", "VerySlowConv")
ACCELERATORS: Final = ("DIIS", "KDIIS", "TRAH")


@dataclass(frozen=True, slots=True)
class ScfMethod:
    """The way to convergence, never its threshold. The default is that of every template.

    ORCA's manual (6.0, section 4.2, "Convergence strategies") says of these words that they do not modify the
    convergence criteria. Values that are none of the known ones are refused by ``check_settings``.

    Attributes:
        damping: ``NormalConv``, ``SlowConv`` or ``VerySlowConv``.
        accelerator: ``DIIS``, ``KDIIS`` or ``TRAH``. TRAH stands in place of DIIS and of the template's NoTRAH; with
            the others NoTRAH stays.
        soscf: ``SOSCF`` in place of the template's ``NOSOSCF``.
        restart: Start from the orbitals in ``restart.gbw``: ``MORead`` and ``%moinp``, no other guess, and no
            ``rotate``, because the orbitals that are read are broken already.
    """

    damping: str = "NormalConv"
    accelerator: str = "DIIS"
    soscf: bool = False
    restart: bool = False

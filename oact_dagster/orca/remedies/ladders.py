"""Which steps are tried after each class of failure, in which order, and how a campaign changes that."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.remedies.steps import STEPS

Ladders = Mapping[FailureClass, tuple[str, ...]]

_F: Final = FailureClass

DEFAULT_LADDERS: Final[Ladders] = MappingProxyType(
    {
        _F.SCF_NOT_CONVERGED: ("restart", "slowconv", "kdiis", "soscf", "trah"),
        _F.UNPHYSICAL: ("slowconv", "kdiis", "soscf", "trah"),
        _F.OPT_NOT_CONVERGED: ("continue_geometry", "continue_geometry"),
        _F.OUT_OF_MEMORY: ("more_memory", "fewer_processes"),
        _F.TIMEOUT: ("longer_limit", "restart_in_limit", "restart_in_limit"),
        # The next two cannot succeed before somebody changes the settings.
        _F.INPUT_ERROR: (),
        _F.INPUT_REFUSED: (),
        # Where the integrals aborted, more memory stands in place of "again".
        _F.ABORTED: ("again", "more_memory", "fewer_processes"),
        _F.DISK_FULL: ("again", "again"),
        _F.MPI_ERROR: ("again", "again"),
        _F.TRUNCATED: ("again", "again"),
        _F.NOT_WRITTEN: ("again", "again"),
        _F.NOT_STARTED: ("again", "again"),
        _F.SETUP_FAILED: ("again", "again"),
        _F.LOST: ("again",),
    }
)
"""The steps after each class of failure, first to last. A step that stands there twice may be tried twice."""

AS_OFTEN_AS_IT_HELPS: Final[Mapping[FailureClass, frozenset[str]]] = MappingProxyType(
    {
        _F.OUT_OF_MEMORY: frozenset({"more_memory", "fewer_processes"}),
        _F.TIMEOUT: frozenset({"longer_limit"}),
        # The ledger has a budget of its own for attempts that were lost.
        _F.LOST: frozenset({"again"}),
    }
)
"""Steps that may be tried again and again on the ladder of a class: each time they change something, or wait for the
machine."""


_OF_THE_INPUT: Final = frozenset({_F.INPUT_ERROR, _F.INPUT_REFUSED})
NO_SCF_AT_FAULT: Final[frozenset[FailureClass]] = frozenset(
    {
        _F.LOST,
        _F.DISK_FULL,
        _F.MPI_ERROR,
        _F.NOT_WRITTEN,
        _F.NOT_STARTED,
        _F.SETUP_FAILED,
        *_OF_THE_INPUT,
    }
)
"""Classes of failure that no other way to convergence helps against. After a timeout, an abort or an output without an
end it may: an SCF that does not converge takes long, and may blow up."""


def check_ladders(raw: Mapping[str, Sequence[str]]) -> Ladders:
    """Return the ladders that a campaign asks for: those it names, over the default ones.

    Args:
        raw: Names of steps by the class of failure.

    Raises:
        ValueError: An unknown class or step, something that is no list of steps, a step that starts from what an
            unphysical run left, or one that can do nothing about the class; the message is one line.
    """
    ladders = dict(DEFAULT_LADDERS)
    for name, steps in raw.items():
        if name not in list(_F):
            raise ValueError(f"{name!r} is no class of failure{_allowed(name, _F)}")
        failure = _F(name)
        if isinstance(steps, str) or not isinstance(steps, Sequence):
            raise ValueError(f"the ladder of {failure} is {steps!r}; expected a list of steps")
        for step in steps:
            if not isinstance(step, str) or step not in STEPS:
                raise ValueError(f"{step!r} on the ladder of {failure} is no step{_allowed(step, STEPS)}")
            if failure is _F.UNPHYSICAL and STEPS[step].needs_leftovers:
                raise ValueError(
                    f"{step} on the ladder of {failure} would start from what an unphysical run left; "
                    f"expected some of {', '.join(name for name in STEPS if not STEPS[name].needs_leftovers)}"
                )
            if failure in _OF_THE_INPUT and step != "again":
                raise ValueError(
                    f"{step} on the ladder of {failure} leaves in the input what was refused; expected none, or again"
                )
            if failure in NO_SCF_AT_FAULT and STEPS[step].changes_scf:
                raise ValueError(
                    f"{step} on the ladder of {failure} changes how the SCF converges, which does nothing about it; "
                    f"expected some of {', '.join(name for name in STEPS if not STEPS[name].changes_scf)}"
                )
        ladders[failure] = tuple(steps)
    return MappingProxyType(ladders)


def _allowed(name: object, names: Iterable[str]) -> str:
    """Return the end of a message: the nearest of the allowed names, and all of them."""
    allowed = [str(each) for each in names]
    near = difflib.get_close_matches(str(name), allowed, n=1)
    return f"{f' (did you mean {near[0]}?)' if near else ''}; expected one of {', '.join(allowed)}"

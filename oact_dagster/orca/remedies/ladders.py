"""The ladders: which steps are tried after each class of failure, in which order, and how a campaign changes that."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from oact_dagster.orca.failures import FailureClass, Fault, find_failure_class
from oact_dagster.orca.remedies.steps import STEPS

Ladders = Mapping[FailureClass, tuple[str, ...]]

DEFAULT_LADDERS: Final[Ladders] = MappingProxyType(
    {failure: failure.facts.ladder for failure in FailureClass}
)

NO_SCF_AT_FAULT: Final = (Fault.INPUT, Fault.NOT_THE_STRUCTURE)
"""Faults that no other SCF method can remedy."""


def check_ladders(raw: Mapping[str, Sequence[str]]) -> Ladders:
    """Return the default ladders, overridden by those that a campaign names (names of steps by failure class).

    Raises:
        ValueError: An unknown class or step, something that is no list of steps, a step that starts from what an
            unphysical run left, or one that can do nothing about the class; the message is one line.
    """
    ladders = dict(DEFAULT_LADDERS)
    for name, steps in raw.items():
        failure = find_failure_class(name)
        if failure is None:
            raise ValueError(f"unknown failure class {name!r}{_allowed(name, FailureClass)}")
        if isinstance(steps, str) or not isinstance(steps, Sequence):
            raise ValueError(f"the ladder of {failure} is {steps!r}; expected a list of steps")
        for step in steps:
            if not isinstance(step, str) or step not in STEPS:
                raise ValueError(f"unknown step {step!r} on the ladder of {failure}{_allowed(step, STEPS)}")
            if failure.facts.from_scratch and STEPS[step].needs_leftovers:
                raise ValueError(
                    f"{step} on the ladder of {failure} would start from what an {failure} run left; "
                    f"expected some of {', '.join(name for name in STEPS if not STEPS[name].needs_leftovers)}"
                )
            if failure.facts.fault is Fault.INPUT and step != "again":
                raise ValueError(
                    f"{step} on the ladder of {failure} leaves the refused input as it is; expected no step, or again"
                )
            if failure.facts.fault in NO_SCF_AT_FAULT and STEPS[step].changes_scf:
                raise ValueError(
                    f"{step} on the ladder of {failure} changes how the SCF converges, which cannot help; "
                    f"expected some of {', '.join(name for name in STEPS if not STEPS[name].changes_scf)}"
                )
        ladders[failure] = tuple(steps)
    return MappingProxyType(ladders)


def _allowed(name: object, names: Iterable[str]) -> str:
    """Return the end of a message: the nearest of the allowed names, and all of them."""
    allowed = [str(each) for each in names]
    near = difflib.get_close_matches(str(name), allowed, n=1)
    return f"{f' (did you mean {near[0]}?)' if near else ''}; expected one of {', '.join(allowed)}"

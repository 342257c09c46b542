"""Chooses what the next attempt at a structure changes, by the ladders of remedies, or decides that there is none.

The class of the last failure selects the ladder. The first of its steps is taken that has not been tried, that applies,
and whose settings ``check_settings`` accepts. No step changes a threshold, a grid, a basis, the functional or the
Hamiltonian: ``Plan`` has no field for them.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from oact_dagster.errors import InputRefused
from oact_dagster.orca.failures import FailureClass, Fault
from oact_dagster.orca.inputs.checks import check_settings
from oact_dagster.orca.inputs.settings import InputSettings
from oact_dagster.orca.outputs.attempt_evidence import AttemptEvidence, read_evidence
from oact_dagster.orca.remedies.ladders import DEFAULT_LADDERS, Ladders, check_ladders
from oact_dagster.orca.remedies.plan import PastAttempt, Plan, ResourceLimits
from oact_dagster.orca.remedies.restart import Leftovers, find_leftovers
from oact_dagster.orca.remedies.steps import STEPS, RemedyStep, Situation
from oact_dagster.orca.structure import Structure

__all__ = [
    "DEFAULT_LADDERS",
    "STEPS",
    "AttemptEvidence",
    "Ladders",
    "Leftovers",
    "PastAttempt",
    "Plan",
    "RemedyStep",
    "ResourceLimits",
    "Stop",
    "check_ladders",
    "find_leftovers",
    "next_input",
    "read_evidence",
]

_ABOUT_THE_ROW: Final = (
    (
        re.compile(r"\batoms \d+ .*\bapart|^line \d+ |^the geometry |\bcoordinates?\b"),
        "look at the row's geometry",
    ),
    (re.compile(r"\bcharge (?:[-+]?\d|is )|\buhf\b|multiplicity \("), "look at the row's charge and uhf"),
)
"""Patterns of messages about the structure rather than the settings, each with what helps."""
_LONGEST_MESSAGE: Final = 200
_LONGEST_HEAD: Final = 160


@dataclass(frozen=True, slots=True)
class Stop:
    """No next attempt; the reason says what was tried and what the user can do, in one line."""

    reason: str


def next_input(
    base: InputSettings,
    structure: Structure,
    attempts: Sequence[PastAttempt],
    *,
    left: Leftovers = Leftovers(),  # noqa: B008 - it cannot be changed
    limits: ResourceLimits = ResourceLimits(),  # noqa: B008
    ladders: Ladders = DEFAULT_LADDERS,
    time_limit_s: float,
) -> Plan | Stop:
    """Return the plan of the next attempt, or why there is none; without past attempts, the plain plan.

    A step counts as tried once for each attempt that it led to from a failure of the present class: the attempt's plan
    names the step, and the attempt before it failed with that class. A step may be tried as many times as it stands on
    the ladder; those in ``as_often_as_it_helps``, as long as they change something. On the ladder of another class the
    same step counts separately, but no SCF method is tried twice from the same start.

    ``attempts`` are those with these settings that failed, timed out or were lost, oldest first; leave out cancelled
    ones. ``left`` is what they left to start from. A class missing in ``ladders`` has its default steps.
    ``time_limit_s`` is the campaign's limit for one calculation.
    """
    if not attempts:
        return Plan()
    if attempts[-1].failed_as.facts.from_scratch:
        left = Leftovers()
    now = Situation(base, structure, tuple(attempts), left, limits, time_limit_s)
    ladder = ladders.get(now.failure, DEFAULT_LADDERS[now.failure])
    refused: list[str] = []
    for name in _not_tried(ladder, now):
        try:
            found = STEPS[name].change(now)
            if isinstance(found, Plan):
                return replace(_accepted(found, now), remedy=name)
        except InputRefused as refusal:
            found = str(refusal)
        if (why := f"{name}: {found}") not in refused:
            refused.append(why)
    return Stop(_reason(now, refused))


def _accepted(plan: Plan, now: Situation) -> Plan:
    """Return a plan whose settings are accepted.

    If the user's own lines forbid a start from orbitals (they name some), a longer limit or a later geometry still
    helps without it.

    Raises:
        InputRefused: The plan's settings are not accepted.
    """
    elements = now.structure.elements
    try:
        check_settings(plan.settings(now.base), elements)
    except InputRefused:
        plain = replace(plan, from_orbitals=False)
        helps = plain.from_geometry or plain.time_limit_s != now.last.plan.time_limit_s
        if not plan.from_orbitals or not helps or plan.scf_maxiter != now.last.plan.scf_maxiter:
            raise
        check_settings(plain.settings(now.base), elements)
        return plain
    return plan


def _not_tried(ladder: Sequence[str], now: Situation) -> Iterator[str]:
    """Yield the steps of a ladder, except those already tried as many times as they have appeared on it so far."""
    tried = Counter(
        attempt.plan.remedy for before, attempt in pairwise(now.attempts) if before.failed_as is now.failure
    )
    # The failure before the first of these attempts is not in the list; its ladder may be this one.
    tried[now.attempts[0].plan.remedy] += 1
    places: Counter[str] = Counter()
    for name in ladder:
        places[name] += 1
        if name in now.failure.facts.as_often_as_it_helps or tried[name] < places[name]:
            yield name


def _reason(now: Situation, refused: Sequence[str]) -> str:
    """Say in one line how the last attempt failed, what helps, what was tried, and why no step is left.

    What helps comes before anything long, because a display may cut the line.
    """
    message = " ".join(now.last.message.split())
    failed = str(now.failure)
    # Messages may begin with the class already.
    message = message.removeprefix(f"{failed}:").strip()
    tried = [attempt.plan.remedy for attempt in now.attempts if attempt.plan.remedy]
    counted = [f"{name} {times} times" if times > 1 else name for name, times in Counter(tried).items()]
    after = f"after {', '.join(counted)}" if counted else ""
    advice = _advice(now.failure, message)
    short = f"{failed} {after}" if after and len(f"{failed} {after}; {advice}") <= _LONGEST_HEAD else failed
    shown = message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 3] + "..."
    return "; ".join(
        part for part in (short, advice, after if short == failed else "", shown, *refused) if part
    )


def _advice(failure: FailureClass, message: str) -> str:
    """Return what the user can do about a failure."""
    # A setting that asks for something the structure cannot have is named first in its message.
    if failure.facts.fault is Fault.INPUT and not message.startswith("uks_singlet"):
        for pattern, advice in _ABOUT_THE_ROW:
            if pattern.search(message):
                return advice
    return failure.facts.advice

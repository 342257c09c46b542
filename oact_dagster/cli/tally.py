"""The counts of a batch."""

import re
import textwrap
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

from oact_dagster.attempts.events import Completed, Event, Failed, NotRun, Running, Started

_EXAMPLES: Final = 10
REASONS: Final = 5
"""Reasons shown for each failure class; the others are only counted."""
LONGEST: Final = 500
_NUMBER: Final = re.compile(r"[-+]?\d+(?:\.\d+)?")


@dataclass(slots=True)
class Failures:
    """Structures that failed for the same reason."""

    message: str
    count: int = 0
    first: list[int] = field(default_factory=list)

    def line(self, kind: str) -> str:
        """The line shown for them."""
        shown = ", ".join(map(str, self.first)) + (", …" if self.count > len(self.first) else "")
        named = f"{'structure' if self.count == 1 else 'structures'} {shown}"
        return f"{self.count} failed, {kind} ({named}): {self.message.removeprefix(f'{kind}: ')}"


@dataclass(slots=True)
class Tally:
    """What a batch has done so far."""

    asked: int = 0
    began: bool = False
    computed: int = 0
    reused: int = 0
    """Number whose result existed before."""
    followed: int = 0
    """Number that another run computed in the meantime."""
    failures: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, dict[str, Failures]] = field(default_factory=lambda: defaultdict(dict))
    """For each failure class, its structures by message without numbers."""
    not_run: Counter[str] = field(default_factory=Counter)
    owned: int = 0
    """How many of these another run has."""
    running: set[int] = field(default_factory=set)
    """``orig_index`` of each running structure."""

    @property
    def failed(self) -> int:
        """Number of structures without a result after the batch."""
        return self.failures.total()

    @property
    def done(self) -> int:
        """Number of structures that the batch has settled."""
        return self.computed + self.reused + self.followed + self.failed + self.not_run.total()

    def add(self, event: Event) -> None:
        """Count an event."""
        match event:
            case Started():
                self.began, self.asked = True, event.structures
            case Running():
                self.running.add(event.orig_index)
            case Completed():
                self.running.discard(event.structure.orig_index)
                self.reused += event.reused
                self.followed += event.followed
                self.computed += not (event.reused or event.followed)
            case Failed():
                self.running.discard(event.structure.orig_index)
                self._add_failure(event)
            case NotRun():
                self.running.discard(event.orig_index)
                self.not_run[event.reason] += 1
                self.owned += event.owned

    def text(self) -> str:
        """The counts in one line."""
        parts = [f"{self.computed} computed"]
        parts += [f"{self.reused} reused"] if self.reused else []
        parts += [f"{self.followed} computed by another run"] if self.followed else []
        parts += [f"{self.failed} failed"]
        parts += [f"{self.not_run.total()} not run"] if self.not_run else []
        return ", ".join([*parts, f"{len(self.running)} running"])

    def problem_lines(self, problem: str = "") -> list[str]:
        """A line for each reason of each failure class, and for each reason why structures were not run.

        ``problem``, why the batch broke off, comes last; the same reason gets no other line.
        """
        lines = []
        for kind, count in self.failures.most_common():
            told = sorted(self.reasons[kind].values(), key=lambda failures: -failures.count)
            lines += [failures.line(kind) for failures in told]
            if rest := count - sum(failures.count for failures in told):
                lines.append(f"{rest} more failed, {kind}, for other reasons")
        left = [one for one in self.not_run.most_common() if not (problem and one[0] in problem)]
        return [*lines, *(f"{count} not run: {reason}" for reason, count in left), *filter(None, [problem])]

    def _add_failure(self, event: Failed) -> None:
        kind = event.failure_class
        self.failures[kind] += 1
        message = textwrap.shorten(event.message, LONGEST, placeholder=" …")
        # The same reason contains other numbers for each structure.
        reasons, key = self.reasons[kind], _NUMBER.sub("#", message)
        if key not in reasons:
            if len(reasons) == REASONS:
                return
            reasons[key] = Failures(message)
        reasons[key].count += 1
        if len(reasons[key].first) < _EXAMPLES:
            reasons[key].first.append(event.structure.orig_index)

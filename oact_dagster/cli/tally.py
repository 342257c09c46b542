"""Counting what happens in a batch."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from oact_dagster.execution.events import Completed, Event, Failed, NotRun, Running, Started

EXAMPLES = 10


@dataclass(slots=True)
class Tally:
    """What a batch has done so far."""

    asked: int = 0
    """Structures that the batch was asked for."""
    began: bool = False
    computed: int = 0
    reused: int = 0
    """Those whose result was there before."""
    followed: int = 0
    """Those that another run computed meanwhile."""
    failures: Counter[str] = field(default_factory=Counter)
    """Structures by failure class."""
    examples: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """The first structures of each failure class."""
    messages: dict[str, str] = field(default_factory=dict)
    """The message of the first one of each class."""
    not_run: Counter[str] = field(default_factory=Counter)
    """Structures that were left alone, by the reason."""
    running: set[int] = field(default_factory=set)
    """``orig_index`` of what computes now."""

    @property
    def failed(self) -> int:
        """Structures without a result after the batch."""
        return self.failures.total()

    @property
    def done(self) -> int:
        """Structures that the batch has settled."""
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

    def text(self) -> str:
        """The counts in one line."""
        parts = [f"{self.computed} computed"]
        parts += [f"{self.reused} reused"] if self.reused else []
        parts += [f"{self.followed} computed by another run"] if self.followed else []
        parts += [f"{self.failed} failed"]
        parts += [f"{self.not_run.total()} not run"] if self.not_run else []
        return ", ".join([*parts, f"{len(self.running)} running"])

    def problem_lines(self) -> list[str]:
        """One line for each class of failure, and for each reason why structures were not run."""
        lines = []
        for kind, count in self.failures.most_common():
            shown = ", ".join(map(str, self.examples[kind])) + (", …" if count > EXAMPLES else "")
            lines.append(f"{count} failed, {kind} (structures {shown}): {self.messages[kind]}")
        return lines + [f"{count} not run: {reason}" for reason, count in self.not_run.most_common()]

    def _add_failure(self, event: Failed) -> None:
        kind = event.failure_class
        self.failures[kind] += 1
        if len(self.examples[kind]) < EXAMPLES:
            self.examples[kind].append(event.structure.orig_index)
        self.messages.setdefault(kind, " ".join(event.message.split())[:200])

"""Report of an export: what was written, and what was left out for which reason."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

EXAMPLES: Final = 5


@dataclass(slots=True)
class LeftOut:
    """Structures, or steps, left out for one reason."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    """The first few structures, with what is wrong."""

    def add(self, example: str) -> None:
        """Count one structure or step."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)


@dataclass(slots=True)
class ExportReport:
    """Counts of an export."""

    target: Path
    structures: int = 0
    """Structures with at least one frame in the file."""
    frames: int = 0
    not_orca: int = 0
    """Those structures that an engine other than ORCA computed."""
    flagged: int = 0
    """Those structures that failed checks."""
    size: int = 0
    """Bytes of the file; 0 if none was written."""
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    """Structures without a frame, by reason."""
    steps_left_out: dict[str, LeftOut] = field(default_factory=dict)
    """Single steps without a frame, by reason, if all steps are wanted."""
    by_status: Counter[str] = field(default_factory=Counter)
    """Structures without a result, by status."""
    status_examples: dict[str, list[str]] = field(default_factory=dict)

    def leave(self, reason: str, orig_index: int | None, detail: str = "") -> None:
        """Count a structure that is left out."""
        name = "without an orig_index" if orig_index is None else str(orig_index)
        self.left_out.setdefault(reason, LeftOut()).add(f"{name}: {detail}" if detail else name)

    def leave_step(self, reason: str, orig_index: int, step: int | None, count: int = 1) -> None:
        """Count steps of a structure that are left out."""
        left = self.steps_left_out.setdefault(reason, LeftOut())
        left.add(str(orig_index) if step is None else f"{orig_index} step {step}")
        left.count += count - 1

    def without_result(self, status: str, count: int, examples: Sequence[int]) -> None:
        """Count structures that are not completed."""
        self.by_status[status] += count
        known = self.status_examples.setdefault(status, [])
        known += [str(index) for index in examples[: EXAMPLES - len(known)]]

    @property
    def structures_left_out(self) -> int:
        """Number of completed structures without a frame in the file."""
        return sum(one.count for one in self.left_out.values())

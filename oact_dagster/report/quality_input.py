"""What the report shows of the checks on the results' quality; ``execution.quality`` makes such a thing."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class RuleFindings(Protocol):
    """What one rule found."""

    @property
    def name(self) -> str:
        """Of the rule."""

    @property
    def description(self) -> str:
        """What it asks of a result, in a sentence."""

    @property
    def severity(self) -> str:
        """How much a failure means, such as ``error`` or ``warn``."""

    @property
    def checked(self) -> int:
        """Structures that it could judge."""

    @property
    def failed(self) -> int:
        """How many of these failed."""

    @property
    def worst(self) -> Sequence[tuple[int, str]]:
        """``(orig_index, what is wrong)`` of the worst ones, the worst first."""


class QualityFindings(Protocol):
    """What all rules found."""

    @property
    def rules(self) -> Sequence[RuleFindings]:
        """Each rule."""

    @property
    def failed(self) -> Mapping[int, tuple[str, ...]]:
        """Names of the rules that a structure failed, by its ``orig_index``; only of those that failed one."""

"""What the report needs from the quality checks."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class RuleFindings(Protocol):
    """What one rule found."""

    @property
    def name(self) -> str:
        """Name of the rule."""

    @property
    def description(self) -> str:
        """What the rule requires of a result, in a sentence."""

    @property
    def severity(self) -> str:
        """Severity of a failure, such as ``error`` or ``warn``."""

    @property
    def checked(self) -> int:
        """Number of structures that the rule could judge."""

    @property
    def failed(self) -> int:
        """Number of these that failed."""

    @property
    def worst(self) -> Sequence[tuple[int, str]]:
        """``(orig_index, what is wrong)`` of the worst structures, the worst first."""


class QualityFindings(Protocol):
    """What all rules found."""

    @property
    def rules(self) -> Sequence[RuleFindings]:
        """Each rule."""

    @property
    def failed(self) -> Mapping[int, tuple[str, ...]]:
        """Names of the rules that a structure failed, by ``orig_index``; only for structures that failed a rule."""

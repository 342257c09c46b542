"""What ORCA and Sella wrote: outputs, gradients, trajectories, and how a run ended."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oact_dagster.orca.outputs.reader import read_engrad, read_output

__all__ = ["read_engrad", "read_output"]


def __getattr__(name: str) -> Any:
    """The two readers that scripts import from here. A payload that reports progress must not load all of reading."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from oact_dagster.orca.outputs import reader

    return getattr(reader, name)

"""What happens while a batch runs. ``defs`` turns these into Dagster's events, ``cli`` into a progress bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oact_dagster.ledger.states import AttemptRecord, StructureRecord


@dataclass(frozen=True, slots=True)
class Started:
    """The batch has begun."""

    structures: int


@dataclass(frozen=True, slots=True)
class TakenIn:
    """The batch now looks after these structures; those that are done already follow at once."""

    structures: Sequence[StructureRecord]


@dataclass(frozen=True, slots=True)
class InputWritten:
    """The input of a structure is in its folder, or is the one of a result that is already there."""

    structure: StructureRecord
    input_hash: str | None
    """Hash of the input without its comments; None where an old ledger does not say."""
    job_dir: Path | None
    attempt: int | None
    reused: bool = False
    settings_hash: str | None = None
    """Of the settings that it was made with, where those are not the campaign's present ones."""
    remedy: str | None = None
    """The step that changed it after earlier attempts."""


@dataclass(frozen=True, slots=True)
class Running:
    """The calculation of a structure has started."""

    orig_index: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """The job of a structure may wait for ever."""

    orig_index: int
    reason: str
    """The scheduler's, with what to do."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A structure has its result."""

    structure: StructureRecord
    attempt: AttemptRecord | None
    """The attempt that delivered it; None in an old ledger that kept no attempts."""
    reused: bool = False
    """It was there before this batch; nothing was computed."""
    followed: bool = False
    """Another run computed it while this one waited for it."""
    attempts: Sequence[AttemptRecord] = ()
    """All of the structure, where there was more than one."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A structure has no result after this batch."""

    structure: StructureRecord
    failure_class: str
    message: str
    tail: str
    """Last lines of the output, where there is one."""
    attempts: Sequence[AttemptRecord]
    log: str = ""
    """Last lines that the scheduler and the job's script wrote, where there are any."""


@dataclass(frozen=True, slots=True)
class NotRun:
    """A structure was left alone, or given back; it counts against no budget."""

    orig_index: int
    reason: str
    """For people: nothing is decided by it."""
    owned: bool = False
    """Another run has it."""


@dataclass(frozen=True, slots=True)
class Note:
    """A line for whoever watches."""

    text: str
    warning: bool = False


Event = Started | TakenIn | InputWritten | Running | Stuck | Completed | Failed | NotRun | Note

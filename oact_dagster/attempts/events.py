"""Events of a running batch. ``defs`` turns them into Dagster's events, ``cli`` into a progress bar."""

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
    """The batch now looks after these structures; events of those already completed follow at once."""

    structures: Sequence[StructureRecord]


@dataclass(frozen=True, slots=True)
class InputWritten:
    """The input of a structure is in its folder, or belongs to a result that already exists."""

    structure: StructureRecord
    input_hash: str | None
    """Hash of the input without its comments; None if an old ledger does not have it."""
    job_dir: Path | None
    attempt: int | None
    reused: bool = False
    settings_hash: str | None = None
    """Hash of the settings it was made with, if those are not the campaign's present ones."""
    remedy: str | None = None
    """Remedy that changed it after earlier attempts."""


@dataclass(frozen=True, slots=True)
class Running:
    """The calculation of a structure has started."""

    orig_index: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """The job of a structure may wait for ever."""

    orig_index: int
    reason: str
    """The scheduler's reason, with advice."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A structure has its result."""

    structure: StructureRecord
    attempt: AttemptRecord | None
    """The attempt that computed it; None in an old ledger without attempts."""
    reused: bool = False
    """The result existed before this batch; nothing was computed."""
    followed: bool = False
    """Another run computed it while this one waited."""
    attempts: Sequence[AttemptRecord] = ()
    """All attempts at the structure, if there was more than one."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A structure has no result after this batch."""

    structure: StructureRecord
    failure_class: str
    message: str
    tail: str
    """Last lines of the output, if any."""
    attempts: Sequence[AttemptRecord]
    log: str = ""
    """Last lines written by the scheduler and the job script, if any."""


@dataclass(frozen=True, slots=True)
class NotRun:
    """A structure was left alone or given back; it counts against no budget."""

    orig_index: int
    reason: str
    """Text for people only; no code depends on it."""
    owned: bool = False
    """Another run has it."""


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the log."""

    text: str
    warning: bool = False


Event = Started | TakenIn | InputWritten | Running | Stuck | Completed | Failed | NotRun | Note

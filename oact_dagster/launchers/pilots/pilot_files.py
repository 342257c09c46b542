"""The files of a pilot: its options, and the signs that it has begun, is alive, and has ended.

A pilot has its own folder beside the list, made before its job is submitted. The pilot imports this on the compute
node, so it needs only the standard library and small modules.
"""

import contextlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from oact_dagster.files import atomic_write
from oact_dagster.launchers.attempt_files import START_FILE, read_record

PILOT: Final = (sys.executable, "-P", "-m", "oact_dagster.launchers.pilots.pilot")
"""The pilot's command."""
SPEC_FILE: Final = "pilot.json"
ALIVE_FILE: Final = "alive"
END_FILE: Final = "end.json"

BEAT_S: Final = 30.0
"""Time between two signs of life, s."""


@dataclass(frozen=True, slots=True)
class PilotSpec:
    """The options of a pilot."""

    token: str
    shared: str
    """Folder of the list."""
    max_workers: int
    cores_per_worker: int
    time_limit_s: float
    """Time limit of its job, s."""
    margin_s: float
    """How long before that its calculations must have ended, s."""
    idle_s: float
    """How long it waits for more on an empty list, s."""
    stop_grace_s: float
    """Time a calculation may take to end when told to, s."""
    cpu_affinity: str
    worker_init: list[str]
    """Lines of bash to run before the workers start."""
    oversubscribe: bool
    heartbeat_period_s: int
    heartbeat_threshold_s: int


@dataclass(frozen=True, slots=True)
class PilotEnd:
    """How a pilot ended."""

    token: str
    reason: str
    """In the pilot's own words."""
    finished: int
    """Number of attempts whose payload has ended by itself."""


def write_pilot_spec(folder: Path, spec: PilotSpec) -> None:
    """Write ``pilot.json``."""
    (folder / SPEC_FILE).write_text(json.dumps(asdict(spec), indent=1), encoding="utf-8")


def read_pilot_spec(folder: Path) -> PilotSpec | None:
    """Read ``pilot.json``; None if it is missing or unreadable."""
    return read_record(folder / SPEC_FILE, PilotSpec)


def write_end(folder: Path, end: PilotEnd) -> None:
    """Write ``end.json``."""
    atomic_write(folder / END_FILE, json.dumps(asdict(end), indent=1))


def strike_off(folder: Path) -> None:
    """Hide a pilot from runs that do not know it yet. Its files stay, and are found by those that do."""
    with contextlib.suppress(OSError):
        folder.rename(_struck_off(folder))


def read_end(folder: Path) -> PilotEnd | None:
    """Read ``end.json``; None if the pilot has not written it."""
    # In this order: a run may move the folder to the second place in between.
    return read_record(folder / END_FILE, PilotEnd) or read_record(_struck_off(folder) / END_FILE, PilotEnd)


def has_begun(folder: Path) -> bool:
    """Whether a pilot has ever run."""
    return any((place / START_FILE).exists() for place in (folder, _struck_off(folder)))


def _struck_off(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}")


def beat(folder: Path) -> None:
    """Show that a pilot is alive."""
    # A file server that fails for a while must not end the calculations of a node.
    with contextlib.suppress(OSError):
        (folder / ALIVE_FILE).touch()

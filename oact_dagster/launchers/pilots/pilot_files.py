"""The files of a pilot: what it is to do, that it has begun, that it lives, and how it ended.

A pilot has a folder of its own beside the list, made before its scheduler hears of it. Standard library only: the pilot
imports this on the compute node.
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
"""How often a pilot shows that it lives, s."""


@dataclass(frozen=True, slots=True)
class PilotSpec:
    """What a pilot does."""

    token: str
    shared: str
    """Folder of the list."""
    max_workers: int
    cores_per_worker: int
    time_limit_s: float
    """Of its job, s."""
    margin_s: float
    """It is done so long before its job's limit, s."""
    idle_s: float
    """How long it waits for more to run when the list is empty, s."""
    stop_grace_s: float
    """Time that a calculation gets to end when it is told to, s."""
    cpu_affinity: str
    worker_init: list[str]
    """Lines of bash that each worker runs first."""
    oversubscribe: bool
    heartbeat_period_s: int
    heartbeat_threshold_s: int


@dataclass(frozen=True, slots=True)
class PilotEnd:
    """How a pilot ended, in its own words."""

    token: str
    reason: str
    finished: int
    """Attempts whose payload it saw to its end."""


def pilot_spec_text(spec: PilotSpec) -> str:
    """The content of ``pilot.json``."""
    return json.dumps(asdict(spec), indent=1)


def read_pilot_spec(folder: Path) -> PilotSpec | None:
    """What the pilot of a folder does; None where there is no such file that can be read."""
    return read_record(folder / SPEC_FILE, PilotSpec)


def write_end(folder: Path, end: PilotEnd) -> None:
    """Tell how a pilot ended.

    Raises:
        OSError: it cannot be written.
    """
    atomic_write(folder / END_FILE, json.dumps(asdict(end), indent=1))


def strike_off(folder: Path) -> None:
    """Pass a pilot over from now on; what it wrote stays, and is found by the runs that know it."""
    with contextlib.suppress(OSError):
        folder.rename(_struck_off(folder))


def read_end(folder: Path) -> PilotEnd | None:
    """How a pilot ended; None where it has not said so."""
    # Looked for in this order: a run that strikes it off in between moves the folder to the later place.
    return read_record(folder / END_FILE, PilotEnd) or read_record(_struck_off(folder) / END_FILE, PilotEnd)


def has_begun(folder: Path) -> bool:
    """Whether a pilot has ever run."""
    return any((place / START_FILE).exists() for place in (folder, _struck_off(folder)))


def _struck_off(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}")


def beat(folder: Path) -> None:
    """Show that a pilot lives."""
    # A file server that is away for a while must not end the calculations of a node.
    with contextlib.suppress(OSError):
        (folder / ALIVE_FILE).touch()

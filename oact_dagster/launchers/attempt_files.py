"""The files of a job folder through which an attempt and whoever started it speak.

``attempt.json`` says what to run and whose attempt the folder is; ``exit.json`` is the payload's word on how it
ended. Both are written under another name and moved, so that one that exists is whole. Standard library
only, and `files`: the payload imports this on the compute node.
"""

import contextlib
import errno
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

from oact_dagster.files import FileLock

_T = TypeVar("_T")

INPUT_FILE: Final = "orca.inp"
OUTPUT_FILE: Final = "orca.out"
ERRORS_FILE: Final = "orca.err"
ATTEMPT_FILE: Final = "attempt.json"
EXIT_FILE: Final = "exit.json"
START_FILE: Final = "started.json"
"""Made by the first payload of an attempt. A second one (a job that was requeued, or submitted twice) finds it and
runs nothing."""
MESSAGES_FILE: Final = "messages.jsonl"
PAYLOAD_LOG: Final = "payload.log"
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)
TOKEN_VARIABLE: Final = "OACT_ATTEMPT"
"""Environment variable that names the attempt to every process of it, so that leftovers can be found."""
SIGN_OF_LIFE_S: Final = 60.0
"""How often a payload shows that it lives, at least, s."""


EXIT_NO_SPACE: Final = 6
"""A payload's exit code when its folder's disk is full: nothing was run, or no record could be written of what was."""
FILES_SHOW_S: Final = 60.0
"""How long files that a node has written may take to be seen elsewhere: a network file system remembers, s."""
TOKEN_COMMENT: Final = "oact_attempt"
"""The comment line of ``orca.inp`` that carries the token into the output's echo: ``# oact_attempt: TOKEN``."""


class How(StrEnum):
    """How a calculation ended, as its payload saw it."""

    EXITED = "exited"
    TIME_LIMIT = "time_limit"
    STOPPED = "stopped"
    """The payload was told to stop (SIGTERM, SIGINT), or whoever started it died."""
    NOT_STARTED = "not_started"
    """The engine could not be started."""


@dataclass(frozen=True, slots=True)
class AttemptSpec:
    """What a payload runs."""

    token: str
    attempt: int
    orig_index: int
    command: list[str]
    """The engine and its arguments, without the input file."""
    n_cores: int
    time_limit_s: float
    stop_grace_s: float
    """Time between SIGTERM and SIGKILL, s."""
    environment: dict[str, str] = field(default_factory=dict)
    pipes: dict[str, str] = field(default_factory=dict)
    """Dagster Pipes' bootstrap parameters; empty when nobody listens."""
    scratch_dir: str | None = None
    """Folder on the node in which the engine runs; variables in it are the node's. None: it runs in the job folder."""
    scratch_save_mb: float = 0.0
    """So much of what it leaves there comes back into the job folder, MB."""
    progress_s: float = 0.0
    """Time between two messages about its progress, s; 0 for none."""
    sign_of_life_s: float = SIGN_OF_LIFE_S
    """Time between two signs of life of its payload, s: a scheduler may not know its job any more."""


@dataclass(frozen=True, slots=True)
class StartRecord:
    """Which payload runs an attempt."""

    token: str
    host: str
    pid: int
    started_at: float
    """Unix time, s."""
    job_id: str = ""
    """As the scheduler told the job."""


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """How a calculation ended. Times are Unix times in s."""

    token: str
    how: How
    returncode: int | None
    """Exit code of the engine, negative for a signal; None when it was not started."""
    started_at: float
    ended_at: float
    elapsed_s: float
    """Wall time by a clock that is never set back, s."""
    host: str
    pid: int
    reason: str = ""
    cpu_time_s: float | None = None
    """Of the engine and all processes that it waited for, user and system."""
    max_rss_mb: float | None = None
    """Memory of the largest of these processes."""


def spec_text(spec: AttemptSpec) -> str:
    """The content of ``attempt.json``, one for each attempt of a campaign: as JSON is fastest to write."""
    return json.dumps({item.name: getattr(spec, item.name) for item in fields(spec)}) + "\n"


def read_spec(folder: Path) -> AttemptSpec | None:
    """The attempt whose folder this is, or None where there is none that can be read."""
    return read_record(folder / ATTEMPT_FILE, AttemptSpec)


def has_run(folder: Path) -> bool:
    """Tell whether anything was ever started in an attempt's folder."""
    begun = (folder / START_FILE).exists() and not left_no_room(folder)
    return begun or any((folder / name).exists() for name in (OUTPUT_FILE, EXIT_FILE))


def is_full(error: OSError) -> bool:
    """Tell whether an error says that a disk, or a quota on it, has no space left."""
    return error.errno in _NO_SPACE


def left_no_room(folder: Path) -> bool:
    """Tell whether a payload found its folder's disk full: it could not write that it began, and ran nothing."""
    try:
        return (folder / START_FILE).stat().st_size == 0
    except OSError:
        return False


def claim_folder(folder: Path, record: StartRecord) -> bool:
    """Make an attempt's folder this payload's, before anything else is written there.

    The file is made in one step that fails where it exists, also on a network file system: of two copies of a job
    one runs.

    Returns:
        False where another payload was here before.

    Raises:
        OSError: it cannot be written. Nothing is left of it, unless that is for want of space: see
            :func:`leave_no_room`.
    """
    file = folder / START_FILE
    try:
        with file.open("x", encoding="utf-8") as stream:
            json.dump(asdict(record), stream)
    except FileExistsError:
        return False
    except OSError as error:
        if not is_full(error):
            with contextlib.suppress(OSError):
                file.unlink()
        raise
    return True


def show_life(folder: Path) -> None:
    """Show that an attempt's payload lives, however long its engine says nothing."""
    # A file server that is away for a while must not end the calculation.
    with contextlib.suppress(OSError):
        os.utime(folder / START_FILE)


def no_space_line(token: str) -> str:
    """How the line begins by which a payload tells in its job's log that it ran nothing for want of space."""
    return f"payload {token}: no space, and nothing was run"


def leave_no_room(folder: Path) -> None:
    """Say in a folder whose disk is full that its payload ran nothing: by an empty ``started.json``, and no output."""
    for file in (folder / OUTPUT_FILE, folder / ERRORS_FILE):
        with contextlib.suppress(OSError):
            if not file.stat().st_size:
                file.unlink()
    with contextlib.suppress(OSError):
        os.truncate(folder / START_FILE, 0)


def hold_folder(folder: Path) -> bool:
    """Hold a folder without an attempt until this process ends: of two scripts submitted by hand one runs at a time.

    Returns:
        False where another process holds it. On a file system without locks it is not known, and this is True.
    """
    try:
        FileLock(folder / START_FILE, across_hosts=True)  # never closed
    except BlockingIOError:
        return False
    return True


def read_start(folder: Path, token: str) -> StartRecord | None:
    """Which payload runs or ran an attempt, or None where none of this attempt did."""
    record = read_record(folder / START_FILE, StartRecord)
    return record if record is not None and record.token == token else None


def exit_text(record: ExitRecord) -> str:
    """The content of ``exit.json``."""
    return json.dumps(asdict(record), indent=1)


def read_exit(folder: Path, token: str) -> ExitRecord | None:
    """The payload's record in a folder, or None where there is none of this attempt."""
    record = read_record(folder / EXIT_FILE, ExitRecord)
    if record is None or record.token != token:
        return None
    try:
        how = How(record.how)
    except ValueError:
        return None
    return ExitRecord(**{**asdict(record), "how": how})


def read_record(path: Path, kind: type[_T]) -> _T | None:
    """A dataclass from a file of JSON; None where there is none that can be read. Unknown keys are passed over."""
    try:
        raw: Any = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(raw, Mapping):
        return None
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    try:
        return kind(**{key: value for key, value in raw.items() if key in known})
    except TypeError:
        return None

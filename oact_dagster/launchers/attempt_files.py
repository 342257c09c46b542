"""The files in a job folder by which an attempt and its run communicate.

``attempt.json`` says whose attempt the folder is and what to run; ``exit.json`` is the payload's record of how it
ended. Both are written under another name and renamed, so they are never incomplete. The payload imports this on the
compute node, so it needs only the standard library and `files`.
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
"""Created by the first payload of an attempt. A second one (of a job requeued or submitted twice) finds it and runs
nothing."""
MESSAGES_FILE: Final = "messages.jsonl"
PAYLOAD_LOG: Final = "payload.log"
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)
TOKEN_VARIABLE: Final = "OACT_ATTEMPT"
"""Environment variable with the token in every process of an attempt, by which leftovers are found."""
SIGN_OF_LIFE_S: Final = 60.0
"""Longest time between two signs of life of a payload, s."""


EXIT_NO_SPACE: Final = 6
"""A payload's exit code if its folder's disk is full: nothing was run, or what was run could not be recorded."""
FILES_SHOW_S: Final = 60.0
"""Time until files written by a node are seen elsewhere, s. Network file systems cache."""
TOKEN_COMMENT: Final = "oact_attempt"
"""Name of the comment in ``orca.inp`` that ORCA echoes into its output: ``# oact_attempt: TOKEN``."""


class How(StrEnum):
    """How a calculation ended, as its payload saw it."""

    EXITED = "exited"
    TIME_LIMIT = "time_limit"
    STOPPED = "stopped"
    """The payload got SIGTERM or SIGINT, or the process that started it died."""
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
    """Bootstrap parameters of Dagster Pipes; empty if nobody listens."""
    scratch_dir: str | None = None
    """Node folder in which the engine runs, with variables of the node's environment. None: the job folder."""
    scratch_save_mb: float = 0.0
    """Limit for files copied back from there to the job folder, MB."""
    progress_s: float = 0.0
    """Time between two progress messages, s; 0: none."""
    sign_of_life_s: float = SIGN_OF_LIFE_S
    """Time between two signs of life, s. They count when the scheduler no longer knows the job."""


@dataclass(frozen=True, slots=True)
class StartRecord:
    """Which payload runs an attempt."""

    token: str
    host: str
    pid: int
    started_at: float
    """Unix time, s."""
    job_id: str = ""
    """From the job's environment."""


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """How a calculation ended. Times are Unix times in s."""

    token: str
    how: How
    returncode: int | None
    """Exit code of the engine, negative for a signal; None if it was not started."""
    started_at: float
    ended_at: float
    elapsed_s: float
    """Wall time by a monotonic clock, s."""
    host: str
    pid: int
    reason: str = ""
    cpu_time_s: float | None = None
    """User and system time of the engine and all processes it waited for, s."""
    max_rss_mb: float | None = None
    """Memory of the largest of these processes, MB."""


def spec_text(spec: AttemptSpec) -> str:
    """The content of ``attempt.json``. It is written for every attempt, hence without indentation and `asdict`."""
    return json.dumps({item.name: getattr(spec, item.name) for item in fields(spec)}) + "\n"


def read_spec(folder: Path) -> AttemptSpec | None:
    """Read ``attempt.json``; None if it is missing or unreadable."""
    return read_record(folder / ATTEMPT_FILE, AttemptSpec)


def has_run(folder: Path) -> bool:
    """Whether anything was ever started in an attempt's folder."""
    begun = (folder / START_FILE).exists() and not left_no_room(folder)
    return begun or any((folder / name).exists() for name in (OUTPUT_FILE, EXIT_FILE))


def is_full(error: OSError) -> bool:
    """Whether an error says that a disk is full or its quota used up."""
    return error.errno in _NO_SPACE


def left_no_room(folder: Path) -> bool:
    """Whether a payload ran nothing because its folder's disk was full: see :func:`leave_no_room`."""
    try:
        return (folder / START_FILE).stat().st_size == 0
    except OSError:
        return False


def claim_folder(folder: Path, record: StartRecord) -> bool:
    """Claim an attempt's folder for this payload, before anything else is written there.

    Of two copies of a job only one succeeds: ``started.json`` is created in one step that fails if it exists, also on
    a network file system.

    Returns:
        False if another payload has claimed it.

    Raises:
        OSError: the file cannot be written. It is removed again, except on a full disk: see :func:`leave_no_room`.
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
    """Show that an attempt's payload is alive, even if its engine writes nothing for long."""
    # A file server that fails for a while must not end the calculation.
    with contextlib.suppress(OSError):
        os.utime(folder / START_FILE)


def no_space_line(token: str) -> str:
    """The start of the line in a job's log that says its payload ran nothing because the disk was full."""
    return f"payload {token}: no space, and nothing was run"


def leave_no_room(folder: Path) -> None:
    """Mark a folder on a full disk as one in which nothing ran: by an empty ``started.json`` and no output."""
    for file in (folder / OUTPUT_FILE, folder / ERRORS_FILE):
        with contextlib.suppress(OSError):
            if not file.stat().st_size:
                file.unlink()
    with contextlib.suppress(OSError):
        os.truncate(folder / START_FILE, 0)


def hold_folder(folder: Path) -> bool:
    """Lock a folder without an attempt, so that of two scripts submitted by hand only one runs at a time.

    Returns:
        False if another process holds it; True also on a file system without locks.
    """
    try:
        FileLock(folder / START_FILE, across_hosts=True)  # held until this process ends
    except BlockingIOError:
        return False
    return True


def read_start(folder: Path, token: str) -> StartRecord | None:
    """Read ``started.json``; None unless it is this attempt's."""
    record = read_record(folder / START_FILE, StartRecord)
    return record if record is not None and record.token == token else None


def is_unfinished(folder: Path, token: str) -> bool:
    """Whether an attempt has begun, and its payload has not recorded how it ended."""
    return read_start(folder, token) is not None and read_exit(folder, token) is None


def exit_text(record: ExitRecord) -> str:
    """The content of ``exit.json``."""
    return json.dumps(asdict(record), indent=1)


def read_exit(folder: Path, token: str) -> ExitRecord | None:
    """Read ``exit.json``; None unless it is this attempt's."""
    record = read_record(folder / EXIT_FILE, ExitRecord)
    if record is None or record.token != token:
        return None
    try:
        how = How(record.how)
    except ValueError:
        return None
    return ExitRecord(**{**asdict(record), "how": how})


def read_record(path: Path, kind: type[_T]) -> _T | None:
    """Read a dataclass from a JSON file; None if it is missing or unreadable. Unknown keys are ignored."""
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

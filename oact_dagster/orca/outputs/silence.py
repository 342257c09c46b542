"""How long an output has been silent: judged by the file's time alone, apart from what it says.

A run that hangs looks like one that goes on; only the clock tells them apart. The file's time is the file server's,
``now`` is this host's: clocks that differ by minutes do not matter against hours.
"""

import time
from pathlib import Path
from typing import Final

from oact_dagster.orca.outputs.files import JobFolder

SILENCE_LIMIT_S: Final = 6 * 3600.0
"""Seconds without a change after which a run counts as hanging, unless the caller sets another limit."""


def silent_for_s(path: str | Path, *, now: float | None = None) -> float | None:
    """How long ago an output changed last.

    Args:
        path: An output, or a job folder (then its output is found as for reading).
        now: Seconds since the epoch; None means the present.

    Returns:
        Seconds, at least 0; None where there is no such file.
    """
    try:
        file: Path | None = Path(path)
        if Path(path).is_dir():
            file = JobFolder(path).output()
        if file is None:
            return None
        status = file.stat()
    except (OSError, ValueError):
        return None
    return max(0.0, (time.time() if now is None else now) - status.st_mtime)


def is_silent(path: str | Path, *, limit_s: float = SILENCE_LIMIT_S, now: float | None = None) -> bool | None:
    """Whether an output has not changed for the given time.

    Args:
        path: An output, or a job folder.
        limit_s: Seconds.
        now: Seconds since the epoch; None means the present.

    Returns:
        True or False; None where there is no such file.
    """
    silent = silent_for_s(path, now=now)
    return None if silent is None else silent >= limit_s

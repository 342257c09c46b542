"""How long an output has not changed, by the file's modification time alone.

Only time tells a hanging run from a working one. The file's time is the file server's and ``now`` this host's; minutes
of difference do not matter against a limit of hours.
"""

import time
from pathlib import Path
from typing import Final

from oact_dagster.orca.outputs.output_files import JobFolder

SILENCE_LIMIT_S: Final = 6 * 3600.0
"""Default for the seconds without a change after which a run counts as hanging."""


def silent_for_s(path: str | Path, *, now: float | None = None) -> float | None:
    """Return how many seconds ago an output (or that of a job folder) last changed; None if there is no such file."""
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
    """Return whether an output has not changed for ``limit_s`` seconds; None if there is no such file."""
    silent = silent_for_s(path, now=now)
    return None if silent is None else silent >= limit_s

"""Processes of attempts whose payload has died: an ORCA that goes on writing with nobody to record it."""

import contextlib
import time
from collections.abc import Collection
from typing import Final

import psutil

from oact_dagster.launchers.attempt_files import TOKEN_VARIABLE

_GONE_S: Final = 10.0
"""How long a process may take to end after SIGKILL, s."""


def end_leftovers(tokens: Collection[str]) -> int:
    """End every process of these attempts on this host.

    A process is known by the token in its environment, which no other attempt ever has: a pid that was used again
    is never taken for it, and ranks that left their process group are found.

    Args:
        tokens: of attempts that nobody follows.

    Returns:
        How many processes were ended.
    """
    return end_marked(TOKEN_VARIABLE, tokens)


def end_marked(variable: str, values: Collection[str]) -> int:
    """End every process on this host whose environment says so.

    Args:
        variable: of the environment.
        values: any of them.

    Returns:
        How many processes were ended.
    """
    wanted = set(values)
    found: list[psutil.Process] = []
    if not wanted:
        return 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(variable) in wanted:
                found.append(process)
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.kill()
    limit = time.monotonic() + _GONE_S
    while not all(map(_has_ended, found)) and time.monotonic() < limit:
        time.sleep(0.02)
    return len(found)


def _has_ended(process: psutil.Process) -> bool:
    try:
        # Whether its parent has asked for its end is the parent's affair, which may be frozen.
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True

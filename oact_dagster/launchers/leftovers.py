"""Kills processes of attempts whose payload has died: an ORCA that still writes while nobody records its end."""

import contextlib
import time
from collections.abc import Collection
from typing import Final

import psutil

from oact_dagster.launchers.attempt_files import TOKEN_VARIABLE

_GONE_S: Final = 10.0
"""How long a process may take to end after SIGKILL, s."""


def end_leftovers(tokens: Collection[str]) -> int:
    """Kill every process of these attempts on this host, and return how many there were.

    A process is known by the unique token in its environment. So a reused pid is never mistaken for it, and ranks that
    have left their process group are found.
    """
    return end_marked(TOKEN_VARIABLE, tokens)


def end_marked(variable: str, values: Collection[str]) -> int:
    """Kill every process on this host in which a variable has one of these values; return how many there were."""
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
        # A zombie has ended, even if its parent (which may be frozen) has not collected it.
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True

"""Processes of attempts whose payload has died: an ORCA that goes on writing with nobody to record it."""

import contextlib
from collections.abc import Collection

import psutil

from oact_dagster.launchers.attempt_files import TOKEN_VARIABLE


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
    psutil.wait_procs(found, timeout=10)
    return len(found)

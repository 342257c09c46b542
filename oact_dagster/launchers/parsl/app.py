"""The task of a Parsl worker: start the payload of an attempt, watch it, and return how it ended.

A task reaches its worker as a reference to :func:`run_attempt` with plain values. The worker imports this module, so
it needs only the standard library and the small modules of `launchers`.
"""

import os
import select
import signal
import socket
import subprocess
import time
from enum import StrEnum
from pathlib import Path
from typing import Final

from oact_dagster.launchers.parsl.control import ControlFolder
from oact_dagster.launchers.payload_process import start_payload

_LOOK_S: Final = 0.5
"""How often the worker looks for orders to end its calculation, s."""

THREAD_PLACES: Final = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY")
"""Parsl sets them to all cores of a worker: every ORCA process would pin its first thread to the first core."""


class TaskEnd(StrEnum):
    """How a task ended."""

    RAN = "ran"
    CANCELLED = "cancelled"
    """The batch withdrew it before it began."""
    TOO_LATE = "too late"
    """It could no longer have finished in time."""
    NOT_STARTED = "not started"
    """The payload could not be started."""


TaskAnswer = tuple[str, int, str, float]
"""A :class:`TaskEnd`, the payload's exit code (negative for a signal), why it could not be started, and its wall time
in s. Plain values, so that the batch can read them whatever the worker's environment is."""


def run_attempt(token: str, folder: str, control: str, ticket: str, start_before: float | None) -> TaskAnswer:
    """Run the payload of an attempt in its folder, and return when it has ended.

    The payload is stopped early if the batch orders it, or if the batch or the worker's parent has died. It also ends
    if this worker is killed.

    Args:
        token: token of the attempt.
        folder: job folder.
        control: folder with the pool's orders.
        ticket: the task's ticket; nothing begins without it.
        start_before: latest Unix time at which to start, s; None: no limit.
    """
    orders = ControlFolder(control)
    if orders.ends(ticket):
        return _unbegun(TaskEnd.CANCELLED)
    if start_before is not None and time.time() > start_before:
        return _unbegun(TaskEnd.TOO_LATE)
    try:
        # If an order has come meanwhile, the ticket is taken but nothing has begun.
        if not orders.begin(ticket) or orders.ends(ticket):
            return _unbegun(TaskEnd.CANCELLED)
    except OSError as error:
        return _unbegun(TaskEnd.NOT_STARTED, f"{orders.path}: {error.strerror or error}")
    begun = time.monotonic()
    environment = {key: value for key, value in os.environ.items() if key not in THREAD_PLACES}
    try:
        payload, lifeline = start_payload(token, Path(folder), environment)
    except OSError as error:
        return _unbegun(TaskEnd.NOT_STARTED, error.strerror or str(error))
    with lifeline:
        returncode = _watch(payload, lifeline, orders, ticket)
    elapsed = time.monotonic() - begun
    if returncode < 0:
        # The payload was killed: its engine may still run.
        from oact_dagster.launchers.leftovers import end_leftovers

        end_leftovers([token])
    return TaskEnd.RAN.value, returncode, "", elapsed


def _unbegun(end: TaskEnd, why: str = "") -> TaskAnswer:
    return end.value, 0, why, 0.0


def _watch(
    payload: "subprocess.Popen[bytes]", lifeline: socket.socket, orders: ControlFolder, ticket: str
) -> int:
    parent = os.getppid()
    told = False
    # The payload's end of the lifeline closes with it, so its end is seen at once.
    while not select.select([lifeline], [], [], _LOOK_S)[0]:
        if not told and (orders.ends(ticket) or os.getppid() != parent):
            payload.send_signal(signal.SIGTERM)
            told = True
    return payload.wait()

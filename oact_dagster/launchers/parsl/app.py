"""What a Parsl worker does with a structure: start its payload, watch it, and say how it ended.

The task that travels to the worker is a reference to :func:`run_attempt` with plain values. Standard library and
:mod:`oact_dagster.launchers.attempt_files` only: the worker imports this.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Final

from oact_dagster.launchers.attempt_files import PAYLOAD_LOG, TOKEN_VARIABLE
from oact_dagster.launchers.parsl.control import ControlFolder

_LOOK_S: Final = 0.5
"""How often the worker looks whether a calculation is to end, s."""

THREAD_PLACES: Final = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY")
"""Parsl sets them to all cores of a worker: each of ORCA's processes would pin its first thread to the first core."""


class TaskEnd(StrEnum):
    """What became of a task."""

    RAN = "ran"
    CANCELLED = "cancelled"
    """The batch wanted it no more before it began."""
    TOO_LATE = "too late"
    """It could not have ended in time any more."""
    NOT_STARTED = "not started"
    """The payload could not be started."""


TaskAnswer = tuple[str, int, str, float]
"""A :class:`TaskEnd`; the exit code of a payload that ran, negative for a signal; why it could not be started; its wall
time, s. Plain values, which the batch can read whatever the worker's environment is."""


def run_attempt(token: str, folder: str, control: str, ticket: str, start_before: float | None) -> TaskAnswer:
    """Run the payload of an attempt in its folder, and return when it has ended.

    It ends early when the batch says so, or has died, and when the worker's own parent has died. The payload holds
    one end of a socket pair, so that it ends with this worker even when this one is killed.

    Args:
        token: of the attempt.
        folder: its job folder.
        control: folder of the pool's orders.
        ticket: of this task, without which nothing is begun.
        start_before: Unix time after which it is not to be started any more, s; None: at any time.
    """
    orders = ControlFolder(control)
    if orders.ends(ticket):
        return _unbegun(TaskEnd.CANCELLED)
    if start_before is not None and time.time() > start_before:
        return _unbegun(TaskEnd.TOO_LATE)
    try:
        # An order may have come meanwhile: then the ticket is taken, and nothing was begun with it.
        if not orders.begin(ticket) or orders.ends(ticket):
            return _unbegun(TaskEnd.CANCELLED)
    except OSError as error:
        return _unbegun(TaskEnd.NOT_STARTED, f"{orders.path}: {error.strerror or error}")
    begun = time.monotonic()
    ours, theirs = socket.socketpair()
    with ours:
        try:
            payload = _start(token, Path(folder), theirs)
        except OSError as error:
            return _unbegun(TaskEnd.NOT_STARTED, error.strerror or str(error))
        finally:
            theirs.close()
        returncode = _watch(payload, ours, orders, ticket)
    elapsed = time.monotonic() - begun
    if returncode < 0:
        # The payload was killed: its engine has lost its keeper.
        from oact_dagster.launchers.leftovers import end_leftovers

        end_leftovers([token])
    return TaskEnd.RAN.value, returncode, "", elapsed


def _unbegun(end: TaskEnd, why: str = "") -> TaskAnswer:
    return end.value, 0, why, 0.0


def _start(token: str, folder: Path, theirs: socket.socket) -> "subprocess.Popen[bytes]":
    environment = {key: value for key, value in os.environ.items() if key not in THREAD_PLACES}
    # -P: the job folder does not become a place that modules are imported from.
    command = [sys.executable, "-P", "-m", "oact_dagster.launchers.payload", "--token", token]
    with (folder / PAYLOAD_LOG).open("wb") as log:
        return subprocess.Popen(
            [*command, "--lifeline", str(theirs.fileno())],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(theirs.fileno(),),
            env={**environment, TOKEN_VARIABLE: token},
            start_new_session=True,
        )


def _watch(
    payload: "subprocess.Popen[bytes]", ours: socket.socket, orders: ControlFolder, ticket: str
) -> int:
    parent = os.getppid()
    told = False
    # The payload's end of the pair closes with it: nothing has to be polled to see its end at once.
    while not select.select([ours], [], [], _LOOK_S)[0]:
        if not told and (orders.ends(ticket) or os.getppid() != parent):
            payload.send_signal(signal.SIGTERM)
            told = True
    return payload.wait()

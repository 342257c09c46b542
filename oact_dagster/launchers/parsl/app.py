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
from pathlib import Path
from typing import Final

from oact_dagster.launchers.attempt_files import PAYLOAD_LOG, TOKEN_VARIABLE
from oact_dagster.launchers.parsl.control import ControlFolder

_LOOK_S: Final = 0.5
"""How often the worker looks whether a calculation is to end, s."""

THREAD_PLACES: Final = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY")
"""Parsl sets them to all cores of a worker: each of ORCA's processes would pin its first thread to the first core."""


CANCELLED: Final = "cancelled"
TOO_LATE: Final = "too late"


def run_attempt(
    token: str, folder: str, control: str, ticket: str, start_before: float | None
) -> tuple[bool, str, float]:
    """Run the payload of an attempt in its folder, and return when it has ended.

    It ends early when the batch says so, or has died, and when the worker's own parent has died. The payload holds
    one end of a socket pair, so that it ends with this worker even when this one is killed.

    Args:
        token: of the attempt.
        folder: its job folder.
        control: folder of the pool's orders.
        ticket: of this task, without which nothing is begun.
        start_before: Unix time after which it is not to be started any more, s; None: at any time.

    Returns:
        Whether it was started; how its payload ended, or why it was not started; its wall time, s. Plain values, that
        the batch can read whatever the worker's environment is.
    """
    orders = ControlFolder(control)
    if orders.ends(ticket):
        return False, CANCELLED, 0.0
    if start_before is not None and time.time() > start_before:
        return False, TOO_LATE, 0.0
    try:
        # An order may have come meanwhile: then the ticket is taken, and nothing was begun with it.
        if not orders.begin(ticket) or orders.ends(ticket):
            return False, CANCELLED, 0.0
    except OSError as error:
        return False, f"not started: {orders.path}: {error.strerror or error}", 0.0
    begun = time.monotonic()
    ours, theirs = socket.socketpair()
    with ours:
        try:
            payload = _start(token, Path(folder), theirs)
        except OSError as error:
            return False, f"not started: {error.strerror or error}", 0.0
        finally:
            theirs.close()
        returncode = _watch(payload, ours, orders, ticket)
    elapsed = time.monotonic() - begun
    if returncode >= 0:
        return True, f"exit {returncode}", elapsed
    # The payload was killed: its engine has lost its keeper.
    from oact_dagster.launchers.leftovers import end_leftovers

    end_leftovers([token])
    return True, f"signal {-returncode}", elapsed


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

"""Dagster's web page and daemon as child processes."""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Final

import click
import psutil

from oact_dagster.cli.errors import RefusedError

END_S: Final = 20.0
"""Time that Dagster's processes get to end after Ctrl+C, s."""

_MODULE: Final = "oact_dagster.definitions"


def check_port(host: str, port: int) -> None:
    """Make sure that the port is free.

    Raises:
        RefusedError: it is in use, or the address is none of this machine.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            # As the web server does: a port whose last connections are still closing is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror or error}"
        raise RefusedError(f"port {port} of {host} {why}; choose another one with --port") from None


def serve(folder: Path, variables: Mapping[str, str], host: str, port: int, *, read_only: bool) -> int:
    """Run the web page until it ends, or a signal ends it; no process of it is left then.

    Args:
        folder: the campaign's.
        variables: added to the environment.
        host: address to listen on.
        port: port to listen on.
        read_only: the web page alone, in which nothing can be started.

    Returns:
        The exit code: 0 after Ctrl+C or SIGTERM, else Dagster's.
    """
    ours = ["-m", _MODULE, "-h", host, "-p", str(port)]
    program = ["dagster_webserver", "--read-only"] if read_only else ["dagster", "dev"]
    asked: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    # Before the start: a Ctrl+C in between would leave the page running.
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        process = subprocess.Popen(
            # Dagster advises against `dagster dev` in a FutureWarning; what it advises instead is another program.
            [sys.executable, "-W", "ignore::FutureWarning", "-m", *program, *ours],
            cwd=folder,
            env=_environment(variables),
            # The terminal's Ctrl+C is for us: Dagster's processes would otherwise get it twice.
            start_new_session=True,
        )
        while process.poll() is None and not asked:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        _end(process, asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0 if asked else process.returncode


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    # Dagster starts run workers by the bare word `dagster`, also where the environment is not activated.
    programs = str(Path(sys.executable).parent)
    path = os.pathsep.join(filter(None, [programs, os.environ.get("PATH", os.defpath)]))
    return {**os.environ, **variables, "PATH": path}


def _end(process: "subprocess.Popen[bytes]", asked: list[int]) -> None:
    """End the process and all that it has started; a second signal hurries."""
    family = _family(process.pid)
    if process.poll() is None:
        click.echo("oact: ending the web page", err=True)
        process.send_signal(signal.SIGINT)
    limit = time.monotonic() + END_S
    while process.poll() is None and time.monotonic() < limit and len(asked) < 2:
        family |= _family(process.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
    family |= _family(process.pid)
    # A run that was started in the page ends its calculations, and gives their structures back.
    _signal_all(family, signal.SIGTERM)
    limit = time.monotonic() + END_S
    while any(one.is_running() for one in family) and time.monotonic() < limit and len(asked) < 2:
        _, alive = psutil.wait_procs(family, timeout=0.2)
        family = set(alive)
    _signal_all(family, signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)
    if process.poll() is None:
        process.kill()
    process.wait()


def _signal_all(family: set[psutil.Process], number: signal.Signals) -> None:
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.send_signal(number)


def _family(pid: int) -> set[psutil.Process]:
    """The processes that it has started, also those whose parent has died."""
    found: set[psutil.Process] = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        found.update(psutil.Process(pid).children(recursive=True))
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if one.pid != pid and os.getsid(one.pid) == pid:
                found.add(one)
    return found

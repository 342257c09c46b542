"""Dagster's web page and daemon as child processes that are restarted when they die."""

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

import click
import psutil

from oact_dagster.cli.errors import RefusedError
from oact_dagster.cli.web_record import OpenPage, left_by_a_dead_one, record_page
from oact_dagster.ledger.owner import Owner

END_S: Final = 20.0
"""Seconds that Dagster's processes get to end after Ctrl+C."""

STEADY_S: Final = 30.0
"""A program that dies sooner than this after its first start has never worked, which ends the page; in s."""

LONGEST_REST_S: Final = 60.0
"""Longest wait before a program that keeps dying is restarted, s."""

_CODE_SERVER: Final = "code server"
_SOCKET: Final = "code"
_MODULE: Final = "oact_dagster.definitions"


def check_port(host: str, port: int) -> None:
    """Make sure that the port is free.

    Raises:
        RefusedError: the port is in use, or the address does not belong to this machine.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            # As the web server does: a port with closing connections is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror or error}"
        raise RefusedError(f"port {port} of {host} {why}; choose another one with --port") from None


def end_left_servers(record: Path) -> None:
    """End the web page and the daemon that a killed ``oact web`` left behind; the runs that they started go on.

    Raises:
        RefusedError: the campaign's page is open, and its ``oact web`` runs.
    """
    page = left_by_a_dead_one(record)
    programs = [] if page is None else page.alive()
    if page is None or not programs:
        return
    click.echo(f"oact: ending the processes of a killed page at {page.address}", err=True)
    for one in programs:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.terminate()
    _, stubborn = psutil.wait_procs(programs, timeout=END_S)
    for one in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(stubborn, timeout=10)


@dataclass(slots=True)
class _Child:
    """One of Dagster's programs."""

    name: str
    arguments: list[str]
    process: "subprocess.Popen[bytes]"
    started: float = field(default_factory=time.monotonic)
    deaths: int = 0
    """Number of deaths in a row, each soon after a start."""
    again_at: float | None = None
    """When it is restarted; None while it runs."""

    def dies(self, now: float) -> float:
        """Note that the program has died; return the seconds until its restart."""
        steady = now - self.started >= STEADY_S
        self.deaths = 1 if steady else self.deaths + 1
        rest = 0.0 if steady else min(LONGEST_REST_S, 2.0**self.deaths)
        self.again_at = now + rest
        return rest


def serve(
    folder: Path,
    variables: Mapping[str, str],
    host: str,
    port: int,
    *,
    read_only: bool,
    record: Path | None = None,
) -> int:
    """Run the web page and the daemon until a signal ends them and all their processes.

    Restarts either of them if it dies; the runs that the daemon has started go on. Adds ``variables`` to the
    environment. ``record`` lists the processes, so that a later call finds them after a kill -9. With ``read_only``,
    runs only the web page, in which nothing can be started. Returns the exit code: 0 after Ctrl+C or SIGTERM, else that
    of the program that does not stay alive.
    """
    sockets = Path(tempfile.mkdtemp(prefix="oact-"))
    programs = _programs(sockets, host, port, read_only=read_only)
    environment = _environment(variables)
    asked: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    # Set before the start: a Ctrl+C in between would leave the page running.
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    children: list[_Child] = []
    sessions: set[int] = set()

    def start(arguments: list[str]) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            env=environment,
            # Only this process handles the terminal's Ctrl+C: Dagster's processes would otherwise get it twice.
            start_new_session=True,
        )
        sessions.add(process.pid)
        return process

    code = 0
    try:
        for name, arguments in programs.items():
            children.append(_Child(name, arguments, start(arguments)))
            _keep(record, host, port, children)
            if name == _CODE_SERVER:
                # The other programs give up if this one does not answer yet.
                _wait_for(sockets / _SOCKET, children[0].process, asked)
        while not asked and code == 0:
            time.sleep(0.2)
            for child in children:
                if child.process.poll() is None or asked:
                    continue
                now = time.monotonic()
                if child.again_at is None:
                    if not child.deaths and now - child.started < STEADY_S:
                        told = f"oact: the {child.name} has ended with code {child.process.returncode}"
                        click.echo(told, err=True)
                        code = child.process.returncode or 1
                        break
                    rest = child.dies(now)
                    when = f" in {rest:g} s" if rest else ""
                    click.echo(f"oact: the {child.name} has died; restarting it{when}", err=True)
                if child.again_at is not None and now >= child.again_at:
                    child.process, child.started, child.again_at = start(child.arguments), now, None
                    _keep(record, host, port, children)
        _end([child.process for child in children], sessions, asked)
        if record is not None:
            record.unlink(missing_ok=True)
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0 if asked else code


def _programs(sockets: Path, host: str, port: int, *, read_only: bool) -> dict[str, list[str]]:
    """The programs to run, by name: each a Python module with its arguments.

    The page and the daemon share one server of the campaign's definitions. A daemon of its own would start a new server
    each minute, which costs some seconds of CPU.
    """
    socket_file, workspace = sockets / _SOCKET, sockets / "workspace.yaml"
    place = {"socket": str(socket_file), "location_name": _MODULE}
    workspace.write_text(json.dumps({"load_from": [{"grpc_server": place}]}))
    page = ["dagster_webserver", "-w", str(workspace), "-h", host, "-p", str(port)]
    found = {
        _CODE_SERVER: ["dagster", "code-server", "start", "-m", _MODULE, "--socket", str(socket_file)],
        "web page": [*page, "--read-only"] if read_only else [*page, "--live-data-poll-rate", "2000"],
    }
    if not read_only:
        found["daemon"] = ["dagster._daemon", "run", "-w", str(workspace)]
    return found


def _wait_for(socket_file: Path, process: "subprocess.Popen[bytes]", asked: list[int]) -> None:
    """Wait until a program answers at its socket, dies, or we are asked to stop."""
    while process.poll() is None and not asked:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(socket_file))
            return
        time.sleep(0.1)


def _keep(record: Path | None, host: str, port: int, children: list[_Child]) -> None:
    if record is not None:
        programs = []
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                programs.append(Owner.of(child.process.pid))
        record_page(record, OpenPage(f"http://{host}:{port}", Owner.this_process(), programs))


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    # Dagster starts run workers by the bare name `dagster`, even if the environment is not activated.
    programs = str(Path(sys.executable).parent)
    path = os.pathsep.join(filter(None, [programs, os.environ.get("PATH", os.defpath)]))
    return {**os.environ, **variables, "PATH": path}


def _end(processes: list["subprocess.Popen[bytes]"], sessions: set[int], asked: list[int]) -> None:
    """End the processes and all that they started; a second signal ends them at once."""
    family = _family(sessions)
    alive = [process for process in processes if process.poll() is None]
    if alive:
        click.echo("oact: ending the web page", err=True)
    for process in alive:
        process.send_signal(signal.SIGINT)
    limit = time.monotonic() + END_S
    while any(one.poll() is None for one in alive) and time.monotonic() < limit and len(asked) < 2:
        family |= _family(sessions)
        time.sleep(0.2)
    family |= _family(sessions)
    # A run that was started in the page ends its calculations, and gives back their structures.
    _signal_all(family, signal.SIGTERM)
    limit = time.monotonic() + END_S
    while any(one.is_running() for one in family) and time.monotonic() < limit and len(asked) < 2:
        _, left = psutil.wait_procs(family, timeout=0.2)
        family = set(left)
    _signal_all(family, signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def _signal_all(family: set[psutil.Process], number: signal.Signals) -> None:
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.send_signal(number)


def _family(sessions: set[int]) -> set[psutil.Process]:
    """The processes that ours started, including those whose parent has died."""
    found: set[psutil.Process] = set()
    for pid in sessions:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.update(psutil.Process(pid).children(recursive=True))
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if one.pid not in sessions and os.getsid(one.pid) in sessions:
                found.add(one)
    return found

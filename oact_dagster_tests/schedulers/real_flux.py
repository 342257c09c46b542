"""A real Flux for tests: an instance of a few brokers on this machine, with all its files in one folder.

``flux start --test-size`` starts a broker for each node. The nodes and their cores need not be there. Every broker is
a child of the test process, and is ended by its process id.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from oact_dagster_tests.waiting import until

# Also tests that are killed leave no broker behind.
_DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
_PREFIX = "oact-flux-"
_HOST = "--setattr=hostname="
"""Of a broker's command line."""

CONFIGURATION = """\
[resource]
noverify = true

[[resource.config]]
hosts = "{hosts}"
cores = "0-{last_core}"

[[resource.config]]
hosts = "fake0"
properties = ["big"]
"""

# Each call of the client is written down. It reaches this instance and no other one.
_CLIENT = """\
#!/bin/sh
echo "$*" >> '{calls}'
FLUX_URI=$(cat '{uri}')
export FLUX_URI
exec '{program}' "$@"
"""


def missing_program() -> str | None:
    """What is not installed."""
    return None if _program() else "flux"


def _program() -> str | None:
    """The real command, and not the client of another instance of the tests."""
    places = os.environ.get("PATH", "").split(os.pathsep)
    return shutil.which("flux", path=os.pathsep.join(place for place in places if _PREFIX not in place))


class RealFlux:
    """An instance with nodes fake0, fake1, ….

    Args:
        nodes: how many.
        cores: of each; they need not be there.
        configuration: more of its TOML.
    """

    def __init__(self, nodes: int = 4, cores: int = 16, configuration: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self.bin = self.folder / "bin"
        self.calls_file = self.folder / "calls"
        self._uri = self.folder / "uri"
        self._program = str(_program())
        self._process: subprocess.Popen[bytes] | None = None
        self._nodes = nodes
        self.hosts = f"fake[0-{nodes - 1}]"
        (self.folder / "conf.toml").write_text(
            CONFIGURATION.format(hosts=self.hosts, last_core=cores - 1) + configuration
        )
        self.bin.mkdir()
        self.calls_file.touch()
        client = self.bin / "flux"
        client.write_text(_CLIENT.format(calls=self.calls_file, uri=self._uri, program=self._program))
        client.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs."""
        return {"PATH": f"{self.bin}:{os.environ['PATH']}"}

    @property
    def version(self) -> str:
        """Of its commands."""
        answer = subprocess.run([self._program, "version"], capture_output=True, text=True, check=True)
        return answer.stdout.split()[1]

    def start(self) -> None:
        """Start all brokers, and return when all nodes are up."""
        self._uri.unlink(missing_ok=True)
        new = f"{self._uri}.new"
        keep = f"printf %s \"$FLUX_URI\" > '{new}' && mv '{new}' '{self._uri}' && exec sleep 1000000"
        with (self.folder / "broker.output").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *_DIES_WITH_US,
                    self._program,
                    "start",
                    f"--test-size={self._nodes}",
                    f"--test-hosts={self.hosts}",
                    f"--config-path={self.folder / 'conf.toml'}",
                    *([f"--wrap={','.join(_DIES_WITH_US)}"] if _DIES_WITH_US else []),
                    "sh",
                    "-c",
                    keep,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._uri.exists, f"the brokers; see {self.folder}/broker.output")
        until(lambda: self._up() == self._nodes, "the nodes")

    def run(self, *command: str) -> str:
        """Run a command of this instance, and return what it printed; it is not counted as a call."""
        done = subprocess.run(
            [self._program, *command],
            env={**os.environ, "FLUX_URI": self._uri.read_text(), "FLUX_F58_FORCE_ASCII": "1"},
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        return done.stdout

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs that there ever were."""
        return list(json.loads(self.run("jobs", "-a", "-c0", "--json"))["jobs"])

    def calls(self, kind: str) -> list[str]:
        """The calls of a command through the client, each with its arguments."""
        return [line for line in self.calls_file.read_text().splitlines() if line.startswith(f"{kind} ")]

    def brokers(self) -> dict[str, psutil.Process]:
        """The broker of each node."""
        assert self._process is not None
        children = psutil.Process(self._process.pid).children(recursive=True)
        found: dict[str, psutil.Process] = {}
        for process in children:
            with contextlib.suppress(psutil.Error):
                host = next((word for word in process.cmdline() if word.startswith(_HOST)), None)
                if host is not None:
                    found[host.removeprefix(_HOST)] = process
        return found

    def freeze(self) -> None:
        """Let no broker answer anything."""
        for broker in self.brokers().values():
            broker.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them answer again."""
        for broker in self.brokers().values():
            broker.send_signal(signal.SIGCONT)

    def kill_node(self, host: str) -> None:
        """Kill a node with all that runs on it."""
        broker = self.brokers()[host]
        _kill([broker, *broker.children(recursive=True)])

    def kill(self) -> None:
        """Kill the whole instance, with all that runs in it."""
        if self._process is not None:
            top = psutil.Process(self._process.pid)
            _kill([top, *top.children(recursive=True)])
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End the instance, and remove the folder."""
        with contextlib.suppress(psutil.Error):
            self.thaw()
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _up(self) -> int:
        with contextlib.suppress(subprocess.SubprocessError):
            return int(self.run("resource", "list", "-s", "up", "-n", "-o", "{nnodes}").split()[0])
        return 0


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=10)

"""``oact web``: the page comes up, its commands find their programs, and it leaves nothing behind."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from dagster import DagsterInstance

from oact_dagster.cli.web_server import STEADY_S
from oact_dagster.defs.instance import dagster_home
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.cli.command import assert_one_line, command, environment, oact
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def family(pid: int) -> list[psutil.Process]:
    """All processes that a process has started, however deep."""
    return psutil.Process(pid).children(recursive=True)


@contextmanager
def web(log: Path, *arguments: str | Path, **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command("web", *arguments),
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            for one in family(process.pid):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            process.kill()
            process.wait()


def ask(port: int, query: str, **variables: Any) -> Any:
    """Ask the page until it answers."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    limit = time.monotonic() + PATIENCE_S
    while True:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["data"]
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert time.monotonic() < limit, "the web page did not come up"
            time.sleep(0.3)


JOBS = "{repositoriesOrError {... on RepositoryConnection {nodes {jobs {name}}}}}"
LAUNCH = """
mutation ($config: RunConfigData!) {
  launchRun(executionParams: {
    selector: {jobName: "run_structures", repositoryName: "__repository__",
               repositoryLocationName: "oact_dagster.definitions"}
    runConfigData: $config
  }) {__typename ... on PythonError {message} ... on UnauthorizedError {message}}
}
"""


def launch(port: int, select: str) -> Any:
    """Start ``run_structures`` in the page."""
    config = {"ops": {"run_selected": {"config": {"select": select}}}}
    return ask(port, LAUNCH, config=config)["launchRun"]


def stop(process: "subprocess.Popen[bytes]") -> int:
    """Press Ctrl+C; return the exit code when nothing of it runs any more."""
    started = family(process.pid)
    assert started
    os.killpg(process.pid, signal.SIGINT)
    code = process.wait(PATIENCE_S)
    assert not [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    return code


def test_the_page_runs_structures_and_ctrl_c_ends_all(tmp_path: Path) -> None:
    engine = TestEngine(tmp_path / "engine")
    engine.set("hang", 1)
    campaign = write_campaign(tmp_path / "c", 2, engine.path)
    assert oact("run", campaign.file, "--structures", "0").returncode == 0
    port = free_port()
    # The environment is not activated: the page finds its own programs nevertheless.
    with web(tmp_path / "log", campaign.folder, "--port", str(port), PATH="/usr/bin:/bin") as process:
        found = ask(port, JOBS)["repositoriesOrError"]["nodes"][0]["jobs"]
        assert "run_structures" in [job["name"] for job in found]
        again = oact("web", campaign.file, "--port", str(free_port()))
        assert_one_line(
            again, f"the campaign is already open at http://127.0.0.1:{port} (process {process.pid})"
        )
        other = write_campaign(tmp_path / "other", 1, engine.path)
        assert_one_line(oact("web", other.file, "--port", str(port)), f"port {port} of 127.0.0.1 is in use")
        launched = launch(port, "1")
        assert launched["__typename"] == "LaunchRunSuccess", launched
        until(lambda: engine.runs == [0, 1], "the second calculation")
        assert stop(process) == 0
    told = (tmp_path / "log").read_text()
    assert f"http://127.0.0.1:{port}" in told and "Traceback" not in told
    assert f"ssh -N -L {port}:127.0.0.1:{port} user@host" in told and "--read-only" in told
    assert f"export DAGSTER_HOME={campaign.folder / '.dagster'}\n" in told
    found_rows = oact("dashboard", campaign.file, "--json")
    assert json.loads(found_rows.stdout)["statuses"]["running"] == 0


def daemons(pid: int) -> list[psutil.Process]:
    found = []
    for one in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "dagster._daemon" in one.cmdline():
                found.append(one)
    return found


def test_a_daemon_that_is_killed_is_started_again_and_its_runs_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TestEngine(tmp_path / "engine", "wait")
    campaign = write_campaign(tmp_path / "c", 2, engine.path)
    assert oact("ingest", campaign.csv_file, campaign.ledger).returncode == 0
    port = free_port()
    with web(tmp_path / "log", campaign.folder, "--port", str(port)) as process:
        assert launch(port, "0")["__typename"] == "LaunchRunSuccess"
        until(lambda: engine.runs == [0])
        began = time.monotonic()
        (first,) = daemons(process.pid)
        # What dies at once would die again.
        until(lambda: time.monotonic() - began > STEADY_S, seconds=2 * STEADY_S)
        first.kill()
        until(lambda: daemons(process.pid) not in ([], [first]))
        assert "oact: the daemon has died; restarting it" in (tmp_path / "log").read_text()
        # One that dies again soon is given a rest; it does not end the page.
        (second,) = daemons(process.pid)
        second.kill()
        until(lambda: "the daemon has died; restarting it in 4 s" in (tmp_path / "log").read_text())
        until(lambda: daemons(process.pid) not in ([], [second]))
        (engine.control / "go").touch()
        until(lambda: statuses(campaign.file).get("completed") == 1)
        assert launch(port, "1")["__typename"] == "LaunchRunSuccess"
        until(lambda: statuses(campaign.file).get("completed") == 2)
        assert engine.runs == [0, 1]
        assert stop(process) == 0


@pytest.fixture
def left() -> Iterator[list[psutil.Process]]:
    """What a test leaves running on purpose; it is ended with the test, however that ends."""
    processes: list[psutil.Process] = []
    yield processes
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


def test_what_a_killed_page_has_left_is_ended_by_the_next_one_and_its_run_goes_on(
    tmp_path: Path, left: list[psutil.Process]
) -> None:
    engine = TestEngine(tmp_path / "engine", "wait")
    campaign = write_campaign(tmp_path / "c", 1, engine.path)
    assert oact("ingest", campaign.csv_file, campaign.ledger).returncode == 0
    port = free_port()
    with web(tmp_path / "log", campaign.folder, "--port", str(port)) as process:
        assert launch(port, "0")["__typename"] == "LaunchRunSuccess"
        until(lambda: engine.runs == [0])
        left += family(process.pid)
        (daemon,) = daemons(process.pid)
        process.kill()
        process.wait()
    assert daemon.is_running()
    with web(tmp_path / "log2", campaign.folder, "--port", str(port)) as process:
        told = f"ending the processes of a killed page at http://127.0.0.1:{port}"
        until(lambda: told in (tmp_path / "log2").read_text())
        until(lambda: not daemon.is_running())
        until(lambda: len(daemons(process.pid)) == 1)
        assert ask(port, JOBS)["repositoriesOrError"]["nodes"]
        (engine.control / "go").touch()
        until(lambda: statuses(campaign.file).get("completed") == 1)
        assert engine.runs == [0]
        assert stop(process) == 0
    assert not list((campaign.folder / ".dagster").glob("oact-web-*"))
    until(lambda: not [one for one in left if one.is_running()])


def statuses(campaign: Path) -> dict[str, int]:
    shown = oact("dashboard", campaign, "--json")
    return dict(json.loads(shown.stdout)["statuses"])


MAKE = """
import sys
from pathlib import Path
from oact_dagster.defs.instance import make_instance
sys.stdin.readline()
make_instance(Path(sys.argv[1]))
from dagster import DagsterInstance
with DagsterInstance.from_config(sys.argv[1]) as instance:
    instance.add_dynamic_partitions("made", [sys.argv[2]])
"""


def test_an_instance_that_several_make_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    home = dagster_home(write_campaign(tmp_path / "c", 1, tmp_path / "orca"))
    makers = [
        subprocess.Popen([sys.executable, "-c", MAKE, str(home), str(number)], stdin=subprocess.PIPE)
        for number in range(4)
    ]
    for maker in makers:
        maker.communicate(b"go\n", timeout=120)
    assert [maker.returncode for maker in makers] == [0, 0, 0, 0]
    with DagsterInstance.from_config(str(home)) as instance:
        assert sorted(instance.get_dynamic_partitions("made")) == ["0", "1", "2", "3"]


def test_read_only(tmp_path: Path) -> None:
    engine = TestEngine(tmp_path / "engine")
    campaign = write_campaign(tmp_path / "c", 1, engine.path)
    port = free_port()
    with web(tmp_path / "log", campaign.file, "--read-only", "--port", str(port)) as process:
        assert ask(port, JOBS)["repositoriesOrError"]["nodes"]
        assert launch(port, "0")["__typename"] == "UnauthorizedError"
        programs = [" ".join(one.cmdline()) for one in [psutil.Process(process.pid), *family(process.pid)]]
        assert not [words for words in programs if "dagster._daemon" in words]
        assert stop(process) == 0


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_what_cannot_be_served_is_told_in_one_line(tmp_path: Path, host: str) -> None:
    campaign = write_campaign(tmp_path / "c", 1, tmp_path / "orca")
    assert_one_line(oact("web", tmp_path / "nowhere"), "nowhere: no such file")
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    assert_one_line(oact("web", ".", cwd=tmp_path), "one campaign", "dagster-webserver -w workspace.yaml")
    assert_one_line(oact("web", campaign.folder, "--host", host, "--port", str(free_port())), host)

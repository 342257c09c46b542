"""Telling whoever does not watch: real commands, and a real server on this machine."""

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.feed import notification
from oact_dagster.feed.notification import notify
from oact_dagster.settings.notify import NotifySettings
from oact_dagster_tests.waiting import until

READ = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"


def told_by(*command: object) -> NotifySettings:
    return NotifySettings(command=tuple(map(str, command)))


def test_a_command_gets_each_text_on_its_stdin(tmp_path: Path) -> None:
    file = tmp_path / "told"
    texts = ["the campaign a is paused: Å; $(touch x)", "the campaign a is done"]
    assert notify(told_by(sys.executable, "-c", READ, file), "a", texts) == []
    assert file.read_text().splitlines() == texts
    assert not list(tmp_path.glob("x"))


def test_nothing_is_set_and_nothing_told() -> None:
    assert notify(NotifySettings(), "a", ["paused"]) == []


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo begun; echo no route >&2; echo to host >&2; exit 3", "ended with exit code 3: to host"),
        ("echo said; exit 1", "ended with exit code 1: said"),
        ("exit 4", "ended with exit code 4"),
        ("printf '\\377' >&2; exit 1", "ended with exit code 1: \N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_command_that_fails_is_told_in_one_line(script: str, told: str) -> None:
    assert notify(told_by("/bin/sh", "-c", script), "a", ["paused"]) == [f"notify.command: /bin/sh {told}"]


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    (wrong,) = notify(told_by(tmp_path / "none"), "a", ["paused"])
    assert wrong == f"notify.command: {tmp_path / 'none'}: No such file or directory"


def test_a_command_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification, "TIME_LIMIT_S", 0.5)
    file = tmp_path / "pid"
    hangs = told_by("/bin/sh", "-c", f"sleep 1000 & echo $! > {file}; wait")
    assert notify(hangs, "a", ["paused"]) == ["notify.command: /bin/sh took longer than 0.5 s"]
    until(lambda: not runs(int(file.read_text())))


def runs(pid: int) -> bool:
    try:
        # One that has ended may wait for its parent.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


class Server(HTTPServer):
    """Keeps what is posted, and answers with ``status``; with something that is no HTTP where that is 0."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.posts: list[tuple[str, str | None, Any]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/secret"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, self.headers["Content-Type"], json.loads(body)))
        if not self.server.status:
            self.wfile.write(b"hello\r\n\r\n")
            return
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_gets_the_text_as_json(server: Server) -> None:
    assert notify(NotifySettings(webhook=server.address), "uranium", ["paused", "done Å"]) == []
    assert server.posts == [
        ("/secret", "application/json", {"text": text, "campaign": "uranium"})
        for text in ("paused", "done Å")
    ]


@pytest.mark.parametrize(
    ("status", "told"),
    [(500, "HTTP Error 500: Internal Server Error"), (0, "hello"), (404, "HTTP Error 404")],
)
def test_a_webhook_that_answers_otherwise_is_told_without_its_secret(
    server: Server, status: int, told: str
) -> None:
    server.status = status
    (wrong,) = notify(NotifySettings(webhook=server.address), "a", ["paused"])
    assert wrong.startswith(f"notify.webhook: 127.0.0.1: {told}") and "secret" not in wrong
    assert len(server.posts) == 1


def test_a_webhook_where_nobody_listens_costs_the_command_nothing(tmp_path: Path) -> None:
    command = (sys.executable, "-c", READ, str(tmp_path / "told"))
    with socket.socket() as silent:
        # Nobody else gets this port, and nobody listens there.
        silent.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        (wrong,) = notify(NotifySettings(webhook=address, command=command), "a", ["paused"])
    assert "Connection refused" in wrong
    assert (tmp_path / "told").read_text() == "paused\n"

"""A real PostgreSQL server for tests: of this machine's programs, in a folder and on a port of its own."""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oact_dagster_tests.requirements import lacking
from oact_dagster_tests.waiting import until


@dataclass(frozen=True)
class PostgresServer:
    port: int
    user: str
    password: str
    database: str
    process: "subprocess.Popen[bytes]"

    @property
    def environment(self) -> dict[str, str]:
        """What the project's dagster.postgres.yaml reads."""
        return {
            "OACT_PG_USER": self.user,
            "OACT_PG_PASSWORD": self.password,
            "OACT_PG_HOST": "127.0.0.1",
            "OACT_PG_DATABASE": self.database,
        }

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        import psycopg2

        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=self.database,
            connect_timeout=10,
        )
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(query)
                return list(cursor.fetchall())
        finally:
            connection.close()


def _program(name: str) -> str:
    found = shutil.which(name)
    # Debian keeps them off PATH, a folder for each version.
    versions = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3])
    )
    if found is None and not versions:
        lacking("postgres", f"no {name}; apt-get install postgresql")
    return str(versions[-1]) if versions else str(found)


def _somebody() -> dict[str, Any]:
    """PostgreSQL does not run as root: arguments of Popen that make it somebody else."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            one = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": one.pw_uid, "group": one.pw_gid, "extra_groups": []}
    lacking("postgres", "neither a user postgres nor nobody, and it does not run as root")
    raise AssertionError


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server that has an empty database, and ends with all its processes."""
    if importlib.util.find_spec("dagster_postgres") is None:
        lacking("postgres", "pip install 'oact-dagster[postgres]'")
    initdb, server, somebody = _program("initdb"), _program("postgres"), _somebody()
    # Not below pytest's folders: those are closed to others.
    folder = Path(tempfile.mkdtemp(prefix="oact-pg-"))
    try:
        if somebody:
            os.chown(folder, somebody["user"], somebody["group"])
        password = secrets.token_hex(8)
        secret = folder / "password"
        secret.write_text(password)
        secret.chmod(0o644)
        subprocess.run(
            [
                *(initdb, "--pgdata", str(folder / "data"), "--username", "oact", "--pwfile", str(secret)),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-sync", "--no-instructions"),
            ],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
            **somebody,
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *(server, "-D", str(folder / "data"), "-p", str(port), "-k", str(folder)),
                    *("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"),
                ],
                cwd=folder,
                stdout=log,
                stderr=log,
                **somebody,
            )
        made = PostgresServer(port, "oact", password, "postgres", process)
        try:
            until(lambda: process.poll() is not None or _answers(made), "the server")
            assert process.poll() is None, (folder / "log").read_text()
            yield made
        finally:
            process.send_signal(signal.SIGINT)  # a fast shutdown: open connections are ended
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)
                process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answers(server: PostgresServer) -> bool:
    import psycopg2

    try:
        return server.ask("SELECT 1") == [(1,)]
    except psycopg2.OperationalError:
        return False

"""What an open web page consists of, kept in a file, so that a later call finds what a ``kill -9`` has left."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from oact_dagster.cli.errors import RefusedError


@dataclass(frozen=True, slots=True)
class Program:
    """A process, told from a later one with its number by when it was started."""

    pid: int
    created: float
    """Unix time, s."""

    @classmethod
    def of(cls, pid: int) -> "Program":
        """The process with this number; one that has ended is never found alive."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return cls(pid, 0.0)

    def alive(self) -> psutil.Process | None:
        """The process, where it still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 0.02
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


@dataclass(frozen=True, slots=True)
class OpenPage:
    """A web page, and what keeps it open."""

    address: str
    owner: Program
    """Its ``oact web``."""
    programs: list[Program]
    """The web server and the daemon."""

    def alive(self) -> list[psutil.Process]:
        """Its programs that still run."""
        return [process for one in self.programs if (process := one.alive()) is not None]


def record_file(home: Path, campaign: str) -> Path:
    """Where a campaign's page is kept, in the folder of its Dagster instance."""
    return home / f"oact-web-{campaign}.json"


def record_page(file: Path, page: OpenPage) -> None:
    """Keep it, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(json.dumps(asdict(page)))
    part.replace(file)


def left_by_a_dead_one(file: Path) -> OpenPage | None:
    """The page that is kept there, where its ``oact web`` does not run any more.

    Raises:
        RefusedError: it runs.
    """
    try:
        kept = json.loads(file.read_text())
        page = OpenPage(
            str(kept["address"]), Program(**kept["owner"]), [Program(**one) for one in kept["programs"]]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if page.owner.alive() is not None:
        raise RefusedError(
            f"the campaign is open already at {page.address} (process {page.owner.pid}); with --read-only and another"
            " --port there is a second page to look at"
        )
    return page

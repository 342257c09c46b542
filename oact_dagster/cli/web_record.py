"""What an open web page consists of, kept in a file, so that a later call finds what a ``kill -9`` has left."""

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from oact_dagster.cli.errors import RefusedError
from oact_dagster.files import atomic_write
from oact_dagster.ledger.owner import Owner


@dataclass(frozen=True, slots=True)
class OpenPage:
    """A web page, and what keeps it open."""

    address: str
    owner: Owner
    """Its ``oact web``."""
    programs: list[Owner]
    """The web server and the daemon."""

    def alive(self) -> list[psutil.Process]:
        """Its programs that still run."""
        found = []
        for one in self.programs:
            with contextlib.suppress(psutil.NoSuchProcess):
                if one.lives():
                    found.append(psutil.Process(one.pid))
        return found


def record_file(home: Path, campaign: str) -> Path:
    """Where a campaign's page is kept, in the folder of its Dagster instance."""
    return home / f"oact-web-{campaign}.json"


def record_page(file: Path, page: OpenPage) -> None:
    """Keep it, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    atomic_write(file, json.dumps(asdict(page)))


def left_by_a_dead_one(file: Path) -> OpenPage | None:
    """The page that is kept there, where its ``oact web`` does not run any more.

    Raises:
        RefusedError: it runs.
    """
    try:
        kept = json.loads(file.read_text())
        page = OpenPage(
            str(kept["address"]), Owner(**kept["owner"]), [Owner(**one) for one in kept["programs"]]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if page.owner.lives():
        raise RefusedError(
            f"the campaign is open already at {page.address} (process {page.owner.pid}); with --read-only and another"
            " --port there is a second page to look at"
        )
    return page

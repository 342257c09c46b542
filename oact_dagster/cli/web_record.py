"""A file that records an open web page's processes, so that a later call finds them after a ``kill -9``."""

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
    """A web page and its processes."""

    address: str
    owner: Owner
    """The ``oact web`` process."""
    programs: list[Owner]
    """The web server and the daemon."""

    def alive(self) -> list[psutil.Process]:
        """Its programs that are still running."""
        found = []
        for one in self.programs:
            with contextlib.suppress(psutil.NoSuchProcess):
                if one.lives():
                    found.append(psutil.Process(one.pid))
        return found


def record_file(home: Path, campaign: str) -> Path:
    """Path of the record, in the folder of the campaign's Dagster instance."""
    return home / f"oact-web-{campaign}.json"


def record_page(file: Path, page: OpenPage) -> None:
    """Write the record, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    atomic_write(file, json.dumps(asdict(page)))


def left_by_a_dead_one(file: Path) -> OpenPage | None:
    """The recorded page if its ``oact web`` no longer runs.

    Raises:
        RefusedError: ``oact web`` still runs.
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
            f"the campaign is already open at {page.address} (process {page.owner.pid}); with --read-only and another"
            " --port you can open a second page to look at"
        )
    return page

"""Running batches through a real Parsl, on this node or in blocks of a real Slurm's nodes."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil

from oact_dagster.attempts.events import Event, Note
from oact_dagster.launchers.parsl.config import INTERCHANGE
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.batches import batch
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.launchers.marked import marked
from oact_dagster_tests.launchers.running import WORKER, prepared

QUICK_TO_NOTICE: Final = {"heartbeat_period_s": 1, "heartbeat_threshold_s": 10}


def campaign_of(
    tmp_path: Path, engine: TestEngine, structures: int, **launcher: Any
) -> tuple[Campaign, Ledger]:
    """A campaign with two workers that may share this node's cores."""
    settings = {"max_workers": 2, "oversubscribe": True, **QUICK_TO_NOTICE, **launcher}
    return prepared(tmp_path, engine, structures, "parsl", **settings)


def run(campaign: Campaign, ledger: Ledger, structures: int, **more: Any) -> list[Event]:
    """All that happens in a batch of the first structures."""
    return list(batch(campaign, ledger, list(range(structures)), **more))


def notes(events: list[Event]) -> str:
    """What was told beside what became of the structures."""
    return "\n".join(event.text for event in events if isinstance(event, Note))


@contextlib.contextmanager
def process(campaign: Campaign, name: str, indices: str) -> Iterator["subprocess.Popen[str]"]:
    """A batch in a process and a process group of its own, as a shell with a terminal starts it.

    Where the test fails it is killed: it might wait for ever.
    """
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(campaign.file), name, indices],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as started:
        try:
            yield started
        except BaseException:
            started.kill()
            raise


def interchanges(mark: str) -> list[psutil.Process]:
    """The interchanges of a test's pools; a folder of the test's may have their name, too."""
    return [one for one in marked(mark, "interchange") if _is_interchange(one)]


def _is_interchange(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        words = process.cmdline()
        # Parsl gives it a title where it can.
        return INTERCHANGE in words or words[:1] == ["parsl: HTEX interchange"]
    return False

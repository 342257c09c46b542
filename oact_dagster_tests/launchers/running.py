"""Running batches in the launchers' tests."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from oact_dagster.intake.intake import take_in
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.engines import TestEngine


def prepared(
    tmp_path: Path, engine: TestEngine, structures: int, kind: str, **launcher: Any
) -> tuple[Campaign, Ledger]:
    """A campaign that has been taken in, polled often enough for a test."""
    settings = {
        "kind": kind,
        "poll_interval_s": 0.3,
        "grace_s": 2.0,
        "command_timeout_s": 20.0,
        "mem": "none",
        **launcher,
    }
    campaign = write_campaign(tmp_path / "campaign", structures, engine.path, settings={"launcher": settings})
    ledger = Ledger(campaign.ledger, create=True)
    take_in(campaign, ledger)
    return campaign, ledger


WORKER = """
import os
import sys
from oact_dagster.settings.campaign import load_campaign
from oact_dagster.attempts.batch import BatchRun
from oact_dagster.attempts.engine import find_engine
from oact_dagster.attempts.selection import BatchRequest
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.attempts.stop_request import StopRequest, signals_stop
from oact_dagster.ledger.store import Ledger

campaign = load_campaign(sys.argv[1])
first, last = map(int, sys.argv[3].split("-"))
if sys.argv[4:]:
    when, name = sys.argv[4].split()
    real = getattr(Ledger, name)

    def deadly(self, *arguments, **more):
        # The first call that does something is the point.
        if not arguments or not arguments[0]:
            return real(self, *arguments, **more)
        if when == "after":
            real(self, *arguments, **more)
        os.kill(os.getpid(), 9)

    setattr(Ledger, name, deadly)
stop = StopRequest()
with Ledger(campaign.ledger) as ledger, signals_stop(stop):
    request = BatchRequest(range(first, last + 1))
    run = BatchRun(campaign, ledger, make_launcher(campaign), find_engine(campaign), request, sys.argv[2], stop=stop)
    for event in run.run():
        kind = type(event).__name__
        index = getattr(event, "orig_index", None)
        if index is None and hasattr(event, "structure"):
            index = event.structure.orig_index
        print(kind, index, getattr(event, "text", ""), getattr(event, "reason", ""), flush=True)
"""


def worker(campaign: Campaign, name: str, indices: str, killed: str | None = None) -> "subprocess.Popen[str]":
    """A batch in a process of its own, over structures ``0-9``.

    Args:
        campaign: its settings.
        name: of the batch.
        indices: first and last structure.
        killed: where it is killed with -9: ``before`` or ``after``, and a method of the ledger.
    """
    more = [] if killed is None else [killed]
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(campaign.file), name, indices, *more],
        stdout=subprocess.PIPE,
        text=True,
    )

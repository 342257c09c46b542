"""Running batches in tests, and what came of them."""

from collections.abc import Iterator
from typing import Any

from oact_dagster.attempts.batch import BatchRun
from oact_dagster.attempts.engine import find_engine
from oact_dagster.attempts.events import Completed, Event, Failed, NotRun
from oact_dagster.attempts.selection import BatchRequest
from oact_dagster.attempts.stop_request import StopRequest
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.launchers.protocol import Launcher
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign


def batch(
    campaign: Campaign,
    ledger: Ledger,
    indices: list[int],
    batch_id: str = "batch",
    stop: StopRequest | None = None,
    launcher: Launcher | None = None,
    **request: Any,
) -> Iterator[Event]:
    run = BatchRun(
        campaign,
        ledger,
        launcher or make_launcher(campaign),
        find_engine(campaign),
        BatchRequest(indices, **request),
        batch_id,
        stop=stop,
    )
    return run.run()


def settled(events: list[Event]) -> dict[int, Event]:
    """The one word on each structure; more than one is an error."""
    found: dict[int, Event] = {}
    for event in events:
        if isinstance(event, NotRun):
            index = event.orig_index
        elif isinstance(event, (Completed, Failed)):
            index = event.structure.orig_index
        else:
            continue
        assert index not in found, f"two words on {index}: {found[index]} and {event}"
        found[index] = event
    return found

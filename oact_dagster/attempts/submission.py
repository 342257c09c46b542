"""Submission of structures to a scheduler, or running them on this node, without a Dagster instance.

``oact submit`` and the programmatic API share this. The structures themselves run through
:mod:`oact_dagster.attempts.batch`.
"""

import os
import random
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from oact_dagster.attempts.batch import BatchRun
from oact_dagster.attempts.engine import Engine, find_engine
from oact_dagster.attempts.events import Event, InputWritten
from oact_dagster.attempts.job_folder import FolderWriter
from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.next_attempt import NextAttempt, plan_next
from oact_dagster.attempts.selection import BatchRequest
from oact_dagster.attempts.setup_hook import SetupFunc, load_setup_func
from oact_dagster.attempts.stop_request import StopLevel, StopRequest, signals_stop
from oact_dagster.errors import EngineError, LauncherError, SetupError
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.ledger.level_of_theory import check_level_of_theory
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import WAITING_STATUSES, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign

WITHOUT_LIMIT: Final = 10**9
"""``retry.max_failures`` if no budget is set."""

_LOOKED_AT: Final = 500


def node_settings(
    max_workers: int | None,
    cores_per_worker: int | None,
    timeout_s: float | None,
    *,
    conda_env: str | None = None,
    conda_base: str | None = None,
    ld_library_path: str | None = None,
) -> dict[str, Any]:
    """Return the settings ``launcher`` that run several calculations at once on this node; None leaves out a setting.

    Args:
        max_workers: Calculations at once.
        cores_per_worker: Cores of each calculation.
        timeout_s: Time limit of one calculation, s.
        conda_env: Conda environment that the workers activate.
        conda_base: Folder where conda is installed.
        ld_library_path: Folders put in front of ``LD_LIBRARY_PATH``.
    """
    environment = {}
    if ld_library_path is not None:
        there = os.environ.get("LD_LIBRARY_PATH")
        environment = {"LD_LIBRARY_PATH": f"{ld_library_path}:{there}" if there else ld_library_path}
    settings = {
        "kind": "parsl",
        "provider": "local",
        "max_workers": max_workers,
        "cores_per_worker": cores_per_worker,
        "job_timeout_s": timeout_s,
        "conda_env": conda_env,
        "conda_base": conda_base,
        "environment": environment or None,
    }
    return {key: value for key, value in settings.items() if value is not None}


def choose(
    ledger: LedgerReader, count: int, *, max_failures: int, max_losses: int, randomize: bool
) -> list[int]:
    """Return ``orig_index`` of structures to run that are neither held nor over their budgets.

    Args:
        ledger: The ledger.
        count: Largest number of structures.
        max_failures: Leave out structures with this many failures.
        max_losses: Leave out structures with this many lost attempts.
        randomize: Choose at random; otherwise the most urgent first, in the order of the CSV.
    """
    if randomize:
        shuffled = ledger.queue.select(WAITING_STATUSES)
        random.shuffle(shuffled)
        candidates = iter(shuffled)
    else:
        candidates = iter(ledger.queue.most_urgent(WAITING_STATUSES))
    chosen: list[int] = []
    while len(chosen) < count and (some := list(islice(candidates, max(count, _LOOKED_AT)))):
        known, live = ledger.structures.of(some), ledger.history.open_attempts(some)
        chosen += [
            index
            for index in some
            # A status set by hand does not end the running attempt.
            if index not in live and known[index].within_budget(max_failures, max_losses)
        ]
    return chosen[:count]


@dataclass(slots=True)
class Submitted:
    """Outcome of a submission."""

    begun: dict[int, int] = field(default_factory=dict)
    """Structures that a scheduler has or that were run: their ``id`` by ``orig_index``."""
    job_ids: list[str] = field(default_factory=list)
    """The scheduler's ids of their jobs that have not ended yet."""
    how_to_cancel: str = ""
    """Command that ends these jobs."""
    stopped: bool = False
    """Whether the user asked for a stop."""
    problem: LauncherError | None = None
    """Why nothing more was submitted."""


def submit_structures(
    campaign: Campaign,
    ledger: Ledger,
    orig_indices: Sequence[int],
    *,
    follow: bool,
    take_over: bool = False,
    watch: Callable[[Event], None] | None = None,
) -> Submitted:
    """Submit structures, and return as soon as a scheduler has them, or once all have ended.

    Ctrl+C and SIGTERM do not raise: jobs of a scheduler go on, and all other structures are given back.

    Args:
        campaign: The settings.
        ledger: Ledger, open for writing.
        orig_indices: The structures.
        follow: Return only when all have ended.
        take_over: Take the ledger over from another host that died while it was the writer.
        watch: Called with each event.

    Raises:
        CampaignError: The function named by ``setup_func`` does not exist.
        EngineError: The engine cannot be run.
        LedgerError: The ledger cannot be written, or its results have another level of theory.
    """
    done = Submitted()
    if not orig_indices:
        return done
    engine, launcher, stop = find_engine(campaign), make_launcher(campaign), StopRequest()
    request = BatchRequest(orig_indices, (Status.TO_RUN,), named=False, take_over=take_over, follow=follow)
    batch = BatchRun(campaign, ledger, launcher, engine, request, f"submit-{secrets.token_hex(4)}", stop=stop)
    written: dict[int, int] = {}
    with signals_stop(stop):
        try:
            for event in batch.run():
                if isinstance(event, InputWritten) and not event.reused:
                    written[event.structure.orig_index] = event.structure.id
                if watch is not None:
                    watch(event)
        except LauncherError as error:
            done.problem = error
    # After a problem, the stop level does not say that the user asked for a stop.
    done.stopped = done.problem is None and stop.level is not StopLevel.NONE
    now = ledger.structures.of(list(written))
    # A full scheduler accepts only some of them; the others were given back.
    done.begun = {
        index: id for index, id in written.items() if follow or now[index].status not in WAITING_STATUSES
    }
    live = ledger.history.open_attempts(list(done.begun))
    done.job_ids = [one.scheduler_job_id for one in live.values() if one.scheduler_job_id is not None]
    if done.job_ids:
        done.how_to_cancel = launcher.how_to_cancel(done.job_ids)
    return done


@dataclass(frozen=True, slots=True)
class Previewed:
    """A structure whose folder was written for inspection, or the reason why it was not."""

    orig_index: int
    structure_id: int
    folder: Path | None
    refused: str | None = None


def preview(
    campaign: Campaign, ledger: LedgerReader, orig_indices: Sequence[int], setup: SetupFunc | None = None
) -> Iterator[Previewed]:
    """Write the folders and scripts of structures as a submit would, without running or changing anything else.

    A folder in which something has run is renamed first, as before a new attempt. No scheduler is needed.

    Args:
        campaign: The settings.
        ledger: The ledger.
        orig_indices: The structures.
        setup: Function to use instead of the one named by ``setup_func``.

    Raises:
        CampaignError: The function named by ``setup_func`` does not exist.
        LedgerError: The ledger's results have another level of theory.
        OSError: A folder cannot be written.
    """
    check_level_of_theory(ledger, campaign.level_of_theory())
    layout = JobLayout.of(campaign, ledger)
    writer = FolderWriter(campaign, layout, setup or load_setup_func(campaign))
    try:
        engine = find_engine(campaign)
    except EngineError:
        engine = Engine([campaign.orca.command], "")  # it may exist on the nodes only
    settings_hash = campaign.settings_hash()
    attempts, records = ledger.history.attempts_of(orig_indices), ledger.structures.of(orig_indices)
    for index in orig_indices:
        record = records[index]
        try:
            coming = plan_next(campaign, record, attempts.get(index, []), settings_hash=settings_hash)
            if isinstance(coming, NextAttempt):
                yield Previewed(index, record.id, writer.preview(record, coming, engine).folder)
            else:
                yield Previewed(index, record.id, None, f"not tried again: {coming.reason}")
        except (ValueError, SetupError) as error:
            yield Previewed(index, record.id, None, str(error))


def room_for(campaign: Campaign, counts: Mapping[Status, int], wanted: int) -> int:
    """Return how many of the wanted structures can be submitted within ``max_in_flight``."""
    return max(0, min(wanted, campaign.max_in_flight - counts.get(Status.RUNNING, 0)))

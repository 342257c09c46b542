"""Handing some structures to a scheduler, or running them on this node, without a Dagster instance.

What ``oact submit`` and the scripts on the programmatic API share: which structures, through which settings, and what
became of it. How they are run is :mod:`oact_dagster.attempts.batch`, as with everything else.
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
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign

WITHOUT_LIMIT: Final = 10**9
"""``retry.max_failures`` where nobody has set a budget."""

READY: Final = (Status.TO_RUN, Status.READY)
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
    """The settings ``launcher`` of a run of several calculations at once on this node; None leaves one as it is.

    Args:
        max_workers: calculations at once.
        cores_per_worker: cores of each.
        timeout_s: time limit of one calculation, s.
        conda_env: conda environment that the workers activate.
        conda_base: where conda is installed.
        ld_library_path: put before what is there.
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
    ledger: LedgerReader,
    count: int,
    *,
    max_failures: int,
    max_losses: int,
    randomize: bool,
) -> list[int]:
    """``orig_index`` of structures that are to be run: not held, and within their budgets.

    Args:
        ledger: open.
        count: at most so many.
        max_failures: those that have failed as often are left out.
        max_losses: likewise for lost attempts.
        randomize: any of them; otherwise the most urgent first, in the order of the CSV.
    """
    candidates = iter(_shuffled(ledger.queue.select(READY)) if randomize else ledger.queue.most_urgent(READY))
    chosen: list[int] = []
    while len(chosen) < count and (some := list(islice(candidates, max(count, _LOOKED_AT)))):
        known, live = ledger.structures.of(some), ledger.history.open_attempts(some)
        chosen += [
            index
            for index in some
            # A status that was set by hand does not end the attempt that runs.
            if index not in live
            and known[index].fail_count < max_failures
            and known[index].loss_count < max_losses
        ]
    return chosen[:count]


def _shuffled(indices: list[int]) -> list[int]:
    random.shuffle(indices)
    return indices


@dataclass(slots=True)
class Submitted:
    """What became of structures that were to be submitted."""

    begun: dict[int, int] = field(default_factory=dict)
    """Those that a scheduler has, or that were run: their ``id`` by ``orig_index``."""
    job_ids: list[str] = field(default_factory=list)
    """The scheduler's ids of their jobs, where those have not ended yet."""
    how_to_cancel: str = ""
    """The command by which these jobs are ended."""
    stopped: bool = False
    """The user asked for a stop."""
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
    """Submit structures, and return when a scheduler has them, or follow them to their end.

    Ctrl+C and SIGTERM do not raise: what a scheduler has is left to it, and all else is given back.

    Args:
        campaign: the settings.
        ledger: open for writing.
        orig_indices: which structures.
        follow: return when all have ended.
        take_over: take the ledger from another host that died while it had it.
        watch: told of each event.

    Raises:
        CampaignError: there is no such function as ``setup_func`` names.
        EngineError: the engine is not there.
        LedgerError: the ledger cannot be written, or its results are of another level of theory.
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
    # A batch that breaks off stops what it has, too.
    done.stopped = done.problem is None and stop.level is not StopLevel.NONE
    now = ledger.structures.of(list(written))
    # A scheduler that is full takes some only; the others were given back.
    done.begun = {index: id for index, id in written.items() if follow or now[index].status not in READY}
    live = ledger.history.open_attempts(list(done.begun))
    done.job_ids = [one.scheduler_job_id for one in live.values() if one.scheduler_job_id is not None]
    if done.job_ids:
        done.how_to_cancel = launcher.how_to_cancel(done.job_ids)
    return done


@dataclass(frozen=True, slots=True)
class Previewed:
    """A structure whose folder was written to be looked at, or why it was not."""

    orig_index: int
    structure_id: int
    folder: Path | None
    refused: str | None = None


def preview(
    campaign: Campaign,
    ledger: LedgerReader,
    orig_indices: Sequence[int],
    setup: SetupFunc | None = None,
) -> Iterator[Previewed]:
    """Write the folders and scripts of structures as a submit would; nothing runs, and no status changes.

    A folder in which something has run is renamed first, as before a new attempt. The scheduler need not be there.

    Args:
        campaign: the settings.
        ledger: open.
        orig_indices: which structures.
        setup: in place of what ``setup_func`` names.

    Raises:
        CampaignError: there is no such function as ``setup_func`` names.
        LedgerError: the ledger's results are of another level of theory.
        OSError: a folder cannot be written.
    """
    check_level_of_theory(ledger, campaign.level_of_theory())
    layout = JobLayout.of(campaign, ledger)
    writer = FolderWriter(campaign, layout, setup or load_setup_func(campaign))
    engine, settings_hash = _engine_or_name(campaign), campaign.settings_hash()
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


def _engine_or_name(campaign: Campaign) -> Engine:
    """The engine; one that is not on this machine may be on the nodes, and keeps its name."""
    try:
        return find_engine(campaign)
    except EngineError:
        return Engine([campaign.orca.command], "")


def room_for(campaign: Campaign, counts: Mapping[Status, int], wanted: int) -> int:
    """How many structures can be submitted so that no more than ``max_in_flight`` of the ledger run."""
    return max(0, min(wanted, campaign.max_in_flight - counts.get(Status.RUNNING, 0)))

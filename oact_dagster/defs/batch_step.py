"""What the structures' asset step and the job over scattered structures have in common: running a batch in a step."""

import contextlib
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, closing
from functools import partial

from dagster import (
    AssetCheckEvaluation,
    AssetCheckResult,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    DagsterExecutionInterruptedError,
    DagsterInstance,
    DagsterRunStatus,
    Failure,
    OpExecutionContext,
)
from sqlalchemy.exc import SQLAlchemyError

from oact_dagster.attempts.batch import BatchRun
from oact_dagster.attempts.engine import find_engine
from oact_dagster.attempts.events import Event, Note
from oact_dagster.attempts.selection import BatchRequest
from oact_dagster.attempts.stop_request import StopLevel, StopRequest, signals_stop
from oact_dagster.defs.batch_events import BatchReport
from oact_dagster.defs.keys import CampaignKeys
from oact_dagster.defs.pipes import batch_pipes
from oact_dagster.defs.storage_faults import StorageGuard, guarded
from oact_dagster.defs.summary import summary_materialization
from oact_dagster.errors import OactError
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.quality import Quality, evaluate
from oact_dagster.status.summary_requests import note_shown, standing

Watch = Callable[[Event], None]
"""Is told of every event of a batch, in the process that runs it: a progress bar."""

StepEvent = AssetMaterialization | AssetObservation | AssetCheckResult | AssetCheckEvaluation

_NOBODY = "Dagster's storage was lost before it was started"

_TERMINATED = (DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED)


def run_in_step(
    context: AssetExecutionContext | OpExecutionContext,
    campaign: Campaign,
    ledger: Ledger,
    request: BatchRequest,
    selected: Collection[AssetKey],
    *,
    watch: Watch | None = None,
    stop: StopRequest | None = None,
    first: Callable[[Event], Iterable[StepEvent]] | None = None,
    tell: Callable[[Quality], Iterable[StepEvent]] | None = None,
) -> Iterator[StepEvent]:
    """Run a batch inside a step, and tell Dagster of it.

    Args:
        context: of the step.
        campaign: the settings.
        ledger: open for writing.
        request: which structures.
        selected: the assets that get events.
        watch: told of each event.
        stop: asks for a stop, as signals and termination in the web page do.
        first: gives what Dagster is to be told before an event's own materializations.
        tell: gives what it is to be told of the quality of all results; None where nobody asks.

    Yields:
        Materializations and observations as results arrive, then what the quality rules say, and the materialization
        of ``campaign_summary`` last.

    Raises:
        Failure: some structures have no result, or the batch could not run; it is not retried by Dagster.
        DagsterExecutionInterruptedError: the run was stopped.
    """
    report = BatchReport(campaign, ledger, selected)
    stop = stop or StopRequest()
    try:
        engine = find_engine(campaign)
        with ExitStack() as stack:
            pipes = stack.enter_context(
                batch_pipes(
                    context,
                    campaign.jobs_dir / ".batches" / f"{context.run_id}.json",
                )
            )
            batch = BatchRun(
                campaign,
                ledger,
                make_launcher(campaign),
                engine,
                request,
                context.run_id,
                messages=pipes,
                stop=stop,
            )
            guard = guarded(context.instance)
            stop.ask = partial(_look_who_stops, context.instance, context.run_id, stop, guard, batch)
            events = stack.enter_context(closing(batch.run()))
            told: list[str] = []
            guard.then(context.run, partial(_end_without_dagster, batch, events, stop, watch, told))
            try:
                while (event := _next(events, stop)) is not None:
                    if watch is not None:
                        watch(event)
                    if first is not None:
                        yield from first(event)
                    if isinstance(event, Note):
                        (context.log.warning if event.warning else context.log.info)(event.text)
                        if guard.lost:
                            told.insert(0, event.text)  # it is not in the log
                    yield from report.dagster_events(event)
            except SQLAlchemyError as error:
                guard.lose(error)
            if guard.lost:
                raise Failure("; ".join((guard.lost, *told)), allow_retries=False)
    except OactError as error:
        raise Failure(str(error), allow_retries=False) from None
    except sqlite3.Error as error:
        raise Failure(f"{campaign.ledger}: cannot be written: {error}", allow_retries=False) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Failure(
            f"the batch cannot run: {where}{error.strerror or error}", allow_retries=False
        ) from error
    context.log.info(f"structures: {dict(report.counts)}")
    key = CampaignKeys.of(campaign).campaign_summary
    if tell is not None or key in selected:
        try:
            yield from told_of_all(campaign, ledger, key if key in selected else None, tell)
        except SQLAlchemyError as error:
            guard.lose(error)
    if guard.lost:
        raise Failure(guard.lost, allow_retries=False)
    if stop.level is not StopLevel.NONE:
        # Only a run that is being cancelled leaves the partitions that it did not reach as they were.
        run = context.instance.get_run_by_id(context.run_id)
        if run is not None and run.status not in _TERMINATED:
            context.instance.report_run_canceling(run)
        raise DagsterExecutionInterruptedError
    failure = report.failure()
    if failure is not None:
        raise failure


def told_of_all(
    campaign: Campaign,
    ledger: Ledger,
    summary: AssetKey | None,
    tell: Callable[[Quality], Iterable[StepEvent]] | None,
) -> Iterator[StepEvent]:
    """What is told of a campaign as a whole; the quality of its results is kept in the ledger.

    Args:
        campaign: the settings.
        ledger: open for writing.
        summary: the key of ``campaign_summary``, where it is asked for.
        tell: gives what is to be told of the quality of all results.

    Raises:
        Failure: the ledger or ``results.parquet`` cannot be written.
    """
    try:
        # What changes from now on is not certain to be in it.
        shown = standing(campaign, ledger)
        quality = evaluate(campaign, ledger, store=True)
        if tell is not None:
            yield from tell(quality)
        if summary is not None:
            yield summary_materialization(campaign, ledger, summary, quality)
            note_shown(ledger, shown)
    except (OactError, OSError) as error:
        raise Failure(str(error), allow_retries=False) from None
    except sqlite3.Error as error:
        raise Failure(f"{campaign.ledger}: cannot be written: {error}", allow_retries=False) from error


def _next(events: Iterator[Event], stop: StopRequest) -> Event | None:
    # Dagster's own handler would raise in the middle of a transaction.
    with signals_stop(stop):
        return next(events, None)


def _end_without_dagster(
    batch: BatchRun, events: Iterator[Event], stop: StopRequest, watch: Watch | None, told: list[str]
) -> None:
    """Bring a batch to its end where Dagster's storage is lost: the ledger gets all of it.

    Args:
        batch: which one.
        events: what is left of its own.
        stop: asks it to stop.
        watch: told of each event.
        told: gets its notes.
    """
    batch.let_go(_NOBODY)
    # What goes wrong now is the ledger's or the launcher's, and the next run's to tell.
    with contextlib.suppress(OactError, sqlite3.Error, OSError):
        while (event := _next(events, stop)) is not None:
            if watch is not None:
                watch(event)
            if isinstance(event, Note):
                told.append(event.text)


def _look_who_stops(
    instance: DagsterInstance, run_id: str, stop: StopRequest, guard: StorageGuard, batch: BatchRun
) -> None:
    """Termination in the web page ends the calculations now and holds them; Ctrl+C lets them end in time.

    A run that has no worker of its own (``oact run``) gets no signal from the web page, only its status changes.
    """
    try:
        run = instance.get_run_by_id(run_id)
    except Exception:
        # What is only busy now is asked again.
        if guard.folder.is_gone():
            batch.let_go(_NOBODY)
        return
    if run is not None and run.status in _TERMINATED:
        stop.raise_to(StopLevel.NOW, hold=True)

"""Runs a batch inside a step: of the structures' assets, or of the job over scattered structures."""

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
"""Called with every event of a batch, in the process that runs it, such as a progress bar."""

StepEvent = AssetMaterialization | AssetObservation | AssetCheckResult | AssetCheckEvaluation

QualityEvents = Callable[[Quality], Iterable[StepEvent]]
"""Makes Dagster's events about the quality of all results."""

_NOT_STARTED = "Dagster's storage was lost before it was started"

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
    before_event: Callable[[Event], Iterable[StepEvent]] | None = None,
    quality_events: QualityEvents | None = None,
) -> Iterator[StepEvent]:
    """Run a batch inside a step, and report it to Dagster.

    Args:
        context: the step's.
        campaign: the settings.
        ledger: open for writing.
        request: which structures.
        selected: the assets that get events.
        watch: called with each event.
        stop: asks for a stop, as signals and termination in the web page do.
        before_event: yields Dagster's events to emit before an event's own.
        quality_events: None if the quality is not requested.

    Yields:
        Materializations and observations as results arrive, then the findings of the quality rules, and last the
        materialization of ``campaign_summary``.

    Raises:
        Failure: some structures have no result, or the batch could not run; Dagster does not retry it.
        DagsterExecutionInterruptedError: the run was stopped.
    """
    report = BatchReport(campaign, ledger, selected)
    stop = stop or StopRequest()
    with ExitStack() as stack:
        stack.enter_context(_failures(campaign, "the batch cannot run"))
        engine = find_engine(campaign)
        context_file = campaign.jobs_dir / ".batches" / f"{context.run_id}.json"
        pipes = stack.enter_context(batch_pipes(context, context_file))
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
        stop.ask = partial(_check_termination, context.instance, context.run_id, stop, guard, batch)
        events = stack.enter_context(closing(batch.run()))
        unlogged: list[str] = []
        guard.then(context.run, partial(_end_without_dagster, batch, events, stop, watch, unlogged))
        try:
            while (event := _next(events, stop)) is not None:
                if watch is not None:
                    watch(event)
                if before_event is not None:
                    yield from before_event(event)
                if isinstance(event, Note):
                    (context.log.warning if event.warning else context.log.info)(event.text)
                    if guard.lost:
                        unlogged.insert(0, event.text)
                yield from report.dagster_events(event)
        except SQLAlchemyError as error:
            guard.lose(error)
        if guard.lost:
            raise Failure("; ".join((guard.lost, *unlogged)), allow_retries=False)
    context.log.info(f"structures: {dict(report.counts)}")
    key = CampaignKeys.of(campaign).campaign_summary
    if quality_events is not None or key in selected:
        try:
            yield from campaign_events(campaign, ledger, key if key in selected else None, quality_events)
        except SQLAlchemyError as error:
            guard.lose(error)
    if guard.lost:
        raise Failure(guard.lost, allow_retries=False)
    if stop.level is not StopLevel.NONE:
        # Only in a run that is being cancelled do partitions that were not reached keep their state.
        run = context.instance.get_run_by_id(context.run_id)
        if run is not None and run.status not in _TERMINATED:
            context.instance.report_run_canceling(run)
        raise DagsterExecutionInterruptedError
    if (failure := report.failure()) is not None:
        raise failure


def campaign_events(
    campaign: Campaign, ledger: Ledger, summary: AssetKey | None, quality_events: QualityEvents | None
) -> Iterator[StepEvent]:
    """Dagster's events about the campaign as a whole; also stores the quality of its results in the ledger.

    Args:
        campaign: the settings.
        ledger: open for writing.
        summary: the key of ``campaign_summary``; None if it is not requested.
        quality_events: None if the quality is not requested.

    Raises:
        Failure: the ledger or ``results.parquet`` cannot be written.
    """
    with _failures(campaign, "the campaign cannot be summarised"):
        # Taken first: later changes may be missing from the summary.
        shown = standing(campaign, ledger)
        quality = evaluate(campaign, ledger, store=True)
        if quality_events is not None:
            yield from quality_events(quality)
        if summary is not None:
            yield summary_materialization(campaign, ledger, summary, quality)
            note_shown(ledger, shown)


@contextlib.contextmanager
def _failures(campaign: Campaign, problem: str) -> Iterator[None]:
    """Turn errors of ours, of the ledger and of the file system into a ``Failure`` of one line."""
    try:
        yield
    except OactError as error:
        raise Failure(str(error), allow_retries=False) from None
    except sqlite3.Error as error:
        raise Failure(f"{campaign.ledger}: cannot be written: {error}", allow_retries=False) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Failure(f"{problem}: {where}{error.strerror or error}", allow_retries=False) from error


def _next(events: Iterator[Event], stop: StopRequest) -> Event | None:
    # Dagster's own signal handler would raise in the middle of a transaction.
    with signals_stop(stop):
        return next(events, None)


def _end_without_dagster(
    batch: BatchRun, events: Iterator[Event], stop: StopRequest, watch: Watch | None, notes: list[str]
) -> None:
    """Finish a batch after Dagster's storage is lost: the ledger gets all results.

    Args:
        batch: which one.
        events: those that are left.
        stop: asks it to stop.
        watch: called with each event.
        notes: the texts of its notes are appended here.
    """
    batch.let_go(_NOT_STARTED)
    # The next run reports what goes wrong now with the ledger or the launcher.
    with contextlib.suppress(OactError, sqlite3.Error, OSError):
        while (event := _next(events, stop)) is not None:
            if watch is not None:
                watch(event)
            if isinstance(event, Note):
                notes.append(event.text)


def _check_termination(
    instance: DagsterInstance, run_id: str, stop: StopRequest, guard: StorageGuard, batch: BatchRun
) -> None:
    """Stop the calculations now and hold them if the run was terminated in the web page.

    The web page sends no signal to a run without a worker process (``oact run``); it only changes the run's status.
    """
    try:
        run = instance.get_run_by_id(run_id)
    except Exception:
        # A storage that is only busy is asked again later.
        if guard.folder.is_gone():
            batch.let_go(_NOT_STARTED)
        return
    if run is not None and run.status in _TERMINATED:
        stop.raise_to(StopLevel.NOW, hold=True)

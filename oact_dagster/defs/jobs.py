"""The job over scattered structures, for which Dagster has no range: retries, the feed, a list of numbers."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

import dagster as dg

from oact_dagster.attempts.events import Event, TakenIn
from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.selection import BatchRequest, Selection, resolve
from oact_dagster.attempts.stop_request import StopRequest
from oact_dagster.defs.assets import open_ledger
from oact_dagster.defs.batch_step import StepEvent, Watch, run_in_step
from oact_dagster.defs.checks import as_evaluation, quality_check_results
from oact_dagster.defs.dagster_internals import plan_partitions
from oact_dagster.defs.keys import CampaignKeys, name_prefix
from oact_dagster.defs.metadata import row_metadata
from oact_dagster.defs.partitions import missing_materializations
from oact_dagster.errors import SelectionError
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.maintenance.update import launchers_of, update_running
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.quality import Quality
from oact_dagster.text import pluralise

_LEFTOVERS: Final = ("harvest", "update")
"""Selections by the sensors of structures without a living run, and of results that Dagster does not show."""


class RunStructures(dg.Config):
    """What ``run_structures`` runs."""

    select: str = "to_run"
    """``to_run``, ``failed``, ``timeout``, ``unfinished``, ``stale``, numbers such as ``0-9,15``, or what sensors ask
    for: ``feed`` and ``retry`` (what is due), ``harvest`` (structures without a living run, results that Dagster does
    not show), ``update`` (the same, and running structures that make no progress)."""
    limit: int | None = None
    """Most structures to run."""
    ignore_budget: bool = False
    """Include structures that have used up their budget of failures or losses."""
    take_over: bool = False
    """Take the ledger over from another host that has shown no sign of life for ten minutes."""
    also_unshown: bool = False
    """Also show results whose partitions are not green because Dagster never got, or lost, their events."""


def run_structures_job(
    campaign: Campaign, watch: Watch | None = None, stop: StopRequest | None = None
) -> dg.JobDefinition:
    """The job ``run_structures`` of a campaign.

    Args:
        campaign: the settings.
        watch: called with each event of a batch that runs in this process.
        stop: asks a batch that runs in this process to stop.
    """
    keys = CampaignKeys.of(campaign)
    prefix = name_prefix(campaign)

    @dg.op(
        name=f"{prefix}run_selected",
        out=dg.Out(dg.Nothing),
        description="Claims the selected structures, runs them, and materializes their partitions as results arrive.",
    )
    def run_selected(context: dg.OpExecutionContext, config: RunStructures) -> Iterator[Any]:
        with open_ledger(campaign) as ledger:
            request = _request(context, campaign, ledger, config)
            if not request.orig_indices and not request.supply:
                context.log.info(f"nothing to do: no structure is {config.select}")
            selected = {*keys.per_structure, keys.campaign_summary}
            yield from run_in_step(
                context,
                campaign,
                ledger,
                request,
                selected,
                watch=watch,
                stop=stop,
                before_event=_IntakeEvents(context, keys).of,
                quality_events=partial(_evaluations, context, campaign),
            )
        yield dg.Output(None)

    @dg.job(
        name=f"{prefix}run_structures",
        description="Runs scattered structures: by status, or by number.",
        executor_def=dg.in_process_executor,
    )
    def run_structures() -> None:
        run_selected()

    return run_structures


def _request(
    context: dg.OpExecutionContext, campaign: Campaign, ledger: Ledger, config: RunStructures
) -> BatchRequest:
    """The structures that the step runs.

    Raises:
        Failure: the selection cannot be read.
    """
    word = config.select.strip()
    if word not in _LEFTOVERS:
        wanted = Selection(config.select, config.limit, config.ignore_budget, config.take_over)
        try:
            request = resolve(campaign, ledger, wanted)
        except SelectionError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        if config.also_unshown:
            # Structures to compute come first.
            unshown = missing_materializations(context.instance, campaign, ledger)
            request = replace(request, orig_indices=[*request.orig_indices, *unshown])
        return request
    if word == "update":
        layout, launcher_of = JobLayout.of(campaign, ledger), launchers_of(campaign)
        limit = campaign.launcher.silence_limit_s
        report = update_running(ledger, layout, launcher_of, silence_limit_s=limit, retry=campaign.retry)
        changed = ", ".join(f"{count} {status}" for status, count in report.changed.items()) or "none changed"
        context.log.info(f"looked at {pluralise(report.looked_at, 'running structure')}: {changed}")
        for note in report.notes.values():
            context.log.warning(
                f"{pluralise(note.count, 'structure')} (such as {note.examples[0]}): {note.text}"
            )
        left: list[int] = []
    else:
        left = ledger.batches.left_by_dead()
    # Only structures that turn out lost, or that never began, are run.
    found = dict.fromkeys([*left, *missing_materializations(context.instance, campaign, ledger)])
    return BatchRequest(list(found), (Status.TO_RUN,), named=False, take_over=config.take_over)


def _evaluations(
    context: dg.OpExecutionContext, campaign: Campaign, quality: Quality
) -> Iterator[dg.AssetCheckEvaluation]:
    for result in quality_check_results(campaign, quality):
        yield as_evaluation(result, context.instance)


class _IntakeEvents:
    """Dagster's events about structures that a batch takes in: they are planned, and their rows are known."""

    def __init__(self, context: dg.OpExecutionContext, keys: CampaignKeys) -> None:
        self._context = context
        self._planned = keys.per_structure[2:]
        self._known = {
            key: context.instance.get_materialized_partitions(key)
            for key in (keys.architector_csv, keys.job_ledger)
        }

    def of(self, event: Event) -> Iterator[StepEvent]:
        """Events to emit before those of ``event``."""
        if not isinstance(event, TakenIn):
            return
        context = self._context
        partitions = [str(structure.orig_index) for structure in event.structures]
        plan_partitions(
            context.instance,
            context.run_id,
            context.job_name,
            str(context.op_handle),
            self._planned,
            partitions,
        )
        for partition, structure in zip(partitions, event.structures, strict=True):
            for key, known in self._known.items():
                if partition not in known:
                    yield dg.AssetMaterialization(key, partition=partition, metadata=row_metadata(structure))

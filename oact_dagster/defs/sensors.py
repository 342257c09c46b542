"""The sensors, which take a campaign from its CSV to its last structure unattended.

Sensors only request runs; each run claims its structures itself. So two daemons, or a tick that dies half-way, can at
worst request a run that finds nothing to do.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import dagster as dg

from oact_dagster.defs.dagster_internals import UnresolvedAssetJobDefinition
from oact_dagster.defs.dead_runs import close_dead_runs
from oact_dagster.defs.keys import CampaignKeys, name_prefix, summarise_name
from oact_dagster.defs.partitions import missing_materializations
from oact_dagster.defs.requests import ask_for, ask_for_summary, not_claimed_yet, under_way
from oact_dagster.errors import CampaignError, LedgerError, OactError
from oact_dagster.feed.decisions import Decision, decide_feed, decide_retry
from oact_dagster.feed.notices import send_news
from oact_dagster.intake.csv_stamp import TAKEN_IN, csv_stamp, is_taken_in, why_refused
from oact_dagster.intake.identity import check_identity
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign, load_campaign
from oact_dagster.text import pluralise

_RUN_KEY_TAG: Final = "dagster/run_key"
_LEFTOVERS_INTERVAL: Final = 5
"""The timeout and harvest sensors run this many times less often than the others."""

_INTAKE_ATTEMPTS: Final = 3
"""Most runs that try to take in the same CSV, if each dies."""

_FEED, _RETRY, _HARVEST, _UPDATE = "feed", "retry", "harvest", "update"

_IN_DEFINITIONS: Final = ("name", "asset_prefix", "csv", "ledger")
"""Settings that the loaded definitions depend on."""

_UNUSABLE = (OactError, sqlite3.Error)
"""Errors for which a tick is skipped: their text is clearer than a sensor's failure."""


def campaign_sensors(
    campaign: Campaign,
    run_structures: dg.JobDefinition,
    take_in: UnresolvedAssetJobDefinition,
    summarise: UnresolvedAssetJobDefinition,
) -> list[dg.SensorDefinition]:
    """The sensors of a campaign, given its jobs; all are off until they are switched on."""
    return [
        _intake_sensor(campaign, take_in, summarise),
        _work_sensor(
            campaign,
            run_structures,
            summarise,
            _FEED,
            decide_feed,
            "Keeps max_in_flight structures running until none is left: starts with a trial, and pauses if many fail.",
        ),
        _leftovers_sensor(
            campaign,
            run_structures,
            "timeout",
            _UPDATE,
            _without_progress,
            "Ends structures that make no progress and have no living run. Runs look after their own structures.",
        ),
        _work_sensor(
            campaign,
            run_structures,
            summarise,
            _RETRY,
            decide_retry,
            "Tries failed and timed-out structures again, within their budget and with the remedy for their failure.",
        ),
        _leftovers_sensor(
            campaign,
            run_structures,
            "harvest",
            _HARVEST,
            _left_behind,
            "Closes runs whose process is gone, takes over their structures, reads calculations that ended without a"
            " run, and shows results whose partitions are not green.",
        ),
    ]


def take_in_job(campaign: Campaign) -> UnresolvedAssetJobDefinition:
    """The job that materializes ``intake``."""
    return dg.define_asset_job(
        f"{name_prefix(campaign)}take_in",
        dg.AssetSelection.assets(CampaignKeys.of(campaign).intake),
        description="Takes in the CSV.",
    )


def summarise_job(campaign: Campaign) -> UnresolvedAssetJobDefinition:
    """The job that materializes ``campaign_summary`` alone."""
    return dg.define_asset_job(
        summarise_name(campaign),
        dg.AssetSelection.assets(CampaignKeys.of(campaign).campaign_summary),
        description="Materializes only campaign_summary: sensors request it after changes that no run has reported.",
    )


def _intake_sensor(
    loaded: Campaign, take_in: UnresolvedAssetJobDefinition, summarise: UnresolvedAssetJobDefinition
) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{name_prefix(loaded)}intake_sensor",
        jobs=[take_in, summarise],
        minimum_interval_seconds=loaded.feed.interval_s,
        description="Takes in a new CSV and rows added at its end; refuses, once, a CSV whose known rows changed.",
    )
    def intake_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if loaded.csv is None:
            return dg.SkipReason("the campaign was made from a ledger: there is no CSV")
        try:
            campaign = _current_settings(loaded)
            stamp, refused, summary = csv_stamp(campaign), "", list[dg.RunRequest]()
            if campaign.ledger.exists():
                with Ledger(campaign.ledger) as ledger:
                    refused = why_refused(campaign, ledger)
                    summary = ask_for_summary(context.instance, campaign, ledger)
                    if is_taken_in(campaign, ledger):
                        text = f"{loaded.csv.name} is taken in and has not changed since"
                        return _result(context, text, [], summary)
                    # A CSV that is changed back needs a key other than that of its earlier intake.
                    stamp += f" after {ledger.meta(TAKEN_IN)}"
        except _UNUSABLE as error:
            return dg.SkipReason(str(error))
        except OSError as error:
            return dg.SkipReason(f"{loaded.csv}: {error.strerror or error}")
        close_dead_runs(context.instance, campaign)
        # Each state of the CSV is taken in or refused once. Only a run that died is repeated, under another key.
        keys = [stamp, *(f"{stamp} again {number}" for number in range(1, _INTAKE_ATTEMPTS))]
        runs = context.instance.get_runs(dg.RunsFilter(tags={_RUN_KEY_TAG: keys}))
        requests = []
        if runs and not runs[0].is_finished:
            text = f"{loaded.csv.name} is being taken in by run {runs[0].run_id}"
        elif runs and (len(runs) == _INTAKE_ATTEMPTS or _has_failed(context.instance, runs[0].run_id)):
            why = refused or "its log says why"
            text = f"{loaded.csv.name} was refused as it is: run {runs[0].run_id}: {why}"
        else:
            text = f"{loaded.csv.name} is new or has changed: taking it in"
            requests = [dg.RunRequest(run_key=keys[len(runs)], job_name=take_in.name)]
        return _result(context, text, requests, summary)

    return intake_sensor


def _work_sensor(
    loaded: Campaign,
    job: dg.JobDefinition,
    summarise: UnresolvedAssetJobDefinition,
    kind: str,
    decide: Callable[..., Decision],
    description: str,
) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{name_prefix(loaded)}{kind}_sensor",
        jobs=[job, summarise],
        minimum_interval_seconds=loaded.feed.interval_s,
        description=description,
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            with _ledger_of(loaded) as (campaign, ledger):
                requested = not_claimed_yet(context.instance, campaign, ledger, (_FEED, _RETRY))
                # On this machine, runs of both kinds share the cores.
                kinds = (_FEED, _RETRY) if campaign.launcher.on_this_machine else (kind,)
                runs = len(under_way(context.instance, campaign, kinds))
                decision = decide(campaign, ledger, requested, runs=runs)
                undelivered = send_news(campaign, ledger, decision)
                summary = ask_for_summary(context.instance, campaign, ledger)
        except _UNUSABLE as error:
            return dg.SkipReason(str(error))
        for problem in undelivered:
            context.log.warning(problem)
        return _result(context, decision.said, ask_for(campaign, job, kind, decision.limits), summary)

    return sensor


def _leftovers_sensor(
    loaded: Campaign,
    job: dg.JobDefinition,
    name: str,
    kind: str,
    look: Callable[[dg.DagsterInstance, Campaign, Ledger], tuple[int, str, str]],
    description: str,
) -> dg.SensorDefinition:
    """A sensor that requests at most one run at a time for what earlier runs left behind.

    Args:
        loaded: the settings when the definitions were made.
        job: ``run_structures``.
        name: the sensor is called ``<name>_sensor``.
        kind: the selection.
        look: returns the number of structures to look at, what was found, and what happens next.
        description: for the web page.
    """

    @dg.sensor(
        name=f"{name_prefix(loaded)}{name}_sensor",
        job=job,
        minimum_interval_seconds=_LEFTOVERS_INTERVAL * loaded.feed.interval_s,
        description=description,
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            with _ledger_of(loaded) as (campaign, ledger):
                structures, found, next_step = look(context.instance, campaign, ledger)
        except _UNUSABLE as error:
            return dg.SkipReason(str(error))
        if structures and under_way(context.instance, campaign, (_HARVEST, _UPDATE)):
            return dg.SkipReason(f"{found}: a run that looks at them is under way")
        requests = ask_for(campaign, job, kind, [structures]) if structures else []
        return _result(context, f"{found}: {next_step}", requests)

    return sensor


def _without_progress(
    instance: dg.DagsterInstance, campaign: Campaign, ledger: Ledger
) -> tuple[int, str, str]:
    left = len(ledger.batches.left_by_dead())
    marked = ledger.figures.count_running_unfollowed()
    found = (
        f"dead runs left {pluralise(left, 'structure')}, {marked} {'is' if marked == 1 else 'are'} marked running by"
        " hand or by another tool"
    )
    next_step = (
        "a run judges them by their outputs" if left or marked else "runs look after all other structures"
    )
    return left + marked, found, next_step


def _left_behind(instance: dg.DagsterInstance, campaign: Campaign, ledger: Ledger) -> tuple[int, str, str]:
    closed = close_dead_runs(instance, campaign, ledger)
    left = len(ledger.batches.left_by_dead())
    unshown = len(missing_materializations(instance, campaign, ledger))
    found = (
        f"closed {pluralise(closed, 'dead run')}, {pluralise(left, 'structure', 'has', 'have')} no living run,"
        f" {pluralise(unshown, 'result', 'is', 'are')} not shown"
    )
    return left + unshown, found, "a run takes them over" if left or unshown else "nothing to do"


def _has_failed(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a run has reported its failure itself, and was not just killed."""
    return bool(instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE))


@contextmanager
def _ledger_of(loaded: Campaign) -> Iterator[tuple[Campaign, Ledger]]:
    """The present settings, and the open ledger.

    Raises:
        CampaignError, LedgerError: they cannot be used.
    """
    if not loaded.ledger.exists():
        raise LedgerError(
            f"there is no ledger yet: materialize intake, or switch on {name_prefix(loaded)}intake_sensor"
        )
    campaign = _current_settings(loaded)
    with Ledger(campaign.ledger) as ledger:
        check_identity(campaign, ledger)
        yield campaign, ledger


def _result(
    context: dg.SensorEvaluationContext,
    text: str,
    requests: Sequence[dg.RunRequest],
    summary: Sequence[dg.RunRequest] = (),
) -> dg.SensorResult | dg.SkipReason:
    """The result of a tick. Its text is also the cursor: Dagster shows a reason only if nothing is requested."""
    if not requests and not summary:
        return dg.SkipReason(text)
    if summary:
        text += "; updating campaign_summary"
    context.log.info(text)
    return dg.SensorResult(run_requests=[*requests, *summary], cursor=text)


def _current_settings(loaded: Campaign) -> Campaign:
    """Read a campaign's settings again, since they may change during the months that a daemon runs.

    Args:
        loaded: the settings when the definitions were made.

    Raises:
        CampaignError: they are wrong now, or one that the definitions depend on has changed.
    """
    now = load_campaign(loaded.file)
    changed = [key for key in _IN_DEFINITIONS if getattr(now, key) != getattr(loaded, key)]
    if changed:
        raise CampaignError(
            f"{loaded.file}: {', '.join(changed)} changed since the definitions were loaded: restart `oact web`, or"
            " press Reload in the web page"
        )
    return now

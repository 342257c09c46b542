"""The sensors that take a campaign from its CSV to its last structure without anybody watching.

A sensor looks and asks, and never claims: runs claim what they run. So two daemons, or a tick that dies half-way, ask
for a run too many at the worst, which finds nothing to do.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import dagster as dg

from oact_dagster.defs.dagster_internals import UnresolvedAssetJobDefinition
from oact_dagster.defs.dead_runs import close_dead_runs
from oact_dagster.defs.keys import CampaignKeys, name_prefix, summarise_name
from oact_dagster.defs.missing_materializations import missing_materializations
from oact_dagster.defs.requests import ask_for, ask_for_summary, not_claimed_yet, under_way
from oact_dagster.errors import CampaignError, OactError
from oact_dagster.feed.decisions import Decision, decide_feed, decide_retry
from oact_dagster.feed.notices import send_news
from oact_dagster.intake.csv_stamp import TAKEN_IN, csv_stamp, is_taken_in, why_refused
from oact_dagster.intake.identity import check_identity
from oact_dagster.ledger.connection import LedgerError
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign, load_campaign
from oact_dagster.text import pluralise

RUN_KEY_TAG: Final = "dagster/run_key"
SELDOM: Final = 5
"""How many times less often timeouts and harvest are looked at."""

INTAKES: Final = 3
"""So often a CSV is taken in whose run dies each time."""

_FEED, _RETRY, _HARVEST, _UPDATE = "feed", "retry", "harvest", "update"

_IN_DEFINITIONS: Final = ("name", "asset_prefix", "csv", "ledger")
"""Settings that the loaded definitions are made of."""

Decide = Callable[..., Decision]


_UNUSABLE = (OactError, sqlite3.Error)
"""Why a tick asks for nothing; a sensor that fails would be as silent, and less clear."""


def campaign_sensors(
    campaign: Campaign,
    run_structures: dg.JobDefinition,
    take_in: UnresolvedAssetJobDefinition,
    summarise: UnresolvedAssetJobDefinition,
) -> list[dg.SensorDefinition]:
    """The sensors of a campaign, all off until they are switched on.

    Args:
        campaign: the settings.
        run_structures: the job over scattered structures.
        take_in: the job that takes the CSV in.
        summarise: the job that makes ``campaign_summary``.
    """
    return [
        _intake_sensor(campaign, take_in, summarise),
        _asking(
            campaign,
            run_structures,
            summarise,
            _FEED,
            decide_feed,
            "Keeps max_in_flight structures running until nothing is left: a trial first, and a pause when many fail.",
        ),
        _timeout_sensor(campaign, run_structures),
        _asking(
            campaign,
            run_structures,
            summarise,
            _RETRY,
            decide_retry,
            "Tries failed and timed-out structures again, within their budget and with the remedy for their failure.",
        ),
        _harvest_sensor(campaign, run_structures),
    ]


def take_in_job(campaign: Campaign) -> UnresolvedAssetJobDefinition:
    """The job that materializes ``intake``."""
    return dg.define_asset_job(
        f"{name_prefix(campaign)}take_in",
        dg.AssetSelection.assets(CampaignKeys.of(campaign).intake),
        description="Takes the CSV in.",
    )


def summarise_job(campaign: Campaign) -> UnresolvedAssetJobDefinition:
    """The job that materializes ``campaign_summary`` alone."""
    return dg.define_asset_job(
        summarise_name(campaign),
        dg.AssetSelection.assets(CampaignKeys.of(campaign).campaign_summary),
        description="Makes campaign_summary: the sensors ask for it when something changes that no run's end shows.",
    )


def _intake_sensor(
    loaded: Campaign, take_in: UnresolvedAssetJobDefinition, summarise: UnresolvedAssetJobDefinition
) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{name_prefix(loaded)}intake_sensor",
        jobs=[take_in, summarise],
        minimum_interval_seconds=loaded.feed.interval_s,
        description="Takes in a new CSV, and what has grown at its end; one whose known rows changed is refused, once.",
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
                        said = f"{loaded.csv.name} is taken in: it has not changed since"
                        return _result(context, said, [], summary)
                    # One that is set back to what it was is another intake, not the one of then.
                    stamp += f" after {ledger.meta(TAKEN_IN)}"
        except _UNUSABLE as error:
            return dg.SkipReason(str(error))
        except OSError as error:
            return dg.SkipReason(f"{loaded.csv}: {error.strerror or error}")
        close_dead_runs(context.instance, campaign)
        # A key is the CSV as it is: taken in, or refused, once. A run that was killed has done neither.
        keys = [stamp, *(f"{stamp} again {number}" for number in range(1, INTAKES))]
        before = context.instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: keys}))
        if before and not before[0].is_finished:
            said = f"{loaded.csv.name} is being taken in by run {before[0].run_id}"
            return _result(context, said, [], summary)
        if before and (len(before) == INTAKES or _was_refused(context.instance, before[0].run_id)):
            why = refused or "it says why"
            said = f"{loaded.csv.name} was refused as it is: run {before[0].run_id}: {why}"
            return _result(context, said, [], summary)
        request = dg.RunRequest(run_key=keys[len(before)], job_name=take_in.name)
        return _result(
            context, f"{loaded.csv.name} is new or has changed: it is taken in", [request], summary
        )

    return intake_sensor


def _asking(
    loaded: Campaign,
    job: dg.JobDefinition,
    summarise: UnresolvedAssetJobDefinition,
    kind: str,
    decide: Decide,
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
                # On one machine runs of both kinds share its cores.
                kinds = (_FEED, _RETRY) if campaign.launcher.on_this_machine else (kind,)
                runs = len(under_way(context.instance, campaign, kinds))
                decision = decide(campaign, ledger, requested, runs=runs)
                undelivered = send_news(campaign, ledger, decision)
                summary = ask_for_summary(context.instance, campaign, ledger)
        except _UNUSABLE as why:
            return dg.SkipReason(str(why))
        for wrong in undelivered:
            context.log.warning(wrong)
        return _result(context, decision.said, ask_for(campaign, job, kind, decision.limits), summary)

    return sensor


def _timeout_sensor(loaded: Campaign, job: dg.JobDefinition) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{name_prefix(loaded)}timeout_sensor",
        job=job,
        minimum_interval_seconds=SELDOM * loaded.feed.interval_s,
        description=(
            "Ends what has come to a standstill and nobody follows. What a run follows that run looks after itself."
        ),
    )
    def timeout_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            with _ledger_of(loaded) as (campaign, ledger):
                left = len(ledger.batches.left_by_dead())
                marked = ledger.figures.count_running_unfollowed()
        except _UNUSABLE as why:
            return dg.SkipReason(str(why))
        seen = (
            f"{pluralise(left, 'structure', 'was', 'were')} left by runs that are gone, {marked}"
            f" {'is' if marked == 1 else 'are'} marked running by others"
        )
        if not left and not marked:
            return dg.SkipReason(f"{seen}: all others are looked after by their runs")
        return _taken_over(
            context, campaign, job, _UPDATE, left + marked, seen, "a run judges them by their outputs"
        )

    return timeout_sensor


def _harvest_sensor(loaded: Campaign, job: dg.JobDefinition) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{name_prefix(loaded)}harvest_sensor",
        job=job,
        minimum_interval_seconds=SELDOM * loaded.feed.interval_s,
        description=(
            "Closes runs whose process is gone, takes their structures over, reads what finished while nobody followed"
            " it, and shows results whose partitions are not green."
        ),
    )
    def harvest_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            with _ledger_of(loaded) as (campaign, ledger):
                closed = close_dead_runs(context.instance, campaign, ledger)
                left = ledger.batches.left_by_dead()
                unshown = missing_materializations(context.instance, campaign, ledger)
        except _UNUSABLE as why:
            return dg.SkipReason(str(why))
        seen = (
            f"{pluralise(closed, 'run')} whose process is gone {'was' if closed == 1 else 'were'} closed,"
            f" {pluralise(len(left), 'structure', 'is', 'are')} followed by nobody,"
            f" {pluralise(len(unshown), 'result', 'is', 'are')} not shown"
        )
        if not left and not unshown:
            return dg.SkipReason(f"{seen}: nothing to do")
        structures = len(left) + len(unshown)
        return _taken_over(context, campaign, job, _HARVEST, structures, seen, "a run takes them over")

    return harvest_sensor


def _taken_over(
    context: dg.SensorEvaluationContext,
    campaign: Campaign,
    job: dg.JobDefinition,
    kind: str,
    structures: int,
    seen: str,
    follows: str,
) -> dg.SensorResult | dg.SkipReason:
    """Ask for a run that looks at what nobody follows, where there is none yet."""
    if under_way(context.instance, campaign, (_HARVEST, _UPDATE)):
        return dg.SkipReason(f"{seen}: a run that looks at them is under way")
    return _result(context, f"{seen}: {follows}", ask_for(campaign, job, kind, [structures]))


def _was_refused(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a run has said itself that it failed."""
    return bool(instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE))


@contextmanager
def _ledger_of(loaded: Campaign) -> Iterator[tuple[Campaign, Ledger]]:
    """The settings as they are now and the ledger, where they can be used.

    Raises:
        CampaignError, LedgerError: it cannot.
    """
    if not loaded.ledger.exists():
        raise LedgerError(
            f"there is no ledger yet: materialize intake, or switch {name_prefix(loaded)}intake_sensor on"
        )
    campaign = _current_settings(loaded)
    with Ledger(campaign.ledger) as ledger:
        check_identity(campaign, ledger)
        yield campaign, ledger


def _result(
    context: dg.SensorEvaluationContext,
    said: str,
    requests: Sequence[dg.RunRequest],
    summary: Sequence[dg.RunRequest] = (),
) -> dg.SensorResult | dg.SkipReason:
    """A tick's line: Dagster shows a reason only of one that asks for nothing, and the cursor of any."""
    if summary:
        said = f"{said}; campaign_summary is made to say so"
    if not requests and not summary:
        return dg.SkipReason(said)
    context.log.info(said)
    return dg.SensorResult(run_requests=[*requests, *summary], cursor=said)


def _current_settings(loaded: Campaign) -> Campaign:
    """Read a campaign's settings again: a daemon lives for months, and they change meanwhile.

    Args:
        loaded: as they were when the definitions were made.

    Raises:
        CampaignError: they are wrong now, or something has changed by which assets and sensors are called.
    """
    now = load_campaign(loaded.file)
    changed = [key for key in _IN_DEFINITIONS if getattr(now, key) != getattr(loaded, key)]
    if changed:
        raise CampaignError(
            f"{loaded.file}: {', '.join(changed)} changed since this was started: start `oact web` again, or press"
            " Reload in the web page"
        )
    return now

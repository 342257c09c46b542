"""The assets of a campaign, from its CSV to the summary of each structure."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from oact_dagster.attempts.known_results import stored_results, write_inputs
from oact_dagster.attempts.selection import BatchRequest
from oact_dagster.defs import columns
from oact_dagster.defs.batch_events import BatchReport
from oact_dagster.defs.batch_step import QualityEvents, StepEvent, Watch, campaign_events, run_in_step
from oact_dagster.defs.checks import check_specs, quality_check_results
from oact_dagster.defs.columns import column_schema
from oact_dagster.defs.intake import intake_asset
from oact_dagster.defs.keys import CampaignKeys
from oact_dagster.defs.metadata import Metadata, row_metadata
from oact_dagster.defs.partitions import structure_partitions
from oact_dagster.errors import CampaignError, LedgerError
from oact_dagster.intake.identity import check_identity
from oact_dagster.ledger.states import StructureRecord
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.summary import RESULTS_FILE

# A range of partitions is one run: a run is a batch, never a single structure.
ONE_RUN = dg.BackfillPolicy.single_run()


def campaign_assets(campaign: Campaign, watch: Watch | None = None) -> list[dg.AssetsDefinition]:
    """All assets of a campaign; ``watch`` gets each event of a batch that runs in this process."""
    return [
        intake_asset(campaign),
        _architector_csv(campaign),
        _job_ledger(campaign),
        _structures_step(campaign, watch),
    ]


def open_ledger(campaign: Campaign) -> Ledger:
    """Open the campaign's ledger.

    Raises:
        Failure: it does not exist, cannot be used, or has other names or another level of theory.
    """
    try:
        ledger = Ledger(campaign.ledger)
        check_identity(campaign, ledger)
    except LedgerError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    return ledger


def target_keys(context: dg.AssetExecutionContext) -> list[str]:
    """The partition keys that a run targets.

    Raises:
        Failure: the range is reversed. Dagster would treat it as empty, and succeed.
    """
    keys = list(context.partition_keys)
    if not keys:
        wanted = context.partition_key_range
        raise dg.Failure(
            f"the range {wanted.start}...{wanted.end} runs backwards and holds no structure; write"
            f" {wanted.end}...{wanted.start}",
            allow_retries=False,
        )
    return keys


def _targets(context: dg.AssetExecutionContext, ledger: Ledger) -> Iterator[tuple[str, StructureRecord]]:
    """Key and structure of each partition that a run targets; logs a warning for those the ledger lacks."""
    keys = target_keys(context)
    structures = ledger.structures.of([int(key) for key in keys if key.isdecimal()])
    for key in keys:
        structure = structures.get(int(key)) if key.isdecimal() else None
        if structure is None:
            context.log.warning(f"structure {key} is not in the ledger: intake did not take it in")
        else:
            yield key, structure


def _row_asset(
    campaign: Campaign,
    key: dg.AssetKey,
    upstream: dg.AssetKey,
    kind: str,
    metadata: Mapping[str, Any],
    description: str,
    metadata_of: Callable[[StructureRecord], Metadata],
) -> dg.AssetsDefinition:
    """An asset that only shows rows of the ledger."""

    @dg.asset(
        key=key,
        deps=[upstream],
        partitions_def=structure_partitions(campaign),
        backfill_policy=ONE_RUN,
        group_name=campaign.name,
        owners=campaign.owners,
        kinds={kind},
        metadata=metadata,
        description=description,
    )
    def row_asset(context: dg.AssetExecutionContext) -> None:
        with open_ledger(campaign) as ledger:
            for key, structure in _targets(context, ledger):
                context.add_asset_metadata(metadata_of(structure), partition_key=key)

    return row_asset


def _architector_csv(campaign: Campaign) -> dg.AssetsDefinition:
    keys = CampaignKeys.of(campaign)
    return _row_asset(
        campaign,
        keys.architector_csv,
        keys.intake,
        "csv",
        {**column_schema(columns.ARCHITECTOR_CSV), **_path("csv", campaign.csv)},
        "One row of the CSV of Architector's complexes, checked by the intake: geometry (Å), charge and unpaired"
        " electrons.",
        lambda structure: {**row_metadata(structure), "row_hash": structure.row_hash},
    )


def _job_ledger(campaign: Campaign) -> dg.AssetsDefinition:
    keys = CampaignKeys.of(campaign)
    return _row_asset(
        campaign,
        keys.job_ledger,
        keys.architector_csv,
        "sqlite",
        {**column_schema(columns.JOB_LEDGER), **_path("ledger", campaign.ledger)},
        "The structure's row in workflow.db, the source of truth: status, counted failures and losses, whether it is"
        " held.",
        lambda structure: {
            "ledger_id": structure.id,
            "status_at_start": str(structure.status),
            "fail_count": structure.fail_count,
            "loss_count": structure.loss_count,
            "held": structure.held,
            **_path("ledger", campaign.ledger),
        },
    )


def _structures_step(campaign: Campaign, watch: Watch | None) -> dg.AssetsDefinition:
    """Inputs, results and metrics as one step.

    In separate steps, one structure without an input or result would cost the whole batch the assets downstream.
    """
    keys = CampaignKeys.of(campaign)
    partitions = structure_partitions(campaign)
    settings_hash = campaign.settings_hash()

    def spec(
        key: dg.AssetKey, upstream: dg.AssetKey, kinds: set[str], description: str, **more: Any
    ) -> dg.AssetSpec:
        return dg.AssetSpec(
            key,
            deps=[upstream],
            skippable=True,
            group_name=campaign.name,
            owners=campaign.owners,
            kinds=kinds,
            description=description,
            **more,
        )

    specs = [
        spec(
            keys.orca_inputs,
            keys.job_ledger,
            {"orca"},
            "orca.inp in the structure's job folder. Its data version is a hash of what it computes, without comments,"
            " paths, processes and memory. It is outdated if it was made with settings other than the present ones.",
            metadata={**column_schema(columns.ORCA_INPUTS), **_path("jobs_dir", campaign.jobs_dir)},
            partitions_def=partitions,
            code_version=settings_hash,
        ),
        spec(
            keys.orca_results,
            keys.orca_inputs,
            _kinds_of_results(campaign),
            "The structure's calculation: energy (Eh), largest Cartesian gradient component (Eh/bohr), SCF cycles, wall"
            " time (s), cores, core-hours, and the attempt that produced them. The observation of a red partition holds"
            " the failure class, the message and the last lines of the output.",
            metadata={**column_schema(columns.ORCA_RESULTS), **_path("jobs_dir", campaign.jobs_dir)},
            partitions_def=partitions,
            code_version=settings_hash,
        ),
        spec(
            keys.metric_summaries,
            keys.orca_results,
            {"python"},
            "The structure's metrics: energy per atom (Eh), largest gradient component and atomic norm (Eh/bohr),"
            " SCF and optimisation cycles, S², cost (core-hours).",
            metadata=column_schema(columns.METRIC_SUMMARIES),
            partitions_def=partitions,
        ),
        spec(
            keys.campaign_summary,
            keys.metric_summaries,
            {"parquet"},
            "The whole campaign: progress and estimated end, statistics, pictures, failures by class, metal and host,"
            " core-hours, findings of the quality rules, and all results in results.parquet.",
            metadata={
                **column_schema(columns.RESULTS_COLUMNS),
                **_path("results_file", campaign.folder / RESULTS_FILE),
            },
        ),
    ]

    @dg.multi_asset(
        name="structures",
        specs=specs,
        check_specs=check_specs(campaign),
        can_subset=True,
        backfill_policy=ONE_RUN,
    )
    def structures(context: dg.AssetExecutionContext) -> Iterator[StepEvent]:
        selected = context.selected_asset_keys
        checks = context.selected_asset_check_keys
        quality_events = partial(quality_check_results, campaign, wanted=checks) if checks else None
        with open_ledger(campaign) as ledger:
            if selected <= {keys.campaign_summary}:
                # Nothing is selected if Dagster runs only the checks.
                yield from campaign_events(campaign, ledger, next(iter(selected), None), quality_events)
                return
            wanted = target_keys(context)
            indices = [int(key) for key in wanted if key.isdecimal()]
            invalid = [key for key in wanted if not key.isdecimal()]
            if keys.orca_results in selected:
                request = BatchRequest(indices)
                yield from run_in_step(
                    context, campaign, ledger, request, selected, watch=watch, quality_events=quality_events
                )
            else:
                yield from _without_results(campaign, ledger, indices, selected, quality_events)
            if invalid:
                raise dg.Failure(
                    f"no structure has the partition key {invalid[0]!r}; a key is a row number of the CSV",
                    allow_retries=False,
                )

    return structures


def _path(name: str, path: Path | None) -> dict[str, dg.MetadataValue[Any]]:
    return {} if path is None else {name: dg.MetadataValue.path(str(path))}


def _kinds_of_results(campaign: Campaign) -> set[str]:
    """The program that computes, and what runs it."""
    launcher = campaign.launcher
    found = {"orca"} if launcher.kind_facts.on_this_machine else {"orca", launcher.kind}
    return found | ({"parsl"} if launcher.pilots else set())


def _without_results(
    campaign: Campaign,
    ledger: Ledger,
    indices: list[int],
    selected: set[dg.AssetKey],
    quality_events: QualityEvents | None,
) -> Iterator[StepEvent]:
    """Events of a run without ``orca_results``, which computes nothing."""
    keys = CampaignKeys.of(campaign)
    report = BatchReport(campaign, ledger, selected)
    if keys.orca_inputs in selected:
        try:
            for event in write_inputs(campaign, ledger, indices):
                yield from report.dagster_events(event)
        except CampaignError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
    if keys.metric_summaries in selected:
        for event in stored_results(ledger, indices):
            yield from report.dagster_events(event)
    summary = keys.campaign_summary if keys.campaign_summary in selected else None
    if quality_events is not None or summary is not None:
        yield from campaign_events(campaign, ledger, summary, quality_events)
    if (failure := report.failure()) is not None:
        raise failure

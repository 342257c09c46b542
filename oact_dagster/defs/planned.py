"""Planned events for a run that is not partitioned, so that its structures show as running, and as failed.

Dagster writes such an event for each partition that a partitioned run targets; a run over scattered partitions
has to write its own. This is the one place that uses Dagster's internal interface for it.
"""

from collections.abc import Sequence

from dagster import AssetKey, DagsterInstance
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventBatchMetadata,
    generate_event_batch_id,
)


def plan_partitions(
    instance: DagsterInstance,
    run_id: str,
    job_name: str,
    step_key: str,
    asset_keys: Sequence[AssetKey],
    partition_keys: Sequence[str],
) -> None:
    """Tell Dagster that a run intends to materialize these partitions of these assets."""
    events = [
        DagsterEvent.build_asset_materialization_planned_event(
            job_name, step_key, AssetMaterializationPlannedData(asset_key, partition=partition_key)
        )
        for asset_key in sorted(asset_keys)
        for partition_key in partition_keys
    ]
    batch_id = generate_event_batch_id()  # type: ignore[no-untyped-call]
    for number, event in enumerate(events, start=1):
        instance.report_dagster_event(
            event, run_id, batch_metadata=DagsterEventBatchMetadata(batch_id, number == len(events))
        )

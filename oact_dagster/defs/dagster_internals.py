"""Everything private of Dagster that the project uses; hence the upper bound of its version.

oact_dagster_tests/defs/test_dagster_internals.py says what would break without each name.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from dagster import AssetKey, DagsterInstance, DagsterRun
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventBatchMetadata,
    generate_event_batch_id,
)
from dagster._core.instance.ref import InstanceRef
from dagster._core.pipes.context import build_external_execution_context_data
from dagster._core.storage.tags import GRPC_INFO_TAG

__all__ = [
    "GRPC_INFO_TAG",
    "AssetCheckEvaluationTargetMaterializationData",
    "UnresolvedAssetJobDefinition",
    "build_external_execution_context_data",
    "intercept",
    "open_instance",
    "plan_partitions",
    "version_tags",
]

NO_CAPTURE: Final[dict[str, Any]] = {
    # Dagster would replace the terminal by a file, and copy from it with a process that Ctrl+C also ends.
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


def open_instance(home: Path) -> DagsterInstance:
    """Open the instance in a folder, without capturing the output of runs in this process."""
    return DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=NO_CAPTURE))


def intercept(
    instance: DagsterInstance,
    handle_new_event: Callable[..., None],
    get_run_by_id: Callable[..., DagsterRun | None],
) -> None:
    """Replace the methods with which an instance writes events, and looks up a run at its end."""
    instance.handle_new_event = handle_new_event  # type: ignore[method-assign]
    instance.get_run_by_id = get_run_by_id  # type: ignore[method-assign]


def plan_partitions(
    instance: DagsterInstance,
    run_id: str,
    job_name: str,
    step_key: str,
    asset_keys: Sequence[AssetKey],
    partition_keys: Sequence[str],
) -> None:
    """Tell Dagster that a run is going to materialize these partitions of these assets.

    The page then shows them as running, or failed. Dagster itself does this only for partitioned runs, and a run over
    scattered partitions is not one.
    """
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


def version_tags(settings_hash: str, input_hash: str | None, upstream: AssetKey) -> dict[str, str]:
    """Tags of a materialization, so that a partition is outdated only if it was made with other settings.

    Without them, Dagster would compare the times of events, and call a result outdated because its row of the ledger
    was materialized again.

    Args:
        settings_hash: of the settings that it was made with.
        input_hash: the data version, if known.
        upstream: the asset that it depends on.
    """
    tags = {
        CODE_VERSION_TAG: settings_hash,
        # Without these two there is no record of its inputs, and the times decide.
        get_input_data_version_tag(upstream): "any",
        get_input_event_pointer_tag(upstream): NULL_EVENT_POINTER,
    }
    return tags if input_hash is None else tags | {DATA_VERSION_TAG: input_hash}

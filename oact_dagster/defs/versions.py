"""The tags from which Dagster tells whether a partition is outdated. Dagster's internal names, in this one place."""

from dagster import AssetKey
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)


def version_tags(settings_hash: str, input_hash: str | None, upstream: AssetKey) -> dict[str, str]:
    """Tags of a materialization that a batch logs.

    A partition is outdated when it was made with other settings, and for no other reason: Dagster would otherwise go
    by the times of the events, and call a result outdated because its row of the ledger was looked at again.

    Args:
        settings_hash: of the settings that it was made with.
        input_hash: the data version, where it is known.
        upstream: the asset that it depends on.
    """
    tags = {
        CODE_VERSION_TAG: settings_hash,
        # Without these two there is no record of what it was made from, and the times decide.
        get_input_data_version_tag(upstream): "any",
        get_input_event_pointer_tag(upstream): NULL_EVENT_POINTER,
    }
    return tags if input_hash is None else tags | {DATA_VERSION_TAG: input_hash}

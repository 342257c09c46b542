"""One partition per structure: its key is the structure's ``orig_index`` as text."""

from itertools import islice

from dagster import DagsterInstance, DynamicPartitionsDefinition

from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign

KEYS_AT_ONCE = 10_000
"""A million keys in one call are too many for SQLite."""

MOST_PARTITIONS = 100_000
"""What Dagster advises for an asset."""


def structure_partitions(campaign: Campaign) -> DynamicPartitionsDefinition:
    """The campaign's partitions; their name is the campaign's, since names are global to a Dagster instance."""
    return DynamicPartitionsDefinition(name=campaign.partitions_name)


def register_partitions(instance: DagsterInstance, campaign: Campaign, ledger: Ledger) -> int:
    """Give each structure of the ledger its partition key, in the order of the CSV.

    Returns:
        How many keys are new.
    """
    known = set(instance.get_dynamic_partitions(campaign.partitions_name))
    missing = (str(index) for index in ledger.structures.indices() if str(index) not in known)
    added = 0
    while keys := list(islice(missing, KEYS_AT_ONCE)):
        instance.add_dynamic_partitions(campaign.partitions_name, keys)
        added += len(keys)
    return added

"""Partitions: one per structure, whose key is the structure's ``orig_index`` as text."""

from itertools import islice

from dagster import DagsterInstance, DynamicPartitionsDefinition

from oact_dagster.defs.keys import CampaignKeys
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign

_KEYS_AT_ONCE = 10_000
"""SQLite cannot take a million keys in one call."""

MOST_PARTITIONS = 100_000
"""Dagster's advice for the partitions of one asset."""


def structure_partitions(campaign: Campaign) -> DynamicPartitionsDefinition:
    """The campaign's partitions, under a name of its own, since names are global to a Dagster instance."""
    return DynamicPartitionsDefinition(name=campaign.partitions_name)


def register_partitions(instance: DagsterInstance, campaign: Campaign, ledger: Ledger) -> int:
    """Give each structure of the ledger its partition key, in the order of the CSV; return the number of new keys."""
    known = set(instance.get_dynamic_partitions(campaign.partitions_name))
    missing = (str(index) for index in ledger.structures.indices() if str(index) not in known)
    added = 0
    while keys := list(islice(missing, _KEYS_AT_ONCE)):
        instance.add_dynamic_partitions(campaign.partitions_name, keys)
        added += len(keys)
    return added


def missing_materializations(
    instance: DagsterInstance, campaign: Campaign, ledger: LedgerReader
) -> list[int]:
    """``orig_index`` of completed structures whose partition of ``orca_results`` is not green, in the CSV's order.

    This happens if no run followed the calculation, or if the run died before it could report the result.
    """
    completed = [str(index) for index in ledger.structures.completed_indices()]
    if not completed:
        return []
    statuses = instance.get_status_by_partition(
        CampaignKeys.of(campaign).orca_results, completed, structure_partitions(campaign)
    )
    if statuses is None:
        statuses = {}
    not_green = [key for key in completed if getattr(statuses.get(key), "value", None) != "MATERIALIZED"]
    # Loading all keys of a large campaign takes a third of a second, and is mostly not needed.
    known = set(instance.get_dynamic_partitions(campaign.partitions_name)) if not_green else set()
    missing = [int(key) for key in not_green if key in known]
    # A living run records a result first, and reports it to Dagster a moment later.
    reported_soon = ledger.batches.of_living(missing)
    return [index for index in missing if index not in reported_soon]

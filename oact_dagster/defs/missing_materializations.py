"""Results that the ledger has and the web page does not show."""

from dagster import DagsterInstance

from oact_dagster.defs.keys import CampaignKeys
from oact_dagster.defs.partitions import structure_partitions
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.settings.campaign import Campaign


def missing_materializations(
    instance: DagsterInstance, campaign: Campaign, ledger: LedgerReader
) -> list[int]:
    """``orig_index`` of completed structures whose partition of ``orca_results`` is not green, in the CSV's order.

    It is not when nobody followed the calculation, or when the run that did died before it could say so.
    """
    completed = [str(index) for index in ledger.structures.completed_indices()]
    if not completed:
        return []
    statuses = instance.get_status_by_partition(
        CampaignKeys.of(campaign).orca_results, completed, structure_partitions(campaign)
    )
    if statuses is None:
        statuses = {}
    dull = [key for key in completed if getattr(statuses.get(key), "value", None) != "MATERIALIZED"]
    # Loading all keys of a large campaign takes a third of a second, and mostly there is nothing to ask them for.
    known = set(instance.get_dynamic_partitions(campaign.partitions_name)) if dull else set()
    left = [int(key) for key in dull if key in known]
    # A run at work records a result first, and shows it itself a moment later.
    shown_soon = ledger.batches.of_living(left)
    return [index for index in left if index not in shown_soon]

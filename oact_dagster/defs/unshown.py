"""Results that the ledger has and the web page does not show."""

from dagster import DagsterInstance

from oact_dagster.campaign import Campaign
from oact_dagster.defs.keys import CampaignKeys
from oact_dagster.defs.partitions import structure_partitions
from oact_dagster.ledger.reading import LedgerReader


def unshown_results(instance: DagsterInstance, campaign: Campaign, ledger: LedgerReader) -> list[int]:
    """``orig_index`` of completed structures whose partition of ``orca_results`` is not green, in the CSV's order.

    It is not when nobody followed the calculation, or when the run that did died before it could say so.
    """
    keys = instance.get_dynamic_partitions(campaign.partitions_name)
    statuses = instance.get_status_by_partition(
        CampaignKeys.of(campaign).orca_results, keys, structure_partitions(campaign)
    )
    if statuses is None:
        statuses = {}
    known = set(keys)
    return [
        index
        for index in ledger.completed_indices()
        if str(index) in known and getattr(statuses.get(str(index)), "value", None) != "MATERIALIZED"
    ]

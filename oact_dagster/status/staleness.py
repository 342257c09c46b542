"""Results whose input was made with other settings than the campaign's present ones."""

from oact_dagster.ledger.reading import LedgerReader
from oact_dagster.settings.campaign import Campaign


def stale_results(campaign: Campaign, ledger: LedgerReader) -> int:
    """How many completed structures were computed with other settings of what an input computes.

    Cores, memory and comments do not count, nor does the level of theory, which is fixed. Results of an old ledger,
    which kept no hash of its settings, are taken for up to date.
    """
    present = campaign.settings_hash()
    counts = ledger.count_results_by_settings()
    return sum(count for digest, count in counts.items() if digest not in (None, present))

"""Count of stale results, whose inputs were made with other settings than the present ones."""

from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.settings.campaign import Campaign


def stale_results(campaign: Campaign, ledger: LedgerReader) -> int:
    """Return the number of completed structures whose inputs would compute something else with the present settings.

    Cores, memory and comments do not count, nor does the level of theory, which is fixed. Results of an old ledger,
    which has no hash of the settings, count as up to date.
    """
    present = campaign.settings_hash()
    counts = ledger.figures.count_results_by_settings()
    return sum(count for digest, count in counts.items() if digest not in (None, present))

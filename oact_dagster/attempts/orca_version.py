"""That all results of a ledger are of one major version of ORCA: another one is another level of theory."""

from dataclasses import replace

from oact_dagster.attempts.engine import ORCA_NAME
from oact_dagster.ledger.level_of_theory import fix_orca_version
from oact_dagster.ledger.states import Ending, Outcome
from oact_dagster.ledger.store import Ledger


def of_the_ledgers_orca(ledger: Ledger, ending: Ending) -> Ending:
    """An ending as it may be recorded: a result of another ORCA than the ledger's is none, and counts as no failure.

    Args:
        ledger: whose first result fixes the version.
        ending: of an attempt.
    """
    result = ending.result
    if ending.outcome is not Outcome.COMPLETED or result is None or result.engine != ORCA_NAME:
        return ending
    major = (result.engine_version or "").partition(".")[0]
    if not major or (kept := fix_orca_version(ledger, major)) == major:
        return ending
    message = (
        f"computed by ORCA {result.engine_version}, and the ledger's results are of ORCA {kept}, another level of"
        " theory: set orca.command back, or start a second campaign with a ledger of its own"
    )
    return replace(ending, outcome=Outcome.CANCELLED, message=message)

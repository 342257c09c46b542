"""Check that all results of a ledger come from one major version of ORCA, as part of the level of theory."""

from dataclasses import replace

from oact_dagster.attempts.engine import ORCA_NAME
from oact_dagster.ledger.level_of_theory import fix_orca_version
from oact_dagster.ledger.states import Ending, Outcome
from oact_dagster.ledger.store import Ledger


def check_orca_version(ledger: Ledger, ending: Ending) -> Ending:
    """Return an ending as it may be recorded.

    A result of another major version than the ledger's first result becomes cancelled, which counts as no failure.
    """
    result = ending.result
    if ending.outcome is not Outcome.COMPLETED or result is None or result.engine != ORCA_NAME:
        return ending
    major = (result.engine_version or "").partition(".")[0]
    if not major or (kept := fix_orca_version(ledger, major)) == major:
        return ending
    message = (
        f"computed by ORCA {result.engine_version}, but the ledger's results are from ORCA {kept}, another level of"
        " theory: set orca.command back, or start a second campaign with its own ledger"
    )
    return replace(ending, outcome=Outcome.CANCELLED, message=message)

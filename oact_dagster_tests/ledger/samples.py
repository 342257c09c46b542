"""Structures, results and claims for the tests of the ledger."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from oact_dagster.ledger.quality import names_of
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import Claim, Ending, NewStructure, Outcome, Result, Status
from oact_dagster.ledger.store import Ledger

GEOMETRY = "O 0.000000 0.000000 0.000000\nH 0.000000 0.000000 0.970000"


def structure(index: int, **changes: Any) -> NewStructure:
    values: dict[str, Any] = {
        "orig_index": index,
        "elements": "O;H",
        "natoms": 2,
        "charge": -1,
        "multiplicity": 1,
        "geometry": GEOMETRY,
        "row_hash": f"row{index}",
        "calculation_hash": f"calculation{index}",
        "annotations": {"name": f"hydroxide {index}"},
    }
    return NewStructure(**values | changes)


def result(**changes: Any) -> Result:
    values: dict[str, Any] = {
        "final_energy": -75.5,
        "max_forces": 0.001,
        "max_atom_force_norm": 0.0015,
        "scf_steps": 12,
        "wall_time": 60.0,
        "n_cores": 4,
        "engine": "ORCA",
        "engine_version": "6.1.0",
        "output_file": "orca.out",
    }
    return Result(**values | changes)


def ending(token: str, outcome: Outcome, **changes: Any) -> Ending:
    values: dict[str, Any] = {"token": token, "outcome": outcome, "ended_at": 2000.0}
    if outcome is Outcome.COMPLETED:
        values["result"] = result()
    return Ending(**values | changes)


def claim(ledger: Ledger, indices: Sequence[int], **changes: Any) -> list[Claim]:
    values: dict[str, Any] = {
        "statuses": [Status.TO_RUN, Status.FAILED, Status.TIMEOUT],
        "launcher": "local",
        "n_cores": 4,
        "max_failures": None,
        "max_losses": None,
        "now": 1000.0,
    }
    return ledger.claim("batch", indices, **values | changes)


def run(ledger: Ledger, index: int, outcome: Outcome, **changes: Any) -> str:
    """Claim, submit, start and end one structure; returns the attempt's token."""
    [claimed] = claim(ledger, [index])
    ledger.mark_submitted({claimed.token: "17"}, now=1001.0)
    ledger.mark_running([claimed.token], now=1002.0)
    assert ledger.record([ending(claimed.token, outcome, **changes)]) == {claimed.token}
    return claimed.token


def row(ledger: Ledger, index: int) -> dict[str, Any]:
    """A structure's row as it stands in the table."""
    found = ledger.file.connection.execute(
        "SELECT * FROM structures WHERE orig_index = ?", (index,)
    ).fetchone()
    return dict(found)


def failures_by_class(ledger: LedgerReader) -> dict[str, int]:
    """How many structures are failed or timed out now, by the class of their last attempt."""
    found = Counter[str]()
    for kind, _, structures, _ in ledger.figures.failures_by_message():
        found[kind] += structures
    return dict(found)


class KeptQuality(NamedTuple):
    attempt: int
    failed: tuple[str, ...]
    judged: int
    judged_for: str


def quality_of(ledger: LedgerReader, indices: Sequence[int]) -> dict[int, KeptQuality]:
    """What the ledger has of the results of these structures."""
    rows = ledger.file.rows_of(
        "SELECT s.orig_index, q.attempt, q.failed, q.judged, q.judged_for FROM quality q"
        " JOIN structures s ON s.id = q.structure_id WHERE s.orig_index IN (...) ORDER BY 1",
        indices,
    )
    return {row[0]: KeptQuality(row[1], names_of(row[2]), row[3], row[4]) for row in rows}


def failing_results(ledger: LedgerReader) -> list[tuple[int, tuple[str, ...]]]:
    """``orig_index`` of each structure whose result breaks a rule, and the rules."""
    indices = list(ledger.structures.indices())
    return [(index, kept.failed) for index, kept in quality_of(ledger, indices).items() if kept.failed]

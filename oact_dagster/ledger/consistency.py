"""Consistency rules for the rows of a ledger: each finds the rows that break it, and some can repair them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.predicates import (
    FAILED,
    GAVE_RESULT,
    GOOD_NUMBER,
    HAS_RESULT,
    IDLE,
    LAST,
    OPEN,
    RUNNING,
    UNFOLLOWED,
)
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.schema import NO_RESULT, RESULT_COLUMNS
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.ledger.writer import WRITER, release_writer

_KNOWN: Final = ", ".join(f"'{status}'" for status in Status)
_ANY_RESULT: Final = "(" + " OR ".join(f"s.{name} IS NOT NULL" for name in RESULT_COLUMNS) + ")"
_CLEARABLE: Final = (
    f"(s.status IN ('to_run', 'ready') OR ({FAILED} AND EXISTS (SELECT 1 FROM attempts a"
    f" WHERE a.structure_id = s.id AND {LAST} AND a.result IS NOT NULL)))"
)
_NO_ENERGY: Final = f"{HAS_RESULT} AND s.final_energy IS NULL"
_OUTDATED: Final = f"s.id IS NULL OR s.status IS NOT 'completed' OR q.attempt != COALESCE({GOOD_NUMBER}, 0)"
_COUNTED: Final = "(SELECT COUNT(*) FROM attempts a WHERE a.structure_id = s.id AND a.counted = 1)"
_TOO_FEW_COUNTED: Final = (
    "s.id IN (SELECT a.structure_id FROM attempts a WHERE a.counted = 1)"
    f" AND COALESCE(s.fail_count, 0) < {_COUNTED}"
)
_LOST: Final = "(SELECT COUNT(*) FROM attempts a WHERE a.structure_id = s.id AND a.outcome = 'lost')"


def _of_attempt(name: str) -> str:
    """A number from the result of the attempt that completed ``structures s``."""
    return (
        f"(SELECT json_extract(a.result, '$.{name}') FROM attempts a WHERE a.structure_id = s.id AND {GAVE_RESULT}"
        " ORDER BY a.number DESC LIMIT 1)"
    )


@dataclass(frozen=True, slots=True)
class LedgerRule:
    """A consistency rule."""

    name: str
    holds: str
    """What must hold, in a sentence."""
    broken: str
    """Query for the rows that break it: the structure's ``id`` and ``orig_index``, and what is wrong."""
    advice: str
    """What the user can do if it is not mended."""
    mend: str | None = None
    """Statement that mends it; None if no repair is safe."""
    mends: str | None = None
    """What that statement does."""


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that breaks a rule."""

    id: int | None
    orig_index: int | None
    detail: str


CONSISTENCY_RULES: Final[tuple[LedgerRule, ...]] = (
    LedgerRule(
        "status-known",
        f"each structure's status is one of {', '.join(Status)}",
        "SELECT s.id, s.orig_index, 'status ' || COALESCE(quote(substr(s.status, 1, 60)), 'NULL') FROM structures s"
        f" WHERE s.status IS NULL OR s.status NOT IN ({_KNOWN})",
        "set it to one of them; until then no command works on the ledger",
    ),
    LedgerRule(
        "index-there",
        "each structure has an orig_index, which identifies it and its folder",
        "SELECT s.id, NULL, 'no orig_index' FROM structures s WHERE s.orig_index IS NULL",
        "set it to the structure's row in the CSV; until then no run can take it",
    ),
    LedgerRule(
        "index-once",
        "no two structures have the same orig_index",
        "SELECT s.id, s.orig_index, 'the row with id ' || (SELECT MIN(f.id) FROM structures f"
        " WHERE f.orig_index = s.orig_index) || ' has it, too' FROM structures s WHERE s.orig_index IS NOT NULL"
        " AND EXISTS (SELECT 1 FROM structures f WHERE f.orig_index = s.orig_index AND f.id < s.id)",
        "delete the copy, or give it its own orig_index; until then no run can take it",
    ),
    LedgerRule(
        "completed-has-energy",
        "each completed structure has a final energy",
        f"SELECT s.id, s.orig_index, 'completed without an energy' FROM structures s WHERE {_NO_ENERGY}",
        "set it to running, so that `oact dashboard DB --update JOBS_DIR` reads its output again, or to to_run",
        "UPDATE structures AS s SET "
        + ", ".join(f"{name} = COALESCE(s.{name}, {_of_attempt(name)})" for name in RESULT_COLUMNS)
        + f" WHERE {_NO_ENERGY} AND {_of_attempt('final_energy')} IS NOT NULL",
        "copies the result from its attempt",
    ),
    LedgerRule(
        "result-is-the-attempts",
        "a completed structure's energy is that of the attempt that completed it",
        "SELECT s.id, s.orig_index,"
        f" 'energy ' || s.final_energy || ', but its attempt has ' || {_of_attempt('final_energy')}"
        f" FROM structures s WHERE {HAS_RESULT} AND s.final_energy IS NOT NULL"
        f" AND ABS(s.final_energy - {_of_attempt('final_energy')}) > 1e-6",
        "one of the two was changed by hand: set the one that is in the output",
    ),
    LedgerRule(
        "result-only-completed",
        "result columns are empty unless a structure is completed (or running, for tools that set them first)",
        f"SELECT s.id, s.orig_index, s.status || ' with results' FROM structures s WHERE {_ANY_RESULT}"
        f" AND {IDLE}",
        "the numbers are from an attempt that failed or was reset; clear them, or set the status to completed",
        f"UPDATE structures AS s SET {NO_RESULT} WHERE {_ANY_RESULT} AND {_CLEARABLE}",
        "clears them if an attempt holds the numbers or the structure is to be run again",
    ),
    LedgerRule(
        "running-has-attempt",
        "each running structure has an open attempt",
        f"SELECT s.id, s.orig_index, 'running, but it has no open attempt' FROM structures s WHERE {UNFOLLOWED}",
        "it was marked by another tool or by hand: `oact dashboard DB --update JOBS_DIR` judges it by its output; set"
        " it to to_run if nothing runs",
    ),
    LedgerRule(
        "attempt-is-running",
        "a structure with an open attempt is running",
        "SELECT s.id, s.orig_index, 'is ' || s.status || ' while its attempt ' || a.number || ' is open'"
        " FROM attempts a JOIN structures s ON s.id = a.structure_id"
        f" WHERE {OPEN} AND NOT {RUNNING}",
        "its status was set by hand; the attempt's outcome is recorded when it ends",
    ),
    LedgerRule(
        "one-open-attempt",
        "no structure has two open attempts",
        "SELECT s.id, s.orig_index, COUNT(*) || ' open attempts' FROM attempts a"
        f" JOIN structures s ON s.id = a.structure_id WHERE {OPEN} GROUP BY s.id HAVING COUNT(*) > 1",
        "see which of them runs (`squeue`, `flux jobs`), and close the other",
    ),
    LedgerRule(
        "attempt-has-structure",
        "each attempt belongs to a structure",
        "SELECT a.structure_id, NULL, 'attempt ' || a.number || ' of a missing structure' FROM attempts a"
        " WHERE NOT EXISTS (SELECT 1 FROM structures s WHERE s.id = a.structure_id)",
        "a row was deleted by hand: restore it from a backup, or delete its attempts",
    ),
    LedgerRule(
        "state-has-structure",
        "each row of structure_state belongs to a structure",
        "SELECT st.structure_id, NULL, 'state of a missing structure' FROM structure_state st"
        " WHERE NOT EXISTS (SELECT 1 FROM structures s WHERE s.id = st.structure_id)",
        "a row was deleted by hand: restore it from a backup",
        "DELETE FROM structure_state WHERE NOT EXISTS"
        " (SELECT 1 FROM structures s WHERE s.id = structure_state.structure_id)",
        "deletes it",
    ),
    LedgerRule(
        "quality-of-result",
        "the findings of the quality rules belong to the present result of a completed structure",
        "SELECT q.structure_id, s.orig_index, 'findings on attempt ' || q.attempt || ', but the structure is '"
        " || COALESCE(s.status || CASE s.status WHEN 'completed' THEN ' by another one' ELSE '' END, 'missing')"
        f" FROM quality q LEFT JOIN structures s ON s.id = q.structure_id WHERE {_OUTDATED}",
        "it is judged again when the quality of all results is next judged",
        "DELETE FROM quality WHERE structure_id IN (SELECT q.structure_id FROM quality q"
        f" LEFT JOIN structures s ON s.id = q.structure_id WHERE {_OUTDATED})",
        "deletes it",
    ),
    LedgerRule(
        "failures-counted",
        "fail_count is at least the number of attempts counted as failures",
        f"SELECT s.id, s.orig_index, 'fail_count ' || COALESCE(s.fail_count, 0) || ', but ' || {_COUNTED} ||"
        f" ' counted attempts' FROM structures s WHERE {_TOO_FEW_COUNTED}",
        "set fail_count to that number",
        f"UPDATE structures AS s SET fail_count = {_COUNTED} WHERE {_TOO_FEW_COUNTED}",
        "counts them again",
    ),
    LedgerRule(
        "losses-counted",
        "loss_count is at least the number of lost attempts",
        "SELECT s.id, s.orig_index, 'loss_count ' || COALESCE(st.loss_count, 0) || ', but ' ||"
        f" {_LOST} || ' lost attempts' FROM structures s LEFT JOIN structure_state st ON st.structure_id = s.id"
        " WHERE s.id IN (SELECT a.structure_id FROM attempts a WHERE a.outcome = 'lost')"
        f" AND COALESCE(st.loss_count, 0) < {_LOST}",
        "set loss_count to that number",
        "INSERT INTO structure_state (structure_id, loss_count) SELECT a.structure_id, COUNT(*) FROM attempts a"
        " WHERE a.outcome = 'lost' GROUP BY a.structure_id"
        " ON CONFLICT (structure_id) DO UPDATE SET loss_count = MAX(loss_count, excluded.loss_count)",
        "counts them again",
    ),
    LedgerRule(
        "taken-or-rejected",
        "a row of the CSV is either a structure or rejected",
        "SELECT s.id, s.orig_index, 'is also rejected: ' || substr(r.reason, 1, 200) FROM rejections r"
        " JOIN structures s ON s.orig_index = r.orig_index",
        "delete one of the two",
    ),
    LedgerRule(
        "folder-own",
        "no two structures have the same job folder",
        "SELECT s.id, s.orig_index, 'shares ' || s.job_dir FROM structures s JOIN (SELECT job_dir FROM structures"
        " WHERE job_dir IS NOT NULL GROUP BY job_dir HAVING COUNT(*) > 1) twice ON twice.job_dir = s.job_dir",
        "two calculations in one folder corrupt each other: set job_dir to NULL and the status to to_run for both",
    ),
)


def broken_rows(ledger: LedgerReader, rule: LedgerRule) -> Iterator[BrokenRow]:
    """The rows that break a rule; streamed."""
    for row in ledger.file.stream(rule.broken):
        yield BrokenRow(row[0], row[1], str(row[2]))


def mend(ledger: Ledger, rule: LedgerRule) -> None:
    """Repair what breaks a rule, as far as that is safe, in one transaction."""
    if rule.mend is not None:
        with ledger.file.transaction() as db:
            db.execute(rule.mend)


def damage(ledger: LedgerReader, limit: int = 20) -> Sequence[str]:
    """What SQLite's own check finds wrong with the file; empty if it is sound."""
    rows = ledger.file.rows(f"PRAGMA main.quick_check({limit})")
    return [str(row[0]) for row in rows if str(row[0]) != "ok"]


def release_dead_writer(ledger: Ledger, now: float) -> None:
    """Let any host write again if the writer was a process of this host that has ended."""
    with ledger.file.transaction() as db:
        holder = WRITER.load(db)
        if holder is None or ledger.batches.any_lives(now):
            return
        if Owner(holder.host, holder.boot_id, holder.pid, holder.pid_started).lives() is False:
            release_writer(db, ledger.file.owner)

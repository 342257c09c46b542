"""The ledger: the authoritative record of every structure of a campaign, in one SQLite file."""

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from oact_dagster.ledger.connection import transaction
from oact_dagster.ledger.endings import close_attempt, complete, move_structure
from oact_dagster.ledger.failures import count_failures, mark_undone
from oact_dagster.ledger.ledger_file import chunks, marks, storable
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.predicates import (
    FAILED,
    FEWER_FAILURES,
    GOOD_NUMBER,
    HAS_OPEN_ATTEMPT,
    HAS_RESULT,
    OPEN,
    REACHABLE,
)
from oact_dagster.ledger.quality import JudgedResult
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.rows import STRUCTURE_COLUMNS, structure_of
from oact_dagster.ledger.schema import NO_RESULT
from oact_dagster.ledger.states import (
    FAILED_STATUSES,
    AttemptRecord,
    Claim,
    Ending,
    NewStructure,
    Place,
    Preparation,
    Rejection,
    Status,
)
from oact_dagster.ledger.writable_file import WritableFile
from oact_dagster.ledger.writer import release_writer, show_writer, take_writer


class Ledger(LedgerReader):
    """A campaign's ledger, open for writing. Each method is one transaction; times are Unix times in s.

    Args:
        path: the SQLite file.
        create: create a missing file.
        timeout: how long to wait for a lock, s.
        owner: the process that writes; by default this one.

    Raises:
        LedgerError: the file is missing or cannot be used, or another host runs batches on it.
    """

    file: WritableFile

    def __init__(
        self, path: str | Path, *, create: bool = False, timeout: float = 30.0, owner: Owner | None = None
    ) -> None:
        super().__init__(WritableFile(Path(path), create=create, timeout=timeout, owner=owner))

    def set_meta(self, key: str, value: str) -> None:
        """Set a value of the table ``meta``."""
        self.change_meta(key, lambda _: value)

    def change_meta(self, key: str, change: Callable[[str | None], str]) -> None:
        """Set a value of the table ``meta`` to ``change(present value)``; the present value may be None."""
        with self.file.transaction() as db:
            row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            old = None if row is None else str(row[0])
            if (new := change(old)) != old:
                db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, new))

    # --- the host that writes, and batches ----------------------------------------------------------------------

    def take_writer(self, owner: Owner, *, take_over: bool = False, now: float | None = None) -> None:
        """Make a process's host the one that may write; other processes of that host may write, too.

        ``take_over`` takes the ledger over from another host that was not seen for 10 minutes.

        Raises:
            LedgerError: another host holds the ledger; the message names it.
        """
        at = time.time() if now is None else now
        with transaction(self.file.connection, self.path, self.file.timeout) as db:
            take_writer(db, self.path, owner, at, take_over=take_over)
        self.file.owner = owner

    def open_batch(
        self, batch_id: str, owner: Owner, now: float | None = None, *, take_over: bool = False
    ) -> None:
        """Register the process that runs a batch, replacing an earlier one; see also :meth:`take_writer`."""
        at = time.time() if now is None else now
        with transaction(self.file.connection, self.path, self.file.timeout) as db:
            take_writer(db, self.path, owner, at, take_over=take_over)
            db.execute(
                "INSERT OR REPLACE INTO batches (id, host, boot_id, pid, pid_started, heartbeat, started_at, ended_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                (batch_id, owner.host, owner.boot_id, owner.pid, owner.pid_started, at, at),
            )
        self.file.owner = owner

    def beat(self, batch_id: str, now: float | None = None, unanswered: str = "") -> None:
        """Renew the heartbeat of a batch and of the host that writes.

        ``unanswered`` says since when and why its scheduler has not answered; it is empty if it answers.

        Raises:
            LedgerError: another host has taken the ledger over meanwhile.
        """
        at = time.time() if now is None else now
        with self.file.transaction() as db:
            db.execute(
                "UPDATE batches SET heartbeat = ?, unanswered = ? WHERE id = ?",
                (at, unanswered or None, batch_id),
            )
            show_writer(db, self.file.owner, at)

    def close_batch(self, batch_id: str, now: float | None = None) -> None:
        """End a batch; after the last live batch of a host, any host may write."""
        at = time.time() if now is None else now
        with self.file.transaction() as db:
            db.execute("UPDATE batches SET ended_at = ? WHERE id = ?", (at, batch_id))
            others = db.execute(
                "SELECT id FROM batches WHERE ended_at IS NULL AND (host = ? OR boot_id = ?)",
                (self.file.owner.host, self.file.owner.boot_id),
            ).fetchall()
            if not any(self.batches.lives(str(other["id"]), at) for other in others):
                release_writer(db, self.file.owner)

    def take_over(self, attempt: AttemptRecord, batch_id: str) -> bool:
        """Move a dead batch's attempt to another batch; False if another process was faster."""
        with self.file.transaction() as db:
            cursor = db.execute(
                # The new batch finds out again why its job waits.
                "UPDATE attempts SET batch_id = ?, pending_reason = NULL"
                " WHERE token = ? AND batch_id = ? AND state != 'closed'",
                (batch_id, attempt.token, attempt.batch_id),
            )
            return cursor.rowcount == 1

    # --- intake ----------------------------------------------------------------------------------------------

    def add_structures(
        self, structures: Iterable[NewStructure], rejections: Iterable[Rejection] = ()
    ) -> tuple[int, int]:
        """Add the accepted and the rejected rows of a CSV, in its order.

        Rows up to the last known one are skipped: a concurrent intake has added them. Returns how many accepted and how
        many rejected rows were added.
        """
        added = rejected = 0
        with self.file.transaction() as db:
            last = int(
                db.execute(
                    "SELECT MAX(COALESCE((SELECT MAX(orig_index) FROM structures), -1),"
                    " COALESCE((SELECT MAX(orig_index) FROM rejections), -1))"
                ).fetchone()[0]
            )
            for new in structures:
                if new.orig_index <= last:
                    continue
                cursor = db.execute(
                    "INSERT INTO structures (orig_index, elements, natoms, status, charge, spin, geometry, fail_count)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                    (
                        new.orig_index,
                        new.elements,
                        new.natoms,
                        Status.TO_RUN,
                        new.charge,
                        new.multiplicity,
                        new.geometry,
                    ),
                )
                db.execute(
                    "INSERT INTO structure_state (structure_id, priority, cost_rank, n_basis_functions, row_hash,"
                    " calculation_hash, annotations) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        cursor.lastrowid,
                        new.place.priority,
                        new.place.cost_rank,
                        new.place.n_basis_functions,
                        new.row_hash,
                        new.calculation_hash,
                        json.dumps(dict(new.annotations), ensure_ascii=False),
                    ),
                )
                added += 1
            for row in rejections:
                if row.orig_index <= last:
                    continue
                db.execute(
                    "INSERT INTO rejections (orig_index, line, reason, row_hash) VALUES (?, ?, ?, ?)",
                    (row.orig_index, row.line, row.reason, row.row_hash),
                )
                rejected += 1
        return added, rejected

    def set_annotations(self, annotations: Mapping[int, Mapping[str, str]]) -> None:
        """Replace the annotations of structures, given by ``orig_index``.

        A structure whose annotations change is no longer set aside: its new input may be one that can be run.
        """
        rows = [
            (json.dumps(dict(values), ensure_ascii=False), orig_index)
            for orig_index, values in annotations.items()
        ]
        where = "structure_id = (SELECT id FROM structures WHERE orig_index = ?2)"
        with self.file.transaction() as db:
            db.executemany(
                f"UPDATE structure_state SET set_aside_for = NULL WHERE {where}"
                " AND set_aside_for IS NOT NULL AND annotations IS NOT ?1",
                rows,
            )
            db.executemany(f"UPDATE structure_state SET annotations = ?1 WHERE {where}", rows)

    def set_order(self, places: Mapping[int, Place]) -> int:
        """Set the places of structures in the order, by ``orig_index``, and return how many changed."""
        with self.file.transaction() as db:
            # In an old ledger the structure may have no row there yet.
            return sum(
                db.execute(
                    "INSERT INTO structure_state (structure_id, priority, cost_rank, n_basis_functions)"
                    f" SELECT s.id, ?, ?, ? FROM structures s WHERE s.orig_index = ? AND {REACHABLE}"
                    " ON CONFLICT (structure_id) DO UPDATE SET priority = excluded.priority,"
                    " cost_rank = excluded.cost_rank, n_basis_functions = excluded.n_basis_functions"
                    " WHERE (priority, cost_rank) != (excluded.priority, excluded.cost_rank)"
                    " OR n_basis_functions IS NOT excluded.n_basis_functions",
                    (place.priority, place.cost_rank, place.n_basis_functions, orig_index),
                ).rowcount
                for orig_index, place in places.items()
            )

    # --- claims and transitions ---------------------------------------------------------------------------------

    def claim(
        self,
        batch_id: str,
        orig_indices: Sequence[int],
        *,
        statuses: Sequence[Status],
        launcher: str,
        n_cores: int,
        max_failures: int | None,
        max_losses: int | None,
        release_held: bool = False,
        settings_hash: str | None = None,
        now: float | None = None,
    ) -> list[Claim]:
        """Claim structures to run, in one transaction: no structure is ever given to two callers.

        Only structures with one of these statuses are claimed (``ready`` counts as ``to_run``), and only those with
        fewer than ``max_failures`` counted failures and ``max_losses`` lost attempts (None: no limit). Held structures
        are claimed only with ``release_held``, which releases them. ``settings_hash`` identifies the settings that
        decide what an input computes. Failures that are not counted yet are counted, see :meth:`reset`.

        A structure with an open attempt cannot be claimed. If its status was changed by hand meanwhile, it is set back
        to ``running``.

        Returns:
            The claimed structures, now ``running``, each with a new attempt; may be empty.
        """
        at = time.time() if now is None else now
        wanted = _with_ready(statuses)
        claims: list[Claim] = []
        still_open: list[tuple[int]] = []
        with self.file.transaction() as db:
            for chunk in chunks(dict.fromkeys(orig_indices)):
                if not set(FAILED_STATUSES).isdisjoint(wanted):
                    count_failures(
                        db, f"s.orig_index IN ({marks(chunk)}) AND {REACHABLE} AND {FAILED}", chunk
                    )
                rows = db.execute(
                    f"SELECT {STRUCTURE_COLUMNS},"
                    " (SELECT COALESCE(MAX(number), 0) FROM attempts a WHERE a.structure_id = s.id) AS attempts,"
                    f" {HAS_OPEN_ATTEMPT} AS open"
                    " FROM structures s LEFT JOIN structure_state st ON st.structure_id = s.id"
                    f" WHERE s.orig_index IN ({marks(chunk)}) AND {REACHABLE} AND s.status IN ({marks(wanted)})"
                    f" AND {FEWER_FAILURES} AND COALESCE(st.loss_count, 0) < ?"
                    " AND (? OR COALESCE(st.held, 0) = 0)",
                    (*chunk, *wanted, _no_limit(max_failures), _no_limit(max_losses), release_held),
                ).fetchall()
                claims += [
                    Claim(structure_of(row, self.path), row["attempts"] + 1, secrets.token_hex(8))
                    for row in rows
                    if not row["open"]
                ]
                still_open += [(int(row["id"]),) for row in rows if row["open"]]
            order = {index: place for place, index in enumerate(orig_indices)}
            claims.sort(key=lambda claim: order[claim.structure.orig_index])
            ids = [(claim.structure.id,) for claim in claims]
            db.executemany(
                f"UPDATE structures SET status = 'running', error_message = NULL, {NO_RESULT},"
                " updated_at = CURRENT_TIMESTAMP WHERE id = ?",
                ids + still_open,
            )
            if release_held:
                db.executemany("UPDATE structure_state SET held = 0 WHERE structure_id = ? AND held", ids)
            db.executemany(
                "UPDATE structure_state SET set_aside_for = NULL"
                " WHERE structure_id = ? AND set_aside_for IS NOT NULL",
                ids,
            )
            db.executemany(
                "INSERT INTO attempts (structure_id, number, token, state, batch_id, launcher, claimed_at, n_cores,"
                " settings_hash) VALUES (?, ?, ?, 'claimed', ?, ?, ?, ?, ?)",
                (
                    (c.structure.id, c.attempt, c.token, batch_id, launcher, at, n_cores, settings_hash)
                    for c in claims
                ),
            )
        return claims

    def mark_prepared(self, prepared: Sequence[Preparation]) -> None:
        """Store what was written into the folders of attempts."""
        with self.file.transaction() as db:
            db.executemany(
                "UPDATE attempts SET job_dir = ?, input_hash = ?, n_cores = ?, remedy = ?, plan = ?"
                " WHERE token = ? AND state = 'claimed'",
                (
                    (
                        one.job_dir,
                        one.input_hash,
                        one.n_cores,
                        one.remedy,
                        json.dumps(dict(one.plan)) if one.plan else None,
                        one.token,
                    )
                    for one in prepared
                ),
            )
            db.executemany(
                "UPDATE structures SET job_dir = ?, updated_at = CURRENT_TIMESTAMP"
                " WHERE id = (SELECT structure_id FROM attempts WHERE token = ?)",
                ((one.job_dir, one.token) for one in prepared),
            )

    def mark_submitted(self, job_ids: Mapping[str, str], now: float | None = None) -> None:
        """Store the job id of each token that the launcher has accepted."""
        at = time.time() if now is None else now
        with self.file.transaction() as db:
            db.executemany(
                "UPDATE attempts SET state = 'submitted', scheduler_job_id = ?, submitted_at = ?"
                " WHERE token = ? AND state = 'claimed'",
                ((job_id, at, token) for token, job_id in job_ids.items()),
            )

    def mark_running(self, tokens: Sequence[str], now: float | None = None) -> None:
        """Note that the payloads of attempts have started."""
        at = time.time() if now is None else now
        with self.file.transaction() as db:
            db.executemany(
                "UPDATE attempts SET state = 'running', started_at = ?, pending_reason = NULL"
                " WHERE token = ? AND state = 'submitted'",
                ((at, token) for token in tokens),
            )

    def mark_stuck(self, reasons: Mapping[str, str]) -> None:
        """Store, by token, why jobs may wait for ever; an empty reason clears it."""
        with self.file.transaction() as db:
            db.executemany(
                "UPDATE attempts SET pending_reason = ? WHERE token = ? AND state = 'submitted'",
                ((storable(reason) or None, token) for token, reason in reasons.items()),
            )

    def record(self, endings: Sequence[Ending]) -> set[str]:
        """Record how open attempts ended, each once: counts, status and result change together.

        If a structure's status was changed by hand meanwhile, a result is recorded all the same, and so is a failure
        unless the status is ``completed``. A lost or cancelled attempt then leaves the status unchanged.

        Returns:
            The recorded tokens, without those of attempts that were closed already, or that failed while their
            structure was completed by hand.
        """
        recorded = set()
        with self.file.transaction() as db:
            for ending in endings:
                row = db.execute(
                    "SELECT a.structure_id, a.counted, s.status FROM attempts a"
                    f" JOIN structures s ON s.id = a.structure_id WHERE a.token = ? AND {OPEN}",
                    (ending.token,),
                ).fetchone()
                if row is None:
                    continue
                # Text that UTF-8 cannot hold must not cost the endings beside it.
                if (message := storable(ending.message)) != ending.message:
                    ending = replace(ending, message=message)
                close_attempt(db, ending)
                if move_structure(db, ending, row):
                    recorded.add(ending.token)
                if ending.not_before:
                    _delay(db, row["structure_id"], ending.not_before)
        return recorded

    def restore(
        self,
        orig_index: int,
        token: str,
        statuses: Sequence[Status],
        bring_back: Callable[[], None] | None = None,
    ) -> bool:
        """Make the result of an earlier attempt the structure's result again, in place of any later one.

        Args:
            orig_index: the structure.
            token: the token of its completed attempt.
            statuses: the structure must have one of these (``ready`` counts as ``to_run``).
            bring_back: called within the transaction, which an exception rolls back.

        Returns:
            Whether the structure is completed now; False if its status has changed, or the attempt has no result.
        """
        wanted = _with_ready(statuses)
        with self.file.transaction() as db:
            row = db.execute(
                "SELECT a.structure_id, a.result FROM attempts a JOIN structures s ON s.id = a.structure_id"
                " WHERE a.token = ? AND a.outcome = 'completed' AND s.orig_index = ?"
                f" AND s.status IN ({marks(wanted)}) AND NOT {HAS_OPEN_ATTEMPT}",
                (token, orig_index, *wanted),
            ).fetchone()
            if row is None or row["result"] is None:
                return False
            result = json.loads(row["result"])
            db.execute(
                "UPDATE attempts SET undone = (token != ?) WHERE structure_id = ? AND outcome = 'completed'"
                " AND number >= (SELECT number FROM attempts WHERE token = ?)",
                (token, row["structure_id"], token),
            )
            if bring_back is not None:
                bring_back()
            complete(db, row["structure_id"], result)
            return True

    def give_back(
        self, tokens: Sequence[str], *, also_running: bool = False, not_before: float = 0.0
    ) -> list[int]:
        """Undo claims whose calculations never started: their attempts are deleted, the structures are ``to_run``.

        With ``also_running`` this includes attempts in state ``running``, whose payloads must have begun nothing.
        Before ``not_before`` the structures are not run automatically. Returns the ``orig_index`` of each.
        """
        given = []
        states = ("claimed", "submitted", "running") if also_running else ("claimed", "submitted")
        with self.file.transaction() as db:
            for token in tokens:
                row = db.execute(
                    "SELECT a.structure_id, s.orig_index FROM attempts a JOIN structures s ON s.id = a.structure_id"
                    f" WHERE a.token = ? AND a.state IN ({marks(states)})",
                    (token, *states),
                ).fetchone()
                if row is None:
                    continue
                db.execute("DELETE FROM attempts WHERE token = ?", (token,))
                # An earlier failure is no longer the structure's present one.
                mark_undone(db, "s.id = ?", (row["structure_id"],))
                # A status that was set by hand meanwhile is kept.
                db.execute(
                    "UPDATE structures SET status = 'to_run', updated_at = CURRENT_TIMESTAMP"
                    " WHERE id = ? AND status = 'running'",
                    (row["structure_id"],),
                )
                if not_before:
                    _delay(db, row["structure_id"], not_before)
                given.append(int(row["orig_index"]))
        return given

    def set_aside(self, orig_index: int, retry_key: str) -> None:
        """Note that a failed structure has no remedy left with the settings of this key."""
        with self.file.transaction() as db:
            db.execute(
                "INSERT INTO structure_state (structure_id, set_aside_for)"
                f" SELECT s.id, ? FROM structures s WHERE s.orig_index = ? AND {REACHABLE}"
                " ON CONFLICT (structure_id) DO UPDATE SET set_aside_for = excluded.set_aside_for",
                (retry_key, orig_index),
            )

    def hold(self, orig_indices: Sequence[int]) -> None:
        """Put structures on hold: they run again only when named or released."""
        self._set_held(orig_indices, held=True)

    def release(self, orig_indices: Sequence[int] | None = None) -> int:
        """Release held structures, by default all of them, and return how many."""
        if orig_indices is None:
            with self.file.transaction() as db:
                return db.execute("UPDATE structure_state SET held = 0 WHERE held != 0").rowcount
        return self._set_held(orig_indices, held=False)

    def _set_held(self, orig_indices: Sequence[int], *, held: bool) -> int:
        changed = 0
        with self.file.transaction() as db:
            for chunk in chunks(orig_indices):
                if held:
                    # In an old ledger the structures may have no rows there yet.
                    db.execute(
                        "INSERT OR IGNORE INTO structure_state (structure_id)"
                        f" SELECT id FROM structures WHERE orig_index IN ({marks(chunk)})",
                        chunk,
                    )
                changed += db.execute(
                    "UPDATE structure_state SET held = ? WHERE held != ? AND structure_id IN"
                    f" (SELECT id FROM structures WHERE orig_index IN ({marks(chunk)}))",
                    (held, held, *chunk),
                ).rowcount
        return changed

    def reset(self, statuses: Sequence[Status] = (Status.FAILED,), max_fail_count: int | None = None) -> int:
        """Set failed or timed-out structures to ``to_run``, and clear their error messages.

        Failures from an old file or set by hand, which are not in ``fail_count`` yet, are counted first, even for
        structures that are not reset. Structures with ``max_fail_count`` failures are skipped: 3 allows three attempts
        in all.

        Returns:
            How many structures were reset.

        Raises:
            ValueError: a status other than ``failed`` and ``timeout`` was given.
        """
        if not set(statuses) <= set(FAILED_STATUSES):
            raise ValueError(f"only failed and timeout can be reset, not {', '.join(statuses)}")
        where = f"s.status IN ({marks(statuses)})"
        with self.file.transaction() as db:
            count_failures(db, where, statuses)
            where, values = f"{where} AND {FEWER_FAILURES}", (*statuses, _no_limit(max_fail_count))
            mark_undone(db, where, values)
            # The user wants them to run now.
            db.execute(
                "UPDATE structure_state SET not_before = 0, set_aside_for = NULL"
                f" WHERE structure_id IN (SELECT s.id FROM structures s WHERE {where})",
                values,
            )
            return db.execute(
                f"UPDATE structures SET status = 'to_run', error_message = NULL, {NO_RESULT},"
                f" updated_at = CURRENT_TIMESTAMP WHERE id IN (SELECT s.id FROM structures s WHERE {where})",
                values,
            ).rowcount

    def set_quality(self, results: Iterable[JudgedResult], judged_for: str) -> int:
        """Store the findings of the quality rules, all or none, and return how many rows were written.

        Unchanged rows are not written, and findings on a result that is no longer the structure's are skipped.
        ``judged_for`` identifies the limits of the rules.
        """
        rows = (
            (r.attempt, ",".join(r.failed), r.judged, judged_for, r.structure_id, r.energy, r.attempt)
            for r in results
        )
        with self.file.transaction() as db:
            return db.executemany(_STORE_QUALITY, rows).rowcount


_STORE_QUALITY = (
    "INSERT INTO quality (structure_id, attempt, failed, judged, judged_for)"
    f" SELECT s.id, ?, ?, ?, ? FROM structures s WHERE s.id = ? AND {HAS_RESULT} AND s.final_energy IS ?"
    f" AND ? = COALESCE({GOOD_NUMBER}, 0)"
    " ON CONFLICT (structure_id) DO UPDATE SET attempt = excluded.attempt, failed = excluded.failed,"
    " judged = excluded.judged, judged_for = excluded.judged_for"
    " WHERE (quality.attempt, quality.failed, quality.judged, quality.judged_for)"
    " IS NOT (excluded.attempt, excluded.failed, excluded.judged, excluded.judged_for)"
)


def _delay(db: sqlite3.Connection, structure_id: int, until: float) -> None:
    """Keep a structure from being run automatically before a time."""
    db.execute(
        "INSERT INTO structure_state (structure_id, not_before) VALUES (?, ?)"
        " ON CONFLICT (structure_id) DO UPDATE SET not_before = excluded.not_before",
        (structure_id, until),
    )


def _with_ready(statuses: Sequence[Status]) -> list[Status]:
    """The statuses, with ``ready`` if ``to_run`` is among them."""
    return [*statuses, Status.READY] if Status.TO_RUN in statuses else list(statuses)


def _no_limit(value: int | None) -> int:
    return 2**62 if value is None else value

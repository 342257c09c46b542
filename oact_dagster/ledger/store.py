"""The ledger: the truth about every structure of a campaign, in one SQLite file."""

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
    """One campaign's ledger, open for writing. Each of its methods is one transaction; times are Unix times in s.

    Args:
        path: the SQLite file.
        create: make it when it is missing.
        timeout: how long a locked file is waited for, s.
        owner: who writes; this process where it is not given.

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
        """Set a value of the table ``meta`` to what follows from the one that is there; nothing comes between.

        Args:
            key: of the value.
            change: called with the present value, None where there is none.
        """
        with self.file.transaction() as db:
            row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            now = None if row is None else str(row[0])
            if (then := change(now)) != now:
                db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, then))

    # --- the host that writes, and batches ----------------------------------------------------------------------

    def take_writer(self, owner: Owner, *, take_over: bool = False, now: float | None = None) -> None:
        """Make a process's host the one that may write; other processes of that host may write beside it.

        Args:
            owner: the process that will run batches.
            take_over: from another host that was not seen for 10 minutes.
            now: the time.

        Raises:
            LedgerError: another host has it; it is named, with the time since when.
        """
        at = time.time() if now is None else now
        with transaction(self.file.connection, self.path, self.file.timeout) as db:
            take_writer(db, self.path, owner, at, take_over=take_over)
        self.file.owner = owner

    def open_batch(
        self, batch_id: str, owner: Owner, now: float | None = None, *, take_over: bool = False
    ) -> None:
        """Enter the process that runs a batch; a batch of this id that ran before is taken over.

        Its host is then the one that may write, see :meth:`take_writer`.
        """
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
        """Show that a batch's process lives, and with it the host that writes.

        Args:
            batch_id: of the batch.
            now: Unix time, s.
            unanswered: since when and why its scheduler does not answer; empty while it does.

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
        """A batch's process has no open attempt any more; the last one of a host lets any host write."""
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
        """Make a dead batch's attempt ours; False when another process was faster."""
        with self.file.transaction() as db:
            cursor = db.execute(
                # Why its job waits is looked at anew.
                "UPDATE attempts SET batch_id = ?, pending_reason = NULL"
                " WHERE token = ? AND batch_id = ? AND state != 'closed'",
                (batch_id, attempt.token, attempt.batch_id),
            )
            return cursor.rowcount == 1

    # --- intake ----------------------------------------------------------------------------------------------

    def add_structures(
        self, structures: Iterable[NewStructure], rejections: Iterable[Rejection] = ()
    ) -> tuple[int, int]:
        """Add rows to run and rows refused, in one transaction.

        Rows are added in the order of the CSV, so one at or before the last row that is there is known already,
        by an intake that ran at the same time, and is left alone: no row is ever there twice.

        Returns:
            How many rows to run and how many refused ones were added.
        """
        added = refused = 0
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
                refused += 1
        return added, refused

    def set_annotations(self, annotations: Mapping[int, Mapping[str, str]]) -> None:
        """Replace the annotations of structures, by ``orig_index``; others are left alone.

        Of one that gets others, what was decided on a next attempt is forgotten: its input may be one that can be run
        now.
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
        """Give structures other places in the order, by ``orig_index``; unknown ones are passed over.

        Returns:
            How many have another place now.
        """
        with self.file.transaction() as db:
            # A structure of an old ledger has no row there yet.
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
        """Make structures ours to run, all in one transaction: no structure is ever given to two callers.

        Args:
            batch_id: who claims.
            orig_indices: the structures wanted.
            statuses: those with another status are left alone (``ready`` counts as ``to_run``).
            launcher: kind of the launcher that will run them.
            n_cores: cores of one calculation.
            max_failures: structures with as many counted failures are left alone; None for no budget.
            max_losses: likewise for lost attempts.
            release_held: claim held structures too, and release them.
            settings_hash: of the campaign's settings that decide inputs; it is kept with the attempts.
            now: the time of the claim.

        A structure whose attempt is open is left to whoever follows that one, also when its status was changed by hand
        meanwhile: it says ``running`` again. A failure that is not counted yet is counted, see :meth:`reset`.

        Returns:
            Those that are now ``running``, each with a new attempt; an empty list when there are none.
        """
        at = time.time() if now is None else now
        wanted = [*statuses, Status.READY] if Status.TO_RUN in statuses else list(statuses)
        claims: list[Claim] = []
        followed: list[tuple[int]] = []
        with self.file.transaction() as db:
            for chunk in chunks(dict.fromkeys(orig_indices)):
                if not {Status.FAILED, Status.TIMEOUT}.isdisjoint(wanted):
                    count_failures(
                        db,
                        f"s.orig_index IN ({marks(chunk)}) AND {REACHABLE} AND {FAILED}",
                        chunk,
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
                followed += [(int(row["id"]),) for row in rows if row["open"]]
            order = {index: place for place, index in enumerate(orig_indices)}
            claims.sort(key=lambda claim: order[claim.structure.orig_index])
            db.executemany(
                f"UPDATE structures SET status = 'running', error_message = NULL, {NO_RESULT},"
                " updated_at = CURRENT_TIMESTAMP WHERE id = ?",
                [*((claim.structure.id,) for claim in claims), *followed],
            )
            ids = [(claim.structure.id,) for claim in claims]
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
        """Keep what was written for attempts whose folder is there."""
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
        """Keep the scheduler's job id of each token that the launcher has accepted."""
        at = time.time() if now is None else now
        with self.file.transaction() as db:
            db.executemany(
                "UPDATE attempts SET state = 'submitted', scheduler_job_id = ?, submitted_at = ?"
                " WHERE token = ? AND state = 'claimed'",
                ((job_id, at, token) for token, job_id in job_ids.items()),
            )

    def mark_running(self, tokens: Sequence[str], now: float | None = None) -> None:
        """The payloads of these attempts have started."""
        at = time.time() if now is None else now
        with self.file.transaction() as db:
            db.executemany(
                "UPDATE attempts SET state = 'running', started_at = ?, pending_reason = NULL"
                " WHERE token = ? AND state = 'submitted'",
                ((at, token) for token in tokens),
            )

    def mark_stuck(self, reasons: Mapping[str, str]) -> None:
        """Keep why the jobs of these attempts may wait for ever; an empty reason is that they do not any more."""
        with self.file.transaction() as db:
            db.executemany(
                "UPDATE attempts SET pending_reason = ? WHERE token = ? AND state = 'submitted'",
                ((storable(reason) or None, token) for token, reason in reasons.items()),
            )

    def record(self, endings: Sequence[Ending]) -> set[str]:
        """Record how attempts ended, each once: counts, status and result change together.

        Args:
            endings: of attempts that are open.

        Where the structure's status was changed by hand meanwhile, a result is recorded all the same; a failure, too,
        unless it is completed by now; a lost or cancelled attempt leaves the status as it is.

        Returns:
            The tokens whose endings the structures have now; those of attempts that were closed before are left out,
            and those of failed ones whose structure was completed by hand.
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
                # What no UTF-8 can hold must not cost the endings beside it.
                if (told := storable(ending.message)) != ending.message:
                    ending = replace(ending, message=told)
                close_attempt(db, ending)
                if move_structure(db, ending, row):
                    recorded.add(ending.token)
                if ending.not_before:
                    _rest(db, row["structure_id"], ending.not_before)
        return recorded

    def restore(
        self,
        orig_index: int,
        token: str,
        statuses: Sequence[Status],
        bring_back: Callable[[], None] | None = None,
    ) -> bool:
        """Take the result of an earlier attempt as the structure's again, in place of any later one's.

        Args:
            orig_index: the structure.
            token: of its attempt that completed.
            statuses: the structure must have one of these (``ready`` counts as ``to_run``).
            bring_back: called when nothing can come between any more; what it raises undoes all.

        Returns:
            Whether it is completed now; False when its status has changed, or the attempt has no result.
        """
        wanted = [*statuses, Status.READY] if Status.TO_RUN in statuses else list(statuses)
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
        """Undo claims of which no calculation was ever started: the structures are ``to_run`` again.

        Args:
            tokens: of the attempts.
            also_running: those whose jobs ran, too; it is certain that their payloads began nothing.
            not_before: Unix time before which nothing takes the structures by itself, s.

        Returns:
            ``orig_index`` of the structures given back.
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
                # It is to be run from now on, and does not fail any more.
                mark_undone(db, "s.id = ?", (row["structure_id"],))
                # One whose status was set by hand meanwhile keeps that.
                db.execute(
                    "UPDATE structures SET status = 'to_run', updated_at = CURRENT_TIMESTAMP"
                    " WHERE id = ? AND status = 'running'",
                    (row["structure_id"],),
                )
                if not_before:
                    _rest(db, row["structure_id"], not_before)
                given.append(int(row["orig_index"]))
        return given

    def set_aside(self, orig_index: int, retry_key: str) -> None:
        """Note that nothing is left to try for a structure that failed, with the settings of this key."""
        with self.file.transaction() as db:
            db.execute(
                "INSERT INTO structure_state (structure_id, set_aside_for)"
                f" SELECT s.id, ? FROM structures s WHERE s.orig_index = ? AND {REACHABLE}"
                " ON CONFLICT (structure_id) DO UPDATE SET set_aside_for = excluded.set_aside_for",
                (retry_key, orig_index),
            )

    def hold(self, orig_indices: Sequence[int]) -> None:
        """Hold structures: only a run that names them, or a release, runs them again."""
        self._set_held(orig_indices, held=True)

    def release(self, orig_indices: Sequence[int] | None = None) -> int:
        """Release held structures (all of them when none are named).

        Returns:
            How many were released.
        """
        if orig_indices is None:
            with self.file.transaction() as db:
                return db.execute("UPDATE structure_state SET held = 0 WHERE held != 0").rowcount
        return self._set_held(orig_indices, held=False)

    def _set_held(self, orig_indices: Sequence[int], *, held: bool) -> int:
        changed = 0
        with self.file.transaction() as db:
            for chunk in chunks(orig_indices):
                if held:
                    # Structures of an old ledger have no row there yet.
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

        Each of their failures is in ``fail_count`` afterwards, once: those that were recorded are already, those of an
        old file and those set by hand are counted here; also of the structures that are left as they are.

        Args:
            statuses: ``failed``, ``timeout`` or both.
            max_fail_count: structures with as many failures are left as they are; 3 gives three attempts in all.

        Returns:
            How many are ``to_run`` now.

        Raises:
            ValueError: another status.
        """
        if not set(statuses) <= {Status.FAILED, Status.TIMEOUT}:
            raise ValueError(f"only failed and timeout can be reset, not {', '.join(statuses)}")
        where = f"s.status IN ({marks(statuses)})"
        with self.file.transaction() as db:
            count_failures(db, where, statuses)
            where, values = f"{where} AND {FEWER_FAILURES}", (*statuses, _no_limit(max_fail_count))
            mark_undone(db, where, values)
            # Whoever resets them wants them to be run now.
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
        """Keep what the rules said of results, all or none; only what differs is written.

        What was said of a result that is not the structure's any more is passed over.

        Args:
            results: what was said.
            judged_for: names the limits.

        Returns:
            How many rows were written.
        """
        with self.file.transaction() as db:
            return db.executemany(
                _KEEP,
                (
                    (
                        one.attempt,
                        ",".join(one.failed),
                        one.judged,
                        judged_for,
                        one.structure_id,
                        one.energy,
                        one.attempt,
                    )
                    for one in results
                ),
            ).rowcount


_KEEP = (
    "INSERT INTO quality (structure_id, attempt, failed, judged, judged_for)"
    f" SELECT s.id, ?, ?, ?, ? FROM structures s WHERE s.id = ? AND {HAS_RESULT} AND s.final_energy IS ?"
    f" AND ? = COALESCE({GOOD_NUMBER}, 0)"
    " ON CONFLICT (structure_id) DO UPDATE SET attempt = excluded.attempt, failed = excluded.failed,"
    " judged = excluded.judged, judged_for = excluded.judged_for"
    " WHERE (quality.attempt, quality.failed, quality.judged, quality.judged_for)"
    " IS NOT (excluded.attempt, excluded.failed, excluded.judged, excluded.judged_for)"
)


def _rest(db: sqlite3.Connection, structure_id: int, until: float) -> None:
    """Let nothing take a structure by itself before a Unix time, s."""
    db.execute(
        "INSERT INTO structure_state (structure_id, not_before) VALUES (?, ?)"
        " ON CONFLICT (structure_id) DO UPDATE SET not_before = excluded.not_before",
        (structure_id, until),
    )


def _no_limit(value: int | None) -> int:
    return 2**62 if value is None else value

"""The ledger: the truth about every structure of a campaign, in one SQLite file."""

import contextlib
import json
import secrets
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from oact_dagster.ledger.chunks import chunks, marks
from oact_dagster.ledger.connection import connect, transaction
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.reading import LedgerReader
from oact_dagster.ledger.rows import (
    STRUCTURE_COLUMNS,
    structure_of,
)
from oact_dagster.ledger.states import (
    Claim,
    Ending,
    NewStructure,
    OpenAttempt,
    Outcome,
    Rejection,
    Status,
)


class Ledger(LedgerReader):
    """One campaign's ledger. Every method is one transaction; times are Unix times in s.

    Args:
        path: the SQLite file.
        create: make it when it is missing.
        timeout: how long a locked file is waited for, s.

    Raises:
        LedgerError: the file is missing or cannot be used.
    """

    def __init__(self, path: str | Path, *, create: bool = False, timeout: float = 30.0) -> None:
        super().__init__(Path(path), connect(Path(path), create=create, timeout=timeout))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Bring the journal back into the file, so that it alone can be copied, and close it."""
        # Where another process reads or writes, the last one to close brings it back.
        with contextlib.suppress(sqlite3.OperationalError):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def _transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        return transaction(self._connection)

    # --- what the ledger knows of the campaign -------------------------------------------------------------

    def set_meta(self, key: str, value: str) -> None:
        """Set a value of the table ``meta``."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

    def fix_level_of_theory(self, level: Mapping[str, Any]) -> None:
        """Keep the level of theory of the first submit; later ones must be the same.

        Raises:
            LedgerError: the ledger's results are of another level; both are in the text.
        """
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO meta (key, value) VALUES ('level_of_theory', ?)",
                (json.dumps(level, sort_keys=True),),
            )
        self.check_level_of_theory(level)

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
        with self._transaction() as db:
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
                    "INSERT INTO structure_state (structure_id, priority, row_hash, calculation_hash, annotations)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (
                        cursor.lastrowid,
                        new.priority,
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
        """Replace the annotations of structures, by ``orig_index``; others are left alone."""
        with self._transaction() as db:
            db.executemany(
                "UPDATE structure_state SET annotations = ?"
                " WHERE structure_id = (SELECT id FROM structures WHERE orig_index = ?)",
                (
                    (json.dumps(dict(values), ensure_ascii=False), orig_index)
                    for orig_index, values in annotations.items()
                ),
            )

    # --- batches ----------------------------------------------------------------------------------------------

    def open_batch(self, batch_id: str, owner: Owner, now: float | None = None) -> None:
        """Enter the process that runs a batch; a batch of this id that ran before is taken over."""
        at = time.time() if now is None else now
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO batches (id, host, boot_id, pid, pid_started, heartbeat, started_at, ended_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                (batch_id, owner.host, owner.boot_id, owner.pid, owner.pid_started, at, at),
            )

    def beat(self, batch_id: str, now: float | None = None) -> None:
        """Show that a batch's process lives."""
        with self._transaction() as db:
            db.execute("UPDATE batches SET heartbeat = ? WHERE id = ?", (now or time.time(), batch_id))

    def close_batch(self, batch_id: str, now: float | None = None) -> None:
        """A batch's process has no open attempt any more."""
        with self._transaction() as db:
            db.execute("UPDATE batches SET ended_at = ? WHERE id = ?", (now or time.time(), batch_id))

    def take_over(self, attempt: OpenAttempt, batch_id: str) -> bool:
        """Make a dead batch's attempt ours; False when another process was faster."""
        with self._transaction() as db:
            cursor = db.execute(
                "UPDATE attempts SET batch_id = ? WHERE token = ? AND batch_id = ? AND state != 'closed'",
                (batch_id, attempt.token, attempt.batch_id),
            )
            return cursor.rowcount == 1

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
            now: the time of the claim.

        Returns:
            Those that are now ``running``, each with a new attempt; an empty list when there are none.
        """
        at = time.time() if now is None else now
        wanted = [*statuses, Status.READY] if Status.TO_RUN in statuses else list(statuses)
        claims = []
        with self._transaction() as db:
            for chunk in chunks(dict.fromkeys(orig_indices)):
                rows = db.execute(
                    f"SELECT {STRUCTURE_COLUMNS},"
                    " (SELECT COALESCE(MAX(number), 0) FROM attempts a WHERE a.structure_id = s.id) AS attempts"
                    " FROM structures s LEFT JOIN structure_state st ON st.structure_id = s.id"
                    f" WHERE s.orig_index IN ({marks(chunk)}) AND s.status IN ({marks(wanted)})"
                    " AND COALESCE(s.fail_count, 0) < ? AND COALESCE(st.loss_count, 0) < ?"
                    " AND (? OR COALESCE(st.held, 0) = 0)",
                    (*chunk, *wanted, _no_limit(max_failures), _no_limit(max_losses), release_held),
                ).fetchall()
                claims += [
                    Claim(structure_of(row), row["attempts"] + 1, secrets.token_hex(8)) for row in rows
                ]
            order = {index: place for place, index in enumerate(orig_indices)}
            claims.sort(key=lambda claim: order[claim.structure.orig_index])
            db.executemany(
                f"UPDATE structures SET status = 'running', error_message = NULL, {_NO_RESULT},"
                " updated_at = CURRENT_TIMESTAMP WHERE id = ?",
                ((claim.structure.id,) for claim in claims),
            )
            if release_held:
                db.executemany(
                    "UPDATE structure_state SET held = 0 WHERE structure_id = ? AND held",
                    ((claim.structure.id,) for claim in claims),
                )
            db.executemany(
                "INSERT INTO attempts (structure_id, number, token, state, batch_id, launcher, claimed_at, n_cores)"
                " VALUES (?, ?, ?, 'claimed', ?, ?, ?, ?)",
                ((c.structure.id, c.attempt, c.token, batch_id, launcher, at, n_cores) for c in claims),
            )
        return claims

    def mark_prepared(self, prepared: Sequence[tuple[str, str, str]]) -> None:
        """Keep ``(token, job folder, input hash)`` of attempts whose folder is written."""
        with self._transaction() as db:
            db.executemany(
                "UPDATE attempts SET job_dir = ?, input_hash = ? WHERE token = ? AND state = 'claimed'",
                ((folder, digest, token) for token, folder, digest in prepared),
            )
            db.executemany(
                "UPDATE structures SET job_dir = ?, updated_at = CURRENT_TIMESTAMP"
                " WHERE id = (SELECT structure_id FROM attempts WHERE token = ?)",
                ((folder, token) for token, folder, _ in prepared),
            )

    def mark_submitted(self, job_ids: Mapping[str, str], now: float | None = None) -> None:
        """Keep the scheduler's job id of each token that the launcher has accepted."""
        at = time.time() if now is None else now
        with self._transaction() as db:
            db.executemany(
                "UPDATE attempts SET state = 'submitted', scheduler_job_id = ?, submitted_at = ?"
                " WHERE token = ? AND state = 'claimed'",
                ((job_id, at, token) for token, job_id in job_ids.items()),
            )

    def mark_running(self, tokens: Sequence[str], now: float | None = None) -> None:
        """The payloads of these attempts have started."""
        at = time.time() if now is None else now
        with self._transaction() as db:
            db.executemany(
                "UPDATE attempts SET state = 'running', started_at = ? WHERE token = ? AND state = 'submitted'",
                ((at, token) for token in tokens),
            )

    def record(self, endings: Sequence[Ending]) -> set[str]:
        """Record how attempts ended, each once: counts, status and result change together.

        Args:
            endings: of attempts that are open.

        Returns:
            The tokens that were recorded; those of attempts that were closed before are left out.
        """
        recorded = set()
        with self._transaction() as db:
            for ending in endings:
                row = db.execute(
                    "SELECT a.structure_id, a.n_cores, a.started_at FROM attempts a"
                    " JOIN structures s ON s.id = a.structure_id"
                    " WHERE a.token = ? AND a.state != 'closed' AND s.status = 'running'",
                    (ending.token,),
                ).fetchone()
                if row is None:
                    continue
                # What no UTF-8 can hold must not cost the endings beside it.
                told = None if ending.message is None else ending.message.encode(errors="replace").decode()
                ending = replace(ending, message=told)
                self._close_attempt(db, ending, row)
                self._move_structure(db, ending, int(row["structure_id"]))
                recorded.add(ending.token)
        return recorded

    @staticmethod
    def _close_attempt(db: sqlite3.Connection, ending: Ending, row: sqlite3.Row) -> None:
        result = ending.result
        counted = ending.outcome in (Outcome.FAILED, Outcome.TIMEOUT)
        db.execute(
            "UPDATE attempts SET state = 'closed', outcome = ?, failure_class = ?, message = ?, counted = ?,"
            " host = COALESCE(?, host), started_at = COALESCE(?, started_at), ended_at = ?, elapsed = ?,"
            " n_cores = COALESCE(?, n_cores), result = ? WHERE token = ?",
            (
                ending.outcome,
                ending.failure_class,
                ending.message,
                counted,
                ending.host,
                ending.started_at,
                ending.ended_at,
                ending.elapsed,
                result.n_cores if result is not None else ending.n_cores,
                None if result is None else json.dumps(asdict(result)),
                ending.token,
            ),
        )

    @staticmethod
    def _move_structure(db: sqlite3.Connection, ending: Ending, structure_id: int) -> None:
        result = ending.result
        if ending.outcome is Outcome.COMPLETED:
            if result is None:
                raise ValueError(f"attempt {ending.token} is completed and has no result")
            db.execute(
                "UPDATE structures SET status = 'completed', error_message = NULL, final_energy = ?, max_forces = ?,"
                " scf_steps = ?, wall_time = ?, n_cores = ?, updated_at = CURRENT_TIMESTAMP WHERE id = ?",
                (
                    result.final_energy,
                    result.max_forces,
                    result.scf_steps,
                    result.wall_time,
                    result.n_cores,
                    structure_id,
                ),
            )
        elif ending.outcome in (Outcome.FAILED, Outcome.TIMEOUT):
            db.execute(
                "UPDATE structures SET status = ?, error_message = ?,"
                f" fail_count = COALESCE(fail_count, 0) + 1, {_NO_RESULT},"
                " updated_at = CURRENT_TIMESTAMP WHERE id = ?",
                (ending.outcome, ending.message, structure_id),
            )
        else:
            db.execute(
                f"UPDATE structures SET status = 'to_run', error_message = ?, {_NO_RESULT},"
                " updated_at = CURRENT_TIMESTAMP WHERE id = ?",
                (ending.message, structure_id),
            )
            if ending.outcome is Outcome.LOST:
                # A structure of an old ledger has no row there yet.
                db.execute(
                    "INSERT INTO structure_state (structure_id, loss_count) VALUES (?, 1)"
                    " ON CONFLICT (structure_id) DO UPDATE SET loss_count = loss_count + 1",
                    (structure_id,),
                )

    def give_back(self, tokens: Sequence[str]) -> list[int]:
        """Undo claims of which no calculation was ever started: the structures are ``to_run`` again.

        Returns:
            ``orig_index`` of the structures given back.
        """
        given = []
        with self._transaction() as db:
            for token in tokens:
                row = db.execute(
                    "SELECT a.structure_id, s.orig_index FROM attempts a JOIN structures s ON s.id = a.structure_id"
                    " WHERE a.token = ? AND a.state IN ('claimed', 'submitted') AND s.status = 'running'",
                    (token,),
                ).fetchone()
                if row is None:
                    continue
                db.execute("DELETE FROM attempts WHERE token = ?", (token,))
                db.execute(
                    "UPDATE structures SET status = 'to_run', updated_at = CURRENT_TIMESTAMP WHERE id = ?",
                    (row["structure_id"],),
                )
                given.append(int(row["orig_index"]))
        return given

    def hold(self, orig_indices: Sequence[int]) -> None:
        """Hold structures: only a run that names them, or a release, runs them again."""
        self._set_held(orig_indices, held=True)

    def release(self, orig_indices: Sequence[int] | None = None) -> int:
        """Release held structures (all of them when none are named).

        Returns:
            How many were released.
        """
        if orig_indices is None:
            with self._transaction() as db:
                return db.execute("UPDATE structure_state SET held = 0 WHERE held").rowcount
        return self._set_held(orig_indices, held=False)

    def _set_held(self, orig_indices: Sequence[int], *, held: bool) -> int:
        changed = 0
        with self._transaction() as db:
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


_NO_RESULT = "final_energy = NULL, max_forces = NULL, scf_steps = NULL, wall_time = NULL, n_cores = NULL"


def _no_limit(value: int | None) -> int:
    return 2**62 if value is None else value

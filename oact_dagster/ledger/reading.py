"""Reading the ledger: structures, attempts, batches."""

import heapq
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from oact_dagster.ledger.chunks import chunks, marks
from oact_dagster.ledger.connection import LedgerError
from oact_dagster.ledger.figures import set_aside_query
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.quality import LedgerQuality
from oact_dagster.ledger.rows import (
    ATTEMPT_COLUMNS,
    REACHABLE,
    STORED_COLUMNS,
    STRUCTURE_COLUMNS,
    attempt_of,
    open_attempt_of,
    stored_of,
    structure_of,
)
from oact_dagster.ledger.rows import GOOD as _GOOD
from oact_dagster.ledger.states import (
    AttemptRecord,
    OpenAttempt,
    Rejection,
    Status,
    StoredStructure,
    StructureRecord,
)
from oact_dagster.ledger.writer import HEARTBEAT_LIMIT_S, WRITER_KEY, Writer, parse_writer

__all__ = ["HEARTBEAT_LIMIT_S", "LedgerReader"]

_ROWS_AT_ONCE: Final = 1000


class LedgerReader(LedgerQuality):
    """What can be asked of a ledger.

    Args:
        path: the SQLite file, for messages.
        connection: to it.
        timeout: how long a locked file is waited for, s.
    """

    def meta(self, key: str) -> str | None:
        """A value of the table ``meta``, or None."""
        row = self._one("SELECT value FROM meta WHERE key = ?", (key,))
        return None if row is None else str(row[0])

    def writer(self) -> Writer | None:
        """The host that runs batches on this ledger now; None when there is none."""
        text = self.meta(WRITER_KEY)
        return None if text is None else parse_writer(text)

    def check_level_of_theory(self, level: Mapping[str, Any]) -> None:
        """Compare with the level of theory of the ledger's results, where one is fixed.

        Raises:
            LedgerError: they differ; both are in the text.
        """
        text = self.meta("level_of_theory")
        if text is None or not self._level_binds():
            return
        kept = json.loads(text)
        differing = sorted(key for key in {*kept, *level} if kept.get(key) != level.get(key))
        if differing:
            then = ", ".join(f"{key}={kept.get(key)}" for key in differing)
            now = ", ".join(f"{key}={level.get(key)}" for key in differing)
            raise LedgerError(
                f"{self.path}: its results are of the level of theory {then}; the settings now say {now}: "
                "set that back, or start a second campaign with a ledger of its own"
            )

    def _level_binds(self) -> bool:
        """Whether there is a result of the level of theory that is kept, or one may still come."""
        return any(
            self._connection.execute(f"SELECT 1 FROM attempts WHERE {condition} LIMIT 1").fetchone()
            for condition in ("outcome = 'completed'", "state != 'closed'")
        )

    def known_rows(self) -> Iterator[tuple[int, str, str | None]]:
        """``(orig_index, row hash, annotations as JSON)`` of every row of the CSV, in its order; streamed.

        The hash is empty for a structure of an old ledger, which kept none; the annotations are None for a row
        that was refused.
        """
        for row in self._stream(
            "SELECT s.orig_index, COALESCE(st.row_hash, ''), COALESCE(st.annotations, '{}') FROM structures s"
            " LEFT JOIN structure_state st ON st.structure_id = s.id WHERE s.orig_index IS NOT NULL"
            " UNION ALL SELECT orig_index, row_hash, NULL FROM rejections ORDER BY 1"
        ):
            yield row[0], row[1], row[2]

    def rejections(self, limit: int | None = None) -> list[Rejection]:
        """The refused rows, in the order of the CSV."""
        rows = self._rows(
            "SELECT orig_index, line, reason, row_hash FROM rejections ORDER BY orig_index LIMIT ?",
            (-1 if limit is None else limit,),
        )
        return [Rejection(*row) for row in rows]

    def count_rejections(self) -> int:
        """How many rows of the CSV were refused."""
        return self._number("SELECT COUNT(*) FROM rejections")

    def same_calculations(self, limit: int) -> tuple[int, list[list[int]]]:
        """Structures that are the same calculation (elements, coordinates, charge, unpaired electrons).

        Returns:
            The number of structures that repeat another one, and the first ``limit`` groups of ``orig_index``.
        """
        groups = (
            "SELECT calculation_hash AS h, COUNT(*) AS n, MIN(structure_id) AS first FROM structure_state"
            " WHERE calculation_hash != '' GROUP BY calculation_hash HAVING COUNT(*) > 1"
        )
        extra = self._number(f"SELECT SUM(n - 1) FROM ({groups})")
        shown = []
        for row in self._rows(f"{groups} ORDER BY first LIMIT ?", (limit,)):
            members = self._rows(
                "SELECT s.orig_index FROM structures s JOIN structure_state st ON st.structure_id = s.id"
                " WHERE st.calculation_hash = ? ORDER BY s.id LIMIT 20",
                (row["h"],),
            )
            shown.append([int(member[0]) for member in members])
        return extra, shown

    def orig_indices(self) -> Iterator[int]:
        """``orig_index`` of every structure, in the order of the CSV."""
        for row in self._stream(
            "SELECT DISTINCT orig_index FROM structures WHERE orig_index IS NOT NULL ORDER BY orig_index"
        ):
            yield int(row[0])

    def indices_after(self, orig_index: int, limit: int) -> list[int]:
        """The next ``orig_index`` of structures in the order of the CSV; between two calls nothing is locked."""
        rows = self._rows(
            "SELECT DISTINCT orig_index FROM structures WHERE orig_index > ? ORDER BY orig_index LIMIT ?",
            (orig_index, limit),
        )
        return [int(row[0]) for row in rows]

    def sizes_of(self, orig_indices: Sequence[int]) -> dict[int, tuple[str, int]]:
        """``(elements, multiplicity)`` of structures by ``orig_index``, without their geometries."""
        found = {}
        for chunk in chunks(orig_indices):
            for row in self._rows(
                "SELECT s.orig_index, COALESCE(s.elements, ''), COALESCE(s.spin, 1) FROM structures s"
                f" WHERE s.orig_index IN ({marks(chunk)}) AND {REACHABLE}",
                chunk,
            ):
                found[int(row[0])] = (str(row[1]), int(row[2]))
        return found

    def structures(self, orig_indices: Sequence[int]) -> dict[int, StructureRecord]:
        """The structures with these ``orig_index``; unknown ones are left out."""
        found = {}
        for chunk in chunks(orig_indices):
            rows = self._rows(
                f"SELECT {STRUCTURE_COLUMNS} FROM structures s LEFT JOIN structure_state st ON st.structure_id = s.id"
                f" WHERE s.orig_index IN ({marks(chunk)}) AND {REACHABLE}",
                chunk,
            )
            found.update({int(row["orig_index"]): structure_of(row, self.path) for row in rows})
        return found

    # --- as the tools see them that know the table `structures` alone, by `id` ----------------------------------

    def stored(self, ids: Sequence[int]) -> dict[int, StoredStructure]:
        """The rows with these ``id``; unknown ones are left out."""
        found = {}
        for chunk in chunks(ids):
            rows = self._rows(f"SELECT {STORED_COLUMNS} FROM structures WHERE id IN ({marks(chunk)})", chunk)
            found.update({int(row["id"]): stored_of(row, self.path) for row in rows})
        return found

    def stored_by_status(self, statuses: Sequence[Status] | None = None) -> Iterator[StoredStructure]:
        """The rows with one of these statuses, or all rows, by ``id``; streamed.

        Nothing is locked in between: the caller may change the rows that it is given.
        """
        wanted = [None] if statuses is None else list(dict.fromkeys(statuses))
        yield from heapq.merge(*(self._pages(status) for status in wanted), key=lambda one: one.id)

    def _pages(self, status: Status | None) -> Iterator[StoredStructure]:
        where, values = ("1", ()) if status is None else ("status = ?", (status,))
        last = -(2**63)
        while rows := self._rows(
            f"SELECT {STORED_COLUMNS} FROM structures WHERE {where} AND id > ? ORDER BY id LIMIT ?",
            (*values, last, _ROWS_AT_ONCE),
        ):
            yield from (stored_of(row, self.path) for row in rows)
            last = rows[-1]["id"]

    def stored_by_fail_count(
        self, min_fail_count: int = 1, limit: int | None = None
    ) -> list[StoredStructure]:
        """The rows with at least as many counted failures, those with the most first; at most ``limit``."""
        # `> 0` lets SQLite use the small index, which holds only such rows.
        where = "fail_count > 0 AND fail_count >= ?" if min_fail_count > 0 else "COALESCE(fail_count, 0) >= ?"
        rows = self._rows(
            f"SELECT {STORED_COLUMNS} FROM structures WHERE {where} ORDER BY COALESCE(fail_count, 0) DESC, id LIMIT ?",
            (min_fail_count, -1 if limit is None else limit),
        )
        return [stored_of(row, self.path) for row in rows]

    def stored_set_aside(
        self, below: int, budgets: tuple[int, int] | None = None, retry_key: str | None = None
    ) -> list[StoredStructure]:
        """The rows with fewer counted failures that are not tried any more.

        Those for whose failure nothing is left to try, and those whose budget of failures or of losses is used up.

        Args:
            below: those with as many failures and more are :meth:`stored_by_fail_count`'s.
            budgets: the most failures and losses of a structure; None where they are not known.
            retry_key: of the present settings; None: with those with which they failed.
        """
        used_up, values = set_aside_query(*budgets) if budgets is not None else ("SELECT NULL", ())
        rows = self._rows(
            f"SELECT {STORED_COLUMNS} FROM structures WHERE (id IN ({used_up}) OR status IN ('failed', 'timeout')"
            " AND id IN (SELECT structure_id FROM structure_state WHERE set_aside_for = COALESCE(?, set_aside_for)))"
            " AND COALESCE(fail_count, 0) < ? ORDER BY id",
            (*values, retry_key, below),
        )
        return [stored_of(row, self.path) for row in rows]

    def stored_with_folder(self) -> Iterator[StoredStructure]:
        """The rows that name a job folder, by ``id``; streamed."""
        rows = self._stream(f"SELECT {STORED_COLUMNS} FROM structures WHERE job_dir IS NOT NULL ORDER BY id")
        for row in rows:
            yield stored_of(row, self.path)

    def known_folders(self, folders: Sequence[str]) -> Iterator[str]:
        """Those of these folders that are a structure's, or were an attempt's."""
        for chunk in chunks(folders):
            for row in self._rows(
                f"SELECT job_dir FROM structures WHERE job_dir IN ({marks(chunk)})", tuple(chunk)
            ):
                yield str(row[0])

    def any_batch_lives(self, now: float | None = None) -> bool:
        """Tell whether any batch's process still runs."""
        rows = self._rows("SELECT id FROM batches WHERE ended_at IS NULL")
        return any(self.batch_lives(str(row[0]), now) for row in rows)

    def ids_without_index(self) -> Iterator[int]:
        """``id`` of the rows that no ``orig_index`` names; there are none but in files that others made."""
        for row in self._stream("SELECT id FROM structures WHERE orig_index IS NULL ORDER BY id"):
            yield int(row[0])

    def repeated_indices(self) -> Iterator[int]:
        """Each ``orig_index`` that several rows have; there are none but in files that others made."""
        rows = self._stream(
            "SELECT orig_index FROM structures WHERE orig_index IS NOT NULL GROUP BY orig_index HAVING COUNT(*) > 1"
            " ORDER BY orig_index"
        )
        for row in rows:
            yield int(row[0])

    # --- attempts -----------------------------------------------------------------------------------------------

    def attempts(self, orig_index: int) -> list[AttemptRecord]:
        """All attempts of a structure, the first one first."""
        rows = self._rows(
            f"SELECT {ATTEMPT_COLUMNS} FROM attempts a JOIN structures s ON s.id = a.structure_id"
            f" WHERE s.orig_index = ? AND {REACHABLE} ORDER BY a.number",
            (orig_index,),
        )
        return [attempt_of(row) for row in rows]

    def attempts_of(self, orig_indices: Sequence[int]) -> dict[int, list[AttemptRecord]]:
        """All attempts of these structures, the first ones first; those without any are left out."""
        found: dict[int, list[AttemptRecord]] = {}
        for chunk in chunks(orig_indices):
            rows = self._rows(
                f"SELECT s.orig_index AS orig_index, {ATTEMPT_COLUMNS} FROM attempts a"
                " JOIN structures s ON s.id = a.structure_id"
                f" WHERE s.orig_index IN ({marks(chunk)}) AND {REACHABLE} ORDER BY a.structure_id, a.number",
                chunk,
            )
            for row in rows:
                found.setdefault(int(row["orig_index"]), []).append(attempt_of(row))
        return found

    def count_results_by_settings(self) -> dict[str | None, int]:
        """Completed structures by the hash of the settings that their input was made with (None: not kept)."""
        rows = self._rows(
            "SELECT a.settings_hash, COUNT(*) FROM structures s LEFT JOIN attempts a ON a.structure_id = s.id"
            f" AND {_GOOD} WHERE s.status = 'completed' GROUP BY a.settings_hash"
        )
        return {row[0]: int(row[1]) for row in rows}

    def results_of_other_settings(self, settings_hash: str, limit: int | None = None) -> list[int]:
        """``orig_index`` of completed structures whose input was made with other settings than these."""
        rows = self._rows(
            "SELECT s.orig_index FROM structures s JOIN attempts a ON a.structure_id = s.id"
            f" AND {_GOOD} WHERE s.status = 'completed' AND s.orig_index IS NOT NULL"
            " AND a.settings_hash IS NOT NULL AND a.settings_hash != ? ORDER BY s.orig_index LIMIT ?",
            (settings_hash, -1 if limit is None else limit),
        )
        return [int(row[0]) for row in rows]

    def good_attempts(self, orig_indices: Sequence[int]) -> dict[int, AttemptRecord]:
        """The attempt that completed each of these structures; those without one are left out."""
        found = {}
        for chunk in chunks(orig_indices):
            rows = self._rows(
                f"SELECT s.orig_index AS orig_index, {ATTEMPT_COLUMNS} FROM attempts a"
                " JOIN structures s ON s.id = a.structure_id"
                f" WHERE s.orig_index IN ({marks(chunk)}) AND s.status = 'completed'"
                f" AND {REACHABLE} AND {_GOOD}",
                chunk,
            )
            found.update({int(row["orig_index"]): attempt_of(row) for row in rows})
        return found

    def open_attempts(self, orig_indices: Sequence[int]) -> dict[int, OpenAttempt]:
        """The attempts of these structures whose outcome is not recorded yet."""
        found = {}
        for chunk in chunks(orig_indices):
            rows = self._rows(
                "SELECT s.orig_index, a.structure_id, a.number, a.token, a.state, a.batch_id, a.launcher,"
                " a.scheduler_job_id, a.job_dir FROM attempts a JOIN structures s ON s.id = a.structure_id"
                f" WHERE a.state != 'closed' AND s.orig_index IN ({marks(chunk)}) AND {REACHABLE}",
                chunk,
            )
            found.update({int(row["orig_index"]): open_attempt_of(row) for row in rows})
        return found

    def every_open_attempt(self) -> Iterator[OpenAttempt]:
        """All attempts whose outcome is not recorded yet; streamed."""
        rows = self._stream(
            "SELECT s.orig_index, a.structure_id, a.number, a.token, a.state, a.batch_id, a.launcher,"
            " a.scheduler_job_id, a.job_dir FROM attempts a JOIN structures s ON s.id = a.structure_id"
            " WHERE a.state != 'closed' AND s.orig_index IS NOT NULL ORDER BY a.batch_id"
        )
        for row in rows:
            yield open_attempt_of(row)

    def left_by_dead_batches(self, now: float | None = None) -> list[int]:
        """``orig_index`` of structures whose attempt is open and followed by nobody, in the order of the CSV."""
        batches = self._rows("SELECT DISTINCT batch_id FROM attempts WHERE state != 'closed'")
        dead = [str(row[0]) for row in batches if not self.batch_lives(str(row[0]), now)]
        found: list[int] = []
        for chunk in chunks(dead):
            rows = self._rows(
                "SELECT s.orig_index FROM attempts a JOIN structures s ON s.id = a.structure_id"
                f" WHERE a.state != 'closed' AND a.batch_id IN ({marks(chunk)}) AND s.status = 'running'"
                f" AND {REACHABLE}",
                tuple(chunk),
            )
            found += [int(row[0]) for row in rows]
        return sorted(found)

    def of_living_batches(self, orig_indices: Sequence[int], now: float | None = None) -> set[int]:
        """Those of these structures that were tried by a batch that still lives."""
        batches = self._rows("SELECT id FROM batches WHERE ended_at IS NULL")
        living = [str(row[0]) for row in batches if self.batch_lives(str(row[0]), now)]
        found: set[int] = set()
        for chunk in chunks(orig_indices) if living else ():
            rows = self._rows(
                "SELECT s.orig_index, a.batch_id FROM attempts a JOIN structures s ON s.id = a.structure_id"
                f" WHERE s.orig_index IN ({marks(chunk)}) AND {REACHABLE}",
                chunk,
            )
            found.update(int(row[0]) for row in rows if row[1] in living)
        return found

    def count_running_without_attempt(self) -> int:
        """How many structures are marked running and have no open attempt: another tool, or a hand, marked them."""
        return self._number(
            "SELECT COUNT(*) FROM structures s WHERE s.status = 'running' AND NOT EXISTS"
            " (SELECT 1 FROM attempts a WHERE a.structure_id = s.id AND a.state != 'closed')"
        )

    def completed_indices(self) -> Iterator[int]:
        """``orig_index`` of every completed structure, in the order of the CSV."""
        rows = self._stream(
            f"SELECT s.orig_index FROM structures s WHERE s.status = 'completed' AND {REACHABLE}"
            " ORDER BY s.orig_index"
        )
        for row in rows:
            yield int(row[0])

    def dead_batches(self, batch_ids: Sequence[str]) -> list[str]:
        """Those of these batches whose process is known to be gone; not those that the ledger does not know."""
        found = []
        for batch_id in batch_ids:
            row = self._one("SELECT * FROM batches WHERE id = ?", (batch_id,))
            if row is None:
                continue
            owner = Owner(row["host"], row["boot_id"], row["pid"], row["pid_started"])
            if owner.lives() is False:
                found.append(batch_id)
        return found

    def knows_batch(self, batch_id: str) -> bool:
        """Whether a batch has begun."""
        return self._one("SELECT 1 FROM batches WHERE id = ?", (batch_id,)) is not None

    def indices_of(self, tokens: Sequence[str]) -> dict[str, int]:
        """``orig_index`` of the structure of each attempt."""
        found = {}
        for chunk in chunks(tokens):
            rows = self._rows(
                "SELECT a.token, s.orig_index FROM attempts a JOIN structures s ON s.id = a.structure_id"
                f" WHERE a.token IN ({marks(chunk)})",
                chunk,
            )
            found.update({str(row[0]): int(row[1]) for row in rows})
        return found

    def completed(self) -> Iterator[sqlite3.Row]:
        """Rows of every completed structure with its good attempt, for summaries; streamed."""
        yield from self._stream(
            "SELECT s.orig_index, s.elements, s.natoms, s.charge, s.spin, s.final_energy, s.max_forces, s.scf_steps,"
            " s.wall_time, s.n_cores, s.job_dir, s.fail_count, a.number AS attempt, a.host, a.remedy, a.result,"
            " a.scheduler_job_id, a.input_hash"
            f" FROM structures s LEFT JOIN attempts a ON a.structure_id = s.id AND {_GOOD}"
            " WHERE s.status = 'completed' ORDER BY s.orig_index"
        )

    def batch_lives(self, batch_id: str, now: float | None = None) -> bool:
        """Tell whether a batch's process still runs: by its pid on this host, by its heartbeat on another."""
        row = self._one("SELECT * FROM batches WHERE id = ?", (batch_id,))
        if row is None or row["ended_at"] is not None:
            return False
        alive = Owner(row["host"], row["boot_id"], row["pid"], row["pid_started"]).lives()
        if alive is not None:
            return alive
        return (time.time() if now is None else now) - float(row["heartbeat"]) < HEARTBEAT_LIMIT_S

    def unanswered(self, now: float | None = None) -> str:
        """Since when and why the scheduler does not answer, as the first live batch has found; empty while it does."""
        rows = self._rows(
            # They begin with the scheduler's name and the time.
            "SELECT id, unanswered FROM batches WHERE ended_at IS NULL AND unanswered IS NOT NULL ORDER BY unanswered"
        )
        return next((str(row[1]) for row in rows if self.batch_lives(str(row[0]), now)), "")

    def unstarted(self, batch_id: str) -> list[str]:
        """Tokens of a batch's open attempts whose payload has not started."""
        rows = self._rows(
            "SELECT token FROM attempts WHERE batch_id = ? AND state != 'closed' AND state IN ('claimed', 'submitted')",
            (batch_id,),
        )
        return [str(row[0]) for row in rows]

"""The structures of a ledger."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from oact_dagster.ledger.figures import set_aside_query
from oact_dagster.ledger.ledger_file import LedgerFile
from oact_dagster.ledger.predicates import FAILED, FEWER_FAILURES, HAS_RESULT, LAST, REACHABLE
from oact_dagster.ledger.rows import STORED_COLUMNS, STRUCTURE_COLUMNS, stored_of, structure_of
from oact_dagster.ledger.states import JobRecord, Status, StructureLine, StructureRecord

_ROWS_AT_ONCE: Final = 1000
_MESSAGE_SHOWN: Final = 200
"""How many characters of a message are read; a message may have a megabyte."""


@dataclass(frozen=True, slots=True)
class Structures:
    """The rows of ``structures``: by ``orig_index``, or by ``id`` for tools that know only this table."""

    file: LedgerFile

    def of(self, orig_indices: Iterable[int]) -> dict[int, StructureRecord]:
        """Structures by ``orig_index``; unknown ones are left out."""
        rows = self.file.rows_of(
            f"SELECT {STRUCTURE_COLUMNS} FROM structures s LEFT JOIN structure_state st ON st.structure_id = s.id"
            f" WHERE s.orig_index IN (...) AND {REACHABLE}",
            orig_indices,
        )
        return {int(row["orig_index"]): structure_of(row, self.file.path) for row in rows}

    def sizes_of(self, orig_indices: Iterable[int]) -> dict[int, tuple[str, int]]:
        """``(elements, multiplicity)`` by ``orig_index``; unknown structures are left out."""
        rows = self.file.rows_of(
            "SELECT s.orig_index, COALESCE(s.elements, ''), COALESCE(s.spin, 1) FROM structures s"
            f" WHERE s.orig_index IN (...) AND {REACHABLE}",
            orig_indices,
        )
        return {int(row[0]): (str(row[1]), int(row[2])) for row in rows}

    def indices(self) -> Iterator[int]:
        """``orig_index`` of every structure, in the order of the CSV; streamed."""
        return self.file.stream_integers(
            "SELECT DISTINCT orig_index FROM structures WHERE orig_index IS NOT NULL ORDER BY orig_index"
        )

    def indices_after(self, orig_index: int, limit: int) -> list[int]:
        """The next ``limit`` values of ``orig_index``; unlike a stream, it holds no lock between calls."""
        rows = self.file.rows(
            "SELECT DISTINCT orig_index FROM structures WHERE orig_index > ? ORDER BY orig_index LIMIT ?",
            (orig_index, limit),
        )
        return [int(row[0]) for row in rows]

    def completed_indices(self) -> Iterator[int]:
        """``orig_index`` of every completed structure, in the order of the CSV; streamed."""
        return self.file.stream_integers(
            f"SELECT s.orig_index FROM structures s WHERE {HAS_RESULT} AND {REACHABLE} ORDER BY s.orig_index"
        )

    def lines(self) -> Iterator[StructureLine]:
        """Every structure with data of its last attempt, in the order of the CSV; streamed, without geometries.

        Raises:
            ValueError: a status is unknown; :meth:`Figures.count_by_status` says which.
        """
        statuses = {str(status): status for status in Status}
        for row in self.file.stream(
            "SELECT s.orig_index, COALESCE(s.elements, ''), COALESCE(s.natoms, 0), COALESCE(s.charge, 0),"
            " COALESCE(s.spin, 1), s.status, s.final_energy, s.max_forces, s.scf_steps, s.wall_time, s.n_cores,"
            f" substr(s.error_message, 1, {_MESSAGE_SHOWN}), s.job_dir, st.n_basis_functions,"
            " COALESCE(a.number, 0), a.host, a.failure_class, COALESCE(st.annotations, '{}') FROM structures s"
            " LEFT JOIN structure_state st ON st.structure_id = s.id"
            f" LEFT JOIN attempts a ON a.structure_id = s.id AND {LAST} ORDER BY s.orig_index, s.id"
        ):
            values = list(row)
            status = statuses.get(values[5])
            if status is None:
                raise ValueError(f"{self.file.path}: unknown status {values[5]!r}")
            values[5] = status
            yield StructureLine._make(values)

    # --- by `id`, for tools that know only the table `structures` -------------------------------------------------

    def stored(self, ids: Iterable[int]) -> dict[int, JobRecord]:
        """Rows by ``id``; unknown ones are left out."""
        rows = self.file.rows_of(f"SELECT {STORED_COLUMNS} FROM structures WHERE id IN (...)", ids)
        return {int(row["id"]): stored_of(row, self.file.path) for row in rows}

    def stored_by_status(self, statuses: Sequence[Status] | None = None) -> Iterator[JobRecord]:
        """The rows with one of these statuses, or all rows, in the order of ``id``; read in pages.

        No lock is held between pages, so the caller may change the rows.
        """
        wanted = [None] if statuses is None else list(dict.fromkeys(statuses))
        yield from heapq.merge(*(self._pages(status) for status in wanted), key=lambda one: one.id)

    def _pages(self, status: Status | None) -> Iterator[JobRecord]:
        where, values = ("1", ()) if status is None else ("status = ?", (status,))
        last = -(2**63)
        while rows := self.file.rows(
            f"SELECT {STORED_COLUMNS} FROM structures WHERE {where} AND id > ? ORDER BY id LIMIT ?",
            (*values, last, _ROWS_AT_ONCE),
        ):
            yield from (stored_of(row, self.file.path) for row in rows)
            last = rows[-1]["id"]

    def stored_by_fail_count(self, min_fail_count: int = 1, limit: int | None = None) -> list[JobRecord]:
        """The rows with at least this many counted failures, most failures first."""
        # `> 0` lets SQLite use the small partial index.
        where = "fail_count > 0 AND fail_count >= ?" if min_fail_count > 0 else "COALESCE(fail_count, 0) >= ?"
        rows = self.file.rows(
            f"SELECT {STORED_COLUMNS} FROM structures WHERE {where} ORDER BY COALESCE(fail_count, 0) DESC, id LIMIT ?",
            (min_fail_count, -1 if limit is None else limit),
        )
        return [stored_of(row, self.file.path) for row in rows]

    def stored_set_aside(
        self, below: int, budgets: tuple[int, int] | None = None, retry_key: str | None = None
    ) -> list[JobRecord]:
        """The rows that are set aside: no remedy is left, or the budget of failures or losses is used up.

        Args:
            below: only rows with fewer counted failures; :meth:`stored_by_fail_count` has the others.
            budgets: the largest numbers of failures and of losses; None if unknown.
            retry_key: key of the present settings; None for those with which each structure failed.
        """
        used_up, values = set_aside_query(*budgets) if budgets is not None else ("SELECT NULL", ())
        rows = self.file.rows(
            f"SELECT {STORED_COLUMNS} FROM structures s WHERE (id IN ({used_up}) OR {FAILED}"
            " AND id IN (SELECT structure_id FROM structure_state WHERE set_aside_for = COALESCE(?, set_aside_for)))"
            f" AND {FEWER_FAILURES} ORDER BY id",
            (*values, retry_key, below),
        )
        return [stored_of(row, self.file.path) for row in rows]

    def stored_with_folder(self) -> Iterator[JobRecord]:
        """The rows with a job folder, in the order of ``id``; streamed."""
        for row in self.file.stream(
            f"SELECT {STORED_COLUMNS} FROM structures WHERE job_dir IS NOT NULL ORDER BY id"
        ):
            yield stored_of(row, self.file.path)

    def known_folders(self, folders: Iterable[str]) -> Iterator[str]:
        """The given folders that belong to a structure."""
        for row in self.file.rows_of("SELECT job_dir FROM structures WHERE job_dir IN (...)", folders):
            yield str(row[0])

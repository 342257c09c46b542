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
"""So many characters of a message are read; they may hold a megabyte."""


@dataclass(frozen=True, slots=True)
class Structures:
    """The rows of ``structures``: by ``orig_index``, and by ``id`` for the tools that know this table alone."""

    file: LedgerFile

    def of(self, orig_indices: Iterable[int]) -> dict[int, StructureRecord]:
        """The structures with these ``orig_index``; unknown ones are left out."""
        rows = self.file.rows_of(
            f"SELECT {STRUCTURE_COLUMNS} FROM structures s LEFT JOIN structure_state st ON st.structure_id = s.id"
            f" WHERE s.orig_index IN (...) AND {REACHABLE}",
            orig_indices,
        )
        return {int(row["orig_index"]): structure_of(row, self.file.path) for row in rows}

    def sizes_of(self, orig_indices: Iterable[int]) -> dict[int, tuple[str, int]]:
        """``(elements, multiplicity)`` of structures by ``orig_index``, without their geometries."""
        rows = self.file.rows_of(
            "SELECT s.orig_index, COALESCE(s.elements, ''), COALESCE(s.spin, 1) FROM structures s"
            f" WHERE s.orig_index IN (...) AND {REACHABLE}",
            orig_indices,
        )
        return {int(row[0]): (str(row[1]), int(row[2])) for row in rows}

    def indices(self) -> Iterator[int]:
        """``orig_index`` of every structure, in the order of the CSV; streamed."""
        for row in self.file.stream(
            "SELECT DISTINCT orig_index FROM structures WHERE orig_index IS NOT NULL ORDER BY orig_index"
        ):
            yield int(row[0])

    def indices_after(self, orig_index: int, limit: int) -> list[int]:
        """The next ``orig_index`` of structures in the order of the CSV; between two calls nothing is locked."""
        rows = self.file.rows(
            "SELECT DISTINCT orig_index FROM structures WHERE orig_index > ? ORDER BY orig_index LIMIT ?",
            (orig_index, limit),
        )
        return [int(row[0]) for row in rows]

    def completed_indices(self) -> Iterator[int]:
        """``orig_index`` of every completed structure, in the order of the CSV; streamed."""
        for row in self.file.stream(
            f"SELECT s.orig_index FROM structures s WHERE {HAS_RESULT} AND {REACHABLE} ORDER BY s.orig_index"
        ):
            yield int(row[0])

    def lines(self) -> Iterator[StructureLine]:
        """Every structure with what its last attempt tells, in the order of the CSV; streamed, without geometries.

        Raises:
            LedgerError: the ledger cannot be read.
            ValueError: a status is none of ours; :meth:`Figures.count_by_status` names it.
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

    # --- as the tools see them that know the table `structures` alone, by `id` ----------------------------------

    def stored(self, ids: Iterable[int]) -> dict[int, JobRecord]:
        """The rows with these ``id``; unknown ones are left out."""
        rows = self.file.rows_of(f"SELECT {STORED_COLUMNS} FROM structures WHERE id IN (...)", ids)
        return {int(row["id"]): stored_of(row, self.file.path) for row in rows}

    def stored_by_status(self, statuses: Sequence[Status] | None = None) -> Iterator[JobRecord]:
        """The rows with one of these statuses, or all rows, by ``id``; streamed.

        Nothing is locked in between: the caller may change the rows that it is given.
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
        """The rows with at least as many counted failures, those with the most first; at most ``limit``."""
        # `> 0` lets SQLite use the small index, which holds only such rows.
        where = "fail_count > 0 AND fail_count >= ?" if min_fail_count > 0 else "COALESCE(fail_count, 0) >= ?"
        rows = self.file.rows(
            f"SELECT {STORED_COLUMNS} FROM structures WHERE {where} ORDER BY COALESCE(fail_count, 0) DESC, id LIMIT ?",
            (min_fail_count, -1 if limit is None else limit),
        )
        return [stored_of(row, self.file.path) for row in rows]

    def stored_set_aside(
        self, below: int, budgets: tuple[int, int] | None = None, retry_key: str | None = None
    ) -> list[JobRecord]:
        """The rows with fewer counted failures that are not tried any more.

        Those for whose failure nothing is left to try, and those whose budget of failures or of losses is used up.

        Args:
            below: those with as many failures and more are :meth:`stored_by_fail_count`'s.
            budgets: the most failures and losses of a structure; None where they are not known.
            retry_key: of the present settings; None: with those with which they failed.
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
        """The rows that name a job folder, by ``id``; streamed."""
        for row in self.file.stream(
            f"SELECT {STORED_COLUMNS} FROM structures WHERE job_dir IS NOT NULL ORDER BY id"
        ):
            yield stored_of(row, self.file.path)

    def known_folders(self, folders: Iterable[str]) -> Iterator[str]:
        """Those of these folders that are a structure's."""
        for row in self.file.rows_of("SELECT job_dir FROM structures WHERE job_dir IN (...)", folders):
            yield str(row[0])

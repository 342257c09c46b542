"""What intake has made of the rows of the CSV."""

from collections.abc import Iterator
from dataclasses import dataclass

from oact_dagster.ledger.ledger_file import LedgerFile
from oact_dagster.ledger.states import Rejection


@dataclass(frozen=True, slots=True)
class Intake:
    """The rows that were taken in or refused."""

    file: LedgerFile

    def known_rows(self) -> Iterator[tuple[int, str, str | None]]:
        """``(orig_index, row hash, annotations as JSON)`` of every row of the CSV, in its order; streamed.

        The hash is empty for a structure of an old ledger, which kept none; the annotations are None for a row
        that was refused.
        """
        for row in self.file.stream(
            "SELECT s.orig_index, COALESCE(st.row_hash, ''), COALESCE(st.annotations, '{}') FROM structures s"
            " LEFT JOIN structure_state st ON st.structure_id = s.id WHERE s.orig_index IS NOT NULL"
            " UNION ALL SELECT orig_index, row_hash, NULL FROM rejections ORDER BY 1"
        ):
            yield row[0], row[1], row[2]

    def rejections(self, limit: int | None = None) -> list[Rejection]:
        """The refused rows, in the order of the CSV."""
        rows = self.file.rows(
            "SELECT orig_index, line, reason, row_hash FROM rejections ORDER BY orig_index LIMIT ?",
            (-1 if limit is None else limit,),
        )
        return [Rejection(*row) for row in rows]

    def count_rejections(self) -> int:
        """How many rows of the CSV were refused."""
        return self.file.number("SELECT COUNT(*) FROM rejections")

    def same_calculations(self, limit: int) -> tuple[int, list[list[int]]]:
        """Structures that are the same calculation (elements, coordinates, charge, unpaired electrons).

        Returns:
            The number of structures that repeat another one, and the first ``limit`` groups of ``orig_index``.
        """
        groups = (
            "SELECT calculation_hash AS h, COUNT(*) AS n, MIN(structure_id) AS first FROM structure_state"
            " WHERE calculation_hash != '' GROUP BY calculation_hash HAVING COUNT(*) > 1"
        )
        extra = self.file.number(f"SELECT SUM(n - 1) FROM ({groups})")
        shown = []
        for row in self.file.rows(f"{groups} ORDER BY first LIMIT ?", (limit,)):
            members = self.file.rows(
                "SELECT s.orig_index FROM structures s JOIN structure_state st ON st.structure_id = s.id"
                " WHERE st.calculation_hash = ? ORDER BY s.id LIMIT 20",
                (row["h"],),
            )
            shown.append([int(member[0]) for member in members])
        return extra, shown

    def ids_without_index(self) -> Iterator[int]:
        """``id`` of the rows that no ``orig_index`` names; there are none but in files that others made."""
        for row in self.file.stream("SELECT id FROM structures WHERE orig_index IS NULL ORDER BY id"):
            yield int(row[0])

    def repeated_indices(self) -> Iterator[int]:
        """Each ``orig_index`` that several rows have; there are none but in files that others made."""
        rows = self.file.stream(
            "SELECT orig_index FROM structures WHERE orig_index IS NOT NULL GROUP BY orig_index HAVING COUNT(*) > 1"
            " ORDER BY orig_index"
        )
        for row in rows:
            yield int(row[0])

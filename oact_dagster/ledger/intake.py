"""What intake made of the rows of the CSV."""

from collections.abc import Iterator
from dataclasses import dataclass

from oact_dagster.ledger.ledger_file import LedgerFile
from oact_dagster.ledger.states import Rejection


@dataclass(frozen=True, slots=True)
class Intake:
    """The accepted and the rejected rows."""

    file: LedgerFile

    def known_rows(self) -> Iterator[tuple[int, str, str | None]]:
        """``(orig_index, row hash, annotations as JSON)`` of every row of the CSV, in its order; streamed.

        The hash is empty for structures of old ledgers, which stored none. The annotations of a rejected row are None.
        """
        for row in self.file.stream(
            "SELECT s.orig_index, COALESCE(st.row_hash, ''), COALESCE(st.annotations, '{}') FROM structures s"
            " LEFT JOIN structure_state st ON st.structure_id = s.id WHERE s.orig_index IS NOT NULL"
            " UNION ALL SELECT orig_index, row_hash, NULL FROM rejections ORDER BY 1"
        ):
            yield row[0], row[1], row[2]

    def rejections(self, limit: int | None = None) -> list[Rejection]:
        """The rejected rows, in the order of the CSV."""
        rows = self.file.rows(
            "SELECT orig_index, line, reason, row_hash FROM rejections ORDER BY orig_index LIMIT ?",
            (-1 if limit is None else limit,),
        )
        return [Rejection(*row) for row in rows]

    def count_rejections(self) -> int:
        """How many rows of the CSV were rejected."""
        return self.file.number("SELECT COUNT(*) FROM rejections")

    def same_calculations(self, limit: int) -> tuple[int, list[list[int]]]:
        """Structures that are the same calculation (elements, coordinates, charge, unpaired electrons).

        Returns:
            How many structures repeat another one, and the ``orig_index`` of the first ``limit`` groups.
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
        """``id`` of the rows without an ``orig_index``, which only foreign files have; streamed."""
        return self.file.stream_integers("SELECT id FROM structures WHERE orig_index IS NULL ORDER BY id")

    def repeated_indices(self) -> Iterator[int]:
        """Each ``orig_index`` that several rows share, which happens only in foreign files; streamed."""
        return self.file.stream_integers(
            "SELECT orig_index FROM structures WHERE orig_index IS NOT NULL GROUP BY orig_index HAVING COUNT(*) > 1"
            " ORDER BY orig_index"
        )

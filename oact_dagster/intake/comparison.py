"""Comparison of a CSV's rows with those already in the ledger."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from oact_dagster.intake.columns import Columns
from oact_dagster.intake.csv_rows import CsvRow
from oact_dagster.intake.rows import annotations, row_hash
from oact_dagster.text import pluralise

LISTED: Final = 10
"""Most rows, groups or rejections in a message."""


class Comparison:
    """Compares the rows of a CSV, one by one, with those in the ledger, which are read in the same order as needed."""

    def __init__(self, columns: Columns, known_rows: Iterator[tuple[int, str, str | None]]) -> None:
        self._columns = columns
        self._known_rows = known_rows
        self._next_known = next(known_rows, None)
        self.rows = 0
        self.known = 0
        self.uncompared = 0
        self.left_out = 0
        self.annotated_otherwise = 0
        self.changed = 0
        self.first_changed: list[int] = []
        self.changed_rejected = 0
        self.first_new: CsvRow | None = None

    def add(self, row: CsvRow) -> None:
        """Compare the next row of the CSV."""
        self.rows += 1
        known = self._next_known
        if known is None:
            if self.first_new is None:
                self.first_new = row
            return
        # An old ledger may lack a row in between, which is then left out, or hold one twice.
        self.left_out += known[0] > row.number
        while known is not None and known[0] == row.number:
            self.known += 1
            self._compare(row, known)
            known = next(self._known_rows, None)
        self._next_known = known

    def end(self) -> None:
        """Count the rows that have vanished from the end of the CSV."""
        while self._next_known is not None:
            self._note_change(self._next_known[0], rejected=False)
            self._next_known = next(self._known_rows, None)

    def told(self, csv: Path) -> str:
        """Return why the CSV is refused if rows in the ledger have changed, in one line."""
        shown = ", ".join(map(str, self.first_changed))
        unnamed = self.changed - len(self.first_changed)
        more = f" and {unnamed} more" if unnamed else ""
        mended = (
            f" {self.changed_rejected} of them had been rejected: append corrected rows at the end."
            if self.changed_rejected
            else ""
        )
        return (
            f"{csv}: {pluralise(self.changed, 'row')} that {'was' if self.changed == 1 else 'were'} taken in before"
            f" changed, moved or vanished (row {shown}{more}; rows count from 0), but a campaign's CSV may only grow at"
            " its end. Nothing was written."
            f"{mended} Restore the old rows, or start a second campaign with the new CSV: `oact init OTHER.csv`"
        )

    def _compare(self, row: CsvRow, known: tuple[int, str, str | None]) -> None:
        _, known_hash, known_annotations = known
        if not known_hash:
            self.uncompared += 1
            return
        if row_hash(row, self._columns) != known_hash:
            self._note_change(row.number, rejected=known_annotations is None)
            return
        if known_annotations is None:
            return
        now = annotations(row, self._columns)
        then: dict[str, str] = json.loads(known_annotations)
        if then == now:
            return
        if any(then[name] != now[name] for name in then.keys() & now.keys()):
            self._note_change(row.number, rejected=False)
        else:
            self.annotated_otherwise += 1

    def _note_change(self, orig_index: int, *, rejected: bool) -> None:
        self.changed += 1
        self.changed_rejected += rejected
        if len(self.first_changed) < LISTED:
            self.first_changed.append(orig_index)

"""An intake's report, and the error with which it refuses a CSV."""

from dataclasses import dataclass
from pathlib import Path

from oact_dagster.ledger.states import Rejection
from oact_dagster.text import pluralise


@dataclass(frozen=True, slots=True)
class IntakeReport:
    """What an intake found and did."""

    csv: Path
    """The CSV, or the ledger if there is no CSV."""
    size: int
    """Bytes of the CSV."""
    rows: int
    """Rows of the CSV below its header."""
    taken: int
    """New rows that can be run."""
    known: int
    """Rows that were in the ledger before, including rejected ones."""
    rejected_now: int
    rejected: int
    first_rejections: tuple[Rejection, ...]
    """The first ten of all rejected rows, in the order of the CSV."""
    structures: int
    repeats: int
    """Structures that repeat the calculation of an earlier one (elements, coordinates, charge, unpaired electrons)."""
    repeat_groups: tuple[tuple[int, ...], ...]
    """``orig_index`` of the first groups of structures with the same calculation; at most 20 of each group."""
    notes: tuple[str, ...]
    """What the user should know, one line each."""

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        told = [
            f"{self.csv}: {pluralise(self.rows, 'row')}, {self.taken} taken in, {self.known} known before, "
            f"{self.rejected_now} rejected now, {self.rejected} rejected in all"
        ]
        told += [f"row {r.orig_index} (line {r.line}) rejected: {r.reason}" for r in self.first_rejections]
        if self.rejected > len(self.first_rejections):
            told.append(f"and {pluralise(self.rejected - len(self.first_rejections), 'more rejected row')}")
        if self.repeats:
            groups = "; ".join(" = ".join(map(str, group)) for group in self.repeat_groups)
            repeating = "1 structure repeats" if self.repeats == 1 else f"{self.repeats} structures repeat"
            told.append(f"{repeating} the calculation of another one: rows {groups}")
        return [*told, *self.notes]

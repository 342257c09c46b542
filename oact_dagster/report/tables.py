"""The report's tables: structures, failures, attempts."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import FAILED_STATUSES, AttemptLine, StructureLine
from oact_dagster.orca.formula import hill_formula
from oact_dagster.orca.metals import main_metal
from oact_dagster.report.columns import Column, DerivedColumn, NumberColumn, WordColumn
from oact_dagster.text import one_line

ATTEMPTS_SHOWN: Final = 200_000
"""Most attempts in the table; the newest are shown."""

ANNOTATIONS_SHOWN: Final = 5
"""Most CSV columns in the table."""

MESSAGE_SHOWN: Final = 160
"""Most characters of a message."""

_PROGRESS_EVERY: Final = 5_000
"""Rows between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the report."""

    name: str
    """What its rows are, in the plural; also the key of its section of the page."""
    rows: int
    columns: Sequence[Column]
    note: str = ""
    """A note for the reader, in a sentence."""


def tables(
    ledger: LedgerReader,
    failed_checks: Mapping[int, tuple[str, ...]] | None = None,
    progress: Callable[[int], None] | None = None,
    most_attempts: int = ATTEMPTS_SHOWN,
    annotate: Sequence[str] = (),
) -> list[Table]:
    """Read the tables; rows are streamed, and some 150 bytes are kept of each.

    Args:
        ledger: of the campaign.
        failed_checks: names of the rules that a structure's result failed, by ``orig_index``; None if nothing was
            checked, which leaves out the column.
        progress: called with the number of rows read so far.
        most_attempts: most attempts in the table; the newest are shown.
        annotate: columns of the CSV to show with each structure, such as its name; only the first few are shown.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    attempts = ledger.history.count_attempts()
    structures, failures = _structures(failed_checks, annotate[:ANNOTATIONS_SHOWN]), _failures()
    number = 0
    for number, line in enumerate(ledger.structures.lines(), 1):
        structures.add(line)
        if line.status in FAILED_STATUSES:
            failures.add(line)
        if progress is not None and number % _PROGRESS_EVERY == 0:
            progress(number)
    tried = _attempts()
    for count, attempt in enumerate(ledger.history.attempt_lines(most_attempts), 1):
        tried.add(attempt)
        if progress is not None and count % _PROGRESS_EVERY == 0:
            progress(number + count)
    note = (
        f"The newest {most_attempts:,} of {attempts:,} attempts; the ledger holds them all."
        if attempts > most_attempts
        else ""
    )
    failed_note = "Structures that are now failed or timed out." if failures.count else ""
    return [
        Table("structures", structures.count, structures.columns),
        Table("failures", failures.count, failures.columns, failed_note),
        Table("attempts", tried.count, tried.columns, note),
    ]


_Line = TypeVar("_Line")


class _Rows(Generic[_Line]):
    """A table in the making: its columns, and the value that each takes from a line of the ledger."""

    def __init__(self, index: Callable[[_Line], int | None]) -> None:
        self.count = 0
        self.columns: list[Column] = []
        self._cells: list[tuple[Callable[[Any], None], Callable[[_Line], Any]]] = []
        title = "orig_index: row of the CSV"
        self.number(index, NumberColumn("structure", "structure", width=7, title=title, steps=True))

    def number(self, value: Callable[[_Line], float | None], column: NumberColumn) -> None:
        """Append a column of numbers."""
        self.columns.append(column)
        self._cells.append((column.add, value))

    def word(self, value: Callable[[_Line], str | None], column: WordColumn) -> None:
        """Append a column of texts."""
        self.columns.append(column)
        self._cells.append((column.add, value))

    def add(self, line: _Line) -> None:
        """Add a row."""
        self.count += 1
        for add, value in self._cells:
            add(value(line))


def _structures(
    failed_checks: Mapping[int, tuple[str, ...]] | None, annotate: Sequence[str]
) -> _Rows[StructureLine]:
    rows = _Rows[StructureLine](attrgetter("orig_index"))
    number, word = rows.number, rows.word
    formula = WordColumn("formula", "formula", 19, "sum formula in Hill's order")
    word(lambda line: hill_formula(_symbols(line)), formula)
    metal = WordColumn("metal", "metal", 2, "heaviest actinide, lanthanide or transition metal")
    word(lambda line: main_metal(_symbols(line)), metal)
    number(attrgetter("natoms"), NumberColumn("atoms", "atoms", width=4))
    number(attrgetter("charge"), NumberColumn("charge", "charge", width=3, title="in elementary charges"))
    multiplicity = NumberColumn("multiplicity", "mult.", width=3, title="multiplicity, 2S + 1")
    number(attrgetter("multiplicity"), multiplicity)
    word(attrgetter("status"), WordColumn("status", "status", 9))
    energy = NumberColumn("energy", "energy, Eh", "fixed", 6, 14, "final single point energy, Eh")
    number(attrgetter("final_energy"), energy)
    rows.columns.append(
        DerivedColumn(
            "per_atom", "energy/atom, Eh", "energy", "atoms", "/", 1.0, "fixed", 6, 12, "energy per atom, Eh"
        )
    )
    gradient_title = "largest Cartesian gradient component, Eh/bohr"
    gradient = NumberColumn("gradient", "max gradient", "fixed", 6, 9, gradient_title)
    number(attrgetter("max_forces"), gradient)
    number(attrgetter("scf_steps"), NumberColumn("scf", "SCF cycles", width=4))
    wall_time = NumberColumn("wall", "wall time", "duration", 0, 9, "h:mm:ss; in searches s (wall>3600)")
    number(attrgetter("wall_time"), wall_time)
    number(attrgetter("n_cores"), NumberColumn("cores", "cores", width=3))
    rows.columns.append(_core_hours("wall", "of its result"))
    number(attrgetter("attempts"), NumberColumn("attempts", "attempts", width=3))
    word(attrgetter("host"), WordColumn("host", "host", 14, "host of its last attempt"))
    for place, name in enumerate(annotate):
        word(partial(_annotation, name), WordColumn(f"csv_{place}", name, 16, "column of the CSV"))
    if failed_checks is not None:
        checks = WordColumn("checks", "failed checks", 24, "rules that its result failed")
        word(partial(_failed_checks, failed_checks), checks)
    word(_message, WordColumn("message", "message", 60, "why it failed"))
    return rows


def _failures() -> _Rows[StructureLine]:
    rows = _Rows[StructureLine](attrgetter("orig_index"))
    failure_class = WordColumn("class", "class", 20, "failure class of its last attempt")
    rows.word(lambda line: line.failure_class or line.status, failure_class)
    rows.word(_message, WordColumn("message", "message", 80))
    rows.number(attrgetter("attempts"), NumberColumn("attempts", "attempts", width=3))
    rows.word(attrgetter("host"), WordColumn("host", "host", 14, "host of its last attempt"))
    rows.word(attrgetter("job_dir"), WordColumn("folder", "folder", 48, "folder of its last attempt"))
    return rows


def _attempts() -> _Rows[AttemptLine]:
    rows = _Rows[AttemptLine](attrgetter("orig_index"))
    number, word = rows.number, rows.word
    ordinal = NumberColumn("number", "attempt", width=3, title="number of the attempt, from 1")
    number(attrgetter("number"), ordinal)
    outcome = WordColumn("outcome", "outcome", 9, "open: it has not ended yet")
    word(lambda line: line.outcome or "open", outcome)
    word(attrgetter("failure_class"), WordColumn("class", "class", 20, "failure class"))
    remedy = WordColumn("remedy", "remedy", 22, "what its input changed from earlier attempts")
    word(attrgetter("remedy"), remedy)
    word(attrgetter("host"), WordColumn("host", "host", 14))
    started = NumberColumn("started", "started", "time", 0, 16, "in your time zone", steps=True)
    number(attrgetter("started_at"), started)
    elapsed_title = "h:mm:ss; in searches s (elapsed>3600)"
    number(attrgetter("elapsed"), NumberColumn("elapsed", "elapsed", "duration", 0, 9, elapsed_title))
    number(attrgetter("n_cores"), NumberColumn("cores", "cores", width=3))
    rows.columns.append(_core_hours("elapsed"))
    return rows


def _core_hours(time_key: str, title: str = "") -> DerivedColumn:
    return DerivedColumn(
        "core_hours", "core-hours", time_key, "cores", "*", 1 / 3600, "significant", 3, 7, title
    )


def _symbols(line: StructureLine) -> list[str]:
    return line.elements.split(";") if line.elements else []


def _message(line: StructureLine) -> str:
    return one_line(line.message, MESSAGE_SHOWN, "…")


def _failed_checks(failed: Mapping[int, tuple[str, ...]], line: StructureLine) -> str:
    return "" if line.orig_index is None else ", ".join(failed.get(line.orig_index, ()))


def _annotation(name: str, line: StructureLine) -> str:
    return one_line(json.loads(line.annotations).get(name), MESSAGE_SHOWN, "…")


def json_parts(found: Sequence[Table], details: Iterable[str] = ("{}",)) -> Iterator[str]:
    """The data of the page as JSON, in parts.

    Args:
        found: the tables.
        details: details of single structures, as JSON in parts.
    """
    yield '{"tables": ['
    for place, table in enumerate(found):
        head = {"key": table.name, "name": table.name, "rows": table.rows}
        yield f'{", " if place else ""}{json.dumps(head)[:-1]}, "columns": ['
        for number, column in enumerate(table.columns):
            yield ", " if number else ""
            yield from column.json_parts()
        yield "]}"
    yield '], "details": '
    yield from details
    yield "}"

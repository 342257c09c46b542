"""The report's tables: structures, failures, attempts."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import AttemptLine, Status, StructureLine
from oact_dagster.orca.formula import hill_formula
from oact_dagster.orca.metals import main_metal
from oact_dagster.report.columns import Column, DerivedColumn, NumberColumn, WordColumn

ATTEMPTS_SHOWN: Final = 200_000
"""Most attempts in the table; the newest are shown."""

ANNOTATIONS_SHOWN: Final = 5
"""Most CSV columns in the table."""

_MESSAGE_SHOWN: Final = 160
"""Most characters of a message."""

TOLD_EVERY: Final = 5_000
"""Rows between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the report."""

    key: str
    """Key of its section of the page."""
    name: str
    """What its rows are, in the plural."""
    rows: int
    columns: Sequence[Column]
    note: str = ""
    """A note for the reader, in a sentence."""


def tables(
    ledger: LedgerReader,
    failed_checks: Mapping[int, tuple[str, ...]] | None = None,
    told: Callable[[int], None] | None = None,
    most_attempts: int = ATTEMPTS_SHOWN,
    annotate: Sequence[str] = (),
) -> list[Table]:
    """Read the tables; rows are streamed, and some 150 bytes are kept of each.

    Args:
        ledger: of the campaign.
        failed_checks: names of the rules that a structure's result failed, by ``orig_index``; None if nothing was
            checked, which leaves out the column.
        told: called with the number of rows read so far.
        most_attempts: most attempts in the table; the newest are shown.
        annotate: columns of the CSV to show with each structure, such as its name; only the first few are shown.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    attempts = ledger.history.count_attempts()
    structures, failures = _Structures(failed_checks, annotate[:ANNOTATIONS_SHOWN]), _Failures()
    number = 0
    for number, line in enumerate(ledger.structures.lines(), 1):
        structures.add(line)
        if line.status in (Status.FAILED, Status.TIMEOUT):
            failures.add(line)
        if told is not None and number % TOLD_EVERY == 0:
            told(number)
    tried = _Attempts()
    for count, attempt in enumerate(ledger.history.attempt_lines(most_attempts), 1):
        tried.add(attempt)
        if told is not None and count % TOLD_EVERY == 0:
            told(number + count)
    note = (
        f"The newest {most_attempts:,} of {attempts:,} attempts; the ledger holds them all."
        if attempts > most_attempts
        else ""
    )
    return [structures.table(), failures.table(), tried.table(note)]


def text_of(value: str | None, width: int = _MESSAGE_SHOWN) -> str:
    """A text from elsewhere on one line, cut."""
    line = " ".join((value or "").split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"


class _Structures:
    def __init__(self, failed_checks: Mapping[int, tuple[str, ...]] | None, annotate: Sequence[str]) -> None:
        self._checks = failed_checks
        self._annotations = [
            (name, WordColumn(f"csv_{number}", name, 16, "column of the CSV"))
            for number, name in enumerate(annotate)
        ]
        self._count = 0
        self.index = NumberColumn(
            "structure", "structure", width=7, title="orig_index: row of the CSV", steps=True
        )
        self.formula = WordColumn("formula", "formula", 19, "sum formula in Hill's order")
        self.metal = WordColumn("metal", "metal", 2, "heaviest actinide, lanthanide or transition metal")
        self.natoms = NumberColumn("atoms", "atoms", width=4)
        self.charge = NumberColumn("charge", "charge", width=3, title="in elementary charges")
        self.multiplicity = NumberColumn("multiplicity", "mult.", width=3, title="multiplicity, 2S + 1")
        self.status = WordColumn("status", "status", 9)
        self.energy = NumberColumn("energy", "energy, Eh", "fixed", 6, 14, "final single point energy, Eh")
        self.gradient = NumberColumn(
            "gradient", "max gradient", "fixed", 6, 9, "largest Cartesian gradient component, Eh/bohr"
        )
        self.cycles = NumberColumn("scf", "SCF cycles", width=4)
        self.wall = NumberColumn("wall", "wall time", "duration", 0, 9, "h:mm:ss; in searches s (wall>3600)")
        self.cores = NumberColumn("cores", "cores", width=3)
        self.attempts = NumberColumn("attempts", "attempts", width=3)
        self.host = WordColumn("host", "host", 14, "host of its last attempt")
        self.checks = WordColumn("checks", "failed checks", 24, "rules that its result failed")
        self.message = WordColumn("message", "message", 60, "why it failed")

    def add(self, line: StructureLine) -> None:
        symbols = line.elements.split(";") if line.elements else []
        self._count += 1
        self.index.add(line.orig_index)
        self.formula.add(hill_formula(symbols))
        self.metal.add(main_metal(symbols))
        self.natoms.add(line.natoms)
        self.charge.add(line.charge)
        self.multiplicity.add(line.multiplicity)
        self.status.add(line.status)
        self.energy.add(line.final_energy)
        self.gradient.add(line.max_forces)
        self.cycles.add(line.scf_steps)
        self.wall.add(line.wall_time)
        self.cores.add(line.n_cores)
        self.attempts.add(line.attempts)
        self.host.add(line.host)
        if self._checks is not None:
            failed = () if line.orig_index is None else self._checks.get(line.orig_index, ())
            self.checks.add(", ".join(failed))
        self.message.add(text_of(line.message))
        if self._annotations:
            said = json.loads(line.annotations)
            for name, column in self._annotations:
                column.add(text_of(said.get(name)))

    def table(self) -> Table:
        per_atom = DerivedColumn(
            "per_atom", "energy/atom, Eh", "energy", "atoms", "/", 1.0, "fixed", 6, 12, "energy per atom, Eh"
        )
        core_hours = DerivedColumn(
            "core_hours", "core-hours", "wall", "cores", "*", 1 / 3600, "significant", 3, 7, "of its result"
        )
        columns: list[Column] = [
            self.index, self.formula, self.metal, self.natoms, self.charge, self.multiplicity, self.status,
            self.energy, per_atom, self.gradient, self.cycles, self.wall, self.cores, core_hours, self.attempts,
            self.host, *(column for _, column in self._annotations), self.message,
        ]  # fmt: skip
        if self._checks is not None:
            columns.insert(-1, self.checks)
        return Table("structures", "structures", self._count, columns)


class _Failures:
    def __init__(self) -> None:
        self._count = 0
        self.index = NumberColumn(
            "structure", "structure", width=7, title="orig_index: row of the CSV", steps=True
        )
        self.kind = WordColumn("class", "class", 20, "failure class of its last attempt")
        self.message = WordColumn("message", "message", 80)
        self.attempts = NumberColumn("attempts", "attempts", width=3)
        self.host = WordColumn("host", "host", 14, "host of its last attempt")
        self.folder = WordColumn("folder", "folder", 48, "folder of its last attempt")

    def add(self, line: StructureLine) -> None:
        self._count += 1
        self.index.add(line.orig_index)
        self.kind.add(line.failure_class or line.status)
        self.message.add(text_of(line.message))
        self.attempts.add(line.attempts)
        self.host.add(line.host)
        self.folder.add(line.job_dir)

    def table(self) -> Table:
        columns = (self.index, self.kind, self.message, self.attempts, self.host, self.folder)
        return Table(
            "failures",
            "failures",
            self._count,
            columns,
            "Structures that are now failed or timed out." * bool(self._count),
        )


class _Attempts:
    def __init__(self) -> None:
        self._count = 0
        self.index = NumberColumn(
            "structure", "structure", width=7, title="orig_index: row of the CSV", steps=True
        )
        self.number = NumberColumn("number", "attempt", width=3, title="number of the attempt, from 1")
        self.outcome = WordColumn("outcome", "outcome", 9, "open: it has not ended yet")
        self.kind = WordColumn("class", "class", 20, "failure class")
        self.remedy = WordColumn("remedy", "remedy", 22, "what its input changed from earlier attempts")
        self.host = WordColumn("host", "host", 14)
        self.started = NumberColumn("started", "started", "time", 0, 16, "in your time zone", steps=True)
        self.elapsed = NumberColumn(
            "elapsed", "elapsed", "duration", 0, 9, "h:mm:ss; in searches s (elapsed>3600)"
        )
        self.cores = NumberColumn("cores", "cores", width=3)

    def add(self, line: AttemptLine) -> None:
        self._count += 1
        self.index.add(line.orig_index)
        self.number.add(line.number)
        self.outcome.add(line.outcome or "open")
        self.kind.add(line.failure_class)
        self.remedy.add(line.remedy)
        self.host.add(line.host)
        self.started.add(line.started_at)
        self.elapsed.add(line.elapsed)
        self.cores.add(line.n_cores)

    def table(self, note: str) -> Table:
        core_hours = DerivedColumn(
            "core_hours", "core-hours", "elapsed", "cores", "*", 1 / 3600, "significant", 3, 7
        )
        columns = (
            self.index, self.number, self.outcome, self.kind, self.remedy, self.host, self.started, self.elapsed,
            self.cores, core_hours,
        )  # fmt: skip
        return Table("attempts", "attempts", self._count, columns, note)


def json_parts(found: Sequence[Table], details: Iterable[str] = ("{}",)) -> Iterator[str]:
    """The data of the page as JSON, in parts.

    Args:
        found: the tables.
        details: details of single structures, as JSON in parts.
    """
    yield '{"tables": ['
    for place, table in enumerate(found):
        head = {"key": table.key, "name": table.name, "rows": table.rows}
        yield f'{", " if place else ""}{json.dumps(head)[:-1]}, "columns": ['
        for number, column in enumerate(table.columns):
            yield ", " if number else ""
            yield from column.json_parts()
        yield "]}"
    yield '], "details": '
    yield from details
    yield "}"

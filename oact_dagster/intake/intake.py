"""Intake of a campaign's CSV into its ledger.

The file is read twice. The first pass writes nothing: the whole file must be a well-formed CSV, and its first rows must
be those already in the ledger. The second pass checks and writes each new row, some thousand rows in one transaction.
Rows are written in the order of the CSV, so after an interruption the next intake continues where the last one stopped.
Memory does not grow with the file, since only one chunk of rows is held at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from oact_dagster.attempts.job_layout import choose_layout
from oact_dagster.errors import CsvError, IntakeRefused
from oact_dagster.intake.column_guess import GuessedColumns, guess_columns
from oact_dagster.intake.columns import Columns
from oact_dagster.intake.comparison import LISTED, Comparison
from oact_dagster.intake.csv_rows import CsvFile, CsvRow
from oact_dagster.intake.report import IntakeReport
from oact_dagster.intake.rows import annotations, check_row
from oact_dagster.intake.run_order import Order, put_in_order
from oact_dagster.ledger.states import NewStructure, Rejection
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster.text import pluralise

__all__ = ["GuessedColumns", "IntakeReport", "guess_columns", "take_in"]

CHUNK_ROWS: Final = 2000

_CHUNK_BYTES: Final = 16 << 20
"""Size of the geometries at which a chunk is written."""

MANY_STRUCTURES: Final = 100_000
"""Largest number of partitions of one asset that Dagster advises."""

IntakeProgress = Callable[[int, int], None]
"""Called with the bytes done and the total."""


def take_in(campaign: Campaign, ledger: Ledger, progress: IntakeProgress | None = None) -> IntakeReport:
    """Write the new rows of a campaign's CSV to its ledger.

    A row that cannot be calculated is rejected and does not affect the others. Progress counts the bytes of both
    passes.

    Raises:
        IntakeRefused: The CSV cannot be read, is malformed, lacks a column or has no rows, or a row in the ledger
            changed, moved or vanished; nothing has been written. Or the file changed while it was read; then rows that
            were already written stay, and the next intake compares them.
        LedgerError: The ledger cannot be written.
    """
    if campaign.csv is None:
        return _known_already(campaign, ledger)
    try:
        with CsvFile(campaign.csv) as csv:
            return _take_in(campaign, csv, ledger, progress or ignore_progress)
    except CsvError as error:
        raise IntakeRefused(str(error)) from None


def _known_already(campaign: Campaign, ledger: Ledger) -> IntakeReport:
    """Return the report for a campaign that was made from a ledger and has no CSV."""
    ordered = tuple(put_in_order(campaign, ledger))
    structures = sum(ledger.figures.count_by_status().values())
    repeats, groups = ledger.intake.same_calculations(LISTED)
    return IntakeReport(
        csv=ledger.path,
        size=0,
        rows=structures,
        taken=0,
        known=structures,
        rejected_now=0,
        rejected=ledger.intake.count_rejections(),
        first_rejections=tuple(ledger.intake.rejections(LISTED)),
        structures=structures,
        repeats=repeats,
        repeat_groups=tuple(tuple(group) for group in groups),
        notes=("csv is null: the structures are those of the ledger", *ordered),
    )


def _take_in(campaign: Campaign, csv: CsvFile, ledger: Ledger, progress: IntakeProgress) -> IntakeReport:
    columns = Columns.of(campaign, csv.columns)
    found = _compare(csv, columns, ledger, progress)
    if found.changed:
        raise IntakeRefused(found.told(csv.path))
    if not found.rows:
        raise IntakeRefused(f"{csv.path}: has a header but no rows; expected one row for each structure")
    csv.check_unchanged()
    if not found.known:
        choose_layout(ledger, found.rows)
    if found.annotated_otherwise:
        _annotate(csv, columns, ledger, found.first_new)
    ordered = tuple(put_in_order(campaign, ledger, csv, columns, found.first_new))
    taken, rejected_now = _write(csv, columns, ledger, found.first_new, Order(campaign), progress)
    progress(2 * csv.size, 2 * csv.size)
    repeats, groups = ledger.intake.same_calculations(LISTED)
    return IntakeReport(
        csv=csv.path,
        size=csv.size,
        rows=found.rows,
        taken=taken,
        known=found.known,
        rejected_now=rejected_now,
        rejected=ledger.intake.count_rejections(),
        first_rejections=tuple(ledger.intake.rejections(LISTED)),
        structures=(structures := sum(ledger.figures.count_by_status().values())),
        repeats=repeats,
        repeat_groups=tuple(tuple(group) for group in groups),
        notes=(*_notes(campaign, csv, found, structures), *ordered),
    )


def _compare(csv: CsvFile, columns: Columns, ledger: Ledger, progress: IntakeProgress) -> Comparison:
    """Read the whole file and compare its rows with those in the ledger."""
    found = Comparison(columns, ledger.intake.known_rows())
    for row in csv.rows():
        if not row.number & 0xFF:
            progress(row.offset, 2 * csv.size)
        found.add(row)
    found.end()
    return found


def _annotate(csv: CsvFile, columns: Columns, ledger: Ledger, first_new: CsvRow | None) -> None:
    """Update the known structures' annotations to the present setting ``annotate``."""
    chunk: dict[int, dict[str, str]] = {}
    for row in csv.rows():
        if first_new is not None and row.number >= first_new.number:
            break
        chunk[row.number] = annotations(row, columns)
        if len(chunk) >= CHUNK_ROWS:
            csv.check_unchanged()
            ledger.set_annotations(chunk)
            chunk = {}
    csv.check_unchanged()
    ledger.set_annotations(chunk)


def _write(
    csv: CsvFile,
    columns: Columns,
    ledger: Ledger,
    first_new: CsvRow | None,
    order: Order,
    progress: IntakeProgress,
) -> tuple[int, int]:
    """Check the new rows and write them; return how many were taken and how many rejected."""
    taken = rejected = 0
    if first_new is None:
        return taken, rejected
    for good, bad in _chunks(csv, columns, first_new, order, progress):
        # The findings of the first pass are void if the file has changed.
        csv.check_unchanged()
        added, refused = ledger.add_structures(good, bad)
        taken += added
        rejected += refused
    return taken, rejected


def _chunks(
    csv: CsvFile, columns: Columns, first_new: CsvRow, order: Order, progress: IntakeProgress
) -> Iterator[tuple[list[NewStructure], list[Rejection]]]:
    good: list[NewStructure] = []
    bad: list[Rejection] = []
    held = 0
    for row in csv.rows(first_new):
        if not row.number & 0xFF:
            progress(csv.size + row.offset, 2 * csv.size)
        result = check_row(row, columns)
        if isinstance(result, NewStructure):
            place = order.place_of(result.elements, result.multiplicity, result.place.priority)
            good.append(replace(result, place=place))
            held += len(result.geometry)
        else:
            bad.append(result)
        if len(good) + len(bad) >= CHUNK_ROWS or held >= _CHUNK_BYTES:
            yield good, bad
            good, bad, held = [], [], 0
    if good or bad:
        yield good, bad


def _notes(campaign: Campaign, csv: CsvFile, found: Comparison, structures: int) -> Iterator[str]:
    if campaign.charge_column is None:
        yield "charge_column is null: charge 0 for all structures"
    if campaign.spin_column is None:
        yield (
            "spin_column is null: no unpaired electrons in any structure; rows with an odd number of electrons "
            "are rejected"
        )
    if found.annotated_otherwise:
        yield (
            f"annotate has changed: {pluralise(found.annotated_otherwise, 'known structure', 'has', 'have')}"
            " new annotations"
        )
    if found.uncompared:
        yield (
            f"{pluralise(found.uncompared, 'structure', 'comes', 'come')} from a ledger without hashes of the rows: not"
            " compared with the CSV"
        )
    if found.left_out:
        yield (
            f"{pluralise(found.left_out, 'row', 'is', 'are')} missing in the ledger before its last row; not added"
        )
    twice = sorted({name for name in csv.columns if csv.columns.count(name) > 1})
    if twice:
        yield f"columns that appear more than once are not read: {', '.join(map(repr, twice))}"
    if structures > MANY_STRUCTURES:
        yield (
            f"{structures} structures: Dagster advises at most {MANY_STRUCTURES} partitions; split the CSV into "
            "several campaigns"
        )


def ignore_progress(done: int, in_all: int) -> None:
    """Show nothing."""

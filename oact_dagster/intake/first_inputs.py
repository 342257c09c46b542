"""Preview of a campaign's first inputs; nothing is written."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from oact_dagster.attempts.input_text import input_settings, input_text
from oact_dagster.attempts.job_layout import SHARDED_FROM, JobLayout
from oact_dagster.errors import CsvError, IntakeRefused
from oact_dagster.intake.columns import Columns
from oact_dagster.intake.csv_rows import CsvFile
from oact_dagster.intake.rows import check_row, record_of
from oact_dagster.launchers.attempt_files import INPUT_FILE
from oact_dagster.ledger.states import NewStructure, Rejection
from oact_dagster.orca.inputs.writer import check_settings
from oact_dagster.settings.campaign import Campaign


@dataclass(frozen=True, slots=True)
class DryInput:
    """The input that would be written for a row."""

    orig_index: int
    file: Path
    text: str
    charge: int
    multiplicity: int
    natoms: int
    warnings: tuple[str, ...]

    @property
    def keywords(self) -> str:
        """The ``!`` line."""
        return next(line for line in self.text.splitlines() if line.startswith("!"))


@dataclass(frozen=True, slots=True)
class DryRefusal:
    """A row that would get no input."""

    orig_index: int
    line: int
    reason: str


def first_inputs(campaign: Campaign, rows: int) -> Iterator[DryInput | DryRefusal]:
    """Yield the inputs of the first ``rows`` rows of the campaign's CSV.

    Raises:
        IntakeRefused: The CSV cannot be read, or lacks a column.
    """
    try:
        with CsvFile(campaign.csv_file) as csv:
            columns = Columns.of(campaign, csv.columns)
            all_rows = csv.rows()
            found = [(row.line, check_row(row, columns)) for row in islice(all_rows, rows)]
            large = len(found) + sum(1 for _ in islice(all_rows, SHARDED_FROM - len(found))) >= SHARDED_FROM
    except CsvError as error:
        raise IntakeRefused(str(error)) from None
    layout = JobLayout(campaign.jobs_dir, campaign.job_dir_pattern, sharded=large)
    for line, result in found:
        if isinstance(result, Rejection):
            yield DryRefusal(result.orig_index, line, result.reason)
            continue
        try:
            yield _input(campaign, layout, result)
        except ValueError as error:
            yield DryRefusal(result.orig_index, line, str(error))


def _input(campaign: Campaign, layout: JobLayout, new: NewStructure) -> DryInput:
    structure = record_of(new)
    return DryInput(
        orig_index=new.orig_index,
        file=layout.folder(structure.orig_index, structure.id) / INPUT_FILE,
        text=input_text(campaign, structure, None),
        charge=new.charge,
        multiplicity=new.multiplicity,
        natoms=new.natoms,
        warnings=tuple(check_settings(input_settings(campaign), new.elements.split(";"))),
    )

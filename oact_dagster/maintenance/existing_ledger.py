"""A campaign from an existing ledger: what its ``campaign.yaml`` must say, and whether its results can be trusted."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.errors import OactError
from oact_dagster.intake.bare_campaign import DEFAULT_PATTERN
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import JobRecord, Status
from oact_dagster.maintenance.update import folder_of
from oact_dagster.orca.outputs.reader import read_output
from oact_dagster.orca.outputs.terminations import Termination

SAME_ENERGY_EH: Final = 1e-6
"""Energies count as equal up to this difference: outputs print 12 decimals, and some tools store fewer."""

_EXAMPLES: Final = 10
_SAMPLED_ROWS: Final = 200


class FromLedgerRefused(OactError, ValueError):  # noqa: N818 - it says what happened to the ledger
    """No campaign can be made from this ledger."""


@dataclass(frozen=True, slots=True)
class Guess:
    """Where the job folders of a ledger's rows are, and what they are called."""

    jobs_dir: Path
    pattern: str
    reason: str
    elsewhere: int = 0
    """Number of rows whose folder is outside ``jobs_dir``."""
    first_elsewhere: tuple[JobRecord, ...] = ()


@dataclass(slots=True)
class ResultsChecked:
    """How many completed rows have a proof in their folders."""

    completed: int = 0
    good: int = 0
    """Rows whose output ended normally with the ledger's energy."""
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[int]] = field(default_factory=dict)
    """``orig_index`` of the first rows with each problem."""

    def add(self, problem: str | None, orig_index: int) -> None:
        """Count a row."""
        self.completed += 1
        if problem is None:
            self.good += 1
            return
        self.problems[problem] += 1
        known = self.examples.setdefault(problem, [])
        if len(known) < _EXAMPLES:
            known.append(orig_index)


def check_keys(ledger: LedgerReader) -> int:
    """Make sure that every row has a unique partition key, its ``orig_index``. Returns the number of rows.

    Raises:
        FromLedgerRefused: rows lack an ``orig_index`` or share one.
    """
    total = sum(ledger.figures.count_by_status().values())
    if not total:
        raise FromLedgerRefused(
            f"{ledger.path}: holds no structures; add some with `oact ingest CSV {ledger.path.name}`"
        )
    missing = list(islice(ledger.intake.ids_without_index(), _EXAMPLES + 1))
    if missing:
        raise FromLedgerRefused(
            f"{ledger.path}: rows without an orig_index, which names a structure's partition: id {_listed(missing)};"
            " give each row a unique one"
        )
    twice = list(islice(ledger.intake.repeated_indices(), _EXAMPLES + 1))
    if twice:
        raise FromLedgerRefused(
            f"{ledger.path}: several rows have the same orig_index, which must name one partition: {_listed(twice)};"
            " give each row a unique one, or delete the copies"
        )
    return total


def guess_folders(ledger: LedgerReader, jobs_dir: Path | None = None) -> Guess:
    """Guess from the rows where the job folders are, and how they are named.

    Args:
        ledger: its rows are streamed.
        jobs_dir: the folder of the job folders, if the user named it.

    Raises:
        FromLedgerRefused: most rows share no folder that could hold one campaign's job folders.
    """
    fallback = jobs_dir or ledger.path.absolute().parent / "jobs"
    patterns: Counter[str] = Counter()
    parents: Counter[Path] = Counter()
    for sampled, row in enumerate(ledger.structures.stored_with_folder()):
        path = Path(os.path.abspath(str(row.job_dir)))
        # The folder `jobs` also if it is sharded into `jobs/000` and so on.
        parents[path.parent.parent if path.parent.name.isdecimal() else path.parent] += 1
        if sampled < _SAMPLED_ROWS:
            found = (_pattern(path.name, "{orig_index}", row.orig_index), _pattern(path.name, "{id}", row.id))
            patterns.update(one for one in found if one is not None)
    if not parents:
        return Guess(fallback, DEFAULT_PATTERN, "no row has a job folder yet")
    parent = jobs_dir or _parent_of_most(parents)
    if parent is None:
        shown = ", ".join(str(one) for one, _ in parents.most_common(2))
        raise FromLedgerRefused(
            f"{ledger.path}: the job folders share no folder that holds only them ({shown}, ...): name one for them"
            " with --jobs-dir"
        )
    pattern, count = patterns.most_common(1)[0] if patterns else (DEFAULT_PATTERN, 0)
    sample = min(parents.total(), _SAMPLED_ROWS)
    reason = f"from {sample} rows" if count == sample else f"{count} of the first {sample} rows fit"
    elsewhere = sum(count for one, count in parents.items() if not one.is_relative_to(parent))
    first = tuple(islice(_rows_outside(ledger, parent), _EXAMPLES)) if elsewhere else ()
    return Guess(parent, pattern, reason, elsewhere, first)


def _parent_of_most(parents: Counter[Path]) -> Path | None:
    """The deepest folder that holds the job folders of more than half of the rows.

    None if that is the root, or a folder directly below it (``/home``, ``/scratch``) that does not hold job folders
    itself: other people use it, too.
    """
    below: Counter[Path] = Counter()
    for parent, count in parents.items():
        for folder in (parent, *parent.parents):
            below[folder] += count
    most = (folder for folder, count in below.items() if 2 * count > parents.total())
    deepest = max(most, key=lambda folder: len(folder.parts))
    return deepest if len(deepest.parts) > 2 or (len(deepest.parts) == 2 and deepest in parents) else None


def _rows_outside(ledger: LedgerReader, jobs_dir: Path) -> Iterator[JobRecord]:
    """Stream the rows whose folder is outside ``jobs_dir``."""
    for row in ledger.structures.stored_with_folder():
        if not Path(os.path.abspath(str(row.job_dir))).is_relative_to(jobs_dir):
            yield row


def compare_results(
    ledger: LedgerReader, layout: JobLayout, progress: Callable[[int], None] | None = None
) -> ResultsChecked:
    """Compare every completed row with the output in its folder.

    Args:
        ledger: its rows are streamed.
        layout: finds the folders that the rows do not name.
        progress: called with the number of rows compared so far.
    """
    found = ResultsChecked()
    for row in ledger.structures.stored_by_status([Status.COMPLETED]):
        found.add(result_problem(row, layout), row.orig_index or 0)
        if progress is not None:
            progress(found.completed)
    return found


def result_problem(row: JobRecord, layout: JobLayout) -> str | None:
    """Why a completed row's folder does not prove its result; None if it does."""
    if row.final_energy is None:
        return "has no energy in the ledger"
    folder = folder_of(row, layout)
    if folder is None or not folder.is_dir():
        return "its job folder is missing"
    output = read_output(folder)
    if output.file is None:
        return "its job folder holds no output"
    if output.termination is not Termination.NORMAL:
        return f"its output did not end normally ({output.termination})"
    if output.final_energy is None or abs(output.final_energy - row.final_energy) > SAME_ENERGY_EH:
        return "its output and the ledger have different energies"
    return None


def _pattern(name: str, field_name: str, number: int | None) -> str | None:
    """Put a field in place of the last occurrence of a number: ``job_42`` and 42 give ``job_{orig_index}``."""
    if number is None:
        return None
    places = [found.span() for found in re.finditer(rf"(?<!\d){number}(?!\d)", name)]
    return f"{name[: places[-1][0]]}{field_name}{name[places[-1][1] :]}" if places else None


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:_EXAMPLES])) + (", and more" if len(numbers) > _EXAMPLES else "")

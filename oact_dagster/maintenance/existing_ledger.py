"""A campaign from a ledger that is there: what its ``campaign.yaml`` must say, and what its results are worth."""

import os
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
"""Energies that differ by no more are one: outputs print 12 decimals, and tools store fewer."""

_EXAMPLES: Final = 10
_LOOKED_AT: Final = 200


class FromLedgerRefused(OactError, ValueError):  # noqa: N818 - it says what happened to the ledger
    """No campaign can be made of a ledger; the text is one line that says why, and what would be right."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What a ledger's rows say of their folders."""

    jobs_dir: Path
    pattern: str
    reason: str
    elsewhere: int = 0
    """How many rows have their folder outside ``jobs_dir``."""
    first_elsewhere: tuple[JobRecord, ...] = ()


@dataclass(slots=True)
class ResultsChecked:
    """What the completed rows are worth."""

    completed: int = 0
    good: int = 0
    """Their folder's output ended normally and holds the ledger's energy."""
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
    """Make sure that every row has a partition key of its own: its ``orig_index``.

    Returns:
        How many rows there are.

    Raises:
        FromLedgerRefused: rows lack one, or share one; they are listed.
    """
    total = sum(ledger.figures.count_by_status().values())
    if not total:
        raise FromLedgerRefused(
            f"{ledger.path}: holds no structures; `oact ingest CSV {ledger.path.name}` takes some in"
        )
    missing = list(islice(ledger.intake.ids_without_index(), _EXAMPLES + 1))
    if missing:
        raise FromLedgerRefused(
            f"{ledger.path}: rows without an orig_index, which names a structure's partition: id {_listed(missing)};"
            " give each one of its own"
        )
    twice = list(islice(ledger.intake.repeated_indices(), _EXAMPLES + 1))
    if twice:
        raise FromLedgerRefused(
            f"{ledger.path}: an orig_index that several rows have names no partition: {_listed(twice)}; give each row"
            " one of its own, or delete the copies"
        )
    return total


def guess_folders(ledger: LedgerReader, jobs_dir: Path | None = None) -> Guess:
    """Tell from the rows with a folder where the job folders are, and how they are called.

    Args:
        ledger: whose rows; they are streamed.
        jobs_dir: where the job folders are, where somebody has said so.

    Raises:
        FromLedgerRefused: most rows have no folder in common that could hold one campaign's job folders.
    """
    fallback = jobs_dir or ledger.path.absolute().parent / "jobs"
    patterns: Counter[str] = Counter()
    parents: Counter[Path] = Counter()
    looked_at = 0
    for row in ledger.structures.stored_with_folder():
        path = Path(os.path.abspath(str(row.job_dir)))
        parents[_unsharded(path.parent)] += 1
        if looked_at >= _LOOKED_AT:
            continue
        looked_at += 1
        for name, number in (("{orig_index}", row.orig_index), ("{id}", row.id)):
            found = _pattern(path.name, name, number)
            if found is not None:
                patterns[found] += 1
    if not parents:
        return Guess(fallback, DEFAULT_PATTERN, "no row has a job folder yet")
    parent = jobs_dir or _parent_of_most(parents)
    if parent is None:
        shown = ", ".join(str(one) for one, _ in parents.most_common(2))
        raise FromLedgerRefused(
            f"{ledger.path}: its rows' job folders have no folder in common that holds only them ({shown}, ...):"
            " name the one that is to hold them with --jobs-dir"
        )
    pattern, count = patterns.most_common(1)[0] if patterns else (DEFAULT_PATTERN, 0)
    told = f"from {looked_at} rows" if count == looked_at else f"{count} of the first {looked_at} rows fit"
    elsewhere = sum(count for one, count in parents.items() if not one.is_relative_to(parent))
    return Guess(
        parent,
        pattern if count else DEFAULT_PATTERN,
        told,
        elsewhere,
        tuple(islice(_rows_outside(ledger, parent), _EXAMPLES)) if elsewhere else (),
    )


def _unsharded(parent: Path) -> Path:
    """The folder that holds the job folders: ``jobs`` also where they lie in ``jobs/000``, and so on."""
    return parent.parent if parent.name.isdecimal() else parent


def _parent_of_most(parents: Counter[Path]) -> Path | None:
    """The deepest folder in which more than half of the rows have theirs.

    None where that is the root, or a folder directly below it (``/home``, ``/scratch``) that holds other folders than
    those of the jobs: somebody else's, too.
    """
    below: Counter[Path] = Counter()
    for parent, count in parents.items():
        for folder in (parent, *parent.parents):
            below[folder] += count
    most = (folder for folder, count in below.items() if 2 * count > parents.total())
    deepest = max(most, key=lambda folder: len(folder.parts))
    return deepest if len(deepest.parts) > 2 or (len(deepest.parts) == 2 and deepest in parents) else None


def _rows_outside(ledger: LedgerReader, jobs_dir: Path) -> Iterator[JobRecord]:
    """The rows whose folder lies elsewhere; streamed."""
    for row in ledger.structures.stored_with_folder():
        if not Path(os.path.abspath(str(row.job_dir))).is_relative_to(jobs_dir):
            yield row


def compare_results(
    ledger: LedgerReader, layout: JobLayout, progress: Callable[[int], None] | None = None
) -> ResultsChecked:
    """Compare every completed row with the output in its folder.

    Args:
        ledger: whose rows; they are streamed.
        layout: where the folders are that the rows do not name.
        progress: called with the number of rows looked at.
    """
    found = ResultsChecked()
    for row in ledger.structures.stored_by_status([Status.COMPLETED]):
        found.add(result_problem(row, layout), row.orig_index or 0)
        if progress is not None:
            progress(found.completed)
    return found


def result_problem(row: JobRecord, layout: JobLayout) -> str | None:
    """Why a completed row's result is not proved by its folder; None where it is."""
    if row.final_energy is None:
        return "has no energy in the ledger"
    folder = folder_of(row, layout)
    if folder is None or not folder.is_dir():
        return "its job folder is not there"
    output = read_output(folder)
    if output.file is None:
        return "its job folder holds no output"
    if output.termination is not Termination.NORMAL:
        return f"its output did not end normally ({output.termination})"
    if output.final_energy is None or abs(output.final_energy - row.final_energy) > SAME_ENERGY_EH:
        return "its output and the ledger have different energies"
    return None


def _pattern(name: str, field_name: str, number: int | None) -> str | None:
    """``job_42`` and 42 give ``job_{orig_index}``; only a whole number counts."""
    if number is None:
        return None
    text = str(number)
    for place in _places(name, text):
        before, after = name[:place], name[place + len(text) :]
        if not before[-1:].isdigit() and not after[:1].isdigit():
            return f"{before}{field_name}{after}"
    return None


def _places(name: str, text: str) -> Iterator[int]:
    place = name.rfind(text)
    while place >= 0:
        yield place
        place = name.rfind(text, 0, place)


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:_EXAMPLES])) + (", and more" if len(numbers) > _EXAMPLES else "")

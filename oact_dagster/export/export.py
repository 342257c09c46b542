"""Export of a campaign: selects the structures and writes the file."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Final

from oact_dagster.attempts.engine import is_standin
from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.selection import known_structures
from oact_dagster.export.formats import SUFFIXES, ExportError, check_format, open_writer
from oact_dagster.export.frame import About
from oact_dagster.export.frames import NOT_ORCA, FrameSelection, FrameSource
from oact_dagster.export.report import EXAMPLES, ExportReport
from oact_dagster.files import atomic_file
from oact_dagster.ledger.level_of_theory import check_level_of_theory
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import JobRecord, Status
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.overview import engines_of

AT_ONCE: Final = 200

_ROWS_LOOKED_AT: Final = 1000
"""Rows searched for columns of the CSV that the settings do not name."""

ExportProgress = Callable[[int, int], None]
"""Called with the number of structures processed and the total."""


def default_target(campaign: Campaign, format_name: str) -> Path:
    """Return the default file of a training set, such as ``<campaign>.extxyz`` in the current folder."""
    return Path(f"{campaign.name}{SUFFIXES[format_name]}")


def check_target(campaign: Campaign, target: Path, *, overwrite: bool) -> None:
    """Check that a file may be written, before anything is read.

    Raises:
        ExportError: The file exists already, the campaign needs it, or its folder is missing.
    """
    if target.exists() and not target.is_file():
        what = "a folder" if target.is_dir() else "not a regular file"
        raise ExportError(f"{target}: is {what}; name a file with -o")
    if not target.parent.is_dir():
        raise ExportError(f"{target.parent}: no such folder; create it, or name another one with -o")
    real = target.resolve()
    needed = {"ledger": campaign.ledger, "CSV": campaign.csv, "settings": campaign.file}
    for what, path in needed.items():
        if path is not None and real == path.resolve():
            raise ExportError(f"{target}: is the campaign's {what}; name another file with -o")
    if real.is_relative_to(campaign.jobs_dir.resolve()):
        raise ExportError(f"{target}: is in the folder of the jobs; name a file elsewhere with -o")
    if target.exists() and not overwrite:
        raise ExportError(f"{target}: exists already; --force overwrites it, -o writes elsewhere")


def export_campaign(
    campaign: Campaign,
    ledger: LedgerReader,
    target: Path,
    format_name: str,
    *,
    flagged: Mapping[int, Sequence[str]],
    wanted: FrameSelection | None = None,
    orig_indices: Sequence[int] | None = None,
    overwrite: bool = False,
    progress: ExportProgress | None = None,
) -> ExportReport:
    """Write the training set of a campaign into one file, completely or not at all.

    Rows are streamed. A structure gives frames only if the output in its folder is from the attempt that completed it
    and agrees with the ledger. Energy, forces and geometry of a frame are those of one gradient evaluation. ``flagged``
    has the names of the failed rules by ``orig_index``; by default, these structures are left out, and of the others
    the last step is written.

    Returns:
        What was written, and what was left out and why. Without any frame no file is written.

    Raises:
        ExportError: The file exists already or cannot be written (an existing one stays as it was), or the format
            needs a package that is not installed.
        LedgerError: The ledger cannot be read, or its results are of another level of theory than the settings.
        SelectionError: The ledger lacks some of the named structures.
    """
    check_format(format_name)
    check_target(campaign, target, overwrite=overwrite)
    check_level_of_theory(ledger, campaign.level_of_theory())
    if orig_indices is not None:
        known_structures(ledger, orig_indices, "--structures: ")
    report = ExportReport(target)
    about = _about(campaign, ledger)
    source = FrameSource(
        campaign, ledger, JobLayout.of(campaign, ledger), about, flagged, wanted or FrameSelection(), report
    )
    in_all = _count_without_result(ledger, report) if orig_indices is None else len(orig_indices)
    chunks = _all_rows(ledger) if orig_indices is None else _named_rows(ledger, orig_indices, report)
    done = 0
    try:
        with atomic_file(target) as part:
            with open_writer(format_name, part, about) as writer:
                for looked_at, rows in chunks:
                    for frame in source.of(rows):
                        writer.write(frame)
                    done += looked_at
                    if progress is not None:
                        progress(done, in_all)
            if report.frames:
                report.size = part.stat().st_size
            else:
                part.unlink()
    except OSError as error:
        raise ExportError(f"{target}: cannot be written: {error.strerror or error}") from error
    return report


def _all_rows(ledger: LedgerReader) -> Iterator[tuple[int, list[JobRecord]]]:
    rows = ledger.structures.stored_by_status([Status.COMPLETED])
    while chunk := list(islice(rows, AT_ONCE)):
        yield len(chunk), chunk


def _named_rows(
    ledger: LedgerReader, orig_indices: Sequence[int], report: ExportReport
) -> Iterator[tuple[int, list[JobRecord]]]:
    for start in range(0, len(orig_indices), AT_ONCE):
        chunk = orig_indices[start : start + AT_ONCE]
        structures = ledger.structures.of(chunk)
        rows = ledger.structures.stored([structures[index].id for index in chunk])
        completed = []
        for index in chunk:
            row = rows[structures[index].id]
            if row.status is Status.COMPLETED:
                completed.append(row)
            else:
                report.without_result(row.status, 1, [index])
        yield len(chunk), completed


def _count_without_result(ledger: LedgerReader, report: ExportReport) -> int:
    """Report the structures that are not completed; return the number of completed ones."""
    counts = ledger.figures.count_by_status()
    for status, count in sorted(counts.items()):
        if status is not Status.COMPLETED and count:
            report.without_result(status, count, ledger.queue.select([status], EXAMPLES))
    return counts.get(Status.COMPLETED, 0)


def _about(campaign: Campaign, ledger: LedgerReader) -> About:
    not_orca = any(map(is_standin, engines_of(ledger)))
    return About(
        campaign=campaign.name,
        level_of_theory=json.dumps(campaign.level_of_theory(), ensure_ascii=False),
        version=version("oact-dagster"),
        warning=NOT_ORCA if not_orca else None,
        columns=_columns(campaign, ledger),
    )


def _columns(campaign: Campaign, ledger: LedgerReader) -> dict[str, str]:
    """Return the annotated columns of the CSV by key. All formats accept the keys, which never equal our own."""
    names = dict.fromkeys(campaign.annotate)
    for one in ledger.structures.of(ledger.structures.indices_after(-1, _ROWS_LOOKED_AT)).values():
        names.update(dict.fromkeys(one.annotations))
    keys: dict[str, str] = {}
    for name in names:
        plain = key = f"csv_{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_') or 'column'}"
        number = 2
        while key in keys:
            key, number = f"{plain}_{number}", number + 1
        keys[key] = name
    return keys

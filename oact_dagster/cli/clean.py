"""``oact clean``."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from oact_dagster.cli.ledger_argument import found_jobs_dir, found_ledger
from oact_dagster.cli.size_text import size_text
from oact_dagster.text import pluralise

if TYPE_CHECKING:
    from oact_dagster.maintenance.clean import CleanReport

_EXAMPLE: Final = """\
\b
Removes ORCA's temporary files, the files of its atomic guesses, core dumps, and basis files
that were written for a run (not those that an input names). Keeps inputs, outputs, .engrad
files and unknown files. Removes orbitals (.gbw, densities) of completed structures only if
`keep` in the campaign.yaml beside the ledger leaves out gbw; never those of failed ones.

\b
Example:
  oact clean workflow.db jobs/
  oact clean workflow.db jobs/ --execute
  oact clean campaign.yaml --purge-failed --execute
"""


@click.command(epilog=_EXAMPLE)
@click.argument("db", metavar="DB|CAMPAIGN")
@click.argument("jobs_dir", metavar="JOBS_DIR", required=False, type=click.Path(path_type=Path))
@click.option("--execute", is_flag=True, help="Remove the files; without it they are only counted.")
@click.option(
    "--purge-failed",
    is_flag=True,
    help="Purge failed attempts, too: keep only the input, start orbitals, and the output's end in failure.json.",
)
@click.option("--job-dir-pattern", metavar="PATTERN", help="Job folders' names (default: job_{orig_index}).")
@click.option("--verbose", is_flag=True, help="List every file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def clean(
    db: str,
    jobs_dir: Path | None,
    execute: bool,
    purge_failed: bool,
    job_dir_pattern: str | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Remove scratch files of finished jobs.

    Only counts them without --execute. JOBS_DIR may be left out for a campaign. Touches nothing outside JOBS_DIR, and
    follows no links. Only reads the ledger.
    """
    from oact_dagster.attempts.job_layout import JobLayout
    from oact_dagster.intake.bare_campaign import bare_campaign
    from oact_dagster.ledger.read_only import open_reader
    from oact_dagster.maintenance.clean import CleanReport
    from oact_dagster.maintenance.clean import clean_campaign as find
    from oact_dagster.text import printable

    ledger, campaign = found_ledger(db)
    jobs = found_jobs_dir(jobs_dir, campaign)
    pattern = job_dir_pattern or (campaign.job_dir_pattern if campaign is not None else None)
    settings = bare_campaign(ledger, jobs, job_dir_pattern=pattern)
    report = CleanReport()
    with open_reader(ledger) as reader:
        reader.figures.count_by_status()
        for removed in find(
            reader,
            JobLayout.of(settings, reader),
            report,
            keep_orbitals=campaign is None or "gbw" in campaign.keep,
            purge_failed=purge_failed,
            execute=execute,
        ):
            if verbose and not as_json:
                line = f"{removed.folder / removed.name}  {removed.kind}  {size_text(removed.size)}"
                click.echo(printable(line, sys.stdout.encoding))
    if as_json:
        click.echo(json.dumps(_values(report, execute=execute), indent=2))
        return
    for line in _lines(report, execute=execute):
        click.echo(printable(line, sys.stdout.encoding))


def _lines(report: "CleanReport", *, execute: bool) -> list[str]:
    files, size = report.files.total(), size_text(report.sizes.total())
    verb = "Removed" if execute else "Would remove"
    lines = [
        f"{verb} {pluralise(files, 'file')} ({size}) in {pluralise(report.folders, 'folder')} of finished jobs"
    ]
    for kind, count in sorted(report.files.items()):
        lines.append(f"  {kind}: {pluralise(count, 'file')}, {size_text(report.sizes[kind])}")
    for reason, count in report.left_alone.most_common():
        shown = ", ".join(report.examples[reason]) + (", ..." if count > len(report.examples[reason]) else "")
        lines.append(f"  {pluralise(count, 'folder')} left alone: {reason} ({shown})")
    if files and not execute:
        lines.append("Dry run: nothing was removed; --execute removes them")
    return lines


def _values(report: "CleanReport", *, execute: bool) -> dict[str, Any]:
    return {
        "executed": execute,
        "folders": report.folders,
        "files": report.files.total(),
        "bytes": report.sizes.total(),
        "kinds": {
            str(kind): {"files": count, "bytes": report.sizes[kind]} for kind, count in report.files.items()
        },
        "left_alone": [
            {"reason": reason, "folders": count, "examples": report.examples[reason]}
            for reason, count in report.left_alone.items()
        ],
    }

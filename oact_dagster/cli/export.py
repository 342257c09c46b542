"""``oact export``."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from oact_dagster.cli.size_text import size_text

if TYPE_CHECKING:
    from oact_dagster.export.report import ExportReport, LeftOut

_EXAMPLE: Final = """\
\b
A frame is one gradient evaluation: its geometry (Å), energy (eV) and forces (eV/Å). From an
optimisation comes the last evaluation with a gradient, not the final energy, which has none.

\b
Exit code: 0 if the file is written; 1 if there is nothing to export, and no file is written;
2 if the file cannot be written.

\b
Example:
  oact export campaign.yaml --format extxyz
  oact export campaign.yaml --format parquet -o training.parquet --all-steps
  oact export campaign --format ase-db --structures 0-9,15
"""

EXIT_NOTHING: Final = 1
_WIDTH: Final = 160


@click.command(epilog=_EXAMPLE)
@click.argument("campaign")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["extxyz", "parquet", "ase-db"]),
    help="File format; taken from the file's name, else extxyz. ase-db needs ASE: pip install 'oact-dagster[ase]'.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File to write (default: the campaign's name with .extxyz, .parquet or .db, in the current folder).",
)
@click.option(
    "--all-steps", is_flag=True, help="Write every evaluation with a gradient, not only each output's last."
)
@click.option("--include-flagged", is_flag=True, help="Include structures that have failed checks.")
@click.option(
    "--structures", metavar="0-9,15", help="Only these structures (row numbers of the CSV, from 0)."
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.pass_context
def export(
    ctx: click.Context,
    campaign: str,
    format_name: str | None,
    output: Path | None,
    all_steps: bool,
    include_flagged: bool,
    structures: str | None,
    force: bool,
) -> None:
    """Write the training set of a campaign.

    Writes geometries, energies and forces of the structures that are completed and passed their checks. CAMPAIGN is a
    campaign.yaml or its folder. Counts what it leaves out, by reason. Writes the file whole or not at all, and only
    reads the ledger and the job folders.
    """
    from oact_dagster.attempts.selection import parse_indices
    from oact_dagster.cli.bar import bar_on_stderr
    from oact_dagster.export.export import default_target
    from oact_dagster.export.export import export_campaign as write
    from oact_dagster.export.formats import EXTXYZ, format_of
    from oact_dagster.export.frames import FrameSelection
    from oact_dagster.ledger.read_only import open_reader
    from oact_dagster.settings.campaign import load_campaign
    from oact_dagster.status.quality import evaluate
    from oact_dagster.text import printable

    settings = load_campaign(campaign)
    indices = None if structures is None else parse_indices(structures)
    chosen = format_name or (format_of(output) if output is not None else None) or EXTXYZ
    target = default_target(settings, chosen) if output is None else output.expanduser()
    with open_reader(settings.ledger) as ledger, bar_on_stderr("exporting") as progress:
        report = write(
            settings,
            ledger,
            target,
            chosen,
            flagged=evaluate(settings, ledger).failed,
            wanted=FrameSelection(all_steps, include_flagged),
            orig_indices=indices,
            overwrite=force,
            progress=progress,
        )
    for line in _lines(report):
        click.echo(printable(line, sys.stdout.encoding))
    if not report.frames:
        click.echo(f"oact: {settings.name}: nothing to export; no file was written", err=True)
        ctx.exit(EXIT_NOTHING)


def _lines(report: "ExportReport") -> list[str]:
    from oact_dagster.text import pluralise

    lines = []
    if report.not_orca:
        lines.append(
            f"NOT ORCA: {report.not_orca} of {pluralise(report.structures, 'structure')}"
            f" {'comes' if report.not_orca == 1 else 'come'} from the stand-in engine, whose numbers"
            " mean nothing for chemistry: train no model on them"
        )
    if report.frames:
        flagged = f", {report.flagged} of them with failed checks" if report.flagged else ""
        lines.append(
            f"{pluralise(report.structures, 'structure')}{flagged}, {pluralise(report.frames, 'frame')}"
            f" written to {report.target.absolute()} ({size_text(report.size)})"
        )
    if report.left_out:
        lines.append(f"left out: {pluralise(report.structures_left_out, 'completed structure')}")
        lines += _reasons(report.left_out, "structure")
    if report.steps_left_out:
        steps = sum(one.count for one in report.steps_left_out.values())
        lines.append(f"left out: {pluralise(steps, 'single step')}")
        lines += _reasons(report.steps_left_out, "structure")
    for status, count in report.by_status.most_common():
        shown = ", ".join(report.status_examples[status])
        more = ", ..." if shown and count > len(report.status_examples[status]) else ""
        lines.append(f"no result yet: {count} {status}" + (f" (structure {shown}{more})" if shown else ""))
    return lines


def _reasons(left_out: Mapping[str, "LeftOut"], noun: str) -> list[str]:
    from oact_dagster.text import one_line

    lines = []
    for reason, one in sorted(left_out.items(), key=lambda item: -item[1].count):
        lines.append(f"  {one.count} x {one_line(reason, _WIDTH)}")
        if any(": " in example for example in one.examples):
            lines += [f"      {noun} {one_line(example, _WIDTH)}" for example in one.examples]
        else:
            more = ", ..." if one.count > len(one.examples) else ""
            lines.append(f"      {noun} {', '.join(one.examples)}{more}")
    return lines

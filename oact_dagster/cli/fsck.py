"""``oact fsck``."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from oact_dagster.cli.ledger_argument import found_jobs_dir, found_ledger
from oact_dagster.text import pluralise

if TYPE_CHECKING:
    from oact_dagster.maintenance.fsck import Found

_EXAMPLE: Final = """\
\b
Exit code: 0 if ledger, folders and scheduler agree, or every difference was repaired; 1 if a
difference is left; 2 if the check cannot be made.

\b
Example:
  oact fsck workflow.db jobs/
  oact fsck workflow.db jobs/ --repair
  oact fsck --list
"""

EXIT_DIFFERENT: Final = 1
_SHOWN: Final = 5
_WIDTH: Final = 200


@click.command(epilog=_EXAMPLE)
@click.argument("db", metavar="DB|CAMPAIGN", required=False)
@click.argument("jobs_dir", metavar="JOBS_DIR", required=False, type=click.Path(path_type=Path))
@click.option("--repair", is_flag=True, help="Repair what is safe to repair, and report it.")
@click.option("--job-dir-pattern", metavar="PATTERN", help="Job folders' names (default: job_{orig_index}).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--list", "only_list", is_flag=True, help="List the invariants, and what --repair does for each."
)
@click.pass_context
def fsck(
    ctx: click.Context,
    db: str | None,
    jobs_dir: Path | None,
    repair: bool,
    job_dir_pattern: str | None,
    as_json: bool,
    only_list: bool,
) -> None:
    """Compare ledger, job folders and scheduler.

    Explains each difference. JOBS_DIR may be left out for a campaign. Changes nothing without --repair.
    """
    from oact_dagster.maintenance.fsck import run_fsck as look

    if only_list:
        _list()
        return
    if db is None:
        raise click.UsageError("name a ledger (workflow.db) and its JOBS_DIR")
    ledger, campaign = found_ledger(db)
    jobs = found_jobs_dir(jobs_dir, campaign)
    from oact_dagster.attempts.job_layout import JobLayout
    from oact_dagster.intake.bare_campaign import bare_campaign
    from oact_dagster.ledger.read_only import open_reader
    from oact_dagster.ledger.store import Ledger
    from oact_dagster.maintenance.update import launchers_of

    pattern = job_dir_pattern or (campaign.job_dir_pattern if campaign is not None else None)
    settings = bare_campaign(ledger, jobs, job_dir_pattern=pattern)
    found = []
    with Ledger(ledger) if repair else open_reader(ledger) as reader:
        layout = JobLayout.of(settings, reader)
        for one in look(reader, layout, launchers_of(campaign, settings), repair=repair):
            found.append(one)
            if not as_json:
                _show(one, repair=repair)
    if as_json:
        click.echo(json.dumps([_values(one) for one in found], indent=2))
    else:
        left = sum(one.left for one in found)
        mended = sum(one.mended for one in found)
        told = f"{pluralise(len(found), 'invariant')} checked: {pluralise(left, 'difference')}"
        click.echo(told + (f" left, {mended} repaired" if mended else ""))
    ctx.exit(EXIT_DIFFERENT if any(one.left for one in found) else 0)


def _list() -> None:
    from oact_dagster.maintenance.fsck import INVARIANTS

    for one in INVARIANTS:
        click.echo(f"{one.name}: {one.holds}")
        click.echo(f"  --repair {one.mends}" if one.mends else "  not repaired by --repair")


def _show(found: "Found", *, repair: bool) -> None:
    from oact_dagster.text import one_line, printable

    def say(text: str) -> None:
        click.echo(printable(text, sys.stdout.encoding))

    if found.skipped is not None:
        say(f"{found.invariant.name}: not checked: {one_line(found.skipped, 3 * _WIDTH)}")
    if not found.count:
        return
    say(f"{found.invariant.name}: {pluralise(found.count, 'difference')}; expected: {found.invariant.holds}")
    for one in found.examples[:_SHOWN]:
        which = "" if one.orig_index is None else f"structure {one.orig_index}: "
        if one.orig_index is None and one.structure_id is not None:
            which = f"id {one.structure_id}: "
        say(f"  {which}{one_line(one.detail, _WIDTH)}")
    if found.count > _SHOWN:
        say(f"  and {found.count - min(_SHOWN, len(found.examples))} more")
    if found.mended:
        say(f"  repaired: {found.mended}")
    if found.left:
        offer = "--repair repairs what is safe; otherwise " if found.invariant.mends and not repair else ""
        say(f"  {offer}{found.invariant.advice}")


def _values(found: "Found") -> dict[str, Any]:
    return {
        "invariant": found.invariant.name,
        "holds": found.invariant.holds,
        "differences": found.count,
        "mended": found.mended,
        "left": found.left,
        "advice": found.invariant.advice if found.left else None,
        "skipped": found.skipped,
        "examples": [
            {"id": one.structure_id, "orig_index": one.orig_index, "detail": one.detail}
            for one in found.examples
        ],
    }

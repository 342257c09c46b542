"""``oact dashboard``."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from oact_dagster.cli.errors import RefusedError
from oact_dagster.cli.ledger_argument import found_ledger
from oact_dagster.text import one_line, pluralise, printable

if TYPE_CHECKING:
    from oact_dagster.attempts.recovery import UpdateReport
    from oact_dagster.cli.dashboard_jobs import Lists
    from oact_dagster.ledger.reader import LedgerReader
    from oact_dagster.settings.campaign import Campaign
    from oact_dagster.status.feed_status import FeedOverview
    from oact_dagster.status.overview import Overview

_NOTE_WIDTH: Final = 160
_CLEAR: Final = "\x1b[H\x1b[2J\x1b[3J"

_EXAMPLE: Final = """\
\b
Showing a campaign changes nothing, not even an old file. --update and the resets write; they
run first, in this order, and the dashboard shows the result.

\b
Example:
  oact dashboard workflow.db
  oact dashboard workflow.db --update jobs/ --show-metrics
  oact dashboard workflow.db --reset-failed --include-timeout-in-reset --max-retries 3
  oact dashboard campaign.yaml --watch
"""


@click.command(epilog=_EXAMPLE)
@click.argument("db", metavar="DB|CAMPAIGN")
@click.option(
    "--update",
    metavar="JOBS_DIR",
    type=click.Path(path_type=Path),
    help="First update running jobs from the files in their folders.",
)
@click.option(
    "--job-dir-pattern",
    metavar="PATTERN",
    help="Job folders' names below JOBS_DIR, with {orig_index} or {id} (default: job_{orig_index}).",
)
@click.option(
    "--show-metrics", is_flag=True, help="Show forces, SCF steps, times and cores of completed jobs."
)
@click.option("--show-failed", is_flag=True, help="List failed jobs with their fail counts.")
@click.option(
    "--show-timeout", is_flag=True, help="List timed-out jobs (no output for 6 h, or over their limit)."
)
@click.option("--show-ready", is_flag=True, help="List jobs that are ready to run.")
@click.option(
    "--show-chronic-failures",
    metavar="N",
    type=click.IntRange(min=1),
    help="List jobs that have failed at least N times, and those that are set aside.",
)
@click.option("--show-rejected", is_flag=True, help="List all rejected rows of the CSV and why.")
@click.option("--reset-failed", is_flag=True, help="Set failed jobs back to to_run.")
@click.option("--reset-timeout", is_flag=True, help="Set timed-out jobs back to to_run.")
@click.option(
    "--include-timeout-in-reset", is_flag=True, help="Let --reset-failed reset timed-out jobs, too."
)
@click.option(
    "--max-retries",
    metavar="N",
    type=click.IntRange(min=0),
    help="Reset only jobs that have failed fewer than N times: N attempts in all.",
)
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(min=0), help="Most jobs in a list."
)
@click.option("--verbose", is_flag=True, help="Show longer messages, and the job folders.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--watch", is_flag=True, help="Refresh until Ctrl+C.")
@click.option(
    "--every",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="Seconds between refreshes.",
)
def dashboard(
    db: str,
    update: Path | None,
    job_dir_pattern: str | None,
    show_metrics: bool,
    show_failed: bool,
    show_timeout: bool,
    show_ready: bool,
    show_chronic_failures: int | None,
    show_rejected: bool,
    reset_failed: bool,
    reset_timeout: bool,
    include_timeout_in_reset: bool,
    max_retries: int | None,
    limit: int,
    verbose: bool,
    as_json: bool,
    watch: bool,
    every: float,
) -> None:
    """Show a campaign's progress and failures.

    Works while runs are at work. --update brings running jobs up to date, and the reset flags set failed jobs back.
    The argument is a ledger (workflow.db), a campaign.yaml, or a campaign's folder.
    """
    from oact_dagster.cli.dashboard_jobs import Lists

    if include_timeout_in_reset and not reset_failed:
        raise click.UsageError("--include-timeout-in-reset needs --reset-failed")
    if max_retries is not None and not (reset_failed or reset_timeout):
        raise click.UsageError("--max-retries needs --reset-failed or --reset-timeout")
    if job_dir_pattern is not None and update is None:
        raise click.UsageError("--job-dir-pattern needs --update")
    if watch and (update is not None or reset_failed or reset_timeout):
        raise click.UsageError("--watch only reads; run --update and the resets without it")
    ledger, campaign = found_ledger(db)
    lists = Lists(
        failed=show_failed,
        timeout=show_timeout,
        ready=show_ready,
        chronic=show_chronic_failures,
        rejected=show_rejected,
        limit=limit,
        verbose=verbose,
        budgets=None if campaign is None else (campaign.retry.max_failures, campaign.retry.max_losses),
        retry_key=None if campaign is None else campaign.retry_key(),
    )
    done: list[str] = []
    told: dict[str, Any] = {}
    if update is not None or reset_failed or reset_timeout:
        _check_readable(ledger)
    if update is not None:
        report = _update(ledger, campaign, update, job_dir_pattern)
        done += _update_lines(report, verbose=verbose)
        told["update"] = _update_json(report)
    if reset_failed or reset_timeout:
        count = _reset(
            ledger,
            failed=reset_failed,
            timeout=reset_timeout or include_timeout_in_reset,
            max_retries=max_retries,
        )
        kinds = ["failed"] * reset_failed + ["timed-out"] * (reset_timeout or include_timeout_in_reset)
        done.append(f"Reset {pluralise(count, ' and '.join(kinds) + ' job')} to to_run")
        told["reset"] = count

    def page() -> str:
        text = _page(ledger, campaign, lists, done, told, metrics=show_metrics, as_json=as_json)
        return printable(text, sys.stdout.encoding)

    if watch:
        _watch_until_stopped(page, every)
    else:
        click.echo(page())


def _check_readable(ledger: Path) -> None:
    """Find an unreadable file, or a row with an unknown status, before changing anything."""
    from oact_dagster.ledger.read_only import open_reader

    with open_reader(ledger) as reader:
        reader.figures.count_by_status()


def _update(ledger: Path, campaign: "Campaign | None", jobs_dir: Path, pattern: str | None) -> "UpdateReport":
    from oact_dagster.attempts.job_layout import JobLayout
    from oact_dagster.intake.bare_campaign import bare_campaign
    from oact_dagster.ledger.store import Ledger
    from oact_dagster.maintenance.update import launchers_of, update_running

    if not jobs_dir.is_dir():
        raise RefusedError(f"{jobs_dir}: no such folder; name the folder that holds the job folders")
    known = pattern or (campaign.job_dir_pattern if campaign is not None else None)
    settings = bare_campaign(ledger, jobs_dir, job_dir_pattern=known)
    with Ledger(ledger) as open_ledger:
        layout = JobLayout.of(settings, open_ledger)
        retry = campaign.retry if campaign is not None else None
        report = update_running(open_ledger, layout, launchers_of(campaign, settings), retry=retry)
        if campaign is not None and report.changed:
            from oact_dagster.status.quality import evaluate

            evaluate(campaign, open_ledger, store=True)
        return report


def _update_lines(report: "UpdateReport", *, verbose: bool = False) -> list[str]:
    """One line for what changed, and one for each reason why structures stay running."""
    changed = ", ".join(f"{count} {status}" for status, count in sorted(report.changed.items()))
    lines = [
        f"Updated {report.changed.total()} of {pluralise(report.looked_at, 'running job')}"
        + (f": {changed}" if changed else "")
    ]
    if report.followed:
        lines.append(
            f"  {report.followed} {'is' if report.followed == 1 else 'are'} left to the run that follows them"
        )
    for note in report.notes.values():
        which = ", ".join(map(str, note.examples)) + (", ..." if note.count > len(note.examples) else "")
        lines.append(
            f"  {note.count} (id {which}): {note.text if verbose else one_line(note.text, _NOTE_WIDTH)}"
        )
    return lines


def _update_json(report: "UpdateReport") -> dict[str, Any]:
    return {
        "looked_at": report.looked_at,
        "changed": dict(report.changed),
        "still_running": report.still_running,
        "followed": report.followed,
        "notes": [
            {"note": note.text, "count": note.count, "ids": note.examples} for note in report.notes.values()
        ],
    }


def _reset(ledger: Path, *, failed: bool, timeout: bool, max_retries: int | None) -> int:
    from oact_dagster.ledger.states import Status
    from oact_dagster.ledger.store import Ledger

    statuses = [Status.FAILED] * failed + [Status.TIMEOUT] * timeout
    with Ledger(ledger) as open_ledger:
        return open_ledger.reset(statuses, max_retries)


def _page(
    ledger: Path,
    campaign: "Campaign | None",
    lists: "Lists",
    done: list[str],
    told: dict[str, Any],
    *,
    metrics: bool,
    as_json: bool,
) -> str:
    from oact_dagster.ledger.read_only import open_reader
    from oact_dagster.status.overview import overview_of

    with open_reader(ledger) as reader:
        retry, key = (None, None) if campaign is None else (campaign.retry, campaign.retry_key())
        overview = overview_of(reader, retry, retry_key=key, metrics=metrics or as_json)
        feed = None
        if campaign is not None:
            from oact_dagster.status.feed_status import feed_overview

            feed = feed_overview(campaign, reader)
        if as_json:
            from oact_dagster.cli.dashboard_json import dashboard_json

            return json.dumps(dashboard_json(overview, feed) | told | lists.as_json(reader), indent=2)
        return "\n".join([*done, *([""] if done else []), *_lines(reader, lists, overview, feed)])


def _lines(
    reader: "LedgerReader", lists: "Lists", overview: "Overview", feed: "FeedOverview | None"
) -> list[str]:
    from oact_dagster.cli.dashboard_text import GROUPS_SHOWN, dashboard_lines

    groups = lists.limit if lists.failed or lists.timeout or lists.verbose else GROUPS_SHOWN
    return [
        *dashboard_lines(overview, sys.stdout.encoding, groups=groups, feed=feed),
        *lists.lines(reader),
    ]


def _watch_until_stopped(page: Callable[[], str], every_s: float) -> None:
    """Show a page every ``every_s`` seconds until Ctrl+C: in place on a terminal, one after another in a pipe."""
    in_place = sys.stdout.isatty()
    try:
        while True:
            text = page()
            if in_place:
                # Written at once, so that the screen never looks empty.
                stamp = time.strftime("%H:%M:%S")
                sys.stdout.write(f"{_CLEAR}{text}\n\n{stamp}, again in {every_s:g} s; Ctrl+C ends this\n")
                sys.stdout.flush()
            else:
                click.echo(f"{text}\n")
            time.sleep(every_s)
    except KeyboardInterrupt:
        if in_place:
            click.echo()

"""The top of the report: progress, pace, estimated end, and what the reader should know."""

import time
from collections.abc import Iterator

from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.report.html import escaped, number_text
from oact_dagster.status.figures import CampaignFigures
from oact_dagster.text import pluralise

STATUS_NAMES = {
    Status.COMPLETED: "completed",
    Status.RUNNING: "running",
    Status.TO_RUN: "to be run",
    Status.READY: "ready",
    Status.FAILED: "failed",
    Status.TIMEOUT: "timed out",
}


def clock(at: float) -> str:
    """A Unix time (s) as local time: date, time and zone."""
    local = time.localtime(at)
    return time.strftime("%Y-%m-%d %H:%M ", local) + (time.strftime("%Z", local) or "local time")


def banner(figures: CampaignFigures) -> str:
    """A banner if results do not come from ORCA; else empty."""
    overview = figures.overview
    if not overview.not_orca:
        return ""
    return (
        f'<p class="banner" role="alert"><strong>NOT ORCA:</strong> {overview.not_orca:,} of {overview.completed:,}'
        " results are the stand-in engine's GFN2-xTB numbers, which mean nothing for chemistry.</p>"
    )


def tiles(figures: CampaignFigures) -> str:
    """The figures at the top."""
    items = []
    for name, value, rest in _tiles(figures):
        small = f" <small>{escaped(rest)}</small>" if rest else ""
        items.append(f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}{small}</dd></div>")
    return f'<dl class="tiles">{"".join(items)}</dl>'


def _tiles(figures: CampaignFigures) -> Iterator[tuple[str, str, str]]:
    overview = figures.overview
    for status, name in STATUS_NAMES.items():
        count = overview.counts.get(status, 0)
        if status is Status.READY and not count:
            continue
        share = f"{100 * count / overview.total:.1f} %" if overview.total else ""
        if status is Status.RUNNING and count:
            share = f"{overview.running_started:,} computing, {overview.queued:,} queued"
        yield name, f"{count:,}", share
    if overview.held:
        yield "held", f"{overview.held:,}", "until `oact release`"
    if overview.set_aside or overview.without_remedy:
        aside = (overview.set_aside or 0) + overview.without_remedy
        yield "set aside", f"{aside:,}", "no attempt left"
    if overview.rejected:
        yield "rejected rows", f"{overview.rejected:,}", "of the CSV"
    if (pace := overview.throughput) is not None:
        yield (
            "throughput",
            number_text(float(f"{pace.per_hour:.3g}")),
            f"completed/h in the last {pace.hours:.3g} h",
        )
    if overview.ends_at is not None:
        day, hour, zone = clock(overview.ends_at).split(" ", 2)
        yield "estimated end", day, f"{hour} {zone}, with {overview.left:,} left at this pace"
    yield "core-hours, good", number_text(figures.good_core_hours), "of attempts with results"
    lost = {
        outcome: hours
        for outcome, hours in overview.spent.items()
        if outcome is not Outcome.COMPLETED and hours
    }
    by_outcome = ", ".join(f"{outcome} {number_text(hours)}" for outcome, hours in sorted(lost.items()))
    yield "core-hours, lost", number_text(figures.lost_core_hours), by_outcome


def sentence(figures: CampaignFigures) -> str:
    """The campaign's progress in one sentence."""
    overview = figures.overview
    if not overview.total:
        return "The ledger holds no structures yet."
    share = 100 * overview.completed / overview.total
    of = pluralise(overview.total, "structure", form=",")
    return f"{overview.completed:,} of {of} completed ({share:.1f} %)."

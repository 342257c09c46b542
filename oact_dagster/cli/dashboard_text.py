"""The dashboard as text: what a campaign has done so far."""

import time
from collections.abc import Iterator, Sequence
from typing import Final

from oact_dagster.ledger.metrics import Metrics, Statistic
from oact_dagster.ledger.states import Outcome, Rejection, Status
from oact_dagster.status.feed_status import FeedOverview
from oact_dagster.status.overview import FailureGroup, Overview, Throughput
from oact_dagster.text import one_line, pluralise

_WIDTH: Final = 80
_BAR: Final = 50
_RULE: Final = 40
GROUPS_SHOWN: Final = 5
_MESSAGE_WIDTH: Final = 100
_REASON_WIDTH: Final = 200
_HOSTS_SHOWN: Final = 5

_SPENT: Final = (
    (Outcome.COMPLETED, "good"),
    (Outcome.FAILED, "failed"),
    (Outcome.TIMEOUT, "timed out"),
    (Outcome.LOST, "lost"),
    (Outcome.CANCELLED, "cancelled"),
)


def dashboard_lines(
    overview: Overview,
    encoding: str | None = None,
    *,
    groups: int = GROUPS_SHOWN,
    feed: FeedOverview | None = None,
) -> Iterator[str]:
    """Yield the lines of the dashboard, at most ``groups`` failure messages, and the metrics if the overview has them.

    An encoding of None can show all characters. Without ``feed``, the lines on how the campaign runs itself are left
    out.
    """
    yield from title_lines("Workflow Status Summary")
    yield f"{'Status':<15} {'Count':>5} {'Percent':>10}"
    yield "-" * _RULE
    for status in Status:
        count = overview.counts.get(status, 0)
        if count or status is not Status.READY:
            yield _row(str(status), count, overview.total)
    yield "-" * _RULE
    yield _row("TOTAL", overview.total, overview.total)
    yield ""
    yield _completion(overview, encoding)
    yield from _beside(overview, feed)
    yield from () if feed is None else feed.lines()
    yield from _groups(overview.groups, groups)
    if overview.metrics is not None:
        yield ""
        yield from metric_lines(overview.metrics)


def metric_lines(metrics: Metrics) -> Iterator[str]:
    """The figures of all completed structures."""
    yield from title_lines("Computational Metrics (Completed Jobs)")
    if not metrics.completed:
        yield "No completed jobs yet"
        return
    yield from _statistic("Max Forces (Eh/Bohr):", metrics.max_forces, ".6f", ".6f")
    yield from _statistic("SCF Steps:", metrics.scf_steps, ".1f", "g")
    if (walls := metrics.wall_time) is not None:
        total = f"Total:  {walls.total:.1f} ({_hours(walls.total / 3600)} hours)"
        yield from _statistic("Wall Time (seconds):", walls, ".1f", ".1f", total)
    total = f"Total core-hours: {_hours(metrics.core_hours)}"
    yield from _statistic("Cores Used:", metrics.n_cores, ".1f", "g", total, median=False)
    yield f"Total jobs with metrics: {metrics.with_metrics}"
    yield f"Jobs with timing data: {metrics.with_times}"


def rejection_lines(rejections: Sequence[Rejection]) -> Iterator[str]:
    """The rejected rows, a line for each."""
    yield from title_lines("Rejected Rows")
    if not rejections:
        yield "No rejected rows"
    for row in rejections:
        yield f"row {row.orig_index} (line {row.line}): {row.reason}"


def title_lines(text: str) -> Iterator[str]:
    """The head of a part of the dashboard."""
    yield "=" * _WIDTH
    yield f"{text:^{_WIDTH}}".rstrip()
    yield "=" * _WIDTH
    yield ""


def _row(name: str, count: int, total: int) -> str:
    return f"{name:<15} {count:>5} {_percent(count, total):>9.1f}%"


def _percent(count: int, total: int) -> float:
    return 100 * count / total if total else 0.0


def _completion(overview: Overview, encoding: str | None) -> str:
    full, empty = "█", "░"
    try:
        (full + empty).encode(encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        full, empty = "#", "-"
    done = _BAR * overview.completed // overview.total if overview.total else 0
    percent = _percent(overview.completed, overview.total)
    return f"Completion: [{full * done}{empty * (_BAR - done)}] {percent:.1f}% ({overview.completed}/{overview.total})"


def _beside(overview: Overview, feed: FeedOverview | None) -> Iterator[str]:
    """What the counts by status do not show."""
    if overview.not_orca:
        yield (
            f"NOT ORCA: {overview.not_orca} of {pluralise(overview.completed, 'result')}"
            f" {'comes' if overview.not_orca == 1 else 'come'} from the stand-in engine (GFN2-xTB) and"
            f" {'means' if overview.not_orca == 1 else 'mean'} nothing for chemistry"
        )
    if overview.quality is not None and overview.quality.failed:
        found = overview.quality
        rules = ", ".join(f"{rule}: {count}" for rule, count in found.by_rule.items())
        fail = "fails" if found.failed == 1 else "fail"
        yield f"{found.failed} of {pluralise(found.judged, 'result')} {fail} a quality check ({rules})"
    if overview.running:
        unknown = overview.running_unfollowed
        told = f", {unknown} marked by another tool or by hand" if unknown else ""
        yield f"running {overview.running} ({overview.queued} queued{told})"
    for reason, count in overview.stuck[:GROUPS_SHOWN]:
        yield f"  {count} may wait for ever: {one_line(reason, _REASON_WIDTH)}"
    if len(overview.stuck) > GROUPS_SHOWN:
        rest = overview.stuck[GROUPS_SHOWN:]
        yield f"  {sum(count for _, count in rest)} may wait for ever for {pluralise(len(rest), 'other reason')}"
    if overview.held:
        yield f"held {overview.held} (run only after `oact release`, or when named)"
    if overview.set_aside:
        whose = "its" if overview.set_aside == 1 else "their"
        yield f"set aside {overview.set_aside} ({whose} budget of attempts is used up)"
    if overview.rejected:
        yield f"rejected rows {overview.rejected} (in no count above; `oact dashboard --show-rejected` says why)"
    if overview.throughput is not None:
        yield _throughput(overview.throughput)
        # A campaign that begins nothing more has no end that could be estimated.
        if overview.ends_at is not None and (feed is None or not feed.stopped):
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(overview.ends_at))
            span = duration_text(overview.ends_at - overview.at)
            yield f"Estimated end: {when} (in {span}, {pluralise(overview.left, 'structure')} left at this pace)"
    spent = [f"{name} {_hours(overview.spent[key])}" for key, name in _SPENT if overview.spent.get(key)]
    if spent:
        yield "Core-hours of attempts: " + ", ".join(spent)
    if overview.failures:
        yield "Failures by class: " + ", ".join(f"{kind} {count}" for kind, count in overview.failures)
    if overview.host_faults:
        hosts = ", ".join(f"{host} {count}" for host, count in overview.host_faults[:_HOSTS_SHOWN])
        yield f"Attempts that failed through their host's fault: {hosts}"


def _throughput(found: Throughput) -> str:
    failed = f", {found.failed} failed or timed out" if found.failed else ""
    return (
        f"Throughput: {_three_figures(found.per_hour)} completed an hour ({found.completed} in the last"
        f" {duration_text(3600 * found.hours)}{failed}; {found.completed_last_hour} in the last hour)"
    )


def _three_figures(value: float) -> str:
    """``1,020``, ``12.3`` or ``0.0456``: never ``1.02e+03``."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"


def _groups(groups: Sequence[FailureGroup], shown: int) -> Iterator[str]:
    for group in groups[:shown]:
        told = (group.message or "").removeprefix(f"{group.failure_class}: ")
        message = one_line(told, _MESSAGE_WIDTH) or "no message"
        where = "" if group.example is None else f" (structure {group.example})"
        yield f"  {group.count:>5}  {group.failure_class}: {message}{where}"
    if len(groups) > shown:
        rest = sum(group.count for group in groups[shown:])
        yield f"  {rest:>5}  with {pluralise(len(groups) - shown, 'other message')} (--show-failed lists them)"


def _statistic(
    title: str,
    found: Statistic | None,
    mean: str,
    exact: str,
    last: str | None = None,
    *,
    median: bool = True,
) -> Iterator[str]:
    if found is None:
        return
    yield title
    yield f"  Mean:   {found.mean:{mean}}"
    if median:
        yield f"  Median: {found.median:{exact}}"
    yield f"  Min:    {found.minimum:{exact}}"
    yield f"  Max:    {found.maximum:{exact}}"
    if last is not None:
        yield f"  {last}"
    yield ""


def _hours(value: float) -> str:
    return f"{value:.2f}" if value == 0 or value >= 0.1 else f"{value:.2g}"


def duration_text(seconds: float) -> str:
    """A duration in a fitting unit."""
    for size, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"

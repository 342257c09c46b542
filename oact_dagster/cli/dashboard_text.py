"""The dashboard as text: what a campaign has done so far."""

from collections.abc import Iterator, Sequence
from typing import Final

from oact_dagster.execution.summary import Numbers, Statistic, Summary
from oact_dagster.ledger.states import Rejection, Status

_WIDTH: Final = 80
_BAR: Final = 50


def dashboard_lines(summary: Summary, encoding: str | None = None) -> Iterator[str]:
    """The dashboard, a line at a time.

    Args:
        summary: of the campaign.
        encoding: of where it is printed; None for one that has all characters.
    """
    yield from _title("Workflow Status Summary")
    yield f"{'Status':<15} {'Count':>5} {'Percent':>10}"
    yield "-" * 41
    for status in Status:
        count = summary.counts.get(status, 0)
        if count or status is not Status.READY:
            yield _row(str(status), count, summary.total)
    yield "-" * 41
    yield _row("TOTAL", summary.total, summary.total)
    yield ""
    yield _completion(summary, encoding)
    yield from _beside(summary)
    yield ""
    yield from _title("Computational Metrics (Completed Jobs)")
    if not summary.completed:
        yield "No completed jobs yet"
        return
    if summary.not_orca:
        yield (
            f"NOT ORCA: {summary.not_orca} of {summary.completed} results come from the stand-in engine (GFN2-xTB)"
            " and mean nothing for chemistry"
        )
        yield ""
    yield from _statistic("Max Forces (Eh/Bohr):", summary.max_forces, ".6f", ".6f")
    yield from _statistic("SCF Steps:", summary.scf_steps, ".1f", "g")
    yield from _statistic("Wall Time (seconds):", summary.wall_times, ".1f", ".1f", _total_time(summary))
    yield from _statistic("Cores Used:", summary.n_cores, ".1f", "g", _core_hours(summary), median=False)
    yield f"Total jobs with metrics: {summary.max_forces.size}"
    yield f"Jobs with timing data: {summary.wall_times.size}"


def rejection_lines(rejections: Sequence[Rejection]) -> Iterator[str]:
    """The rejected rows, a line for each."""
    yield from _title("Rejected Rows")
    if not rejections:
        yield "No rejected rows"
    for row in rejections:
        yield f"row {row.orig_index} (line {row.line}): {row.reason}"


def _title(text: str) -> Iterator[str]:
    yield "=" * _WIDTH
    yield f"{text:^{_WIDTH}}".rstrip()
    yield "=" * _WIDTH
    yield ""


def _row(name: str, count: int, total: int) -> str:
    return f"{name:<15} {count:>5} {_percent(count, total):>9.1f}%"


def _percent(count: int, total: int) -> float:
    return 100 * count / total if total else 0.0


def _completion(summary: Summary, encoding: str | None) -> str:
    full, empty = "█", "░"
    try:
        (full + empty).encode(encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        full, empty = "#", "-"
    done = _BAR * summary.completed // summary.total if summary.total else 0
    percent = _percent(summary.completed, summary.total)
    return f"Completion: [{full * done}{empty * (_BAR - done)}] {percent:.1f}% ({summary.completed}/{summary.total})"


def _beside(summary: Summary) -> Iterator[str]:
    """What the statuses do not tell."""
    running = summary.counts.get(Status.RUNNING, 0)
    if running:
        yield f"running {running} ({max(0, running - summary.running_started)} queued)"
    if summary.held:
        yield f"held {summary.held} (run only after `oact release`, or when named)"
    if summary.rejected:
        yield f"rejected rows {summary.rejected} (in no count above; `oact dashboard --show-rejected` says why)"
    if summary.failures:
        yield "Failures by class: " + ", ".join(f"{kind} {count}" for kind, count in summary.failures)


def _statistic(
    title: str, values: Numbers, mean: str, exact: str, last: str | None = None, *, median: bool = True
) -> Iterator[str]:
    found = Statistic.of(values)
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


def _total_time(summary: Summary) -> str:
    seconds = float(summary.wall_times.sum())
    return f"Total:  {seconds:.1f} ({_hours(seconds / 3600)} hours)"


def _core_hours(summary: Summary) -> str:
    return f"Total core-hours: {_hours(float(summary.core_hours.sum()))}"


def _hours(value: float) -> str:
    return f"{value:.2f}" if value == 0 or value >= 0.1 else f"{value:.2g}"

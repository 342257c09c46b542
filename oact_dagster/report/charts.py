"""The pictures of a whole campaign."""

from collections.abc import Iterator
from typing import NamedTuple

from oact_dagster.pictures.bars import bars
from oact_dagster.pictures.histogram import histogram
from oact_dagster.pictures.lines import lines
from oact_dagster.pictures.palette import STATUS
from oact_dagster.pictures.scatter import scatter
from oact_dagster.pictures.status_bar import status_bar
from oact_dagster.status.figures import CampaignFigures
from oact_dagster.status.summary import Numbers


class Chart(NamedTuple):
    """A picture."""

    key: str
    """Key that distinguishes it from other charts."""
    svg: str
    """Picture with a title, on a transparent background for light and dark pages."""


def status_chart(figures: CampaignFigures) -> Chart:
    """Number of structures with each status."""
    counts = {str(status): count for status, count in figures.overview.counts.items()}
    return Chart("status", status_bar(counts))


def charts(figures: CampaignFigures) -> Iterator[Chart]:
    """Results, cost and failures; charts without data are left out."""
    summary = figures.summary
    second, unit = _unit_of(summary.wall_times)
    if (progress := figures.progress) is not None:
        times = progress.times.tolist()
        series = {
            "completed": list(zip(times, progress.completed.tolist(), strict=True)),
            "failed": list(zip(times, progress.failed.tolist(), strict=True)),
        }
        title = "Attempts that had ended"
        yield Chart("progress", lines(series, "UTC", "attempts", title=title, times=True, integer_y=True))
    for key, values, label, title in (
        ("energy_per_atom", summary.energies_per_atom, "energy per atom, Eh", "Energy per atom"),
        ("gradient", summary.max_forces, "largest component, Eh/bohr", "Largest gradient component"),
        ("scf_cycles", summary.scf_steps, "SCF cycles", "SCF cycles"),
        ("wall_time", summary.wall_times / second, f"wall time, {unit}", "Wall time"),
    ):
        if values.size:
            yield Chart(key, histogram(values.tolist(), label, title=title))
    if figures.basis_functions.size:
        yield Chart(
            "basis_functions",
            scatter(
                figures.basis_functions.tolist(),
                (figures.wall_times / second).tolist(),
                "basis functions",
                f"wall time, {unit}",
                log_x=True,
                log_y=True,
                title="Wall time against basis functions",
            ),
        )
    spent = [(str(outcome), hours) for outcome, hours in figures.overview.spent.items() if hours > 0]
    if spent:
        yield Chart("core_hours", bars(spent, "core-hours", title="Core-hours by outcome of the attempt"))
    for key, items, label, title in (
        ("failures_by_class", list(figures.failed_attempts), "attempts", "Failed attempts by class"),
        (
            "failures_by_metal",
            [(one.metal, one.failed) for one in figures.metals],
            "structures",
            "Failed structures by metal",
        ),
        (
            "failures_by_host",
            [(one.host, one.bad) for one in figures.hosts],
            "attempts",
            "Failed, timed-out and lost attempts by host",
        ),
    ):
        if failed := [(name, float(count)) for name, count in items if count]:
            yield Chart(key, bars(failed, label, title=title, colour=STATUS["failed"]))


def _unit_of(seconds: Numbers) -> tuple[float, str]:
    """The most readable unit for such times: its length in s, and its name."""
    largest = float(seconds.max()) if seconds.size else 0.0
    return (3600.0, "h") if largest >= 7200.0 else (60.0, "min") if largest >= 300.0 else (1.0, "s")

"""The materialization of ``campaign_summary``."""

import base64
import io
from typing import Any

from dagster import AssetKey, AssetMaterialization, MetadataValue, TableColumn, TableRecord, TableSchema

from oact_dagster.campaign import Campaign
from oact_dagster.execution.feed_overview import feed_overview
from oact_dagster.execution.staleness import stale_results
from oact_dagster.execution.summary import Statistic, Summary, summarise, write_results
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger


def summary_materialization(campaign: Campaign, ledger: Ledger, key: AssetKey) -> AssetMaterialization:
    """Summarise the campaign as it is now, and write ``results.parquet``.

    Raises:
        OSError: the Parquet file cannot be written.
    """
    summary, feed = summarise(ledger), feed_overview(campaign, ledger)
    metadata: dict[str, Any] = {
        "structures": summary.total,
        "completed": summary.completed,
        "rejected_rows": summary.rejected,
        "held": summary.held,
        "stale_results": stale_results(campaign, ledger),
        "status": _table(
            [("status", "string"), ("structures", "int"), ("percent", "float")],
            [
                (
                    str(status),
                    summary.counts.get(status, 0),
                    round(100 * summary.counts.get(status, 0) / summary.total, 1),
                )
                for status in Status
                if summary.total and (status is not Status.READY or summary.counts.get(status))
            ],
        ),
        "statistics": _table(
            [("quantity", "string")] + [(name, "float") for name in ("mean", "median", "min", "max")],
            [
                (name, statistic.mean, statistic.median, statistic.minimum, statistic.maximum)
                for name, statistic in _statistics(summary)
            ],
        ),
        # By ORCA's own run time; those of the attempts are by the clock beside it, start and end included.
        "core_hours_of_results": float(summary.core_hours.sum()),
        "core_hours_of_attempts": _table(
            [("outcome", "string"), ("core_hours", "float")],
            [(str(outcome), round(hours, 6)) for outcome, hours in sorted(summary.spent.items())],
        ),
        # One line for each thing that keeps it from going on, or that somebody should look at.
        "feed": "\n".join(feed.lines()) or "nothing to tell",
        "bad_hosts": _table([("host", "string"), ("structures", "int")], list(feed.bad_hosts.items())),
        "resting": feed.resting,
        "set_aside_without_remedy": feed.without_remedy,
        "failures": _table([("failure_class", "string"), ("structures", "int")], list(summary.failures)),
        "engines": _table([("engine", "string"), ("structures", "int")], list(summary.engines.most_common())),
        "results_file": MetadataValue.path(str(write_results(campaign, ledger))),
    }
    if summary.not_orca:
        metadata["warning"] = (
            f"{summary.not_orca} of {summary.completed} results are NOT ORCA results: the stand-in engine's GFN2-xTB"
            " numbers mean nothing for chemistry"
        )
    if summary.energies.size:
        metadata["histograms"] = MetadataValue.md(
            f"![histograms](data:image/png;base64,{_histograms(summary)})"
        )
    return AssetMaterialization(key, metadata=metadata)


def _statistics(summary: Summary) -> list[tuple[str, Statistic]]:
    quantities = {
        "final energy (Eh)": summary.energies,
        "energy per atom (Eh)": summary.energies_per_atom,
        "largest gradient component (Eh/bohr)": summary.max_forces,
        "SCF cycles": summary.scf_steps,
        "wall time (s)": summary.wall_times,
        "cores": summary.n_cores,
        "core-hours": summary.core_hours,
    }
    found = ((name, Statistic.of(values)) for name, values in quantities.items())
    return [(name, statistic) for name, statistic in found if statistic is not None]


def _table(columns: list[tuple[str, str]], rows: list[Any]) -> MetadataValue[Any]:
    names = [name for name, _ in columns]
    return MetadataValue.table(
        [TableRecord(dict(zip(names, row, strict=True))) for row in rows],
        schema=TableSchema(columns=[TableColumn(name, kind) for name, kind in columns]),
    )


def _histograms(summary: Summary) -> str:
    """A PNG picture, base64."""
    from matplotlib.figure import Figure

    panels = [
        ("energy per atom (Eh)", summary.energies_per_atom),
        ("largest gradient component (Eh/bohr)", summary.max_forces),
        ("SCF cycles", summary.scf_steps),
        ("wall time (s)", summary.wall_times),
    ]
    # Figure and not pyplot: pyplot keeps every figure, and wants a screen.
    figure = Figure(figsize=(8, 5), dpi=100, layout="constrained")
    for axes, (label, values) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        axes.hist(values, bins=min(50, max(5, int(values.size**0.5) * 2)), color="#4f7fb8", edgecolor="white")
        axes.set_xlabel(label)
        axes.set_ylabel("structures")
        axes.yaxis.get_major_locator().set_params(integer=True)
    title = f"{summary.completed} of {summary.total} structures completed"
    figure.suptitle(f"{title}; NOT ORCA: stand-in engine" if summary.not_orca else title)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return base64.b64encode(picture.getvalue()).decode("ascii")

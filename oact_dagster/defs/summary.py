"""The materialization of ``campaign_summary``."""

import time
from collections.abc import Iterator
from typing import Any

from dagster import AssetKey, AssetMaterialization, MetadataValue

from oact_dagster.defs.dagster_internals import version_tags
from oact_dagster.defs.keys import CampaignKeys
from oact_dagster.defs.metadata import table
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.pictures.markdown import as_markdown
from oact_dagster.report.charts import charts, status_chart
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.feed_status import FeedOverview, feed_overview
from oact_dagster.status.figures import CampaignFigures, campaign_figures
from oact_dagster.status.quality import Quality
from oact_dagster.status.staleness import stale_results
from oact_dagster.status.summary import Statistic, write_results
from oact_dagster.text import pluralise

_ROWS = 30
"""Most rows of the tables of metals and hosts."""


def summary_materialization(
    campaign: Campaign, ledger: Ledger, key: AssetKey, quality: Quality
) -> AssetMaterialization:
    """Summarise the campaign as it is now, and write ``results.parquet``.

    Raises:
        OSError: the Parquet file cannot be written.
    """
    figures, feed = campaign_figures(campaign, ledger), feed_overview(campaign, ledger)
    summary, overview = figures.summary, figures.overview
    pictures = [as_markdown(chart.svg, chart.key) for chart in (status_chart(figures), *charts(figures))]
    metadata: dict[str, Any] = {
        "structures": summary.total,
        "completed": summary.completed,
        "percent_completed": round(100 * summary.completed / summary.total, 2) if summary.total else 0.0,
        "rejected_rows": summary.rejected,
        "held": summary.held,
        "stale_results": stale_results(campaign, ledger),
        **_pace(figures, feed),
        "status": table(
            [("status", "string"), ("structures", "int"), ("percent", "float")],
            [
                (str(status), count, round(100 * count / summary.total, 1))
                for status in Status
                if summary.total and ((count := summary.counts.get(status, 0)) or status is not Status.READY)
            ],
        ),
        "statistics": table(
            [("quantity", "string")] + [(name, "float") for name in ("mean", "median", "min", "max")],
            _statistics(figures),
        ),
        # From ORCA's own run time; the hours of the attempts also include start and end of the process.
        "core_hours_of_results": round(float(summary.core_hours.sum()), 6),
        "core_hours_good": round(figures.good_core_hours, 6),
        "core_hours_lost": round(figures.lost_core_hours, 6),
        "core_hours_of_attempts": table(
            [("outcome", "string"), ("core_hours", "float")],
            [(str(outcome), round(hours, 6)) for outcome, hours in sorted(overview.spent.items())],
        ),
        # One line for everything that holds the campaign up or needs a look.
        "feed": "\n".join(feed.lines()) or "nothing to tell",
        "bad_hosts": table([("host", "string"), ("structures", "int")], list(feed.bad_hosts.items())),
        "resting": feed.resting,
        "set_aside": (overview.set_aside or 0) + feed.without_remedy,
        "set_aside_without_remedy": feed.without_remedy,
        "failures": table([("failure_class", "string"), ("structures", "int")], list(summary.failures)),
        "metals": table(
            [("metal", "string"), ("structures", "int"), ("completed", "int"), ("failed", "int")],
            [(one.metal, one.structures, one.completed, one.failed) for one in figures.metals[:_ROWS]],
        ),
        "hosts": table(
            [("host", "string"), ("attempts", "int"), ("failed_timed_out_or_lost", "int")],
            [(one.host, sum(one.outcomes.values()), one.bad) for one in figures.hosts[:_ROWS]],
        ),
        "quality": _quality_table(quality),
        "results_that_break_a_rule": len(quality.failed),
        "engines": table([("engine", "string"), ("structures", "int")], list(summary.engines.most_common())),
        "results_file": MetadataValue.path(str(write_results(campaign, ledger))),
        "pictures": MetadataValue.md("\n\n".join(pictures)),
    }
    if summary.not_orca:
        metadata["warning"] = (
            f"{summary.not_orca} of {pluralise(summary.completed, 'result')}"
            f" {'is NOT an ORCA result' if summary.not_orca == 1 else 'are NOT ORCA results'}: the stand-in"
            " engine's GFN2-xTB numbers mean nothing for chemistry"
        )
    # Without a record of its inputs, Dagster would call it outdated at once.
    upstream = CampaignKeys.of(campaign).metric_summaries
    return AssetMaterialization(
        key, metadata=metadata, tags=version_tags(campaign.settings_hash(), None, upstream)
    )


def _pace(figures: CampaignFigures, feed: FeedOverview) -> dict[str, Any]:
    overview = figures.overview
    found: dict[str, Any] = {"left_to_run": overview.left}
    if overview.throughput is not None:
        found["completed_per_hour"] = round(overview.throughput.per_hour, 3)
    if overview.ends_at is not None and not feed.stopped:
        found["ends_about"] = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(overview.ends_at))
    return found


def _statistics(figures: CampaignFigures) -> Iterator[tuple[str | float, ...]]:
    """Rows of quantity, mean, median, minimum and maximum."""
    summary = figures.summary
    quantities = {
        "final energy (Eh)": summary.energies,
        "energy per atom (Eh)": summary.energies_per_atom,
        "largest gradient component (Eh/bohr)": summary.max_forces,
        "SCF cycles": summary.scf_steps,
        "wall time (s)": summary.wall_times,
        "cores": summary.n_cores,
        "core-hours": summary.core_hours,
    }
    for name, values in quantities.items():
        if (found := Statistic.of(values)) is not None:
            numbers = (found.mean, found.median, found.minimum, found.maximum)
            # Ten digits, so that the page shows all columns.
            yield name, *(float(f"{number:.10g}") for number in numbers)


def _quality_table(quality: Quality) -> MetadataValue[Any]:
    columns = [
        ("rule", "string"), ("severity", "string"), ("judged", "int"), ("broken", "int"), ("worst", "string"),
    ]  # fmt: skip
    rows = [
        (
            rule.name,
            str(rule.severity),
            rule.checked,
            rule.failed,
            "; ".join(f"{index}: {text}" for index, text in rule.worst[:3]),
        )
        for rule in quality.rules
    ]
    return table(columns, rows)

"""The dashboard as JSON, for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from oact_dagster.ledger.metrics import Metrics, Statistic
from oact_dagster.ledger.states import JobRecord, Rejection, Status
from oact_dagster.status.feed_status import FeedOverview
from oact_dagster.status.overview import Overview

_METRICS = (
    ("final_energy_Eh", "final_energy"),
    ("max_forces_Eh_per_bohr", "max_forces"),
    ("scf_steps", "scf_steps"),
    ("wall_time_s", "wall_time"),
    ("n_cores", "n_cores"),
)


def dashboard_json(overview: Overview, feed: FeedOverview | None = None) -> dict[str, Any]:
    """The dashboard as JSON values. Energies in Eh, gradients in Eh/bohr, times in s.

    ``feed`` is None if the campaign's settings are not known.
    """
    found = overview.throughput
    return {
        "statuses": {
            str(status): overview.counts.get(status, 0)
            for status in Status
            if status is not Status.READY or overview.counts.get(status)
        },
        "total": overview.total,
        "running_queued": overview.queued,
        "running_unfollowed": overview.running_unfollowed,
        "stuck_by_reason": dict(overview.stuck),
        "held": overview.held,
        "set_aside": overview.set_aside,
        "rejected_rows": overview.rejected,
        "left": overview.left,
        "failures_by_class": dict(overview.failures),
        "faults_by_host": dict(overview.host_faults),
        "failures_by_message": [asdict(group) for group in overview.groups],
        "engines": dict(overview.engines),
        "not_orca": overview.not_orca,
        "quality": None
        if overview.quality is None
        else {
            "judged": overview.quality.judged,
            "failed": overview.quality.failed,
            "failed_by_rule": dict(overview.quality.by_rule),
        },
        "throughput": None if found is None else asdict(found) | {"completed_per_hour": found.per_hour},
        "estimated_end": overview.ends_at,
        "metrics": None if overview.metrics is None else _metrics(overview.metrics),
        "core_hours_by_outcome": {str(outcome): hours for outcome, hours in overview.spent.items()},
        "feed": None if feed is None else asdict(feed),
    }


def rejections_json(rejections: Sequence[Rejection]) -> list[dict[str, Any]]:
    """The rejected rows, for the key ``rejections``."""
    return [{"row": row.orig_index, "line": row.line, "reason": row.reason} for row in rejections]


def jobs_json(jobs: Mapping[str, Sequence[JobRecord]]) -> dict[str, list[dict[str, Any]]]:
    """The lists that flags ask for, without geometries and with whole messages."""
    left_out = {"geometry", "elements"}
    return {
        name: [{key: value for key, value in asdict(row).items() if key not in left_out} for row in rows]
        for name, rows in jobs.items()
    }


def _metrics(metrics: Metrics) -> dict[str, Any]:
    return {key: _statistic(getattr(metrics, name)) for key, name in _METRICS} | {
        "core_hours": metrics.core_hours,
        "jobs_with_metrics": metrics.with_metrics,
        "jobs_with_times": metrics.with_times,
    }


def _statistic(found: Statistic | None) -> dict[str, float] | None:
    if found is None:
        return None
    return {
        "count": found.count,
        "mean": found.mean,
        "median": found.median,
        "min": found.minimum,
        "max": found.maximum,
        "total": found.total,
    }

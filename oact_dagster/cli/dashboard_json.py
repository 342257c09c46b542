"""The dashboard as JSON, for programs."""

from collections.abc import Sequence
from typing import Any

from oact_dagster.execution.summary import Numbers, Statistic, Summary
from oact_dagster.ledger.states import Rejection, Status


def dashboard_json(summary: Summary) -> dict[str, Any]:
    """The dashboard as values that JSON has. Energies in Eh, gradients in Eh/bohr, times in s."""
    running = summary.counts.get(Status.RUNNING, 0)
    return {
        "statuses": {
            str(status): summary.counts.get(status, 0)
            for status in Status
            if status is not Status.READY or summary.counts.get(status)
        },
        "total": summary.total,
        "running_queued": max(0, running - summary.running_started),
        "held": summary.held,
        "rejected_rows": summary.rejected,
        "failures_by_class": dict(summary.failures),
        "engines": dict(summary.engines),
        "not_orca": summary.not_orca,
        "metrics": {
            "final_energy_Eh": _statistic(summary.energies),
            "max_forces_Eh_per_bohr": _statistic(summary.max_forces),
            "scf_steps": _statistic(summary.scf_steps),
            "wall_time_s": _statistic(summary.wall_times),
            "n_cores": _statistic(summary.n_cores),
            "core_hours": _statistic(summary.core_hours),
        },
        "core_hours_by_outcome": {str(outcome): hours for outcome, hours in summary.spent.items()},
    }


def rejections_json(rejections: Sequence[Rejection]) -> list[dict[str, Any]]:
    """The rejected rows, for the key ``rejections``."""
    return [{"row": row.orig_index, "line": row.line, "reason": row.reason} for row in rejections]


def _statistic(values: Numbers) -> dict[str, float] | None:
    found = Statistic.of(values)
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

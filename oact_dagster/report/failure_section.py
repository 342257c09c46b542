"""What went wrong, summed up: groups of like failures, metals and hosts."""

from typing import Final

from oact_dagster.execution.campaign_figures import CampaignFigures
from oact_dagster.ledger.states import Outcome
from oact_dagster.report.html import escaped, structure_button, table
from oact_dagster.report.tables import text_of

GROUPS_SHOWN: Final = 12
HOSTS_SHOWN: Final = 15
METALS_SHOWN: Final = 40


def groups_html(figures: CampaignFigures) -> str:
    """Structures that are failed or timed out now, by class and message; the largest groups."""
    groups = figures.overview.groups
    rows = [
        (
            group.count,
            group.failure_class,
            text_of(group.message, 200),
            "" if group.example is None else structure_button(group.example),
        )
        for group in groups[:GROUPS_SHOWN]
    ]
    more = len(groups) - len(rows)
    rest = f'<p class="quiet">{more:,} smaller groups are not shown.</p>' if more > 0 else ""
    return table(("structures", "class", "message", "one of them"), rows, name="Failures by message") + rest


def metals_html(figures: CampaignFigures) -> str:
    """Structures by their metal."""
    rows = [
        (one.metal, one.structures, one.completed, one.failed, _percent(one.failed, one.structures))
        for one in figures.metals[:METALS_SHOWN]
    ]
    return table(
        ("metal", "structures", "completed", "failed", "failed, %"), rows, name="Structures by metal"
    )


def hosts_html(figures: CampaignFigures) -> str:
    """Attempts by host, the worst first."""
    rows = [
        (
            one.host,
            *(one.outcomes.get(outcome, 0) for outcome in Outcome),
            _percent(one.bad, one.judged),
        )
        for one in figures.hosts[:HOSTS_SHOWN]
    ]
    more = len(figures.hosts) - len(rows)
    rest = f'<p class="quiet">{escaped(f"{more:,} more hosts are not shown.")}</p>' if more > 0 else ""
    heads = ("host", "completed", "failed", "timed out", "lost", "cancelled", "bad, %")
    return table(heads, rows, name="Attempts by host, the worst first") + rest


def _percent(part: int, whole: int) -> float:
    return float(f"{100 * part / whole:.3g}") if whole else 0.0

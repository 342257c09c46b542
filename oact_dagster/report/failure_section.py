"""A summary of failures: groups of similar failures, metals and hosts."""

from typing import Final

from oact_dagster.ledger.states import Outcome
from oact_dagster.report.html import Figure, escaped, structure_button, table
from oact_dagster.status.figures import CampaignFigures
from oact_dagster.text import one_line

_GROUPS_SHOWN: Final = 12
HOSTS_SHOWN: Final = 12
METALS_SHOWN: Final = 12


def groups_html(figures: CampaignFigures) -> str:
    """The largest groups of structures that are now failed or timed out, by class and message."""
    groups = figures.overview.groups
    rows = [
        (
            group.count,
            group.failure_class,
            one_line(group.message, 200, "…"),
            "" if group.example is None else structure_button(group.example),
        )
        for group in groups[:_GROUPS_SHOWN]
    ]
    heads = ("structures", "class", "message", "example")
    return table(heads, rows, name="Failures by message") + _more(len(groups) - len(rows), "smaller groups")


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
    heads = ("host", "completed", "failed", "timed out", "lost", "cancelled", "bad, %")
    return table(heads, rows, name="Attempts by host, the worst first") + _more(
        len(figures.hosts) - len(rows), "hosts"
    )


def _more(count: int, what: str) -> str:
    return f'<p class="quiet">and {count:,} more {escaped(what)}</p>' if count > 0 else ""


def _percent(part: int, whole: int) -> Figure:
    return Figure(f"{100 * part / whole:.1f}" if whole else "")

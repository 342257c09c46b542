"""What ``--update`` found and did, as text and as JSON."""

from typing import Any, Final

from oact_dagster.attempts.recovery import UpdateReport
from oact_dagster.text import one_line, pluralise

_WIDTH: Final = 160


def update_lines(report: UpdateReport, *, verbose: bool = False) -> list[str]:
    """One line for what changed, and one for each reason why structures stay running."""
    changed = ", ".join(f"{count} {status}" for status, count in sorted(report.changed.items()))
    lines = [
        f"Updated {report.changed.total()} of {pluralise(report.looked_at, 'running job')}"
        + (f": {changed}" if changed else "")
    ]
    if report.followed:
        lines.append(
            f"  {report.followed} {'is' if report.followed == 1 else 'are'} left to the run that follows them"
        )
    for note in report.notes.values():
        which = ", ".join(map(str, note.examples)) + (", ..." if note.count > len(note.examples) else "")
        lines.append(f"  {note.count} (id {which}): {note.text if verbose else one_line(note.text, _WIDTH)}")
    return lines


def update_json(report: UpdateReport) -> dict[str, Any]:
    """The report as JSON values."""
    return {
        "looked_at": report.looked_at,
        "changed": dict(report.changed),
        "still_running": report.still_running,
        "followed": report.followed,
        "notes": [
            {"note": note.text, "count": note.count, "ids": note.examples} for note in report.notes.values()
        ],
    }

"""Writes the report, whole or not at all."""

import platform
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oact_dagster.errors import OactError
from oact_dagster.files import atomic_file
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.report.charts import charts, status_chart
from oact_dagster.report.details import MOST_STRUCTURES, details
from oact_dagster.report.failure_section import groups_html, hosts_html, metals_html
from oact_dagster.report.head import banner, clock, sentence, tiles
from oact_dagster.report.html import escaped, structure_button, table
from oact_dagster.report.page import page
from oact_dagster.report.provenance import settings_html, version, versions_html
from oact_dagster.report.tables import ATTEMPTS_SHOWN, MESSAGE_SHOWN, Table, json_parts, tables
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.feed_status import feed_overview
from oact_dagster.status.figures import CampaignFigures, campaign_figures
from oact_dagster.status.quality import Quality, RuleSummary
from oact_dagster.text import one_line, pluralise

_WORST_SHOWN = 10

REPORT_FILE: Final = "report.html"
"""The report's name, beside ``campaign.yaml``."""

_FIRST_BYTES: Final = b"<!doctype html>"
_ROWS_OF_A_PICTURE: Final = 300
"""Reading an output and drawing two pictures takes as long as this many rows of a table."""
_HINT: Final = "words, status:failed, scf>100 …"


class ReportError(OactError, ValueError):
    """The report would overwrite a file that is not a report; the text is one line."""


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """A report that was written."""

    path: Path
    size: int
    """Bytes."""
    structures: int


def write_report(
    campaign: Campaign,
    ledger: LedgerReader,
    target: Path | None = None,
    *,
    quality: Quality | None = None,
    progress: Callable[[int, int], None] | None = None,
    now: float | None = None,
) -> WrittenReport:
    """Write one HTML file on a whole campaign, which needs no network. The ledger is only read.

    Args:
        campaign: its settings.
        ledger: runs may be at work on it.
        target: the file; None for ``report.html`` beside ``campaign.yaml``. Overwrites an earlier report.
        quality: None if nothing was checked.
        progress: called with the work done and the total work.
        now: Unix time, s.

    Raises:
        LedgerError: the ledger cannot be read.
        ReportError: the file exists and is not a report, or it is a folder.
        OSError: it cannot be written.
    """
    path = campaign.folder / REPORT_FILE if target is None else target
    refuse_others(path)
    at = time.time() if now is None else now
    figures = campaign_figures(campaign, ledger, at)
    total = figures.overview.total
    work = _Work(ledger, total, progress)
    found = tables(ledger, None if quality is None else quality.failed, work.rows, annotate=campaign.annotate)
    more = (
        details(ledger, optimised=campaign.orca.opt, progress=work.details)
        if total <= MOST_STRUCTURES
        else ("{}",)
    )
    parts = _parts(campaign, ledger, figures, found, json_parts(found, more), quality, at)
    with atomic_file(path) as part, part.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(parts)
    return WrittenReport(path, path.stat().st_size, total)


class _Work:
    """Reports how much of the work is done, in rows of the tables."""

    def __init__(
        self, ledger: LedgerReader, structures: int, progress: Callable[[int, int], None] | None
    ) -> None:
        self._rows = structures + min(ledger.history.count_attempts(), ATTEMPTS_SHOWN)
        self._all = self._rows + (structures * _ROWS_OF_A_PICTURE if structures <= MOST_STRUCTURES else 0)
        self._progress = progress

    def rows(self, done: int) -> None:
        """Note the number of table rows read."""
        if self._progress is not None:
            self._progress(done, self._all)

    def details(self, done: int) -> None:
        """Note the number of structures with pictures."""
        self.rows(self._rows + done * _ROWS_OF_A_PICTURE)


def refuse_others(path: Path) -> None:
    """Refuse to overwrite a file that is not a report.

    Raises:
        ReportError: the file exists and is not HTML, or it is a folder.
        OSError: it cannot be read.
    """
    if path.is_dir():
        raise ReportError(f"{path}: is a folder; name a file, such as {path / REPORT_FILE}")
    if not path.exists():
        return
    with path.open("rb") as stream:
        begin = stream.read(len(_FIRST_BYTES))
    if begin and begin.lower() != _FIRST_BYTES:
        raise ReportError(f"{path}: already exists and is not a report; name another file with -o")


def _parts(
    campaign: Campaign,
    ledger: LedgerReader,
    figures: CampaignFigures,
    found: list[Table],
    data: Iterable[str],
    quality: Quality | None,
    at: float,
) -> Iterator[str]:
    when = clock(at)
    sections = {"overview": ("Progress", _overview(campaign, ledger, figures, at))}
    if pictures := _pictures(figures):
        sections["pictures"] = ("Results and cost", pictures)
    if quality is not None:
        sections["quality"] = ("Quality", _quality_html(quality))
    for one in found:
        groups = groups_html(figures) if one.name == "failures" else ""
        sections[one.name] = (one.name.capitalize(), f"{groups}\n{_table_place(one)}")
    sections["settings"] = (
        "Settings and versions",
        f"{versions_html(campaign, ledger, figures)}\n{settings_html(campaign)}",
    )
    return page(
        title=f"{campaign.name}: report of {when}",
        heading=campaign.name,
        when=f"{when}, on {platform.node() or 'an unknown host'}, from {campaign.ledger}",
        banner=banner(figures),
        sections=sections,
        footer="This file needs no network: it can be mailed and kept.",
        generator=f"oact-dagster {version('oact-dagster')}",
        data=data,
    )


def _overview(campaign: Campaign, ledger: LedgerReader, figures: CampaignFigures, at: float) -> str:
    notes = "".join(
        f'<p class="note">{escaped(line)}</p>\n' for line in feed_overview(campaign, ledger, at).lines()
    )
    bar = f'<figure class="wide">{status_chart(figures).svg}</figure>\n' if figures.overview.total else ""
    return f"<p>{escaped(sentence(figures))}</p>\n{bar}{tiles(figures)}\n{notes}"


def _pictures(figures: CampaignFigures) -> str:
    """The pictures, then the numbers by metal and host; empty if there are none yet."""
    drawn = "\n".join(f'<figure id="picture-{chart.key}">{chart.svg}</figure>' for chart in charts(figures))
    small = "\n".join(
        f"<div><h3>{title}</h3>{body}</div>"
        for title, body in (("Metals", metals_html(figures)), ("Hosts, the worst first", hosts_html(figures)))
        if body
    )
    pictures = f'<div class="pictures">\n{drawn}\n</div>\n' if drawn else ""
    small_tables = f'<div class="small-tables">\n{small}\n</div>' if small else ""
    return pictures + small_tables


def _table_place(table: Table) -> str:
    """The element that the browser fills with a table."""
    note = f'<p class="quiet">{escaped(table.note)}</p>\n' if table.note else ""
    if not table.rows:
        return f"{note}<p>None.</p>"
    return (
        f'{note}<div data-table="{escaped(table.name)}" data-hint="{escaped(_HINT)}">'
        f'<p class="note">{table.rows:,} rows; your browser needs JavaScript to show them.</p></div>'
    )


def _quality_html(quality: Quality) -> str:
    """A row for each rule, and below it the worst structures of each that failed."""
    rows = [
        (rule.name, rule.severity, rule.checked, rule.failed, rule.description)
        for rule in sorted(quality.rules, key=lambda rule: -rule.failed)
    ]
    overview = table(("rule", "severity", "checked", "failed", "what it asks"), rows, name="Quality rules")
    worst = "\n".join(_worst_html(rule) for rule in quality.rules if rule.worst)
    failed = len(quality.failed)
    broken = f"{pluralise(failed, 'structure', 'breaks', 'break', form=',')} at least one rule."
    return f"<p>{broken}</p>\n{overview}\n{worst}"


def _worst_html(rule: RuleSummary) -> str:
    shown = rule.worst[:_WORST_SHOWN]
    rows = [(structure_button(index), one_line(text, MESSAGE_SHOWN, "…")) for index, text in shown]
    of = f"all {len(shown)}" if rule.failed <= len(shown) else f"the worst {len(shown)} of {rule.failed:,}"
    body = table(("structure", "what is wrong"), rows, name=f"Worst of {rule.name}")
    return f"<details><summary>{escaped(f'{rule.name}: {of}')}</summary>{body}</details>"

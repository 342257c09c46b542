"""The lists of jobs that the dashboard's flags ask for."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from oact_dagster.cli.dashboard_json import jobs_json, rejections_json
from oact_dagster.cli.dashboard_text import rejection_lines, title_lines
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import WAITING_STATUSES, JobRecord, Status
from oact_dagster.text import one_line, pluralise

_WIDTH: Final = 60
_WIDTH_VERBOSE: Final = 400


@dataclass(frozen=True, slots=True)
class Lists:
    """Which lists to show, and how long they may be."""

    failed: bool
    timeout: bool
    ready: bool
    chronic: int | None
    rejected: bool
    limit: int
    verbose: bool
    budgets: tuple[int, int] | None = None
    """The most failures and losses of a structure, if known."""
    retry_key: str | None = None
    """Key of the campaign's settings, if known; whether a remedy is left depends on them."""

    def lines(self, ledger: LedgerReader) -> Iterator[str]:
        """The lists as text."""
        for title, statuses in self._by_status():
            yield ""
            yield from title_lines(title)
            rows, in_all = self._rows(ledger, statuses)
            yield from self._table(ledger, rows, in_all)
        if self.chronic is not None:
            yield ""
            yield from title_lines(f"Chronic Failures (failed {self.chronic} times or more)")
            found = ledger.structures.stored_by_fail_count(self.chronic, self.limit)
            yield from self._table(ledger, found, ledger.figures.count_by_fail_count(self.chronic))
            aside = ledger.structures.stored_set_aside(self.chronic, self.budgets, self.retry_key)
            if aside:
                yield ""
                yield from title_lines(f"Set Aside (failed less than {pluralise(self.chronic, 'time')})")
                yield from self._table(ledger, aside[: self.limit], len(aside))
        if self.rejected:
            yield ""
            yield from rejection_lines(ledger.intake.rejections())

    def as_json(self, ledger: LedgerReader) -> dict[str, Any]:
        """The lists as JSON values."""
        jobs = {
            "_".join(title.lower().split()): self._rows(ledger, statuses)[0]
            for title, statuses in self._by_status()
        }
        if self.chronic is not None:
            jobs["chronic_failures"] = ledger.structures.stored_by_fail_count(self.chronic, self.limit)
            aside = ledger.structures.stored_set_aside(self.chronic, self.budgets, self.retry_key)
            jobs["set_aside"] = aside[: self.limit]
        found: dict[str, Any] = {**jobs_json(jobs)}
        if self.rejected:
            found["rejections"] = rejections_json(ledger.intake.rejections())
        return found

    def _rows(self, ledger: LedgerReader, statuses: list[Status]) -> tuple[list[JobRecord], int]:
        """The first rows with these statuses, and their number; structures that are set aside are not ready."""
        counts = ledger.figures.count_by_status()
        in_all = sum(counts.get(status, 0) for status in statuses)
        aside: set[int] = set()
        if Status.TO_RUN in statuses and self.budgets is not None:
            rows = ledger.structures.stored_set_aside(self.budgets[0], self.budgets)
            aside = {row.id for row in rows if row.status in statuses}
        found = (row for row in ledger.structures.stored_by_status(statuses) if row.id not in aside)
        return list(islice(found, self.limit)), in_all - len(aside)

    def _by_status(self) -> Iterator[tuple[str, list[Status]]]:
        if self.failed:
            yield "Failed Jobs", [Status.FAILED]
        if self.timeout:
            yield "Timeout Jobs", [Status.TIMEOUT]
        if self.ready:
            yield "Ready Jobs", list(WAITING_STATUSES)

    def _table(self, ledger: LedgerReader, rows: list[JobRecord], in_all: int) -> Iterator[str]:
        if not in_all:
            yield "None"
            return
        if rows:
            yield f"{'ID':>7} {'Index':>7} {'Status':<9} {'Atoms':>5} {'Fails':>5}  Error"
        classes = ledger.figures.failure_classes([row.id for row in rows])
        for row in rows:
            index = "-" if row.orig_index is None else row.orig_index
            atoms = "-" if row.natoms is None else row.natoms
            message, kind = row.error_message or "", classes.get(row.id)
            if kind is not None and kind != row.status and not message.startswith(f"{kind}: "):
                message = f"{kind}: {message}"
            told = one_line(message, _WIDTH_VERBOSE if self.verbose else _WIDTH)
            line = f"{row.id:>7} {index:>7} {row.status:<9} {atoms:>5} {row.fail_count:>5}  {told}"
            yield line.rstrip()
            if self.verbose and row.job_dir:
                yield f"{'':>7} {'':>7} {row.job_dir}"
        if in_all > len(rows):
            yield f"and {in_all - len(rows)} more (--limit {in_all} shows all)"

"""Update running structures from the evidence in their folders, without running anything.

The attempts of a live batch are left to it. An attempt whose batch is gone is judged by the same table as in a batch:
by its payload's record, its output, and the scheduler's answer. A job that another tool started is judged by its
output alone. Missing evidence decides nothing: the structure stays ``running``, with a note.
"""

import shutil
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Final

from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.output_verdict import see_output, seen_ending
from oact_dagster.attempts.recovery import LauncherOf, Settlement, UpdateReport
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.launchers.local import LocalLauncher
from oact_dagster.launchers.protocol import Launcher
from oact_dagster.ledger.by_hand import record_seen
from oact_dagster.ledger.states import JobRecord, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.orca.outputs.silence import SILENCE_LIMIT_S
from oact_dagster.settings.campaign import Campaign
from oact_dagster.settings.launcher import LauncherSettings
from oact_dagster.settings.launcher_kinds import LAUNCHER_KINDS, on_this_machine
from oact_dagster.settings.retry import RetrySettings

_CHUNK: Final = 200
"""Structures judged before the results are recorded."""


def update_running(
    ledger: Ledger,
    layout: JobLayout,
    launcher_of: LauncherOf,
    *,
    silence_limit_s: float = SILENCE_LIMIT_S,
    retry: RetrySettings | None = None,
    clock: Callable[[], float] = time.time,
) -> UpdateReport:
    """Judge every running structure.

    Args:
        ledger: open for writing.
        layout: finds the job folders that the ledger does not name.
        launcher_of: finds the launcher that can be asked about attempts of a kind.
        silence_limit_s: an unfinished output that has not changed for this long is a timeout, s.
        retry: says how long failed structures rest.
        clock: Unix time, s.

    Raises:
        LedgerError: the ledger cannot be written; what was recorded before stays.
    """
    report = UpdateReport()
    settlement = Settlement(
        ledger, layout, launcher_of, silence_limit_s, retry or RetrySettings(), clock, report
    )
    try:
        stored = ledger.structures.stored_by_status([Status.RUNNING])
        while rows := list(islice(stored, _CHUNK)):
            report.looked_at += len(rows)
            indices = [row.orig_index for row in rows if row.orig_index is not None]
            attempts = {one.structure_id: one for one in ledger.history.open_attempts(indices).values()}
            theirs = [row for row in rows if row.id not in attempts]
            _by_output(ledger, layout, theirs, report, silence_limit_s, clock())
            settlement.settle([attempts[row.id] for row in rows if row.id in attempts])
    finally:
        settlement.close()
    return report


def _by_output(
    ledger: Ledger,
    layout: JobLayout,
    rows: Iterable[JobRecord],
    report: UpdateReport,
    silence_limit_s: float,
    now: float,
) -> None:
    """Judge jobs of other tools by their outputs."""
    found = []
    for row in rows:
        folder = folder_of(row, layout)
        if folder is None:
            report.note("has no orig_index and no job folder: no way to tell where it runs", row.id)
        elif not folder.is_dir():
            report.note("its job folder is missing: its state is unknown", row.id)
        elif ending := seen_ending(row.id, folder, see_output(folder, limit_s=silence_limit_s, now=now)):
            found.append(ending)
    recorded = record_seen(ledger, found) if found else set()
    report.changed.update(str(one.status) for one in found if one.structure_id in recorded)


def launchers_of(campaign: Campaign | None, bare: Campaign | None = None) -> LauncherOf:
    """Find launchers that can be asked from here: the campaign's, local processes, and schedulers on PATH.

    Args:
        campaign: the ledger's, if it has one.
        bare: settings of the ledger without a campaign.
    """

    def launcher_of(kind: str) -> Launcher | None:
        if campaign is not None and kind == campaign.launcher.recorded_kind:
            return make_launcher(campaign, only_asks=True)
        if on_this_machine(kind):
            return LocalLauncher(1)
        facts = LAUNCHER_KINDS.get(kind)
        if bare is None or facts is None or facts.program is None or shutil.which(facts.program) is None:
            return None
        # Queries and cancels need none of the settings that a submit needs.
        settings = LauncherSettings.model_validate({"kind": kind})
        return make_launcher(bare.model_copy(update={"launcher": settings}), only_asks=True)

    return launcher_of


def folder_of(row: JobRecord, layout: JobLayout) -> Path | None:
    """The job folder of a row that another tool may have written; None if nothing names one.

    A relative path counts from the current folder, as it did for the tool that wrote it. If nothing is there, its last
    part is looked up in the jobs folder.
    """
    if row.job_dir:
        named = Path(row.job_dir)
        if named.is_dir():
            return named
        if (moved := layout.jobs_dir / named.name).is_dir():
            return moved
    if row.orig_index is None:
        return Path(row.job_dir) if row.job_dir else None
    return layout.folder(row.orig_index, row.id)

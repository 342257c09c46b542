"""What ``oact check`` found, as JSON for programs."""

from typing import Any

from oact_dagster.attempts.input_text import input_settings
from oact_dagster.maintenance.check import DiskNeed, Group, Report
from oact_dagster.settings.campaign import Campaign


def check_json(campaign: Campaign, report: Report) -> dict[str, Any]:
    """The report as JSON values. Sizes in bytes, memory in MB."""
    atoms, largest, memory, kept = report.atoms, report.largest, report.memory, report.kept
    return {
        "campaign": campaign.name,
        "file": str(campaign.file),
        "source": str(report.source),
        "good": report.good,
        "structures": report.rows,
        "runnable": report.runnable,
        "refused_structures": report.refused_structures,
        "refused": [_group(group) for group in report.refused],
        "warnings": [_group(group) for group in report.warnings],
        "blocking": report.blocking,
        "notes": report.notes,
        "repeats": report.repeats,
        "atoms": None
        if atoms is None
        else {"min": atoms.smallest, "median": atoms.median, "max": atoms.largest},
        "closed_shells": report.closed_shells,
        "open_shells": report.open_shells,
        "largest": None
        if largest is None
        else {"row": largest.orig_index, "atoms": largest.natoms, "basis_functions": largest.amount},
        "memory": None
        if memory is None
        else {
            "row": memory.orig_index,
            "MB": memory.amount,
            "cores": input_settings(campaign, memory.natoms).n_cores,
        },
        "disk": _disk(report.disk),
        "ledger": None
        if kept is None
        else {
            "statuses": {str(status): count for status, count in kept.counts.items()},
            "rejected_rows": kept.rejected,
            "stale_results": kept.stale,
        },
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "what": group.what,
        "count": group.count,
        "examples": [
            {"row": example.orig_index, "line": example.line, "message": example.message}
            for example in group.examples
        ],
    }


def _disk(disk: DiskNeed) -> dict[str, Any]:
    return {
        "estimated_from": disk.origin,
        "bytes": round(disk.bytes_in_all),
        "bytes_to_come": round(disk.bytes_to_come),
        "files": round(disk.files_in_all),
        "files_to_come": round(disk.files_to_come),
        "free_bytes": None if disk.room is None else disk.room.bytes,
        "free_inodes": None if disk.room is None else disk.room.inodes,
        "fits": disk.fits,
    }

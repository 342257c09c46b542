"""What ``oact check`` found, as text."""

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from oact_dagster.attempts.input_text import input_settings
from oact_dagster.cli.size_text import size_text
from oact_dagster.maintenance.check import DiskNeed, Example, Group, Kept, Report
from oact_dagster.settings.campaign import Campaign
from oact_dagster.text import pluralise

_WIDTH: Final = 14


def check_lines(campaign: Campaign, report: Report) -> Iterator[str]:
    """Yield the lines of the report; none depends on the width of the terminal."""
    yield f"Campaign {campaign.name} ({campaign.file})"
    yield _row("structures", f"{report.rows:,} in {report.source}")
    if report.rows:
        yield _row("can be run", f"{report.runnable:,}")
        yield _row("refused", f"{report.refused_structures:,}")
    if report.repeats:
        yield _row("repeats", f"{report.repeats:,} (the same calculation as an earlier structure)")
    if report.kept is not None:
        yield _row("ledger", _ledger(report.kept, can_run=not report.blocking))
    yield from _sizes(report)
    if report.runnable:
        yield from _needs(campaign, report)
    yield from _groups("Refused", report.refused, with_messages=True)
    yield from _groups("Warnings", report.warnings, with_messages=False)
    yield from _lines("Notes", report.notes)
    yield from _lines("Stops the whole campaign", report.blocking)
    yield ""
    yield _verdict(report)


def _sizes(report: Report) -> Iterator[str]:
    if report.atoms is None or report.largest is None:
        return
    atoms = report.atoms
    yield _row("atoms", f"{atoms.smallest} to {atoms.largest}, median {atoms.median:g}")
    yield _row("electrons", f"{report.closed_shells:,} closed-shell, {report.open_shells:,} open-shell")
    largest = report.largest
    yield _row(
        "largest",
        f"structure {largest.orig_index}: {pluralise(largest.natoms, 'atom')}, {largest.amount:,} basis functions",
    )


def _needs(campaign: Campaign, report: Report) -> Iterator[str]:
    if report.memory is not None:
        cores = input_settings(campaign, report.memory.natoms).n_cores
        yield _row(
            "memory",
            f"up to {report.memory.amount:,} MB for one calculation (structure {report.memory.orig_index}: %maxcore "
            f"{report.memory.amount // cores:,} MB, {cores} core{'' if cores == 1 else 's'})",
        )
    yield from _disk(report.disk)


def _disk(disk: DiskNeed) -> Iterator[str]:
    some_done = disk.bytes_to_come < disk.bytes_in_all
    room = disk.room
    for name, in_all, to_come, free in (
        (
            "disk space",
            f"about {size_text(disk.bytes_in_all)}",
            size_text(disk.bytes_to_come),
            size_text(room.bytes) if room else None,
        ),
        (
            "files",
            f"about {disk.files_in_all:,.0f}, with folders",
            f"{disk.files_to_come:,.0f}",
            f"{room.inodes:,}" if room and room.inodes is not None else None,
        ),
    ):
        still = f", {to_come} of it still to come" if some_done else ""
        yield _row(name, f"{in_all}{still}{f' ({free} free)' if free else ''}")
    yield _row("", f"estimated from {disk.origin}")
    yield _row("", "(one attempt for each structure; ORCA's temporary files come on top while it runs)")


def _ledger(kept: Kept, *, can_run: bool) -> str:
    parts = [f"{count:,} {status}" for status, count in sorted(kept.counts.items()) if count]
    if kept.rejected:
        parts.append(f"{pluralise(kept.rejected, 'row', form=',')} rejected")
    if kept.stale:
        # If the campaign cannot run, `oact run --stale` would be refused, too.
        advice = " (`oact run --stale`)" if can_run else ""
        parts.append(
            f"{pluralise(kept.stale, 'result', form=',')} made with other settings than the present{advice}"
        )
    return ", ".join(parts) or "empty"


def _groups(title: str, groups: list[Group], *, with_messages: bool) -> Iterator[str]:
    if not groups:
        return
    yield ""
    yield f"{title}:"
    for group in groups:
        yield f"  {group.count:,} x {group.what}"
        if with_messages:
            for message, examples in groupby(group.examples, key=lambda example: example.message):
                yield f"      {_where(list(examples))}: {message}"
            if group.count > len(group.examples):
                yield f"      and {group.count - len(group.examples):,} more"
        else:
            first = ", ".join(str(example.orig_index) for example in group.examples)
            yield f"      structures {first}{', ...' if group.count > len(group.examples) else ''}"


def _where(examples: list[Example]) -> str:
    shown = [
        f"{example.orig_index}{'' if example.line is None else f' (line {example.line})'}"
        for example in examples
    ]
    return f"structure{'' if len(shown) == 1 else 's'} {', '.join(shown)}"


def _lines(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in lines)


def _verdict(report: Report) -> str:
    if report.blocking:
        return "The campaign cannot be run as it is."
    every = "The only structure" if report.rows == 1 else f"All {report.rows:,} structures"
    if report.rows and not report.runnable:
        return f"{every} would be refused."
    if report.refused:
        return (
            f"{report.refused_structures:,} of {report.rows:,} structures would be refused; the other "
            f"{report.runnable:,} can be run."
        )
    return f"{every} can be run."


def _row(name: str, value: str) -> str:
    return f"  {name:<{_WIDTH}}{value}"

"""Which structures a run is asked for: by number, or by status."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger

BY_STATUS: Final[dict[str, tuple[Status, ...]]] = {
    "to_run": (Status.TO_RUN, Status.READY),
    "failed": (Status.FAILED,),
    "timeout": (Status.TIMEOUT,),
    "unfinished": (Status.TO_RUN, Status.READY, Status.RUNNING, Status.FAILED, Status.TIMEOUT),
}
"""The words that select structures by their status."""


class SelectionError(ValueError):
    """A selection cannot be read; the text is one line that says what is right."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """What a batch is asked to do."""

    orig_indices: Sequence[int]
    statuses: tuple[Status, ...] = (Status.TO_RUN, Status.FAILED, Status.TIMEOUT)
    """A structure that has another status when it is claimed is not run."""
    named: bool = True
    """The user named the structures: held ones are released, and each gets a word on what became of it."""
    ignore_budget: bool = False
    """Run also what has used up its budget of failures or losses."""


def parse_indices(text: str) -> list[int]:
    """Read ``0-9,15``: numbers and ranges, in the order given, without repeats.

    Raises:
        SelectionError: anything else.
    """
    found: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            raise SelectionError(
                f"{part.strip()!r} is no number or range of structures; write for example 0-9,15"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise SelectionError(f"{part.strip()!r} runs backwards; write {last}-{first}")
        if last - first >= 10_000_000:
            raise SelectionError(f"{part.strip()!r} is longer than any campaign")
        found.update(dict.fromkeys(range(first, last + 1)))
    return list(found)


def resolve(
    ledger: Ledger, select: str, *, limit: int | None = None, ignore_budget: bool = False
) -> BatchRequest:
    """Turn a selection into a request.

    Args:
        ledger: of the campaign.
        select: ``to_run``, ``failed``, ``timeout``, ``unfinished``, or numbers such as ``0-9,15``.
        limit: at most so many structures, the most urgent first.
        ignore_budget: see :class:`BatchRequest`.

    Raises:
        SelectionError: the selection cannot be read, or names structures that the ledger does not have.
    """
    if limit is not None and limit < 1:
        raise SelectionError(f"limit is {limit}; it must be 1 or more")
    word = select.strip()
    if word in BY_STATUS:
        statuses = BY_STATUS[word]
        indices = ledger.select(statuses, limit)
        claimable = tuple(status for status in statuses if status is not Status.RUNNING)
        return BatchRequest(indices, claimable, named=False, ignore_budget=ignore_budget)
    try:
        indices = parse_indices(word)
    except SelectionError as error:
        raise SelectionError(f"select: {error}, or one of {', '.join(BY_STATUS)}") from None
    known = ledger.structures(indices)
    unknown = [index for index in indices if index not in known]
    if unknown:
        shown = ", ".join(map(str, unknown[:10])) + (", …" if len(unknown) > 10 else "")
        raise SelectionError(
            f"select: {len(unknown)} structures are not in the ledger (refused or unknown): {shown}"
        )
    return BatchRequest(indices[:limit], ignore_budget=ignore_budget)

"""Selection of the structures that a run is asked for, by number or by status."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from oact_dagster.errors import SelectionError
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import FAILED_STATUSES, WAITING_STATUSES, Status
from oact_dagster.settings.campaign import Campaign
from oact_dagster.text import pluralise

BY_STATUS: Final[dict[str, tuple[Status, ...]]] = {
    "to_run": WAITING_STATUSES,
    "failed": (Status.FAILED,),
    "timeout": (Status.TIMEOUT,),
    "unfinished": (*WAITING_STATUSES, Status.RUNNING, *FAILED_STATUSES),
}
"""Words that select structures by their status."""

_NAMED: Final = (Status.TO_RUN, *FAILED_STATUSES)
"""Statuses in which a structure selected by number is run."""

BY_NEED: Final[dict[str, tuple[Status, ...]]] = {
    "feed": WAITING_STATUSES,
    "retry": FAILED_STATUSES,
}
"""Words of the sensors, with which the run itself takes the next due structures, up to its limit."""

STALE: Final = "stale"
"""Word that selects completed structures whose input was made with settings other than the campaign's."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The structures that a user asks for."""

    select: str = "to_run"
    """``to_run``, ``failed``, ``timeout``, ``unfinished``, ``stale``, numbers such as ``0-9,15``, or a word of the
    sensors: ``feed``, ``retry``."""
    limit: int | None = None
    """Largest number of structures, the most urgent first."""
    ignore_budget: bool = False
    """See :class:`BatchRequest`."""
    take_over: bool = False
    """See :class:`BatchRequest`."""

    @property
    def whole(self) -> bool:
        """Whether it selects all structures of some statuses."""
        return self.select.strip() in BY_STATUS and self.limit is None


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """What a batch is asked to do."""

    orig_indices: Sequence[int]
    statuses: tuple[Status, ...] = _NAMED
    """A structure with another status at the time of the claim is not run."""
    named: bool = True
    """The user selected the structures by number: held ones are released."""
    ignore_budget: bool = False
    """Also run structures that have used up their budget of failures or losses."""
    take_over: bool = False
    """Take the ledger over from another host that has shown no sign of life for some time."""
    supply: int = 0
    """Take up to this many due structures with these statuses. Structures that another run claims meanwhile are left
    to it, without an event."""
    follow: bool = True
    """Follow each structure to its end. Otherwise leave jobs to their scheduler, give back those it does not accept
    now, and leave structures of other runs to those runs."""


def parse_indices(text: str) -> list[int]:
    """Read numbers and ranges such as ``0-9,15``, in the given order without repeats.

    Raises:
        SelectionError: The text is anything else.
    """
    found: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            raise SelectionError(
                f"{part.strip()!r} is not a structure number or range; write for example 0-9,15"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise SelectionError(f"{part.strip()!r} runs backwards; write {last}-{first}")
        if last - first >= 10_000_000:
            raise SelectionError(f"{part.strip()!r} is too long; a range holds at most 10,000,000 structures")
        found.update(dict.fromkeys(range(first, last + 1)))
    return list(found)


def resolve(campaign: Campaign, ledger: LedgerReader, wanted: Selection) -> BatchRequest:
    """Turn a selection into a request.

    Raises:
        SelectionError: The selection cannot be read, or names structures that the ledger does not have.
    """
    limit = wanted.limit
    if limit is not None and limit < 1:
        raise SelectionError(f"limit is {limit}; it must be 1 or more")
    word = wanted.select.strip()
    if word in BY_NEED:
        return BatchRequest(
            (),
            BY_NEED[word],
            named=False,
            take_over=wanted.take_over,
            supply=campaign.batch_size if limit is None else limit,
        )
    named = False
    if word == STALE:
        indices = ledger.history.results_of_other_settings(campaign.settings_hash(), limit)
        statuses: tuple[Status, ...] = (Status.COMPLETED,)
    elif word in BY_STATUS:
        indices = ledger.queue.select(BY_STATUS[word], limit)
        statuses = tuple(status for status in BY_STATUS[word] if status is not Status.RUNNING)
    else:
        indices, statuses, named = _named(ledger, word)[:limit], _NAMED, True
    return BatchRequest(indices, statuses, named, wanted.ignore_budget, wanted.take_over)


def _named(ledger: LedgerReader, word: str) -> list[int]:
    try:
        indices = parse_indices(word)
    except SelectionError as error:
        raise SelectionError(
            f"select: {error}, or one of {', '.join([*BY_STATUS, STALE, *BY_NEED])}"
        ) from None
    known_structures(ledger, indices, "select: ")
    return indices


def known_structures(ledger: LedgerReader, orig_indices: Sequence[int], where: str = "") -> None:
    """Check that a ledger has the structures that the user names.

    Raises:
        SelectionError: The ledger lacks some of them. The message begins with ``where``.
    """
    known = ledger.structures.of(orig_indices)
    unknown = [index for index in orig_indices if index not in known]
    if unknown:
        shown = ", ".join(map(str, unknown[:10])) + (", …" if len(unknown) > 10 else "")
        what = pluralise(len(unknown), "structure", "is", "are")
        raise SelectionError(f"{where}{what} not in the ledger (refused or unknown): {shown}")

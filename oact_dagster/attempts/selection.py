"""Which structures a run is asked for: by number, or by status."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from oact_dagster.errors import SelectionError
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import Status
from oact_dagster.settings.campaign import Campaign
from oact_dagster.text import pluralise

BY_STATUS: Final[dict[str, tuple[Status, ...]]] = {
    "to_run": (Status.TO_RUN, Status.READY),
    "failed": (Status.FAILED,),
    "timeout": (Status.TIMEOUT,),
    "unfinished": (Status.TO_RUN, Status.READY, Status.RUNNING, Status.FAILED, Status.TIMEOUT),
}
"""The words that select structures by their status."""

_NAMED: Final = (Status.TO_RUN, Status.FAILED, Status.TIMEOUT)
"""What a structure that is named may be, to be run."""

BY_NEED: Final[dict[str, tuple[Status, ...]]] = {
    "feed": (Status.TO_RUN, Status.READY),
    "retry": (Status.FAILED, Status.TIMEOUT),
}
"""The words of the sensors: the run itself takes the next structures that are due, up to its limit."""

STALE: Final = "stale"
"""The word that selects completed structures whose input was made with other settings than the campaign's."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which structures a user asks for, in words."""

    select: str = "to_run"
    """``to_run``, ``failed``, ``timeout``, ``unfinished``, ``stale``, numbers such as ``0-9,15``, or what the sensors
    ask for: ``feed``, ``retry``."""
    limit: int | None = None
    """At most so many structures, the most urgent first."""
    ignore_budget: bool = False
    """See :class:`BatchRequest`."""
    take_over: bool = False
    """See :class:`BatchRequest`."""

    @property
    def whole(self) -> bool:
        """Whether all structures of some statuses are asked for, and not a few that were named."""
        return self.select.strip() in BY_STATUS and self.limit is None


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """What a batch is asked to do."""

    orig_indices: Sequence[int]
    statuses: tuple[Status, ...] = _NAMED
    """A structure that has another status when it is claimed is not run."""
    named: bool = True
    """The user named the structures: held ones are released, and each gets a word on what became of it."""
    ignore_budget: bool = False
    """Run also what has used up its budget of failures or losses."""
    take_over: bool = False
    """Take the ledger from another host that has not shown itself for some time."""
    supply: int = 0
    """The batch takes the next structures with these statuses that are due, up to so many. Those that another run takes
    meanwhile are left to it without a word."""
    follow: bool = True
    """Follow each structure to its end. Otherwise jobs are left to their scheduler as soon as it has them; what it
    does not take now is given back, and what another run owns is left to that run."""


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


def resolve(campaign: Campaign, ledger: LedgerReader, wanted: Selection) -> BatchRequest:
    """Turn a selection into a request.

    Args:
        campaign: its settings.
        ledger: of the campaign.
        wanted: what the user asks for.

    Raises:
        SelectionError: the selection cannot be read, or names structures that the ledger does not have.
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
    """Make sure that a ledger has the structures that the user names.

    Args:
        ledger: of the campaign.
        orig_indices: of the structures.
        where: they are named, for the message.

    Raises:
        SelectionError: it does not have some of them.
    """
    known = ledger.structures.of(orig_indices)
    unknown = [index for index in orig_indices if index not in known]
    if unknown:
        shown = ", ".join(map(str, unknown[:10])) + (", …" if len(unknown) > 10 else "")
        what = f"{pluralise(len(unknown), 'structure')} {'is' if len(unknown) == 1 else 'are'}"
        raise SelectionError(f"{where}{what} not in the ledger (refused or unknown): {shown}")

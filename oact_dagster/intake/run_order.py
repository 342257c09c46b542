"""The order in which structures are run: the column of the CSV that says it, and what a calculation costs.

The ledger keeps both with each structure, and orders by the first and then by the second; so the queue need not know
the settings. After a change of the settings an intake gives the structures that are known their new places.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from oact_dagster.attempts.disk_estimate import Sizes
from oact_dagster.intake.columns import Columns
from oact_dagster.intake.csv_rows import CsvFile, CsvRow
from oact_dagster.intake.rows import priority_of
from oact_dagster.launchers.packing import expected_cost
from oact_dagster.ledger.reading import LedgerReader
from oact_dagster.ledger.states import Place
from oact_dagster.ledger.store import Ledger
from oact_dagster.orca.inputs.settings import InputRefused
from oact_dagster.settings.campaign import Campaign
from oact_dagster.text import pluralise

ORDERED_BY: Final = "ordered_by"
"""The key of the ledger's ``meta`` that says what its order was made from."""

_CHUNK_ROWS: Final = 2000
"""Structures that are looked at and written at a time."""

_LISTED: Final = 10
"""Rows that a text names."""


class Order:
    """Where a campaign's structures stand in the order of ``feed.order``.

    Args:
        campaign: its settings.
    """

    def __init__(self, campaign: Campaign) -> None:
        self._order = campaign.feed.order
        self._opt = campaign.orca.opt
        self._sizes = Sizes(campaign)

    def place_of(self, elements: str, multiplicity: int, priority: float) -> Place:
        """A structure's place; one whose cost nobody can tell comes last among those of its priority.

        Args:
            elements: semicolon-separated symbols, one for each atom.
            multiplicity: 2S + 1.
            priority: what its column says, 0 where there is none.
        """
        if self._order == "given":
            return Place(priority)  # sizes that nobody asked for are a sixth of an intake's CPU
        try:
            size = self._sizes.of(elements.split(";"), multiplicity)
        except InputRefused:
            return Place(priority)
        cost = expected_cost(size.basis_functions, size.spins, opt=self._opt)
        if not cost:
            return Place(priority, 0.0, size.basis_functions)
        return Place(priority, cost if self._order == "costliest_first" else 1 / cost, size.basis_functions)


def order_key(campaign: Campaign) -> str:
    """What changes when the settings that decide the order change; empty where it is the order of the CSV."""
    feed = campaign.feed
    if feed.order == "given" and feed.priority_column is None:
        return ""
    basis = None if feed.order == "given" else campaign.settings_hash()
    return json.dumps([feed.order, feed.priority_column, basis])


def is_ordered(campaign: Campaign, ledger: LedgerReader) -> bool:
    """Whether the structures of the ledger stand in the order that the settings say."""
    return (ledger.meta(ORDERED_BY) or "") == order_key(campaign)


def put_in_order(
    campaign: Campaign,
    ledger: Ledger,
    csv: CsvFile | None = None,
    columns: Columns | None = None,
    first_new: CsvRow | None = None,
) -> Iterator[str]:
    """Give the structures that the ledger knows the places that settings and CSV say now.

    Cut short, it is begun again by the next intake: what was done is noted at the end.

    Args:
        campaign: the settings.
        ledger: of the campaign.
        csv: the CSV, where there is one.
        columns: its columns.
        first_new: the first row that the ledger does not know.

    Yields:
        What the user should know, a line each.
    """
    settled = is_ordered(campaign, ledger)
    if csv is not None and columns is not None and columns.priority is not None:
        chunks = _priorities(csv, columns, first_new)
    elif settled:
        return
    else:
        chunks = _without(ledger)
    order = Order(campaign)
    changed = unread = 0
    first_unread: list[int] = []
    for priorities in chunks:
        sizes = ledger.sizes_of(list(priorities))
        none = [index for index in sizes if priorities[index] is None]
        unread += len(none)
        first_unread += none[: _LISTED - len(first_unread)]
        if csv is not None:
            csv.check_unchanged()
        changed += ledger.set_order(
            {index: order.place_of(*size, priorities[index] or 0.0) for index, size in sizes.items()}
        )
    ledger.set_meta(ORDERED_BY, order_key(campaign))
    if changed and settled:
        have = "has" if changed == 1 else "have"
        yield f"feed.priority_column: {pluralise(changed, 'structure')} known before {have} another priority now"
    elif changed:
        yield (
            f"feed.order or feed.priority_column has changed: {pluralise(changed, 'structure')} known before"
            f" {'has' if changed == 1 else 'have'} another place"
        )
    if unread:
        rows = ", ".join(map(str, first_unread)) + (" and others" if unread > _LISTED else "")
        yield (
            f"feed.priority_column: {pluralise(unread, 'row')} known before {'holds' if unread == 1 else 'hold'} no"
            f" finite number there (row {rows}): {'its' if unread == 1 else 'their'} priority is 0"
        )
    if csv is None and campaign.feed.priority_column is not None:
        yield "feed.priority_column is not read: csv is null"


def _priorities(
    csv: CsvFile, columns: Columns, first_new: CsvRow | None
) -> Iterator[Mapping[int, float | None]]:
    """What the column says of the known rows, some at a time; None for what is no number."""
    chunk: dict[int, float | None] = {}
    for row in csv.rows():
        if first_new is not None and row.number >= first_new.number:
            break
        chunk[row.number] = priority_of(row, columns)
        if len(chunk) >= _CHUNK_ROWS:
            yield chunk
            chunk = {}
    if chunk:
        yield chunk


def _without(ledger: Ledger) -> Iterator[Mapping[int, float | None]]:
    """All structures of the ledger, some at a time: no column says anything of them."""
    last = -1
    while indices := ledger.indices_after(last, _CHUNK_ROWS):
        yield dict.fromkeys(indices, 0.0)
        last = indices[-1]

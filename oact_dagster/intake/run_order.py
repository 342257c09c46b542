"""The order in which structures run: by a priority column of the CSV, then by the expected cost.

The ledger stores both with each structure, so the queue need not know the settings. After a change of the settings, an
intake updates the known structures.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from oact_dagster.attempts.disk_estimate import Sizes
from oact_dagster.errors import InputRefused
from oact_dagster.intake.columns import Columns
from oact_dagster.intake.csv_rows import CsvFile, CsvRow
from oact_dagster.intake.rows import priority_of
from oact_dagster.launchers.packing import expected_cost
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import Place
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster.settings.feed import OLD_ORDERS
from oact_dagster.text import pluralise

ORDERED_BY: Final = "ordered_by"
"""Key in the ledger's ``meta`` of the settings that its order was made from."""

_CHUNK_ROWS: Final = 2000

_LISTED: Final = 10


class Order:
    """Computes a structure's place in the order of ``feed.order``."""

    def __init__(self, campaign: Campaign) -> None:
        self._order = campaign.feed.order
        self._opt = campaign.orca.opt
        self._sizes = Sizes(campaign)

    def place_of(self, elements: str, multiplicity: int, priority: float) -> Place:
        """Return a structure's place. One of unknown cost comes last among those of its priority.

        ``elements`` has one symbol for each atom, separated by semicolons.
        """
        if self._order == "given":
            return Place(priority)  # computing unused sizes would take a sixth of an intake's CPU time
        try:
            size = self._sizes.of(elements.split(";"), multiplicity)
        except InputRefused:
            return Place(priority)
        cost = expected_cost(size.basis_functions, size.spins, opt=self._opt)
        if not cost:
            return Place(priority, 0.0, size.basis_functions)
        return Place(priority, cost if self._order == "costliest_first" else 1 / cost, size.basis_functions)


def order_key(campaign: Campaign) -> str:
    """Return a text that changes with the settings of the order; empty for the order of the CSV."""
    feed = campaign.feed
    if feed.order == "given" and feed.priority_column is None:
        return ""
    basis = None if feed.order == "given" else campaign.settings_hash()
    # By the old name, so that a ledger of an older version is still in order.
    order = next((old for old, new in OLD_ORDERS.items() if new == feed.order), feed.order)
    return json.dumps([order, feed.priority_column, basis])


def is_ordered(campaign: Campaign, ledger: LedgerReader) -> bool:
    """Return whether the ledger's structures are in the order of the settings."""
    return (ledger.meta(ORDERED_BY) or "") == order_key(campaign)


def put_in_order(
    campaign: Campaign,
    ledger: Ledger,
    csv: CsvFile | None = None,
    columns: Columns | None = None,
    first_new: CsvRow | None = None,
) -> Iterator[str]:
    """Update the places of the structures in the ledger to the present settings and CSV.

    Yields what the user should know, one line each. The end is noted in the ledger, so after an interruption the next
    intake starts over. ``first_new`` is the first row that is not in the ledger.
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
        sizes = ledger.structures.sizes_of(list(priorities))
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
        yield f"feed.priority_column: {pluralise(changed, 'known structure', 'has', 'have')} another priority now"
    elif changed:
        yield (
            f"feed.order or feed.priority_column has changed: {pluralise(changed, 'known structure', 'has', 'have')}"
            " another place"
        )
    if unread:
        rows = ", ".join(map(str, first_unread)) + (" and others" if unread > _LISTED else "")
        yield (
            f"feed.priority_column: {pluralise(unread, 'known row', 'has', 'have')} no finite number there (row"
            f" {rows}); {'its' if unread == 1 else 'their'} priority is 0"
        )
    if csv is None and campaign.feed.priority_column is not None:
        yield "feed.priority_column is not read: csv is null"


def _priorities(
    csv: CsvFile, columns: Columns, first_new: CsvRow | None
) -> Iterator[Mapping[int, float | None]]:
    """Yield the priorities of the known rows in chunks; None for a value that is not a number."""
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
    """Yield all structures of the ledger in chunks, with priority 0."""
    last = -1
    while indices := ledger.structures.indices_after(last, _CHUNK_ROWS):
        yield dict.fromkeys(indices, 0.0)
        last = indices[-1]

"""The order in which structures are run: a column of the CSV, what they cost, and a change of both."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.attempts.disk_estimate import Sizes
from oact_dagster.intake import run_order
from oact_dagster.intake.csv_stamp import csv_stamp, is_taken_in, note_taken_in
from oact_dagster.intake.ingestion import ingest_csv
from oact_dagster.intake.intake import take_in
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster.settings.feed import FeedSettings
from oact_dagster_tests.intake.intake_samples import COLUMNS, campaign_on, row, write_csv
from oact_dagster_tests.intake.test_intake_refused import refusal

ATOM, PAIR, CHAIN = "Ne 0 0 0", "O 0 0 0\nO 0 0 1.2", "C 0 0 0\nC 0 0 1.2\nC 0 0 2.4\nC 0 0 3.6"
GEOMETRIES = (PAIR, CHAIN, ATOM, PAIR, CHAIN, ATOM)
"""By what they cost: 1, 2, 0, 1, 2, 0."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        yield ledger


def csv_of(tmp_path: Path, urgency: dict[int, object] | None = None, rows: int = 6) -> Path:
    given = [
        row(n, aligned_csd_core=GEOMETRIES[n % 6].replace("0 0 0", f"0 0 {-n / 1000}", 1))
        | {"urgency": str((urgency or {}).get(n, 0))}
        for n in range(rows)
    ]
    return write_csv(tmp_path / "a.csv", given, (*COLUMNS, "urgency"))


def ordered(path: Path, **feed: Any) -> Campaign:
    return campaign_on(path, feed=FeedSettings(**feed))


def order(ledger: Ledger) -> list[int]:
    return ledger.queue.select([Status.TO_RUN])


def test_given_cheapest_first_and_costliest_first(tmp_path: Path) -> None:
    path = csv_of(tmp_path)
    found = {}
    for name in ("given", "cheapest_first", "costliest_first"):
        with Ledger(tmp_path / f"{name}.db", create=True) as ledger:
            take_in(ordered(path, order=name), ledger)
            found[name] = order(ledger)
            functions = ledger.file.connection.execute(
                "SELECT n_basis_functions FROM structure_state"
            ).fetchall()
    assert found == {
        "given": [0, 1, 2, 3, 4, 5],
        "cheapest_first": [2, 5, 0, 3, 1, 4],
        "costliest_first": [1, 4, 0, 3, 2, 5],
    }
    sizes = Sizes(ordered(path))
    pair, chain, atom = (sizes.of(symbols, 1).basis_functions for symbols in (["O"] * 2, ["C"] * 4, ["Ne"]))
    assert [one[0] for one in functions] == [pair, chain, atom] * 2


def test_open_shells_cost_more_and_what_has_no_cost_comes_last(tmp_path: Path, ledger: Ledger) -> None:
    unknown = row(2, aligned_csd_core="Fr 0 0 0", uhf=1)
    path = write_csv(tmp_path / "a.csv", [unknown, row(1, uhf=2), row(0)])
    take_in(ordered(path, order="cheapest_first"), ledger)
    assert order(ledger) == [2, 1, 0]
    take_in(ordered(path, order="costliest_first"), ledger)
    assert order(ledger) == [1, 2, 0]


def test_the_column_comes_first_and_the_order_decides_among_equals(tmp_path: Path, ledger: Ledger) -> None:
    path = csv_of(tmp_path, {0: "-1.5", 1: " 2e3 ", 4: 7, 5: 7})
    take_in(ordered(path, priority_column="urgency"), ledger)
    assert order(ledger) == [1, 4, 5, 2, 3, 0]
    take_in(ordered(path, priority_column="urgency", order="cheapest_first"), ledger)
    assert order(ledger) == [1, 5, 4, 2, 3, 0]


@pytest.mark.parametrize("value", ["", "high", "nan", "inf", "-Infinity", "1_0", "1e999"])
def test_a_priority_that_is_no_finite_number_refuses_its_row(
    tmp_path: Path, ledger: Ledger, value: str
) -> None:
    path = csv_of(tmp_path, {1: value, 2: 3})
    report = take_in(ordered(path, priority_column="urgency"), ledger)
    assert (report.taken, report.rejected_now) == (5, 1)
    assert report.first_rejections[0].reason == (
        f"urgency: {value!r} is not a finite number (feed.priority_column); append a corrected row"
    )
    assert order(ledger) == [2, 0, 3, 4, 5]


def test_a_column_that_is_not_there_refuses_the_csv(tmp_path: Path, ledger: Ledger) -> None:
    message = refusal(ordered(csv_of(tmp_path), priority_column="urgencies"), ledger)
    assert (
        "no column 'urgencies' (feed.priority_column in campaign.yaml) (did you mean 'urgency'?)" in message
    )


def test_a_changed_order_reaches_the_known_rows_with_the_next_intake(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_order, "_CHUNK_ROWS", 4)
    path = csv_of(tmp_path, {3: 9})

    def taken(campaign: Campaign) -> tuple[str, ...]:
        assert not is_taken_in(campaign, ledger)
        stamp = csv_stamp(campaign)
        report = take_in(campaign, ledger)
        note_taken_in(ledger, stamp)
        assert is_taken_in(campaign, ledger)
        assert (report.rows, report.rejected) == (6, 0)
        return report.notes

    def changed(structures: int) -> str:
        what = "feed.order or feed.priority_column has changed"
        return f"{what}: {structures} known structures have another place"

    taken(ordered(path))
    assert taken(ordered(path, order="costliest_first")) == (changed(6),)
    assert order(ledger) == [1, 4, 0, 3, 2, 5]
    assert taken(ordered(path, priority_column="urgency")) == (changed(6),)
    assert order(ledger) == [3, 0, 1, 2, 4, 5]
    # What the column says of known rows may change, too: it changes no calculation.
    csv_of(tmp_path, {3: 9, 4: 10, 5: "soon"})
    assert taken(ordered(path, priority_column="urgency")) == (
        "feed.priority_column: 1 known structure has another priority now",
        "feed.priority_column: 1 known row has no finite number there (row 5); its priority is 0",
    )
    assert order(ledger) == [4, 3, 0, 1, 2, 5]
    assert taken(ordered(path)) == (changed(2),)
    assert order(ledger) == [0, 1, 2, 3, 4, 5]


def test_an_intake_that_is_cut_short_while_it_orders_is_begun_again(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_order, "_CHUNK_ROWS", 2)
    path = csv_of(tmp_path)
    take_in(ordered(path), ledger)
    written = ledger.set_order
    calls: list[int] = []

    def cut_short(places: Any) -> int:
        calls.append(len(places))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return written(places)

    monkeypatch.setattr(ledger, "set_order", cut_short)
    with pytest.raises(KeyboardInterrupt):
        take_in(ordered(path, order="cheapest_first"), ledger)
    take_in(ordered(path, order="cheapest_first"), ledger)
    assert order(ledger) == [2, 5, 0, 3, 1, 4]
    assert calls == [2, 2, 2, 2, 2]


def test_grown_rows_and_those_of_a_ledger_without_states_are_ordered(tmp_path: Path, ledger: Ledger) -> None:
    path = csv_of(tmp_path, rows=4)
    take_in(ordered(path, order="cheapest_first"), ledger)
    ledger.file.connection.execute("DELETE FROM structure_state WHERE structure_id IN (1, 2)")
    csv_of(tmp_path, rows=12)
    take_in(ordered(path, order="costliest_first"), ledger)
    assert order(ledger) == [1, 4, 7, 10, 0, 3, 6, 9, 2, 5, 8, 11]


def test_a_campaign_without_a_csv_is_ordered_from_its_ledger(tmp_path: Path, ledger: Ledger) -> None:
    path = csv_of(tmp_path)
    take_in(ordered(path), ledger)
    bare = ordered(path, order="cheapest_first", priority_column="urgency").model_copy(update={"csv": None})
    assert not is_taken_in(bare, ledger)
    assert "feed.priority_column is not read: csv is null" in take_in(bare, ledger).notes
    assert order(ledger) == [2, 5, 0, 3, 1, 4]
    assert is_taken_in(bare, ledger)


def test_oact_ingest_keeps_the_order_of_the_campaign_beside_the_ledger(tmp_path: Path) -> None:
    path = csv_of(tmp_path, rows=3)
    (tmp_path / "campaign.yaml").write_text(
        "name: a\ncsv: a.csv\norca: {command: standin}\nfeed: {order: cheapest_first}\n"
    )
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        take_in(ordered(path, order="cheapest_first"), ledger)
    csv_of(tmp_path)
    ingest_csv(
        path, tmp_path / "workflow.db", geometry_column="aligned_csd_core", charge_column="charge",
        spin_column="uhf", annotate=("name", "metal_ox"),
    )  # fmt: skip
    with Ledger(tmp_path / "workflow.db") as ledger:
        assert order(ledger) == [2, 5, 0, 3, 1, 4]


def test_the_order_is_read_from_its_index(ledger: Ledger) -> None:
    queries: list[str] = []
    ledger.file.connection.set_trace_callback(queries.append)
    ledger.queue.select([Status.TO_RUN], 5)
    ledger.file.connection.set_trace_callback(None)
    ranked = [query for query in queries if "CROSS JOIN" in query]
    assert len(ranked) == 4
    for query in ranked:
        steps = [one[3] for one in ledger.file.connection.execute(f"EXPLAIN QUERY PLAN {query}")]
        assert "USING INDEX idx_priority" in steps[0], steps
        assert not any("TEMP B-TREE" in step for step in steps), steps

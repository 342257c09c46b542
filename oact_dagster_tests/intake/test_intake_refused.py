"""A CSV that is refused whole leaves the ledger as it was."""

import csv
import io
import sqlite3

import pytest

from oact_dagster.errors import IntakeRefused
from oact_dagster.intake import intake
from oact_dagster.intake.intake import take_in
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.intake.intake_samples import COLUMNS, WATER, campaign_on, row, write_csv


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        yield ledger


def content(path):
    """All rows of all tables of a ledger."""
    with sqlite3.connect(path) as db:
        return list(db.iterdump())


def refusal(campaign, ledger):
    before = content(ledger.path)
    with pytest.raises(IntakeRefused) as caught:
        take_in(campaign, ledger)
    assert content(ledger.path) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(rows):
    text = io.StringIO()
    csv.DictWriter(text, COLUMNS, lineterminator="\n").writerows(rows)
    return text.getvalue()


HEADER = ",".join(COLUMNS) + "\n"
GOOD = [written([row(number)]) for number in range(6)]
LINES = GOOD[0].count("\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ": is empty; expected a header"),
        ("\n\n", ": is empty; expected a header"),
        (HEADER, ": has a header but no rows; expected one row for each structure"),
        (HEADER.strip(), ": has a header but no rows;"),
        (HEADER + "\n  \n", ": has a header but no rows;"),
        (
            HEADER.replace("charge", "total_charge") + GOOD[0],
            ", line 1: no column 'charge' (charge_column in",
        ),
        (
            HEADER.replace("uhf", "charge") + GOOD[0],
            ", line 1: the column 'charge' (charge_column) appears 2 times",
        ),
        (
            HEADER.replace("name", "Name") + GOOD[0],
            ", line 1: no column 'name' (annotate in campaign.yaml) (did you",
        ),
        (HEADER.replace(",", ";") + GOOD[0], ", line 1: the header has ';' but no comma;"),
        (HEADER.replace(",", "\t"), r", line 1: the header has '\t' but no comma;"),
        (
            HEADER + "".join(GOOD[:3]) + "x,2,0\n",
            f", line {2 + 3 * LINES}: the row that begins here has 3 fields",
        ),
        (HEADER + GOOD[0] + "x," + GOOD[1], f", line {2 + LINES}: the row that begins here has 7 fields"),
        (
            HEADER + GOOD[0] + GOOD[1].replace('"O 1', "O 1") + GOOD[2],
            f", line {2 + LINES}: the row that begins",
        ),
        (
            HEADER + GOOD[0] + GOOD[1].replace('-0.24"', "-0.24"),
            f", line {2 + LINES}: unbalanced quote in the row",
        ),
        (
            HEADER + '"' + GOOD[0] + "".join(GOOD),
            ", line 2: unbalanced quote in the row that begins here: on line 2",
        ),
        (
            HEADER + "".join(GOOD) + 'x,2,0,0,"H 0 0 0\nH 0 0 1',
            f", line {2 + 6 * LINES}: unbalanced quote: one in",
        ),
    ],
)
def test_what_is_wrong_and_on_which_line(tmp_path, ledger, text, told):
    path = tmp_path / "a.csv"
    path.write_text(text)
    message = refusal(campaign_on(path), ledger)
    assert message.startswith(f"{path}{told}")


def test_a_missing_column_lists_those_that_are_there(tmp_path, ledger):
    path = write_csv(tmp_path / "a.csv", [{"xyz": WATER, "q": "0"}], ["xyz", "q"])
    assert refusal(campaign_on(path), ledger).endswith("the columns are: xyz, q")


def test_a_byte_of_another_encoding_is_named_with_its_line(tmp_path, ledger):
    path = tmp_path / "a.csv"
    path.write_bytes((HEADER + GOOD[0] + GOOD[1].replace("water_1", "café")).encode("latin1"))
    assert f", line {2 + LINES}: the byte 0xe9 is not UTF-8" in refusal(campaign_on(path), ledger)


def test_one_broken_line_at_the_end_of_a_large_csv(tmp_path, ledger, monkeypatch):
    monkeypatch.setattr(intake, "CHUNK_ROWS", 100)
    path = tmp_path / "a.csv"
    with path.open("w") as stream:
        stream.write(HEADER)
        lines = 1
        for number in range(4000):
            text = written([row(number, mol2string="@<TRIPOS>" + "x" * 5000)])
            lines += text.count("\n")
            stream.write(text)
        stream.write("water,2,0,0\n")
    assert path.stat().st_size > 20_000_000
    assert f", line {lines + 1}: the row that begins here has 4 fields" in refusal(campaign_on(path), ledger)


def test_a_missing_csv_and_one_that_is_a_folder(tmp_path, ledger):
    assert "no such file" in refusal(campaign_on(tmp_path / "nowhere.csv"), ledger)
    assert "is not a file" in refusal(campaign_on(tmp_path), ledger)


def test_a_csv_that_is_written_to_while_it_is_read(tmp_path, ledger, monkeypatch):
    monkeypatch.setattr(intake, "CHUNK_ROWS", 100)
    path = write_csv(tmp_path / "a.csv", [row(number) for number in range(1000)])
    size = path.stat().st_size
    original = path.read_bytes()

    def disturb(done, in_all):
        # During the second reading: the rest of the file is another one than that which was found well-formed.
        if done > size * 1.5:
            path.write_bytes(original[: size // 2] + b"\x00" * 100)

    with pytest.raises(IntakeRefused):
        take_in(campaign_on(path), ledger, disturb)
    some = list(ledger.structures.indices())
    assert some == list(range(len(some)))
    assert 0 < len(some) < 1000
    # With the file whole again, the next intake goes on where this one ended.
    path.write_bytes(original)
    report = take_in(campaign_on(path), ledger)
    assert (report.known, report.taken, report.structures) == (len(some), 1000 - len(some), 1000)


def test_a_csv_that_grows_while_it_is_read_is_not_taken_in_by_halves(tmp_path, ledger):
    path = write_csv(tmp_path / "a.csv", [row(number) for number in range(300)])

    def disturb(done, in_all):
        with path.open("a") as stream:
            stream.write("water_9")

    with pytest.raises(IntakeRefused):
        take_in(campaign_on(path), ledger, disturb)
    assert list(ledger.structures.indices()) == []

"""A campaign's CSV may only grow at its end."""

import os
import signal
import subprocess
import sys

import pytest

from oact_dagster.errors import IntakeRefused
from oact_dagster.intake import intake
from oact_dagster.intake.intake import take_in
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.intake.intake_samples import COLUMNS, campaign_on, row, write_csv
from oact_dagster_tests.intake.test_intake_refused import refusal


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        yield ledger


def test_only_the_new_rows_are_taken_in(tmp_path, ledger):
    path = tmp_path / "a.csv"
    rows = [row(number) for number in range(7)]
    rows[2]["charge"] = "x"
    write_csv(path, rows[:4])
    first = take_in(campaign_on(path), ledger)
    assert (first.rows, first.known, first.taken, first.rejected_now) == (4, 0, 3, 1)
    again = take_in(campaign_on(path), ledger)
    assert (again.rows, again.known, again.taken, again.rejected_now, again.rejected) == (4, 4, 0, 0, 1)
    write_csv(path, [*rows, row(7, uhf="x")])
    grown = take_in(campaign_on(path), ledger)
    assert (grown.rows, grown.known, grown.taken, grown.rejected_now, grown.rejected) == (8, 4, 3, 1, 2)
    assert [r.orig_index for r in grown.first_rejections] == [2, 7]
    assert list(ledger.structures.indices()) == [0, 1, 3, 4, 5, 6]
    assert [ledger.structures.of([n])[n].annotations["name"] for n in (0, 6)] == ["water_0", "water_6"]


@pytest.mark.parametrize(
    ("mend", "told"),
    [
        (
            lambda rows: [*rows[:3], row(3, charge="2"), *rows[4:]],
            "1 row that was taken in before changed, moved or",
        ),
        (lambda rows: [*rows[:3], row(3, uhf="2"), *rows[4:]], "(row 3; rows count from 0)"),
        (lambda rows: [*rows[:3], row(33, name="water_3"), *rows[4:]], "(row 3; rows count from 0)"),
        (lambda rows: [*rows[:3], row(3, metal_ox="4"), *rows[4:]], "(row 3; rows count from 0)"),
        (
            lambda rows: rows[:18],
            "2 rows that were taken in before changed, moved or vanished (row 18, 19; rows",
        ),
        (lambda rows: [row(99), *rows], "20 rows that were"),
        (lambda rows: [row(99), *rows], "(row 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 10 more; rows count from 0)"),
        (lambda rows: rows[1:], "20 rows that were"),
        (lambda rows: [rows[1], rows[0], *rows[2:]], "(row 0, 1; rows count from 0)"),
        (lambda rows: [], "20 rows that were"),
    ],
)
def test_a_known_row_that_changed_moved_or_vanished_refuses_all(tmp_path, ledger, mend, told):
    path = tmp_path / "a.csv"
    rows = [row(number) for number in range(20)]
    take_in(campaign_on(write_csv(path, rows)), ledger)
    write_csv(path, [*mend(rows), *([row(50)] if len(mend(rows)) >= 20 else [])])
    message = refusal(campaign_on(path), ledger)
    assert told in message
    assert "may only grow at its end" in message
    assert "`oact init OTHER.csv`" in message


def test_a_rejected_row_that_was_mended_in_place_is_to_be_appended(tmp_path, ledger):
    path = tmp_path / "a.csv"
    take_in(campaign_on(write_csv(path, [row(0), row(1, charge="x")])), ledger)
    write_csv(path, [row(0), row(1)])
    assert "1 of them had been rejected: append corrected rows at the end" in refusal(
        campaign_on(path), ledger
    )
    write_csv(path, [row(0), row(1, charge="x"), row(1)])
    assert take_in(campaign_on(path), ledger).taken == 1


def test_what_changes_no_calculation_is_no_change(tmp_path, ledger):
    rows = [row(number) for number in range(3)]
    take_in(campaign_on(write_csv(tmp_path / "a.csv", rows)), ledger)
    # Another order of the columns, another column, other line ends, and numbers as pandas writes them.
    other = write_csv(
        tmp_path / "b.csv",
        [r | {"charge": "0.0", "remark": "new", "mol2string": ""} for r in rows],
        ["remark", *reversed(COLUMNS)],
        ending="\r\n",
    )
    report = take_in(campaign_on(other), ledger)
    assert (report.known, report.taken) == (3, 0)


def test_another_choice_of_columns_to_annotate_reaches_the_structures_that_are_known(
    tmp_path, ledger, monkeypatch
):
    monkeypatch.setattr(intake, "CHUNK_ROWS", 2)
    path = write_csv(tmp_path / "a.csv", [row(number) for number in range(5)] + [row(5, charge="x")])
    take_in(campaign_on(path, annotate=("name",)), ledger)
    assert ledger.structures.of([4])[4].annotations == {"name": "water_4"}
    report = take_in(campaign_on(path, annotate=("metal_ox", "charge")), ledger)
    assert (report.known, report.taken) == (6, 0)
    assert "annotate has changed: 5 known structures have new annotations" in report.notes
    assert all(
        s.annotations == {"metal_ox": "2", "charge": "0"} for s in ledger.structures.of(range(5)).values()
    )
    assert take_in(campaign_on(path, annotate=("metal_ox", "charge")), ledger).notes == ()


def test_a_charge_column_that_is_switched_on_later_is_a_change(tmp_path, ledger):
    path = write_csv(tmp_path / "a.csv", [row(0), row(1, charge="2")])
    take_in(campaign_on(path, charge_column=None), ledger)
    assert "(row 1; rows count from 0)" in refusal(campaign_on(path), ledger)


def test_structures_of_a_ledger_without_hashes_are_left_alone(tmp_path, ledger):
    for index in (0, 1, 3):
        ledger.file.connection.execute(
            "INSERT INTO structures (orig_index, elements, natoms, status, charge, spin, geometry)"
            " VALUES (?, 'H;H', 2, 'completed', 0, 1, 'H 0 0 0\nH 0 0 0.74')",
            (index,),
        )
    path = write_csv(tmp_path / "a.csv", [row(number) for number in range(6)])
    report = take_in(campaign_on(path), ledger)
    assert (report.known, report.taken, report.structures) == (3, 2, 5)
    assert list(ledger.structures.indices()) == [0, 1, 3, 4, 5]
    assert any(note.startswith("3 structures come from a ledger without hashes") for note in report.notes)
    assert any(note.startswith("1 row is missing in the ledger") for note in report.notes)
    assert take_in(campaign_on(path), ledger).known == 5


def test_an_intake_that_is_cut_short_goes_on_where_it_ended(tmp_path, ledger, monkeypatch):
    monkeypatch.setattr(intake, "CHUNK_ROWS", 100)
    path = write_csv(tmp_path / "a.csv", [row(n, charge="x" if n % 7 == 0 else "0") for n in range(1000)])
    size = path.stat().st_size

    def stop(done, in_all):
        if done > 1.6 * size:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take_in(campaign_on(path), ledger, stop)
    there = len(list(ledger.intake.known_rows()))
    assert 0 < there < 1000
    report = take_in(campaign_on(path), ledger)
    assert (report.known, report.taken + report.rejected_now) == (there, 1000 - there)
    assert [index for index, *_ in ledger.intake.known_rows()] == list(range(1000))


INTAKE = """
import sys
from pathlib import Path
from oact_dagster.intake import intake
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.intake.intake_samples import campaign_on
intake.CHUNK_ROWS = 50
campaign = campaign_on(Path(sys.argv[1]))
with Ledger(campaign.ledger, create=True) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    def told(done, in_all):
        print(done, flush=True)
    print(intake.take_in(campaign, ledger, told))
"""


def start(path):
    return subprocess.Popen(
        [sys.executable, "-c", INTAKE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_two_intakes_at_once_take_each_row_in_once(tmp_path):
    path = write_csv(tmp_path / "a.csv", [row(n, charge="x" if n % 9 == 0 else "0") for n in range(2000)])
    processes = [start(path), start(path)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with Ledger(tmp_path / "workflow.db") as ledger:
        assert [index for index, *_ in ledger.intake.known_rows()] == list(range(2000))
        assert take_in(campaign_on(path), ledger).known == 2000


def test_an_intake_that_is_killed_leaves_whole_chunks(tmp_path):
    path = write_csv(tmp_path / "a.csv", [row(number) for number in range(4000)])
    size = path.stat().st_size
    process = start(path)
    process.stdin.write("go\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n"
    for line in process.stdout:
        if int(line) > 1.4 * size:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with Ledger(tmp_path / "workflow.db") as ledger:
        there = [index for index, *_ in ledger.intake.known_rows()]
        assert there == list(range(len(there)))
        assert 0 < len(there) < 4000
        assert len(there) % 50 == 0
        report = take_in(campaign_on(path), ledger)
        assert (report.known, report.taken) == (len(there), 4000 - len(there))


def test_refused_in_the_middle_of_growth_nothing_of_it_is_taken_in(tmp_path, ledger):
    path = write_csv(tmp_path / "a.csv", [row(0)])
    take_in(campaign_on(path), ledger)
    with path.open("a") as stream:
        stream.write("water,2,0,0,H,\n" * 5 + "water,2\n")
    with pytest.raises(IntakeRefused, match="has 2 fields"):
        take_in(campaign_on(path), ledger)
    assert len(list(ledger.intake.known_rows())) == 1

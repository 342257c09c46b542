"""What intake makes of the rows of a CSV."""

import csv
import tracemalloc
from importlib import resources
from pathlib import Path

import pytest

from oact_dagster.intake import intake
from oact_dagster.intake.intake import take_in
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.structure import Structure
from oact_dagster_tests.intake.intake_samples import COLUMNS, WATER, campaign_on, row, write_csv


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        yield ledger


@pytest.fixture
def demo_csv() -> Path:
    return Path(str(resources.files("oact_dagster.demo") / "structures.csv"))


def test_the_31_complexes_are_taken_in_as_they_are_in_the_csv(ledger, demo_csv):
    report = take_in(campaign_on(demo_csv), ledger)

    assert (report.rows, report.taken, report.known, report.rejected) == (31, 31, 0, 0)
    assert report.structures == 31
    assert report.size == demo_csv.stat().st_size
    assert report.notes == ()
    with demo_csv.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    structures = ledger.structures.of(range(31))
    assert list(ledger.structures.indices()) == list(range(31))
    for index, given in enumerate(rows):
        kept = structures[index]
        assert kept.geometry == given["aligned_csd_core"].strip()
        assert kept.natoms == int(given["natoms"]) == len(kept.elements.split(";"))
        assert kept.elements.split(";")[0] == given["metal"]
        assert kept.charge == int(given["charge"])
        assert kept.multiplicity == int(given["spin_multiplicity"])
        assert kept.annotations == {"name": given["name"], "metal_ox": given["metal_ox"]}
        assert kept.status is Status.TO_RUN


@pytest.mark.parametrize("change", ["bom", "crlf", "bom and crlf"])
def test_byte_order_mark_and_crlf_make_no_difference(tmp_path, demo_csv, change):
    content = demo_csv.read_bytes()
    other = tmp_path / "other.csv"
    if "crlf" in change:
        content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if "bom" in change:
        content = b"\xef\xbb\xbf" + content
    other.write_bytes(content)
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        take_in(campaign_on(demo_csv), ledger)
        before = ledger.structures.of(range(31))
        report = take_in(campaign_on(other), ledger)
        assert (report.known, report.taken) == (31, 0)
    with Ledger(tmp_path / "other.db", create=True) as ledger:
        assert take_in(campaign_on(other), ledger).taken == 31
        assert ledger.structures.of(range(31)) == before


def test_xyz_with_its_head_is_kept_as_bare_lines(tmp_path, ledger):
    head = f"3\nmade by hand, charge 0\n{WATER}\n"
    rows = [
        row(aligned_csd_core=head),
        row(aligned_csd_core=f"\n  3\n\n{WATER}\n\n"),
        row(aligned_csd_core=head.replace("\n", "\r\n")),
        row(aligned_csd_core=WATER.replace("O", "o").replace("0.117300", "1.173E-1")),
    ]
    report = take_in(campaign_on(write_csv(tmp_path / "a.csv", rows)), ledger)
    assert report.taken == 4
    kept = ledger.structures.of(range(4))
    assert [kept[index].geometry for index in range(3)] == [WATER] * 3
    assert kept[3].geometry == WATER.replace("O", "o").replace("0.117300", "1.173E-1")
    assert kept[3].elements == "O;H;H"
    assert report.repeats == 3
    assert report.repeat_groups == ((0, 1, 2, 3),)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"charge": "3.5"}, "charge: '3.5' is not a whole number"),
        ({"charge": ""}, "charge: '' is not a whole number"),
        ({"charge": "nan"}, "charge: 'nan' is not a whole number"),
        ({"charge": "1_0"}, "charge: '1_0' is not a whole number"),
        ({"charge": "inf"}, "charge: 'inf' is not a whole number"),
        ({"charge": "٣"}, r"charge: '\u0663' is not a whole number"),
        ({"charge": "9" * 400}, "charge: '" + "9" * 37 + "...' is not a whole number"),
        ({"uhf": "abc"}, "uhf: 'abc' is not a whole number"),
        ({"uhf": "1\n2"}, r"uhf: '1\n2' is not a whole number"),
        ({"uhf": "1"}, "uhf 1 does not fit H2O"),
        ({"uhf": "-2"}, "uhf is -2"),
        ({"uhf": "12"}, "uhf is 12, but H2O has only 10 electrons"),
        ({"charge": "10"}, "charge +10 leaves 0 electrons in H2O"),
        ({"aligned_csd_core": ""}, "aligned_csd_core: the geometry is empty"),
        ({"aligned_csd_core": "O 0 0 0\nXx 0 0 1"}, "aligned_csd_core: line 2 has the unknown element 'Xx'"),
        ({"aligned_csd_core": "O 0 0 0\nH 0 0 nan"}, "aligned_csd_core: line 2 has the coordinate 'nan'"),
        (
            {"aligned_csd_core": "O 0 0 0\nH 0 0 0.4"},
            "aligned_csd_core: atoms 1 (O) and 2 (H) are 0.400 Å apart",
        ),
        ({"aligned_csd_core": "O 0 0 0\nH 0 0"}, "aligned_csd_core: line 2 reads 'H 0 0'"),
        ({"aligned_csd_core": "4\n\n" + WATER}, "aligned_csd_core: line 1 counts 4 atoms"),
        (
            {"charge": "x", "uhf": "y", "aligned_csd_core": "?"},
            "charge: 'x' is not a whole number (expected one such as 0 or 2); uhf: 'y' is not",
        ),
    ],
)
def test_a_bad_row_is_rejected_with_the_reason_and_the_others_go_on(tmp_path, ledger, changes, reason):
    path = write_csv(tmp_path / "a.csv", [row(0), row(1, **changes), row(2)])
    report = take_in(campaign_on(path), ledger)

    assert (report.rows, report.taken, report.rejected, report.rejected_now) == (3, 2, 1, 1)
    assert list(ledger.structures.indices()) == [0, 2]
    [rejection] = ledger.intake.rejections()
    assert report.first_rejections == (rejection,)
    assert rejection.orig_index == 1
    assert rejection.reason.startswith(reason)
    assert "\n" not in rejection.reason
    assert len(rejection.reason) <= 300
    # The line is the one on which the row begins.
    assert path.read_text().split("\n")[rejection.line - 1].startswith("water_1,")


@pytest.mark.parametrize("written", ["3", "3.0", " 3 ", "+3", "3.", "03", "3.000", "\t3"])
def test_whole_numbers_as_people_and_pandas_write_them(tmp_path, ledger, written):
    path = write_csv(tmp_path / "a.csv", [row(0, charge=written, uhf="1")])
    assert take_in(campaign_on(path), ledger).taken == 1
    assert ledger.structures.of([0])[0].charge == 3


def test_only_bad_rows_are_a_clear_result(tmp_path, ledger):
    path = write_csv(tmp_path / "a.csv", [row(number, charge="?") for number in range(25)])
    report = take_in(campaign_on(path), ledger)
    assert (report.rows, report.taken, report.rejected, report.structures) == (25, 0, 25, 0)
    assert [r.orig_index for r in report.first_rejections] == list(range(10))
    lines = report.lines()
    assert lines[0] == f"{path}: 25 rows, 0 taken in, 0 known before, 25 rejected now, 25 rejected in all"
    assert (
        lines[1] == "row 0 (line 2) rejected: charge: '?' is not a whole number (expected one such as 0 or 2)"
    )
    assert lines[-1] == "and 15 more rejected rows"
    assert ledger.figures.count_by_status() == {}


def test_without_a_charge_and_a_spin_column_all_are_neutral_and_closed_shells(tmp_path, ledger):
    path = write_csv(tmp_path / "a.csv", [{"g": WATER}, {"g": "O 0 0 0\nH 0 0 0.97"}], ["g"])
    campaign = campaign_on(path, geometry_column="g", charge_column=None, spin_column=None, annotate=())
    report = take_in(campaign, ledger)
    assert (report.taken, report.rejected) == (1, 1)
    assert report.first_rejections[0].reason.startswith("uhf 0 does not fit HO")
    assert (ledger.structures.of([0])[0].charge, ledger.structures.of([0])[0].multiplicity) == (0, 1)
    assert any(note.startswith("charge_column is null: charge 0 for all") for note in report.notes)
    assert any(note.startswith("spin_column is null: no unpaired electrons") for note in report.notes)


def test_annotations_with_quotes_commas_line_ends_and_other_scripts(tmp_path, ledger):
    name = 'a "b", c\nd é 你好 \U0001f600'
    path = write_csv(tmp_path / "a.csv", [row(0, name=name), row(1, name="x" * 1_000_000)], ending="\r\n")
    take_in(campaign_on(path), ledger)
    kept = ledger.structures.of([0, 1])
    assert kept[0].annotations["name"] == name
    assert kept[1].annotations["name"] == "x" * 1_000_000


def test_structures_that_are_one_calculation_are_counted_and_grouped(tmp_path, ledger):
    rows = [row(0), row(1), row(0, name="again"), row(0, charge="2"), row(1), row(0)]
    report = take_in(campaign_on(write_csv(tmp_path / "a.csv", rows)), ledger)
    assert report.taken == 6
    assert report.repeats == 3
    assert report.repeat_groups == ((0, 2, 5), (1, 4))
    assert "3 structures repeat the calculation of another one: rows 0 = 2 = 5; 1 = 4" in report.lines()


def test_hashes_of_the_ledger_are_those_of_the_structure(tmp_path, ledger):
    take_in(campaign_on(write_csv(tmp_path / "a.csv", [row(3, charge="-2")])), ledger)
    kept = ledger.structures.of([0])[0]
    structure = Structure(parse_geometry(kept.geometry), kept.charge, kept.multiplicity - 1)
    [(stored,)] = ledger.file.connection.execute("SELECT calculation_hash FROM structure_state").fetchall()
    assert stored == structure.calculation_hash()


def test_a_column_that_is_there_twice_and_not_read_is_only_told(tmp_path, ledger):
    path = tmp_path / "a.csv"
    path.write_text(f'x,aligned_csd_core,charge,uhf,x\n1,"{WATER}",0,0,2\n')
    report = take_in(campaign_on(path, annotate=()), ledger)
    assert report.taken == 1
    assert report.notes == ("columns that appear more than once are not read: 'x'",)


def test_progress_grows_to_the_end(tmp_path, ledger):
    path = write_csv(tmp_path / "a.csv", [row(number) for number in range(600)])
    seen: list[tuple[int, int]] = []
    take_in(campaign_on(path), ledger, lambda done, in_all: seen.append((done, in_all)))
    assert {in_all for _, in_all in seen} == {2 * path.stat().st_size}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]
    assert len(seen) > 4


def test_memory_does_not_grow_with_the_csv(tmp_path, ledger, monkeypatch):
    monkeypatch.setattr(intake, "CHUNK_ROWS", 500)
    path = tmp_path / "large.csv"
    filler = "x" * 5000
    with path.open("w") as stream:
        stream.write(",".join(COLUMNS) + "\n")
        for number in range(5000):
            good = row(number)
            stream.write(f'{good["name"]},2,0,0,"{good["aligned_csd_core"]}",{filler}\n')
    assert path.stat().st_size > 24 << 20
    tracemalloc.start()
    try:
        report = take_in(campaign_on(path), ledger)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.taken == 5000
    assert peak < 8 << 20

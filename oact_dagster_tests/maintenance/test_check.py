"""Looking at a whole campaign: every refusal with its count, warnings, what it needs, and nothing written."""

import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from oact_dagster.attempts.disk_estimate import Sizes, documented_model
from oact_dagster.cli.check_json import check_json
from oact_dagster.cli.check_text import check_lines
from oact_dagster.errors import IntakeRefused
from oact_dagster.intake.intake import take_in
from oact_dagster.ledger.level_of_theory import fix_level_of_theory
from oact_dagster.ledger.schema import SCHEMA_VERSION
from oact_dagster.ledger.states import Outcome, Preparation, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.maintenance import check
from oact_dagster.maintenance.check import Report, check_campaign
from oact_dagster.settings.campaign import Campaign, load_campaign
from oact_dagster_tests.intake.intake_samples import row, write_csv
from oact_dagster_tests.ledger.samples import claim, ending, run
from oact_dagster_tests.ledger.test_opening import COLUMNS
from oact_dagster_tests.mounts import mount

URANYL = "U 0.0 0.0 0.0\nO 0.0 0.0 1.76\nO 0.0 0.0 -1.76"
IODIDE = "U 0.0 0.0 0.0\nI 0.0 0.0 2.6\nI 0.0 0.0 -2.6"
RADIUM = "Ra 0.0 0.0 0.0\nO 0.0 0.0 2.0"


def campaign(folder: Path, rows: Sequence[dict[str, str]], orca: dict[str, object] | None = None) -> Campaign:
    """A campaign in a folder that holds its CSV, its settings and an engine, and nothing else."""
    engine = folder / "orca"
    engine.write_text("#!/bin/sh\n")
    engine.chmod(0o755)
    write_csv(folder / "structures.csv", rows)
    settings = {"name": "test", "csv": "structures.csv", "orca": {"command": str(engine), **(orca or {})}}
    (folder / "campaign.yaml").write_text(yaml.safe_dump(settings))
    return load_campaign(folder)


def refused(report: Report) -> dict[str, int]:
    return {group.what: group.count for group in report.refused}


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


MIXED = [
    row(0),
    row(1),
    row(1, name="the same calculation"),
    row(3, uhf=1),
    row(4, uhf=3),
    row(5, aligned_csd_core="Xx 0 0 0"),
    row(6, aligned_csd_core="O 0 0 0\nH 0 0 0.01"),
    row(7, aligned_csd_core="nonsense"),
    row(8, aligned_csd_core=""),
    row(9, charge="a"),
    row(10, uhf="0.5"),
    row(11, aligned_csd_core=RADIUM),
    row(12, aligned_csd_core=URANYL, charge=2),
    row(13, aligned_csd_core=IODIDE, uhf=2),
    row(14, aligned_csd_core="O 0 0 nan\nH 0 0 1"),
]
OF_ROWS = {
    "electron parity": 2,
    "unknown element": 1,
    "two atoms on one spot": 1,
    "unreadable geometry": 1,
    "geometry without atoms": 1,
    "charge is not a whole number": 1,
    "uhf is not a whole number": 1,
    "invalid coordinate": 1,
}
"""What is wrong with the rows themselves, whatever the settings."""


@pytest.mark.parametrize(
    ("orca", "of_settings"),
    [
        ({}, {"basis without functions for an element": 1}),
        # A potential that the basis brings along for iodine and radium, and uranium without a basis.
        (
            {"simple_input": "x2c", "non_actinide_basis": "def2-TZVPD"},
            {
                "actinide without a basis": 1,
                "core potential with a relativistic Hamiltonian": 1,
                "basis without functions for an element": 1,
            },
        ),
        (
            {"simple_input": "dk3", "non_actinide_basis": "DKH-def2-TZVP"},
            {"actinide without a basis": 2, "basis without functions for an element": 1},
        ),
        # A named potential is wrong for every structure, also those that have no actinide.
        (
            {"simple_input": "x2c", "actinide_ecp": "def-ECP", "actinide_basis": "SARC-DKH-TZVP"},
            {"core potential with a relativistic Hamiltonian": 6},
        ),
    ],
)
def test_each_refusal_with_its_count(
    tmp_path: Path, orca: dict[str, object], of_settings: dict[str, int]
) -> None:
    report = check_campaign(campaign(tmp_path, MIXED, orca))
    assert refused(report) == OF_ROWS | of_settings
    assert report.rows == len(MIXED)
    assert report.runnable == len(MIXED) - sum(OF_ROWS.values()) - sum(of_settings.values())
    assert not report.good
    assert report.repeats == (1 if report.runnable else 0)
    # The counts go down, and every message is one line.
    assert [group.count for group in report.refused] == sorted(refused(report).values(), reverse=True)
    assert not any("\n" in example.message for group in report.refused for example in group.examples)


def test_examples_are_the_first_ones_with_line_and_message(tmp_path: Path) -> None:
    report = check_campaign(campaign(tmp_path, [row(0), *(row(n, uhf=1) for n in range(1, 6))]))
    (group,) = report.refused
    assert (group.what, group.count) == ("electron parity", 5)
    assert [example.orig_index for example in group.examples] == [1, 2, 3]
    lines = (tmp_path / "structures.csv").read_text().splitlines()
    for example in group.examples:
        assert example.line is not None and lines[example.line - 1].startswith(f"water_{example.orig_index},")
    assert group.examples[0].message.startswith("uhf 1 does not fit H2O")


def test_what_is_refused_here_is_what_intake_and_writer_refuse(tmp_path: Path) -> None:
    settings = campaign(tmp_path, MIXED)
    before = check_campaign(settings)
    with Ledger(settings.ledger, create=True) as ledger:
        report = take_in(settings, ledger)
    assert report.rejected == sum(OF_ROWS.values())
    after = check_campaign(settings)
    assert after.kept is not None and after.kept.rejected == report.rejected
    assert (after.refused, after.rows, after.runnable) == (before.refused, before.rows, before.runnable)


def test_warnings_are_counted(tmp_path: Path) -> None:
    rows = [*(row(n) for n in range(4)), row(4, aligned_csd_core=URANYL, charge=2)]
    report = check_campaign(campaign(tmp_path, rows, {"non_actinide_basis": "my-set"}))
    assert report.good
    (warning,) = report.warnings
    assert (warning.what, warning.count) == (
        "unknown basis my-set: cannot check whether it covers every element",
        5,
    )


def test_what_the_structures_are(tmp_path: Path) -> None:
    hydrogen = row(3, aligned_csd_core="H 0 0 0\nH 0 0 0.74")
    report = check_campaign(
        campaign(
            tmp_path,
            [row(0), hydrogen, row(2, uhf=2), row(3, aligned_csd_core=URANYL, charge=2)],
            {"n_cores": 8, "maxcore": 3000},
        )
    )
    assert report.atoms is not None and report.largest is not None and report.memory is not None
    assert (report.atoms.smallest, report.atoms.median, report.atoms.largest) == (2, 3, 3)
    assert (report.closed_shells, report.open_shells) == (3, 1)
    assert (report.largest.orig_index, report.largest.amount) == (3, 183)
    assert report.memory.amount == 24_000


def test_the_median_of_an_even_number_is_between_two() -> None:
    assert check._median(check.Counter({3: 2, 10: 2})) == 6.5
    assert check._median(check.Counter({3: 1, 4: 1, 100: 1})) == 4
    assert check._median(check.Counter({3: 3, 10: 1})) == 3


def test_disk_by_the_model(tmp_path: Path) -> None:
    settings = campaign(tmp_path, [row(0), row(1, uhf=2), row(2, uhf=1)])
    disk = check_campaign(settings).disk
    sizes, model = Sizes(settings), documented_model(settings)
    waters = [sizes.of(["O", "H", "H"], 1), sizes.of(["O", "H", "H"], 3)]
    assert waters[0].basis_functions == 58
    # 100,000 + 300 * 3 + 34 * 58^2 + 45 * 58 for the closed shell.
    assert model.bytes_of(waters[0]) == 100_000 + 900 + 34 * 58**2 + 45 * 58
    assert disk.bytes_in_all == disk.bytes_to_come == sum(map(model.bytes_of, waters))
    assert disk.files_in_all == disk.files_to_come == 2 * 14
    assert disk.room is not None and disk.fits


def test_disk_by_the_campaigns_own_folders(tmp_path: Path) -> None:
    settings = campaign(tmp_path, [*(row(n) for n in range(4)), row(4, aligned_csd_core=URANYL, charge=2)])
    finish(settings, {0: 10_000, 2: 30_000})
    report = check_campaign(settings)
    # Waters have 58 basis functions and 20,000 bytes on average; UO2 has 183, one spin as well.
    uranyl = 20_000 * (183 / 58) ** 2
    assert report.disk.origin == "2 finished job folders of this campaign"
    assert report.disk.bytes_in_all == pytest.approx(4 * 20_000 + uranyl)
    assert report.disk.bytes_to_come == pytest.approx(2 * 20_000 + uranyl)
    assert (report.disk.files_in_all, report.disk.files_to_come) == (5 * 3, 3 * 3)
    assert report.kept is not None
    assert report.kept.counts == {Status.COMPLETED: 2, Status.TO_RUN: 3}


def finish(settings: Campaign, sizes: dict[int, int], settings_hash: str | None = None) -> None:
    """Take the CSV in and complete structures whose folders hold two files with so many bytes together."""
    with Ledger(settings.ledger, create=True) as ledger:
        take_in(settings, ledger)
        for index, size in sizes.items():
            folder = settings.jobs_dir / f"job_{index}"
            folder.mkdir(parents=True)
            (folder / "orca.out").write_bytes(b"x" * (size - 1))
            (folder / "orca.err").write_bytes(b"x")
            [claimed] = claim(ledger, [index], settings_hash=settings_hash or settings.settings_hash())
            ledger.mark_prepared([Preparation(claimed.token, str(folder), "input", 4)])
            ledger.record([ending(claimed.token, Outcome.COMPLETED)])


def test_nothing_is_written(tmp_path: Path) -> None:
    settings = campaign(tmp_path, MIXED)
    before = content(tmp_path)
    check_campaign(settings)
    assert content(tmp_path) == before
    finish(settings, {0: 1_000})
    before = content(tmp_path)
    check_campaign(settings)
    assert content(tmp_path) == before


def test_a_ledger_that_somebody_writes_to_is_read(tmp_path: Path) -> None:
    settings = campaign(tmp_path, [row(n) for n in range(3)])
    finish(settings, {0: 1_000})
    with Ledger(settings.ledger) as ledger:
        ledger.set_meta("somebody", "writes")
        assert settings.ledger.with_name("workflow.db-wal").exists()
        report = check_campaign(settings)
        assert report.kept is not None and report.kept.counts[Status.COMPLETED] == 1
        ledger.set_meta("somebody", "still writes")


def test_without_the_csv_the_ledgers_structures(tmp_path: Path) -> None:
    settings = campaign(tmp_path, MIXED)
    expected = check_campaign(settings)
    with Ledger(settings.ledger, create=True) as ledger:
        take_in(settings, ledger)
    settings.csv.unlink()
    report = check_campaign(settings)
    assert report.source == settings.ledger
    (line,) = report.blocking  # a run would refuse it
    assert line.startswith(f"{settings.csv}: no such file")
    assert (report.rows, report.runnable) == (expected.rows, expected.runnable)
    assert (report.repeats, report.disk.bytes_in_all) == (1, expected.disk.bytes_in_all)
    assert refused(report) == {
        "row rejected at intake": sum(OF_ROWS.values()),
        "basis without functions for an element": 1,
    }
    assert any("does not exist" in note for note in report.notes)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            lambda rows: [row(9), *rows[1:]],
            "1 row that was taken in before changed, moved or vanished (row 0;",
        ),
        (lambda rows: rows[:2], "2 rows that were taken in before changed, moved or vanished (row 2, 3;"),
        (lambda rows: [*rows[:3], row(3, uhf=0)], "1 of them had been rejected: append"),
        (lambda rows: [], "4 rows that were taken in before changed"),
    ],
)
def test_a_csv_that_the_intake_would_refuse_is_in_the_way(
    tmp_path: Path, changed: Callable[[list[dict[str, str]]], list[dict[str, str]]], told: str
) -> None:
    rows = [row(0), row(1), row(2), row(3, uhf=1)]
    settings = campaign(tmp_path, rows)
    with Ledger(settings.ledger, create=True) as ledger:
        take_in(settings, ledger)
    assert check_campaign(settings).blocking == []
    write_csv(settings.csv_file, [*rows, row(4)])
    assert check_campaign(settings).blocking == []
    write_csv(settings.csv_file, changed(rows))
    before = content(tmp_path)
    (line,) = check_campaign(settings).blocking
    assert told in line
    assert content(tmp_path) == before
    with Ledger(settings.ledger) as ledger, pytest.raises(IntakeRefused) as caught:
        take_in(settings, ledger)
    assert str(caught.value) == line


def test_without_csv_and_ledger(tmp_path: Path) -> None:
    settings = campaign(tmp_path, [row(0)])
    settings.csv.unlink()
    report = check_campaign(settings)
    assert report.rows == 0 and not report.good
    (line,) = report.blocking
    assert "no such file" in line


def test_what_is_in_the_way_is_said_all_at_once(tmp_path: Path) -> None:
    settings = campaign(tmp_path, [row(0)])
    with Ledger(settings.ledger, create=True) as ledger:
        take_in(settings, ledger)
        ledger.set_meta("campaign", json.dumps({"name": "other", "asset_prefix": []}))
        fix_level_of_theory(ledger, {**settings.level_of_theory(), "functional": "PBE0"})
        run(ledger, 0, Outcome.COMPLETED)
    (tmp_path / "orca").unlink()
    text = settings.csv.read_text()
    settings.csv.write_text(text + "too,few\n")
    found = check_campaign(settings).blocking
    for words in ("orca.command", "'other'", "functional=PBE0", "has 2 fields"):
        assert sum(words in line for line in found) == 1, (words, found)
    assert len(found) == 4


def test_an_empty_ledger_is_as_none(tmp_path: Path) -> None:
    settings = campaign(tmp_path, [row(0)])
    settings.ledger.write_bytes(b"")
    report = check_campaign(settings)
    assert report.good and report.kept is None
    assert settings.ledger.read_bytes() == b""


def test_a_workflow_file_of_today(tmp_path: Path) -> None:
    settings = campaign(tmp_path, [row(0), row(1)])
    with sqlite3.connect(settings.ledger) as db:
        columns = ", ".join(
            f"{name} {kind}{' PRIMARY KEY AUTOINCREMENT' if name == 'id' else ''}" for name, kind in COLUMNS
        )
        db.execute(f"CREATE TABLE structures ({columns})")
        db.executemany(
            "INSERT INTO structures (orig_index, elements, natoms, status, charge, spin, geometry)"
            " VALUES (?, 'O;H;H', 3, ?, 0, 1, ?)",
            [(0, "ready", row(0)["aligned_csd_core"]), (1, "completed", row(1)["aligned_csd_core"])],
        )
    before = content(tmp_path)
    report = check_campaign(settings)
    assert report.good and report.kept is not None
    assert report.kept.counts == {Status.READY: 1, Status.COMPLETED: 1}
    assert report.disk.bytes_to_come == report.disk.bytes_in_all / 2
    settings.csv.unlink()
    report = check_campaign(settings)
    assert report.runnable == 2 and report.refused == []
    assert [line.partition("; ")[0] for line in report.blocking] == [f"{settings.csv}: no such file"]
    assert content(tmp_path) == {name: data for name, data in before.items() if name != "structures.csv"}


@pytest.mark.parametrize("kind", ["no database", "newer"])
def test_a_ledger_that_cannot_be_used_is_in_the_way(tmp_path: Path, kind: str) -> None:
    settings = campaign(tmp_path, [row(0)])
    if kind == "newer":
        with Ledger(settings.ledger, create=True) as ledger:
            ledger.set_meta("schema_version", str(SCHEMA_VERSION + 1))
    else:
        settings.ledger.write_text("name,charge\n" * 1000)
    (line,) = check_campaign(settings).blocking
    assert str(settings.ledger) in line and "\n" not in line


def test_a_ledger_on_a_network_file_system_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "campaign").mkdir()
    settings = campaign(tmp_path / "campaign", [row(0)])
    mount(tmp_path / "campaign", "nfs4", monkeypatch)
    report = check_campaign(settings)
    assert report.good
    assert any("(nfs4)" in note and "without WAL" in note for note in report.notes)


def test_memory_and_its_limit(tmp_path: Path) -> None:
    settings = campaign(tmp_path, [row(0)], {"n_cores": 4, "maxcore": 2000})
    values = yaml.safe_load(settings.file.read_text())
    values["launcher"] = {"memory_mb": 6000, "max_workers": 1_000_000}
    settings.file.write_text(yaml.safe_dump(values))
    notes = check_campaign(load_campaign(tmp_path)).notes
    assert any("may need 8000 MB, but launcher.memory_mb is 6000" in note for note in notes)
    assert any("at once may need 8000000000 MB, but this machine has" in note for note in notes)


def test_a_basis_file_that_lacks_elements(tmp_path: Path) -> None:
    (tmp_path / "own.bas").write_text("OXYGEN\nS 1\n  1 1.0 1.0\nHYDROGEN\nS 1\n  1 1.0 1.0\n")
    rows = [row(0), row(1, aligned_csd_core=IODIDE)]
    settings = campaign(tmp_path, rows, {"non_actinide_basis": "own.bas"})
    report = check_campaign(settings)
    (group,) = report.refused
    assert (group.what, group.count) == ("basis without functions for an element", 1)
    assert group.examples[0].message.endswith(
        "own.bas has no functions for I (it covers H, O); add them, or use another basis"
    )
    assert report.runnable == 1


def test_memory_goes_by_the_cores_of_the_structures_size(tmp_path: Path) -> None:
    settings = campaign(tmp_path, [row(0)], {"n_cores": 4, "maxcore": 2000})
    values = yaml.safe_load(settings.file.read_text())
    values["launcher"] = {"resources": [{"max_atoms": 2, "n_cores": 2}, {"max_atoms": 50, "n_cores": 16}]}
    settings.file.write_text(yaml.safe_dump(values))
    settings = load_campaign(tmp_path)
    report = check_campaign(settings)
    assert report.memory is not None and report.memory.amount == 32_000
    assert "32,000 MB for one calculation (structure 0: %maxcore 2,000 MB, 16 cores)" in "\n".join(
        check_lines(settings, report)
    )
    assert check_json(settings, report)["memory"] == {"row": 0, "MB": 32_000, "cores": 16}


def test_results_of_other_settings_are_counted(tmp_path: Path) -> None:
    settings = campaign(tmp_path, [row(n) for n in range(3)])
    finish(settings, {0: 100})
    report = check_campaign(settings)
    assert report.kept is not None and report.kept.stale == 0
    finish(settings, {1: 100, 2: 100}, "other")
    report = check_campaign(settings)
    assert report.kept is not None and report.kept.stale == 2
    told = "3 completed, 2 results made with other settings than the present"
    assert f"  ledger        {told} (`oact run --stale`)" in list(check_lines(settings, report))
    # What a run would refuse is no advice.
    with Ledger(settings.ledger) as ledger:
        fix_level_of_theory(ledger, {**settings.level_of_theory(), "functional": "PBE0"})
    report = check_campaign(settings)
    assert len(report.blocking) == 1 and f"  ledger        {told}" in list(check_lines(settings, report))


def test_an_own_function_that_cannot_be_imported_is_in_the_way(tmp_path: Path) -> None:
    settings = campaign(tmp_path, [row(0)])
    settings.file.write_text(settings.file.read_text() + "setup_func: nowhere_at_all:add\n")
    (line,) = check_campaign(load_campaign(tmp_path)).blocking
    assert "nowhere_at_all" in line
    settings.file.write_text(settings.file.read_text().replace("nowhere_at_all", "my_own_files"))
    (tmp_path / "my_own_files.py").write_text("def add(folder, record):\n    pass\n")
    before = content(tmp_path)
    assert check_campaign(load_campaign(tmp_path)).good
    assert content(tmp_path) == before


def test_progress_ends_with_all_of_the_file(tmp_path: Path) -> None:
    settings = campaign(tmp_path, [row(n) for n in range(600)])
    seen: list[tuple[int, int]] = []
    check_campaign(settings, lambda done, in_all: seen.append((done, in_all)))
    size = os.stat(settings.csv).st_size  # noqa: PTH116
    assert len(seen) == 4 and seen[-1] == (size, size)
    assert seen == sorted(seen)


NO_OXIDATION_STATE = "actinide without an oxidation state, which the stand-in engine needs"


@pytest.mark.parametrize(
    ("annotate", "found"),
    [
        ((), {NO_OXIDATION_STATE: 3}),
        (("metal_ox",), {NO_OXIDATION_STATE: 1, "what the stand-in engine cannot compute": 1}),
    ],
)
def test_what_the_stand_in_cannot_compute_is_refused(
    tmp_path: Path, annotate: tuple[str, ...], found: dict[str, int]
) -> None:
    rows = [
        row(0, metal_ox=""),
        row(1, aligned_csd_core=URANYL, charge=2, metal_ox="6"),
        row(2, aligned_csd_core=URANYL, charge=2, metal_ox=""),
        row(3, aligned_csd_core=URANYL, charge=2, metal_ox="5.5"),
    ]
    given = campaign(tmp_path, rows, {"actinide_basis": "def-TZVP", "actinide_ecp": "def-ECP"})
    assert check_campaign(given.model_copy(update={"annotate": annotate})).good
    stand_in = given.model_copy(
        update={"annotate": annotate, "orca": given.orca.model_copy(update={"command": "standin"})}
    )
    report = check_campaign(stand_in)
    assert refused(report) == found and not report.good
    told = sum(found.values())
    assert list(check_lines(stand_in, report))[-1] == (
        f"{told} of 4 structures would be refused; the other {4 - told} can be run."
    )
    examples = {example.orig_index: example.message for group in report.refused for example in group.examples}
    assert examples[2].startswith("U: the stand-in engine needs the oxidation state of an actinide")
    assert "name a column metal_ox or oxidation_state under annotate" in examples[2]
    if annotate:
        assert "the oxidation state is not a whole number: '5.5'" in examples[3]
    # From the ledger, too, which keeps what the CSV said.
    with Ledger(stand_in.ledger, create=True) as ledger:
        take_in(stand_in, ledger)
    assert refused(check_campaign(stand_in.model_copy(update={"csv": None}))) == found

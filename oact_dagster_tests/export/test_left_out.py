"""What the ledger and the folders do not prove is left out of the training set, and counted with the reason."""

import shutil
from pathlib import Path

import pytest

from oact_dagster.errors import LedgerError, SelectionError
from oact_dagster.export.export import default_target
from oact_dagster.export.formats import ExportError
from oact_dagster.launchers.attempt_files import ATTEMPT_FILE
from oact_dagster.ledger.by_hand import update_status
from oact_dagster.ledger.level_of_theory import fix_level_of_theory
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.orca.outputs.sella import read_trajectory
from oact_dagster_tests.engines import ENERGY, TestEngine
from oact_dagster_tests.export.house import House
from oact_dagster_tests.job_folders import made_job
from oact_dagster_tests.ledger.samples import run, structure

WATER = "O;H;H"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "campaign")


@pytest.fixture
def output(tmp_path: Path) -> bytes:
    """What the test engine writes: a single point with a gradient, in ORCA's format; its energy is -76 Eh."""
    engine = TestEngine(tmp_path / "engine")
    return (made_job(tmp_path / "made", engine, 0) / "orca.out").read_bytes()


def left(house: House, **wanted: object) -> dict[str, list[str]]:
    report = house.export(overwrite=True, **wanted)
    return {reason: one.examples for reason, one in report.left_out.items()}


def test_another_attempts_output(house: House, output: bytes) -> None:
    house.put(0, output, WATER)
    house.put(1, output, WATER, token="somebodyelse")
    house.put(2, output, WATER, token="")
    report = house.export()
    assert (report.structures, report.frames) == (1, 1)
    [(reason, one)] = report.left_out.items()
    assert reason == "the output in its folder is not from the attempt that completed it" and one.count == 2
    assert one.examples == [f"1: {house.job(1)}", f"2: {house.job(2)}"]


def test_a_folder_that_another_attempt_has_taken(house: House, output: bytes) -> None:
    for index in range(2):
        house.put(index, output, WATER)
        own = house.job(index)
        own.rename(own.with_name(f"{own.name}.attempt-1"))
        shutil.copytree(house.job(0).with_name("job_0.attempt-1"), own)
        (own / ATTEMPT_FILE).write_text((own / ATTEMPT_FILE).read_text().replace('"token": "', '"token": "x'))
    # The first attempt's folder is found under its other name.
    assert house.export().structures == 2
    shutil.rmtree(house.campaign.jobs_dir / "job_1.attempt-1")
    assert list(left(house)) == ["the output in its folder is not from the attempt that completed it"]


def test_missing_and_cleaned_folders(house: House, output: bytes) -> None:
    for index in range(4):
        house.put(index, output, WATER)
    shutil.rmtree(house.job(1))
    (house.job(2) / "orca.out").unlink()
    (house.job(3) / "orca.out").write_bytes(output[: len(output) // 2])
    assert left(house) == {
        "its folder is missing": [f"1: {house.job(1)}"],
        "its folder holds no output (any more)": [f"2: {house.job(2)}"],
        "the output in its folder is not from the attempt that completed it": [f"3: {house.job(3)}"],
    }


def test_an_output_without_its_end(house: House, output: bytes) -> None:
    folder = house.put(0, output, WATER)
    text = (folder / "orca.out").read_bytes()
    (folder / "orca.out").write_bytes(text[: text.index(b"****ORCA TERMINATED")])
    assert left(house) == {"its output did not end normally": [f"0: truncated, {folder}"]}


def test_another_energy_or_atoms_than_the_ledgers(house: House, output: bytes) -> None:
    house.put(0, output, WATER, final_energy=ENERGY + 0.01)
    house.put(1, output, WATER)
    house.put(2, output, "O;H;F")
    house.put(3, output, "O;H")
    house.put(4, output, WATER)
    assert left(house) == {
        "its output and the ledger have different energies": ["0: -76.0 Eh, ledger -75.99 Eh"],
        "its output and the ledger have different atoms": ["2", "3"],
    }


def test_examples_are_few_and_counts_are_whole(house: House, output: bytes) -> None:
    for index in range(8):
        house.put(index, output, WATER, final_energy=ENERGY + 1.0)
    report = house.export()
    [one] = report.left_out.values()
    assert (one.count, len(one.examples), report.structures_left_out) == (8, 5, 8)


def test_a_folder_that_was_moved_with_its_campaign(tmp_path: Path, output: bytes) -> None:
    house = House(tmp_path / "campaign")
    house.put(0, output, WATER)
    house.ledger.close()
    (tmp_path / "campaign").rename(tmp_path / "moved")
    moved = House(tmp_path / "moved")
    assert moved.export().structures == 1


def test_flagged_structures(house: House, output: bytes) -> None:
    for index in range(3):
        house.put(index, output, WATER)
    flagged = {1: ("forces", "s_squared"), 2: ()}
    report = house.export(flagged=flagged)
    assert (report.structures, report.flagged) == (2, 0)
    assert {reason: one.examples for reason, one in report.left_out.items()} == {
        "failed checks: forces, s_squared": ["1"]
    }
    report = house.export("with.extxyz", flagged=flagged, include_flagged=True)
    assert (report.structures, report.flagged) == (3, 1)
    lines = (house.out / "with.extxyz").read_text().splitlines()
    said = [line for line in lines if "failed_checks" in line]
    assert len(said) == 1 and 'failed_checks="forces, s_squared"' in said[0] and "orig_index=1 " in said[0]


def test_what_is_not_completed_is_counted(house: House, output: bytes) -> None:
    house.put(0, output, WATER)
    house.ledger.add_structures([structure(n) for n in range(1, 9)])
    run(house.ledger, 1, Outcome.FAILED)
    report = house.export()
    assert report.by_status == {"failed": 1, "to_run": 7}
    assert report.status_examples == {"failed": ["1"], "to_run": ["2", "3", "4", "5", "6"]}
    report = house.export("named.extxyz", orig_indices=[8, 1, 0])
    assert (report.frames, dict(report.by_status)) == (1, {"to_run": 1, "failed": 1})
    assert report.left_out == {}
    with pytest.raises(SelectionError, match=r"--structures: 1 structure is not in the ledger .*: 99"):
        house.export("named2.extxyz", orig_indices=[0, 99])


def test_results_of_another_tool_have_no_attempt(house: House, output: bytes) -> None:
    # A ledger of the old tool: the row says completed, and nothing else stands for it.
    folder = house.put(0, output, WATER, token="")
    house.ledger.file.connection.execute("DELETE FROM attempts")
    (folder / ATTEMPT_FILE).unlink()
    report = house.export()
    assert (report.structures, report.left_out) == (1, {})
    assert " attempt=" not in (house.out / "out.extxyz").read_text()
    # An output that says whose it is belongs to an attempt that this ledger does not know.
    house.put(1, output, WATER)
    house.ledger.file.connection.execute("DELETE FROM attempts")
    assert list(left(house)) == ["the output in its folder is not from the attempt that completed it"]


def test_an_attempt_that_took_over_what_was_run_by_hand(house: House, output: bytes) -> None:
    house.put(0, output, WATER, token="", plan={})
    assert house.export().structures == 1


def test_the_settings_must_be_those_of_the_results(house: House, output: bytes) -> None:
    house.put(0, output, WATER)
    fix_level_of_theory(house.ledger, {**house.campaign.level_of_theory(), "functional": "PBE0"})
    with pytest.raises(LedgerError, match="functional=PBE0"):
        house.export()
    assert not (house.out / "out.extxyz").exists()


def test_files_that_are_not_to_be_overwritten(house: House, output: bytes) -> None:
    house.put(0, output, WATER)
    campaign = house.campaign
    (house.out / "out.extxyz").write_text("mine")
    with pytest.raises(ExportError, match=r"out\.extxyz: exists already; --force overwrites it"):
        house.export()
    assert (house.out / "out.extxyz").read_text() == "mine"
    for name, words in (
        ("campaign/workflow.db", "is the campaign's ledger"),
        ("campaign/campaign.yaml", "is the campaign's settings"),
        ("campaign/jobs/job_0/orca.out", "is in the folder of the jobs"),
        ("campaign", "is a folder"),
        ("nowhere/out.extxyz", "nowhere: no such folder"),
    ):
        with pytest.raises(ExportError, match=words):
            house.export(name, overwrite=True)
    assert campaign.ledger.read_bytes().startswith(b"SQLite") and (house.job(0) / "orca.out").is_file()
    assert house.export(overwrite=True).frames == 1
    assert default_target(campaign, "ase-db") == Path("real.db")


@pytest.mark.parametrize("format_name", ["extxyz", "parquet", "ase-db"])
def test_an_export_that_is_interrupted_leaves_what_was_there(
    house: House, output: bytes, format_name: str
) -> None:
    if format_name == "ase-db":
        pytest.importorskip("ase")
    house.put(0, output, WATER)
    target = house.out / "old"
    target.write_bytes(b"an older training set")

    def interrupt(done: int, in_all: int) -> None:
        assert (done, in_all) == (1, 1)
        raise KeyboardInterrupt

    before = sorted(house.out.iterdir())
    with pytest.raises(KeyboardInterrupt):
        house.export("old", format_name, overwrite=True, progress=interrupt)
    assert target.read_bytes() == b"an older training set" and sorted(house.out.iterdir()) == before


def test_nothing_but_frames_replaces_a_file(house: House, output: bytes) -> None:
    house.put(0, output, WATER, final_energy=-1.0)
    (house.out / "out.extxyz").write_text("older")
    assert house.export(overwrite=True).frames == 0
    assert (house.out / "out.extxyz").read_text() == "older"


def test_our_own_reader_of_trajectories_reads_it(house: House, output: bytes) -> None:
    house.put(0, output, WATER)
    house.export()
    [frame] = read_trajectory(house.out / "out.extxyz")
    assert frame.symbols == ("O", "H", "H")
    assert frame.energy_ev == pytest.approx(ENERGY * 27.211386245988, abs=1e-9)
    assert frame.forces_ev_per_angstrom is not None
    assert frame.forces_ev_per_angstrom[0] == pytest.approx((-0.0514221, 0.0, -0.2314610), abs=1e-6)


def test_a_structure_that_is_set_back_is_not_exported(house: House, output: bytes) -> None:
    house.put(0, output, WATER)
    update_status(house.ledger, house.ledger.structures.of([0])[0].id, Status.TO_RUN)
    report = house.export()
    assert report.frames == 0 and dict(report.by_status) == {"to_run": 1}


def test_a_single_points_gradient_that_is_not_of_its_last_energy(house: House, output: bytes) -> None:
    end = output.index(b"                             ****ORCA TERMINATED")
    later = b"FINAL SINGLE POINT ENERGY       -76.500000000000\n\n"
    house.put(0, output[:end] + later + output[end:], WATER)
    assert left(house) == {"the energy of its gradient differs from the ledger's": ["0"]}

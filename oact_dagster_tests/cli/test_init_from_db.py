"""``oact init --from-db``: a campaign from a ledger of old, without its CSV."""

from pathlib import Path
from typing import Any

import pytest

from oact_dagster.intake.csv_stamp import is_taken_in
from oact_dagster.intake.intake import take_in
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import load_campaign
from oact_dagster_tests.campaigns import WATER
from oact_dagster_tests.cli.command import assert_one_line, oact
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.job_folders import made_job
from oact_dagster_tests.ledger.old_files import old_file

pytestmark = pytest.mark.slow


def row(index: int, **changes: Any) -> dict[str, Any]:
    return {
        "orig_index": index, "elements": "O;H;H", "natoms": 3, "geometry": WATER.format(z=-index / 1000),
    } | changes  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Structures 10 to 15: completed and proved, completed with another energy, without a folder, and three to run."""
    engine = TestEngine(tmp_path / "engine")
    jobs = tmp_path / "calcs"
    for index in (10, 11):
        made_job(jobs / f"water_{index}", engine, index)
    rows = [
        row(n, status="completed", final_energy=energy, job_dir=str(jobs / f"water_{n}"))
        for n, energy in ((10, -76.001), (11, -77.0), (12, -76.0012))
    ]
    rows += [row(13), row(14), row(15, status="failed", error_message="no")]
    (tmp_path / "old").mkdir()
    return old_file(tmp_path / "old" / "workflow.db", rows)


def test_a_campaign_from_an_old_ledger(tmp_path: Path, old: Path) -> None:
    before = old.read_bytes()
    done = oact("init", "--from-db", old, "--folder", tmp_path / "new", "--orca", "standin")
    assert done.returncode == 0, done.stderr
    assert old.read_bytes() == before and [entry.name for entry in old.parent.iterdir()] == ["workflow.db"]
    campaign = load_campaign(tmp_path / "new")
    assert campaign.csv is None and campaign.ledger == old and campaign.name == "new"
    assert campaign.jobs_dir == tmp_path / "calcs" and campaign.job_dir_pattern == "water_{orig_index}"
    assert f"{old}: 6 structures: " in done.stdout
    assert "Results: 1 of 3 completed structures is proved by its folder\n" in done.stdout
    assert sorted(line.removeprefix("oact: warning: ") for line in done.stderr.splitlines()) == [
        "1 completed structure: its job folder is missing (orig_index 12)",
        "1 completed structure: its output and the ledger have different energies (orig_index 11)",
    ]
    # There is nothing to take in, and the intake says so.
    with Ledger(campaign.ledger) as ledger:
        assert is_taken_in(campaign, ledger)
        report = take_in(campaign, ledger)
        assert (report.taken, report.known, report.structures) == (0, 6, 6)
        assert list(ledger.structures.indices()) == [10, 11, 12, 13, 14, 15]
        assert ledger.figures.count_by_status()[Status.COMPLETED] == 3
    checked = oact("check", tmp_path / "new")
    assert "csv is null: checked the ledger's structures instead" in checked.stdout, checked.stderr


def test_folders_can_be_named(tmp_path: Path, old: Path) -> None:
    done = oact(
        "init", "--from-db", old, "--folder", old.parent, "--jobs-dir", tmp_path / "jobs2", "--name", "mine"
    )
    assert done.returncode == 0, done.stderr
    campaign = load_campaign(old.parent)
    assert (campaign.name, campaign.jobs_dir, campaign.ledger) == ("mine", tmp_path / "jobs2", old)
    assert "ledger: workflow.db" in campaign.file.read_text()
    assert_one_line(oact("init", "--from-db", old, "--folder", old.parent), "already exists")


def test_a_ledger_without_folders(tmp_path: Path) -> None:
    file = old_file(tmp_path / "workflow.db", [row(0)])
    assert oact("init", "--from-db", file, cwd=tmp_path).returncode == 0
    campaign = load_campaign(tmp_path)
    assert (campaign.jobs_dir, campaign.job_dir_pattern) == (tmp_path / "jobs", "job_{orig_index}")


def test_keys_that_are_missing_or_there_twice_are_listed(tmp_path: Path) -> None:
    twice = old_file(tmp_path / "twice.db", [row(n % 15) for n in range(30)])
    assert_one_line(
        oact("init", "--from-db", twice, "--folder", tmp_path / "c"),
        "twice.db: several rows have the same orig_index, which must name one partition: "
        "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and more",
    )
    none = old_file(tmp_path / "none.db", [row(0), {"orig_index": None}])
    assert_one_line(
        oact("init", "--from-db", none, "--folder", tmp_path / "c"), "without an orig_index", "id 2;"
    )
    empty = old_file(tmp_path / "empty.db", [])
    assert_one_line(oact("init", "--from-db", empty, "--folder", tmp_path / "c"), "holds no structures")
    assert not (tmp_path / "c").exists()


def test_a_csv_or_a_ledger(tmp_path: Path, old: Path) -> None:
    assert "give a CSV, or a ledger" in oact("init").stderr
    assert "give a CSV, or a ledger" in oact("init", "a.csv", "--from-db", old).stderr
    assert "column options need a CSV" in oact("init", "--from-db", old, "--charge-column", "q").stderr
    assert "--jobs-dir needs --from-db" in oact("init", "a.csv", "--jobs-dir", "j").stderr
    assert_one_line(
        oact("init", "--from-db", tmp_path / "no.db", "--folder", tmp_path / "c"), "no.db: no such ledger"
    )


def test_it_runs_what_is_left(tmp_path: Path, old: Path) -> None:
    engine = tmp_path / "engine" / "orca"
    assert oact("init", "--from-db", old, "--folder", tmp_path / "new", "--orca", engine).returncode == 0
    done = oact("run", tmp_path / "new")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all 6 structures are completed" in done.stdout
    with Ledger(old) as ledger:
        # What was completed before is left as it was, in its place.
        rows = {row.orig_index: row for row in ledger.structures.stored_by_status()}
    assert (rows[11].final_energy, rows[11].job_dir) == (-77.0, str(tmp_path / "calcs" / "water_11"))
    assert rows[13].final_energy == -76.0013 and rows[13].job_dir == str(tmp_path / "calcs" / "water_13")
    assert rows[15].fail_count == 1
    # Shown again, results of old count as there: nothing is computed.
    again = oact("run", tmp_path / "new", "--structures", "10-12")
    assert again.returncode == 0 and "nothing to compute" in again.stdout, again.stdout + again.stderr


def with_folders(path: Path, *folders: Path) -> Path:
    return old_file(path, [row(n, job_dir=str(folder)) for n, folder in enumerate(folders)])


def test_the_jobs_folder_is_the_one_of_most_rows(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    odd = Path("/nowhere/job_2")
    file = with_folders(tmp_path / "one.db", jobs / "job_0", jobs / "job_1", odd)
    done = oact("init", "--from-db", file, "--folder", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    assert load_campaign(tmp_path / "one").jobs_dir == jobs
    assert f"1 structure has its job folder outside {jobs}" in done.stderr
    assert f"(orig_index 2: {odd})" in done.stderr
    # Subfolders of a thousand, and of somebody's own.
    for name, folders in (
        ("sharded", ("000/job_0", "001/job_1", "002/job_2")),
        ("own", ("a/job_0", "b/job_1", "c/job_2")),
    ):
        file = with_folders(tmp_path / f"{name}.db", *(jobs / one for one in folders))
        done = oact("init", "--from-db", file, "--folder", tmp_path / name)
        assert done.returncode == 0 and "outside" not in done.stderr, done.stderr
        assert load_campaign(tmp_path / name).jobs_dir == jobs


def test_folders_that_have_nothing_in_common_are_to_be_named(tmp_path: Path) -> None:
    file = with_folders(tmp_path / "w.db", Path("/home/a/job_0"), Path("/home/b/job_1"), Path("/data/job_2"))
    assert_one_line(
        oact("init", "--from-db", file, "--folder", tmp_path / "c"),
        "w.db: the job folders share no folder that holds only them",
        "--jobs-dir",
    )
    assert not (tmp_path / "c").exists()
    root = oact("init", "--from-db", file, "--folder", tmp_path / "c", "--jobs-dir", "/")
    assert_one_line(root, "/: is the whole file system")
    done = oact("init", "--from-db", file, "--folder", tmp_path / "c", "--jobs-dir", tmp_path / "jobs")
    assert done.returncode == 0, done.stderr
    assert load_campaign(tmp_path / "c").jobs_dir == tmp_path / "jobs"
    assert "3 structures have their job folder outside" in done.stderr

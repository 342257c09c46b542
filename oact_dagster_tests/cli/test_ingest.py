"""``oact ingest``: a CSV into a ledger without a campaign, or a campaign's into its own."""

import resource
import subprocess
from pathlib import Path

from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.campaigns import WATER, write_campaign, write_csv
from oact_dagster_tests.cli.command import assert_one_line, command, environment, oact


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_csv_and_what_it_grew_by(tmp_path: Path) -> None:
    csv, db = write_csv(tmp_path / "a.csv", 4, broken=(2,)), tmp_path / "workflow.db"
    done = oact("ingest", csv, db)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{csv}: 4 rows, 3 taken in, 0 known before, 1 rejected now, 1 rejected in all"
    assert lines[1].startswith("row 2 (line 8) rejected: uhf 1 does not fit H2O")
    assert lines[-1] == f"3 structures in {db}"
    write_csv(csv, 2, first=4)
    assert f"5 structures in {db}" in oact("ingest", csv, db).stdout
    with Ledger(db) as ledger:
        assert list(ledger.structures.indices()) == [0, 1, 3, 4, 5]
    assert names(tmp_path) == ["a.csv", "workflow.db"]


def test_columns_of_other_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f'geo,q\n"{WATER.format(z=0)}",0\n')
    done = oact("ingest", "a.csv", "w.db", "--geometry-column", "geo", "--charge-column", "q", cwd=tmp_path)
    assert_one_line(done, "a.csv, line 1: no column 'uhf'")
    assert names(tmp_path) == ["a.csv"]
    done = oact(
        "ingest", "a.csv", "w.db", "--geometry-column", "geo", "--charge-column", "q", "--spin-column", "null",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0 and "1 structure in w.db" in done.stdout


def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "a.csv", 2)
    assert_one_line(oact("ingest", tmp_path / "no.csv", tmp_path / "w.db"), "no.csv: no such file")
    assert_one_line(oact("ingest", tmp_path, tmp_path / "w.db"), "is a folder; name the CSV")
    (tmp_path / "text.db").write_text("not a database, but long enough to be one" * 50)
    assert_one_line(oact("ingest", csv, tmp_path / "text.db"), "text.db: cannot be used as a ledger")
    assert oact("ingest", csv, tmp_path / "w.db").returncode == 0
    before = (tmp_path / "w.db").read_bytes()
    csv.write_text(csv.read_text().replace("0.587", "0.588"))
    assert_one_line(oact("ingest", csv, tmp_path / "w.db"), "2 rows that were taken in before changed")
    assert (tmp_path / "w.db").read_bytes() == before


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "a.csv", 2000)

    def full_soon() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = subprocess.run(
        command("ingest", csv, tmp_path / "w.db"),
        env=environment(), capture_output=True, text=True, timeout=60, preexec_fn=full_soon,
    )  # fmt: skip
    assert_one_line(done, "w.db: cannot be", "nothing was changed")
    assert names(tmp_path) == ["a.csv"]
    # What there was before stays as it was.
    assert oact("ingest", write_csv(tmp_path / "b.csv", 3), tmp_path / "w.db").returncode == 0
    write_csv(tmp_path / "b.csv", 2000, first=3)
    done = subprocess.run(
        command("ingest", tmp_path / "b.csv", tmp_path / "w.db"),
        env=environment(), capture_output=True, text=True, timeout=60, preexec_fn=full_soon,
    )  # fmt: skip
    assert_one_line(done, "w.db: cannot be", "nothing was changed")
    with Ledger(tmp_path / "w.db") as ledger:
        assert list(ledger.structures.indices()) == [0, 1, 2]


def test_columns_that_are_written_into_the_inputs(tmp_path: Path) -> None:
    csv, db = write_csv(tmp_path / "a.csv", 2), tmp_path / "workflow.db"
    assert_one_line(oact("ingest", csv, db, "--annotate", "metal_ox"), "metal_ox")
    assert oact("ingest", csv, db, "--annotate", "name").returncode == 0
    with Ledger(db) as ledger:
        assert ledger.structures.of([1])[1].annotations == {"name": "water 1"}
    # The settings beside a ledger say which, where nothing else does.
    (tmp_path / "campaign.yaml").write_text(
        "name: a\ncsv: a.csv\nannotate: [name]\norca: {command: standin}\n"
    )
    write_csv(csv, 1, first=2)
    assert oact("ingest", csv, db).returncode == 0
    with Ledger(db) as ledger:
        assert [ledger.structures.of([n])[n].annotations for n in (0, 2)] == [
            {"name": "water 0"},
            {"name": "water 2"},
        ]


def test_a_campaigns_own_csv(tmp_path: Path) -> None:
    campaign = write_campaign(tmp_path / "c", 3, tmp_path / "no-orca", broken=(1,))
    assert_one_line(
        oact("dashboard", campaign.file), "no such ledger; create it with `oact ingest campaign.yaml`"
    )
    for given in (campaign.folder, "campaign.yaml"):
        done = oact("ingest", given, cwd=campaign.folder)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        assert "row 1 (line 5) rejected: uhf 1 does not fit" in done.stdout
        assert done.stdout.endswith(f"2 structures in {campaign.ledger}\n")
    with Ledger(campaign.ledger) as ledger:
        assert ledger.figures.count_by_status() == {Status.TO_RUN: 2}
        assert ledger.structures.of([2])[2].annotations == {"name": "water 2"}
    assert {path.name for path in campaign.folder.iterdir()} == {
        "campaign.yaml", "structures.csv", "workflow.db",
    }  # fmt: skip
    # What the campaign says is not said again, and its name is fixed from here on.
    done = oact("ingest", campaign.file, "--spin-column", "uhf")
    assert done.returncode == 2 and "--spin-column has no effect" in done.stderr
    campaign.file.write_text(campaign.file.read_text().replace("name: test", "name: other"))
    assert_one_line(oact("ingest", campaign.file), "name: is 'other', but was 'test'")


def test_a_campaigns_csv_that_is_refused_leaves_no_ledger(tmp_path: Path) -> None:
    campaign = write_campaign(tmp_path / "c", 1, tmp_path / "no-orca")
    campaign.csv_file.write_text("name,charge\n")
    assert_one_line(oact("ingest", campaign.file), "structures.csv", "aligned_csd_core")
    assert_one_line(oact("submit", campaign.file, "--dry-run"), "structures.csv", "aligned_csd_core")
    assert not campaign.ledger.exists()
    done = oact("ingest", campaign.csv_file)
    assert done.returncode == 2 and "name the DB, too" in done.stderr


def test_a_csv_that_is_cut_inside_the_known_rows_is_told_in_one_line(tmp_path: Path) -> None:
    csv, db = write_csv(tmp_path / "a.csv", 4), tmp_path / "w.db"
    assert oact("ingest", csv, db).returncode == 0
    text = csv.read_text()
    csv.write_text(text[: len(text) // 2])
    before = db.read_bytes()
    assert_one_line(oact("ingest", csv, db), "a.csv, line ")
    assert db.read_bytes() == before

"""`oact report`: where it writes, that it only reads, and what it refuses."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from oact_dagster.cli.size_text import size_text
from oact_dagster.ledger.states import Outcome
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.cli.command import assert_one_line, command, environment, oact
from oact_dagster_tests.ledger.samples import run
from oact_dagster_tests.report.samples import column_of, data_of, large, small


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return small(tmp_path / "c")


def contents(folder: Path) -> dict[str, str]:
    """Every file of a folder by its name, with the hash of what is in it."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("named", ["campaign.yaml", "."])
def test_it_writes_beside_the_settings_and_says_so(campaign: Campaign, named: str) -> None:
    before = contents(campaign.folder)
    done = oact("report", campaign.folder / named)
    report = campaign.folder / "report.html"
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == f"{report}: {size_text(report.stat().st_size)}, 7 structures\n"
    after = contents(campaign.folder)
    assert after.pop("report.html") and after == before


def test_another_file_and_again(campaign: Campaign, tmp_path: Path) -> None:
    first = oact("report", campaign.folder, "-o", "mine.html", cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    with Ledger(campaign.ledger) as ledger:
        ledger.reset(["failed"])
    assert oact("report", campaign.folder, "--output", "mine.html", cwd=tmp_path).returncode == 0
    assert column_of(data_of(tmp_path / "mine.html"), "failures", "structure") == [5]
    assert not (campaign.folder / "report.html").exists()


def test_while_a_run_writes(campaign: Campaign) -> None:
    with Ledger(campaign.ledger) as ledger:
        ledger.open_batch("other", _owner())
        with ledger.file.transaction() as db:
            db.execute("UPDATE structures SET status = 'failed' WHERE orig_index = 0")
            # Not committed: nobody sees it yet.
            done = oact("report", campaign.folder)
        assert done.returncode == 0, done.stderr
        status = column_of(data_of(campaign.folder / "report.html"), "structures", "status")
        assert status[0] == "completed"
        # What was committed since, but lies in the journal only, is seen.
        assert oact("report", campaign.folder).returncode == 0
        assert column_of(data_of(campaign.folder / "report.html"), "structures", "status")[0] == "failed"
        run(ledger, 6, Outcome.COMPLETED)


def _owner() -> object:
    from oact_dagster.ledger.owner import Owner

    return Owner.this_process()


def test_a_report_larger_than_the_disk_allows_leaves_the_older_one(tmp_path: Path) -> None:
    campaign = large(tmp_path / "c", 3000)
    assert oact("report", campaign.folder).returncode == 0
    before = contents(campaign.folder)
    # Files may have 8 kB; the report would have more.
    limited = ["bash", "-c", 'ulimit -f 8; exec "$@"', "bash", *command("report", campaign.folder)]
    done = subprocess.run(limited, env=environment(), capture_output=True, text=True, timeout=120)
    assert_one_line(done, "File too large")
    assert contents(campaign.folder) == before


def test_what_it_refuses_is_told_in_one_line(campaign: Campaign, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    assert_one_line(oact("report", campaign.folder, "-o", notes), "notes.txt", "not a report", "-o")
    assert_one_line(oact("report", campaign.folder, "-o", campaign.file), "campaign.yaml", "not a report")
    assert_one_line(oact("report", campaign.folder, "-o", tmp_path), "is a folder", "report.html")
    assert_one_line(oact("report", campaign.folder, "-o", tmp_path / "no" / "r.html"), "No such file")
    assert_one_line(oact("report", campaign.ledger), "is a ledger", "campaign.yaml")
    assert_one_line(oact("report", tmp_path / "nowhere"), "nowhere")
    assert notes.read_text() == "mine"


def test_before_intake_there_is_nothing_to_report(tmp_path: Path) -> None:
    from oact_dagster_tests.campaigns import write_campaign

    campaign = write_campaign(tmp_path / "c", 1, tmp_path / "orca")
    assert_one_line(oact("report", campaign.folder), "no such ledger", "oact ingest")
    assert not (campaign.folder / "report.html").exists()

"""Where job folders are: flat, sharded, and kept where they are."""

from pathlib import Path

import pytest

from oact_dagster.attempts.job_layout import SHARDED_FROM, JobLayout, choose_layout
from oact_dagster.intake.intake import take_in
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.campaigns import write_campaign, write_csv


def test_a_small_campaign_is_flat_and_stays_so(tmp_path: Path) -> None:
    campaign = write_campaign(tmp_path, 3, Path("/bin/true"))
    with Ledger(campaign.ledger, create=True) as ledger:
        take_in(campaign, ledger)
        assert JobLayout.of(campaign, ledger).folder(2, 3) == campaign.jobs_dir / "job_2"
        write_csv(campaign.csv, SHARDED_FROM, first=3)
        report = take_in(campaign, ledger)
        assert report.structures == SHARDED_FROM + 3
        layout = JobLayout.of(campaign, ledger)
        assert layout.folder(2, 3) == campaign.jobs_dir / "job_2", "growth moves nothing"
        assert layout.folder(9_999, 10_000) == campaign.jobs_dir / "job_9999"


def test_a_large_campaign_is_sharded(tmp_path: Path) -> None:
    campaign = write_campaign(tmp_path, SHARDED_FROM, Path("/bin/true"))
    with Ledger(campaign.ledger, create=True) as ledger:
        take_in(campaign, ledger)
        layout = JobLayout.of(campaign, ledger)
    jobs = campaign.jobs_dir
    assert layout.folder(0, 1) == jobs / "000" / "job_0"
    assert layout.folder(42, 43) == jobs / "000" / "job_42"
    assert layout.folder(9_999, 10_000) == jobs / "009" / "job_9999"
    assert layout.folder(1_234_567, 1) == jobs / "1234" / "job_1234567"


def test_the_pattern_may_use_the_id_and_folders_of_its_own(tmp_path: Path) -> None:
    layout = JobLayout(tmp_path, "set1/s{id}_{orig_index}", sharded=True)
    assert layout.folder(2_500, 7) == tmp_path / "002" / "set1" / "s7_2500"


def test_a_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    layout = JobLayout(tmp_path / "jobs", "job_{orig_index}", sharded=True)
    flat = tmp_path / "jobs" / "job_42"
    flat.mkdir(parents=True)
    (flat / "orca.inp").write_text("! HF\n")
    assert layout.folder(42, 43) == flat, "an old flat one is found"
    assert layout.folder(43, 44) == tmp_path / "jobs" / "000" / "job_43"
    other = tmp_path / "jobs" / "structure-43"
    other.mkdir()
    assert layout.folder(43, 44, str(other)) == other, "the ledger knows it under the name of another pattern"
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    assert layout.folder(43, 44, str(outside)) == tmp_path / "jobs" / "000" / "job_43"
    assert layout.folder(43, 44, str(tmp_path / "jobs" / "gone")) == tmp_path / "jobs" / "000" / "job_43"


@pytest.mark.parametrize("kept", ["jobs/../elsewhere", "jobs/x/../../elsewhere", "jobs", "jobs/.", ".", "/"])
def test_a_folder_of_an_old_ledger_that_leaves_the_jobs_folder_is_not_taken(
    tmp_path: Path, kept: str
) -> None:
    layout = JobLayout(tmp_path / "jobs", "job_{orig_index}")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "jobs" / "x").mkdir(parents=True)
    assert layout.folder(43, 44, str(tmp_path) + "/" + kept) == tmp_path / "jobs" / "job_43"
    within = f"{tmp_path}/elsewhere/../jobs/x"
    assert layout.folder(43, 44, within) == tmp_path / "jobs" / "x"


def test_a_subfolder_is_no_job_folder(tmp_path: Path) -> None:
    layout = JobLayout(tmp_path, "{orig_index}", sharded=True)
    (tmp_path / "100" / "100042").mkdir(parents=True)
    assert layout.folder(100, 101) == tmp_path / "000" / "100"


def test_the_choice_is_made_once(tmp_path: Path) -> None:
    campaign = write_campaign(tmp_path, 1, Path("/bin/true"))
    with Ledger(campaign.ledger, create=True) as ledger:
        choose_layout(ledger, SHARDED_FROM - 1)
        choose_layout(ledger, SHARDED_FROM)
        assert not JobLayout.of(campaign, ledger).sharded
    assert not JobLayout.of(campaign, None).sharded

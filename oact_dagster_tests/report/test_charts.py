"""The pictures of a whole campaign: which there are, and that they say what the figures say."""

from pathlib import Path
from xml.etree import ElementTree

from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.store import Ledger
from oact_dagster.report.charts import charts, status_chart
from oact_dagster.status.figures import CampaignFigures, campaign_figures
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.report.samples import NASTY, small, written


def figures(folder: Path, host: str = "node9") -> CampaignFigures:
    campaign = small(folder)
    with Ledger(campaign.ledger) as ledger, ledger.file.transaction() as db:
        db.execute("UPDATE attempts SET host = ? WHERE host = 'node9'", (host,))
    with open_reader(campaign.ledger) as reader:
        return campaign_figures(campaign, reader, now=5000.0)


def text_of(svg: str) -> str:
    return " ".join(part for part in ElementTree.fromstring(svg).itertext() if part)


def test_all_pictures_are_there(tmp_path: Path) -> None:
    found = {chart.key: text_of(chart.svg) for chart in charts(figures(tmp_path / "c"))}
    assert list(found) == [
        "progress",
        "energy_per_atom",
        "gradient",
        "scf_cycles",
        "wall_time",
        "basis_functions",
        "core_hours",
        "failures_by_class",
        "failures_by_metal",
        "failures_by_host",
    ]
    assert "memory: 2" in found["failures_by_class"] and "timeout: 1" in found["failures_by_class"]
    assert "Pu: 1" in found["failures_by_metal"] and "Np" not in found["failures_by_metal"]
    assert "node9: 3" in found["failures_by_host"] and "node0" not in found["failures_by_host"]
    assert "timeout: 24" in found["core_hours"]
    assert "4 points" in found["basis_functions"]


def test_the_status_bar_counts_structures(tmp_path: Path) -> None:
    text = text_of(status_chart(figures(tmp_path / "c")).svg)
    assert "completed 4 (57.1 %)" in text and "failed 1 (14.3 %)" in text and "to run 1 (14.3 %)" in text


def test_a_name_of_others_is_text_in_a_picture(tmp_path: Path) -> None:
    by_host = dict(charts(figures(tmp_path / "c", NASTY)))["failures_by_host"]
    assert "<script>" in text_of(by_host) and not ElementTree.fromstring(by_host).findall(".//{*}script")


def test_a_campaign_that_has_not_begun_has_no_pictures(tmp_path: Path) -> None:
    campaign = write_campaign(tmp_path / "c", 1, tmp_path / "orca")
    with Ledger(campaign.ledger, create=True):
        pass
    with open_reader(campaign.ledger) as reader:
        assert list(charts(campaign_figures(campaign, reader))) == []


def test_the_report_has_them(tmp_path: Path) -> None:
    text = written(small(tmp_path / "c")).read_text(encoding="utf-8")
    assert text.count("<svg ") == 11
    assert 'id="picture-progress"' in text and 'class="wide"' in text

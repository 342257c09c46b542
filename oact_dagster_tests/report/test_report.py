"""The report as a file: its tables, its text, and that it is written whole or not at all."""

import base64
import hashlib
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.store import Ledger
from oact_dagster.quality.rules import Severity
from oact_dagster.report.tables import tables
from oact_dagster.report.writer import ReportError, write_report
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.ledger.old_files import old_file
from oact_dagster_tests.report.samples import (
    NASTY,
    column_of,
    data_of,
    large,
    quality_of,
    rule,
    small,
    written,
)


class Elements(HTMLParser):
    """Names, attributes and visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] += data
        elif self._in != "style":
            self.text += data


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    secrets = {"launcher": {"environment": {"TOKEN": "sesame"}}, "notify": {"webhook": "https://sesame.org"}}
    return small(tmp_path_factory.mktemp("report") / "c", secrets)


@pytest.fixture(scope="module")
def report(campaign: Campaign) -> Path:
    worst = [(3, "1000 Eh away"), (0, NASTY)]
    rules = [
        rule("energy_in_range", Severity.WARNING, 4, 2, worst),
        rule("terminated_normally", Severity.ERROR, 4, 0, []),
    ]
    failed = {0: ("energy_in_range",), 3: ("energy_in_range", "forces_small")}
    return written(campaign, quality=quality_of(failed, rules))


def test_structures(report: Path) -> None:
    data = data_of(report)
    assert column_of(data, "structures", "structure") == [0, 1, 2, 3, 4, 5, 6]
    assert column_of(data, "structures", "formula") == ["O2U", "NpO2", "CH4", "Cl2U", "OPu", "N2O2U", "O2Th"]
    assert column_of(data, "structures", "metal") == ["U", "Np", None, "U", "Pu", "U", "Th"]
    # The column of the CSV that the campaign names: people know a complex by its name.
    assert column_of(data, "structures", "csv_0") == [f"hydroxide {index}" for index in range(7)]
    assert column_of(data, "structures", "status") == [*["completed"] * 4, "failed", "timeout", "to_run"]
    assert column_of(data, "structures", "energy") == [-9.5, -100.25, -40.5, -1000.125, None, None, None]
    assert column_of(data, "structures", "gradient") == [0.001, 0.002, 0.003, 0.004, None, None, None]
    assert column_of(data, "structures", "scf") == [9, 100, 11, 20, None, None, None]
    assert column_of(data, "structures", "wall") == [60.0, 7200, 60.0, 1800, None, None, None]
    assert column_of(data, "structures", "attempts") == [1, 1, 1, 1, 2, 1, 0]
    assert column_of(data, "structures", "host") == [
        "node0",
        "node1",
        "node2",
        "node3",
        "node9",
        "node9",
        None,
    ]
    assert column_of(data, "structures", "checks") == [
        "energy_in_range", None, None, "energy_in_range, forces_small", None, None, None,
    ]  # fmt: skip


def test_failures_are_what_is_failed_now(report: Path) -> None:
    data = data_of(report)
    assert column_of(data, "failures", "structure") == [4, 5]
    assert column_of(data, "failures", "class") == ["memory", "timeout"]
    assert column_of(data, "failures", "attempts") == [2, 1]
    [nasty, silent] = column_of(data, "failures", "message")
    assert nasty.startswith('</script><script>alert("1")') and "\x00" not in nasty
    assert silent == "no output for 21600 s"


def test_attempts_are_the_newest_first(report: Path) -> None:
    data = data_of(report)
    assert column_of(data, "attempts", "structure") == [5, 4, 4, 3, 2, 1, 0]
    assert column_of(data, "attempts", "number") == [1, 2, 1, 1, 1, 1, 1]
    assert column_of(data, "attempts", "outcome") == ["timeout", "failed", "failed", *["completed"] * 4]
    assert column_of(data, "attempts", "elapsed") == [21600, 3600, 3600, 1801, 61.0, 7201, 61.0]
    assert column_of(data, "attempts", "started") == [1002] * 7


def test_without_checks_there_is_no_column_of_them(campaign: Campaign, tmp_path: Path) -> None:
    report = written(campaign, tmp_path / "r.html")
    columns = [one["key"] for one in data_of(report)["tables"][0]["columns"]]
    assert "checks" not in columns and "message" in columns
    assert 'id="quality"' not in report.read_text(encoding="utf-8")


def test_of_very_many_attempts_the_newest_are_there_and_it_says_so(campaign: Campaign) -> None:
    with open_reader(campaign.ledger) as ledger:
        found = tables(ledger, most_attempts=3)[2]
    assert (found.rows, found.note) == (3, "The newest 3 of 7 attempts; the ledger holds them all.")


def test_figures_and_quality_are_in_the_text(report: Path) -> None:
    text = " ".join(Elements(report.read_text(encoding="utf-8")).text.split())
    for words in (
        "4 of 7 structures completed (57.1 %)",
        "memory",
        "no output for 21600 s",
        "energy_in_range: all 2",
        "1000 Eh away",
        "2 structures break at least one rule.",
        "ORCA6.1.0s14",
        "wB97M-V",
    ):
        assert words in text, text


def test_texts_of_others_are_escaped(report: Path) -> None:
    found = Elements(report.read_text(encoding="utf-8"))
    assert len(found.scripts) == 2 and "alert(" not in "".join(found.scripts)
    assert not [tag for tag, attributes in found.tags if "onerror" in attributes]
    assert "<img src=x onerror=alert(2)>" in found.text


def test_nothing_is_asked_of_the_network_and_the_policy_forbids_it(report: Path) -> None:
    found = Elements(report.read_text(encoding="utf-8"))
    assert not {tag for tag, _ in found.tags} & {"link", "iframe", "object", "embed", "form", "base"}
    for tag, attributes in found.tags:
        for name in ("src", "href", "action", "srcset", "xlink:href"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith(("#", "data:")), (tag, value)
    [policy] = [a["content"] for _, a in found.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None and policy.startswith("default-src 'none'; ")
    digest = base64.b64encode(hashlib.sha256(found.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    style = re.findall(r"<style>(.*?)</style>", report.read_text(encoding="utf-8"), re.DOTALL)
    assert style and not re.search(r"@import|url\(\s*['\"]?(?!#)", "".join(style))


def test_settings_are_there_without_secrets(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert "geometry_column" in text or "annotate:" in text
    assert "sesame" not in text and "TOKEN: (hidden)" in text and "webhook: (hidden)" in text


def test_results_that_are_none_of_orcas_are_loud(campaign: Campaign, tmp_path: Path) -> None:
    assert "NOT ORCA" not in written(campaign, tmp_path / "r.html").read_text(encoding="utf-8")
    other = small(tmp_path / "c")
    with Ledger(other.ledger) as ledger, ledger.file.transaction() as db:
        db.execute("UPDATE attempts SET engine = 'stand-in (GFN2-xTB, NOT ORCA)' WHERE structure_id = 1")
    text = written(other).read_text(encoding="utf-8")
    assert 'class="banner"' in text and "NOT ORCA:</strong> 1 of 4 results" in text


def test_a_campaign_without_structures(tmp_path: Path) -> None:
    campaign = write_campaign(tmp_path / "c", 1, tmp_path / "orca")
    with Ledger(campaign.ledger, create=True):
        pass
    report = written(campaign)
    assert "The ledger holds no structures yet." in report.read_text(encoding="utf-8")
    assert [one["rows"] for one in data_of(report)["tables"]] == [0, 0, 0]


def test_an_old_file_is_reported_as_it_is(tmp_path: Path) -> None:
    campaign = write_campaign(tmp_path / "c", 1, tmp_path / "orca")
    rows = [
        {"status": "completed", "final_energy": -1.17, "elements": None, "spin": None},
        {"status": "failed", "error_message": "no\nconvergence", "orig_index": None},
    ]
    old_file(campaign.ledger, rows)
    before = campaign.ledger.read_bytes()
    data = data_of(written(campaign))
    assert column_of(data, "structures", "structure") == [None, 0]
    assert column_of(data, "failures", "message") == ["no convergence"]
    assert campaign.ledger.read_bytes() == before


def test_a_large_campaign_has_no_pictures_of_single_structures(campaign: Campaign, tmp_path: Path) -> None:
    assert set(data_of(written(campaign, tmp_path / "r.html"))["details"]) == {str(i) for i in range(7)}
    assert data_of(written(large(tmp_path / "c", 1001)))["details"] == {}


def test_pictures_and_last_lines_are_read_from_the_folders(tmp_path: Path, orca_outputs: Path) -> None:
    campaign = small(tmp_path / "c", {"orca": {"opt": True}})
    with Ledger(campaign.ledger) as ledger, ledger.file.transaction() as db:
        for index, output in ((0, "oact__UO2_opt_logs.out"), (4, "opi__failed_scf.out")):
            folder = tmp_path / f"job_{index}"
            folder.mkdir()
            shutil.copyfile(orca_outputs / output, folder / "orca.out")
            db.execute("UPDATE structures SET job_dir = ? WHERE orig_index = ?", (str(folder), index))
        db.execute("UPDATE structures SET geometry = 'U 0 0 0\nO 0 0 1.7\nO 0 0 -1.7' WHERE orig_index = 0")
        db.execute("UPDATE structures SET geometry = 'no geometry' WHERE orig_index = 1")
    details = data_of(written(campaign))["details"]
    titles = {index: [title for title, _ in one["pictures"]] for index, one in details.items()}
    assert titles["0"] == ["Convergence", "Geometry of the CSV", "Optimised geometry"]
    assert titles["1"] == [] and titles["4"][-1] == "Geometry of the CSV"
    assert all(svg.startswith("<svg ") for _, svg in details["0"]["pictures"])
    assert "tail" not in details["0"] and "aborting the run" in details["4"]["tail"]


def test_progress_is_told_to_its_end(tmp_path: Path) -> None:
    campaign = large(tmp_path / "c", 12_000)
    told: list[tuple[int, int]] = []
    with open_reader(campaign.ledger) as ledger:
        write_report(campaign, ledger, progress=lambda done, in_all: told.append((done, in_all)))
    assert told == [(5000, 24000), (10000, 24000), (17000, 24000), (22000, 24000)]


def test_what_is_no_report_is_not_written_over(campaign: Campaign, tmp_path: Path) -> None:
    notes = tmp_path / "notes.html"
    notes.write_text("my notes")
    with pytest.raises(ReportError, match="already exists and is not a report"):
        written(campaign, notes)
    with pytest.raises(ReportError, match="already exists and is not a report"):
        written(campaign, campaign.ledger)
    with pytest.raises(ReportError, match="is a folder"):
        written(campaign, tmp_path)
    assert notes.read_text() == "my notes"


class Stopped(BaseException):
    """As Ctrl+C, at one moment."""


def stop(done: int, in_all: int) -> None:
    """Stop when the pictures of single structures are made: the file is half written then."""
    raise Stopped


def test_a_report_is_written_whole_or_not_at_all(campaign: Campaign, tmp_path: Path) -> None:
    target = written(campaign, tmp_path / "r.html")
    before = target.read_bytes()
    with open_reader(campaign.ledger) as ledger, pytest.raises(FileNotFoundError):
        write_report(campaign, ledger, tmp_path / "missing" / "r.html")
    with open_reader(campaign.ledger) as ledger, pytest.raises(Stopped):
        write_report(campaign, ledger, target, progress=stop)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]

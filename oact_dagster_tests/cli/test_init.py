"""``oact init``: settings for one's own CSV, and a dry run."""

import ast
import shlex
import subprocess
import sys
from csv import DictReader
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from oact_dagster.cli.campaign_folder import valid_name
from oact_dagster.settings.campaign import Campaign, load_campaign
from oact_dagster.settings.feed import FeedSettings
from oact_dagster.settings.launcher import LauncherSettings
from oact_dagster.settings.notify import NotifySettings
from oact_dagster.settings.orca import OrcaSettings
from oact_dagster.settings.retry import RetrySettings
from oact_dagster_tests.campaigns import WATER, write_csv
from oact_dagster_tests.cli.command import assert_one_line, environment, oact
from oact_dagster_tests.engines import TestEngine


def test_a_campaign_for_a_csv(tmp_path: Path) -> None:
    write_csv(tmp_path / "my waters-2.csv", 7, broken=(1,))
    engine = TestEngine(tmp_path / "engine")
    done = oact("init", "my waters-2.csv", "--orca", "engine/orca", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    campaign = load_campaign(tmp_path)
    assert (campaign.name, campaign.orca.command) == ("my_waters_2", str(engine.path))
    assert 'csv: "my waters-2.csv"' in campaign.file.read_text()
    assert "geometry_column: aligned_csd_core  (7 of the first 7 values read as geometries)" in done.stdout
    # The dry run: five rows, of which one is refused; nothing is written for them.
    assert (
        f"row 0: {campaign.jobs_dir / 'job_0' / 'orca.inp'}\n    ! wB97M-V def2-TZVPD EnGrad" in done.stdout
    )
    assert "row 4: " in done.stdout and "row 5: " not in done.stdout
    assert "charge 0, multiplicity 1, 3 atoms" in done.stdout
    assert "row 1 (line 5): refused: uhf 1 does not fit H2O" in done.stdout
    assert not campaign.jobs_dir.exists() and not campaign.ledger.exists()
    assert "oact run campaign.yaml\n" in done.stdout and "oact web .\n" in done.stdout
    assert f"export OACT_CAMPAIGN={campaign.file}\n" in done.stdout
    assert f"export DAGSTER_HOME={tmp_path / '.dagster'}\n" in done.stdout
    assert "To be set" not in done.stdout

    assert oact("run", tmp_path, "--structures", "0").returncode == 0
    definitions = tmp_path / "definitions.py"
    assert len([line for line in definitions.read_text().splitlines() if line]) == 3
    ast.parse(definitions.read_text())
    loaded = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-f", str(definitions)],
        cwd="/",
        env=environment(DAGSTER_HOME=str(tmp_path / ".dagster")),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert loaded.returncode == 0, loaded.stderr


def test_a_campaign_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "a.csv", 2)
    assert oact("init", csv, cwd=tmp_path).returncode == 0
    file = tmp_path / "campaign.yaml"
    file.write_text("# mine\n")
    (tmp_path / "definitions.py").write_text("mine = 1\n")
    assert_one_line(oact("init", csv, cwd=tmp_path), "campaign.yaml: already exists", "--force")
    assert file.read_text() == "# mine\n"
    file.unlink()
    done = oact("init", csv, cwd=tmp_path)
    assert done.returncode == 0 and "Kept as it was: " in done.stdout
    assert (tmp_path / "definitions.py").read_text() == "mine = 1\n"
    assert oact("init", csv, "--force", "--name", "other", cwd=tmp_path).returncode == 0
    assert load_campaign(file).name == "other"
    assert "for_campaign" in (tmp_path / "definitions.py").read_text()


def test_every_setting_is_written_with_its_default(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", 1)
    assert oact("init", "a.csv", cwd=tmp_path).returncode == 0
    written = yaml.safe_load((tmp_path / "campaign.yaml").read_text())

    def keys(model: type[BaseModel]) -> set[str]:
        return set(model.model_fields)

    assert set(written) == keys(Campaign)
    assert set(written["orca"]) == keys(OrcaSettings)
    assert set(written["launcher"]) == keys(LauncherSettings)
    assert set(written["retry"]) == keys(RetrySettings)
    assert set(written["feed"]) == keys(FeedSettings)
    assert set(written["notify"]) == keys(NotifySettings)
    found = load_campaign(tmp_path)
    assert found.launcher == LauncherSettings() and found.retry == RetrySettings()
    assert found.orca == OrcaSettings(command=found.orca.command)
    plain = Campaign(
        name="a", csv=tmp_path / "a.csv", annotate=("name",), orca=found.orca,
        ledger=tmp_path / "workflow.db", jobs_dir=tmp_path / "jobs",
    )  # fmt: skip
    assert found.model_dump() == plain.model_dump()


def test_orca_is_found_on_path_else_it_is_said(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", 1)
    engine = TestEngine(tmp_path / "engine")
    done = oact("init", "a.csv", cwd=tmp_path, PATH=str(engine.path.parent))
    assert load_campaign(tmp_path).orca.command == str(engine.path), done.stderr
    done = oact("init", "a.csv", "--force", cwd=tmp_path, PATH="/nowhere")
    assert load_campaign(tmp_path).orca.command == "orca"
    assert done.stderr.startswith("oact: warning: there is no such program yet: ")
    assert "orca.command: orca: no such program on PATH" in done.stderr


def test_an_orca_that_is_not_there_yet(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", 1)
    done = oact("init", "a.csv", "--orca", "/nope", cwd=tmp_path)
    assert done.returncode == 0
    assert load_campaign(tmp_path).orca.command == "/nope"
    assert done.stderr == (
        f"oact: warning: there is no such program yet: {tmp_path / 'campaign.yaml'}: orca.command: /nope: no such file;"
        " give the absolute path of orca\n"
    )
    (tmp_path / "plain").write_text("")
    done = oact("init", "a.csv", "--orca", "./plain", "--force", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.startswith("oact: warning: it cannot run yet: ") and "not an executable" in done.stderr


def test_a_csv_elsewhere_and_columns_given(tmp_path: Path) -> None:
    csv = tmp_path / "elsewhere" / "a.csv"
    csv.parent.mkdir()
    header = "geo,aligned_csd_core,total,open"
    csv.write_text(f'{header}\n"{WATER.format(z=1)}","{WATER.format(z=0)}",0,0\n')
    done = oact(
        "init", csv, "--folder", "new/folder", "--geometry-column", "geo", "--charge-column", "total",
        "--spin-column", "null", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    campaign = load_campaign(tmp_path / "new" / "folder")
    assert campaign.csv == csv and f"csv: {csv}" in campaign.file.read_text()
    assert (campaign.geometry_column, campaign.charge_column, campaign.spin_column) == ("geo", "total", None)
    assert done.stdout.count("(given)") == 3
    assert "oact run new/folder/campaign.yaml" in done.stdout


def test_given_columns_need_no_guess(tmp_path: Path) -> None:
    csv = tmp_path / "a.csv"
    csv.write_text(f'aligned_csd_core,charge,multiplicity,n\n"{WATER.format(z=1)}",0,1,0\n')
    assert_one_line(oact("init", csv, cwd=tmp_path), "'multiplicity' holds multiplicities")
    assert not (tmp_path / "campaign.yaml").exists()
    given = ["--geometry-column", "aligned_csd_core", "--charge-column", "charge", "--spin-column"]
    assert oact("init", csv, *given, "n", cwd=tmp_path).returncode == 0
    assert load_campaign(tmp_path).spin_column == "n"
    assert_one_line(
        oact("init", csv, *given, "nn", "--force", cwd=tmp_path),
        "no column 'nn' (--spin-column); the columns are: aligned_csd_core, charge, multiplicity, n",
    )
    assert load_campaign(tmp_path).spin_column == "n"


def test_given_columns_that_do_not_fit_are_written_with_a_warning(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "a.csv", 4, broken=(1, 2))
    refused = "'uhf', as unpaired electrons, fits the electrons of only 50%"
    assert_one_line(oact("init", csv, cwd=tmp_path), refused, "--spin-column")
    done = oact("init", csv, "--spin-column", "uhf", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert load_campaign(tmp_path).spin_column == "uhf"
    lines = done.stderr.splitlines()
    assert lines[0] == (
        "oact: warning: charge_column charge and spin_column uhf (unpaired electrons) fit the electrons of only 50% of"
        " the first 4 rows; the other rows will be rejected"
    )
    done = oact("init", csv, "--geometry-column", "name", "--force", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    campaign = load_campaign(tmp_path)
    assert (campaign.geometry_column, campaign.spin_column) == ("name", "uhf")
    assert done.stderr.startswith(
        "oact: warning: geometry_column: only 0 of the first 4 values of 'name' are geometries; "
        "the one in row 0 is not: "
    )


@pytest.mark.parametrize("word", ["null", "NULL", "Null"])
def test_null_is_said_in_any_case(tmp_path: Path, word: str) -> None:
    csv = write_csv(tmp_path / "a.csv", 3, broken=(0, 1))
    done = oact("init", csv, "--charge-column", word, "--spin-column", word, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    campaign = load_campaign(tmp_path)
    assert campaign.charge_column is None and campaign.spin_column is None
    assert "  charge_column: null  (given)\n  spin_column: null  (given)\n" in done.stdout
    assert "None" not in done.stdout + done.stderr


def test_the_command_that_mends_multiplicities_can_be_copied(tmp_path: Path) -> None:
    csv = tmp_path / "it's mine.csv"
    csv.write_text(f'g,charge,mult,id\n"{WATER.format(z=1)}",0,1,007\n"{WATER.format(z=2)}",-1,2,NA\n')
    done = oact("init", csv, "--spin-column", "mult", cwd=tmp_path)
    assert_one_line(done, "'mult' holds multiplicities, by its name: add a column uhf = mult - 1")
    assert not (tmp_path / "campaign.yaml").exists()
    words = shlex.split(done.stderr[done.stderr.index("python -c ") :])
    assert len(words) == 3
    subprocess.run([sys.executable, *words[1:]], check=True, timeout=60)
    with (tmp_path / "it's mine_uhf.csv").open(newline="") as stream:
        rows = list(DictReader(stream))
    with csv.open(newline="") as stream:
        before = list(DictReader(stream))
    assert rows == [row | {"uhf": uhf} for row, uhf in zip(before, ["0", "1"], strict=True)]
    assert oact("init", "it's mine_uhf.csv", cwd=tmp_path).returncode == 0
    assert load_campaign(tmp_path).spin_column == "uhf"


def test_what_is_refused_writes_nothing(tmp_path: Path) -> None:
    assert_one_line(oact("init", "nowhere.csv", cwd=tmp_path), "nowhere.csv: no such file")
    write_csv(tmp_path / "a.csv", 1)
    assert_one_line(oact("init", "a.csv", "--name", "my name", cwd=tmp_path), "name:", "my name")
    (tmp_path / "file").write_text("")
    assert_one_line(oact("init", "a.csv", "--folder", "file/sub", cwd=tmp_path), "file/sub")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.csv", "file"]


@pytest.mark.parametrize(
    ("stem", "name"),
    [("complexes", "complexes"), ("my-set (2)", "my_set_2"), ("ä", "campaign"), ("x" * 90, "x" * 60)],
)
def test_names(stem: str, name: str) -> None:
    assert valid_name(stem) == name

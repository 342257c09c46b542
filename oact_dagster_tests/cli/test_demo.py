"""``oact demo``, with the real stand-in engine where tblite is there."""

import importlib.util
import shlex
import sqlite3
from pathlib import Path

import pytest

from oact_dagster.cli.foreground import usable_cores
from oact_dagster.ledger.read_only import open_reader
from oact_dagster.settings.campaign import load_campaign
from oact_dagster.status.quality import evaluate
from oact_dagster_tests.cli.command import assert_one_line, oact
from oact_dagster_tests.requirements import lacking


@pytest.mark.engine
def test_the_demo_runs_and_is_then_done(tmp_path: Path) -> None:
    if importlib.util.find_spec("tblite") is None:
        lacking("engine", "pip install 'oact-dagster[demo]'")
    folder = tmp_path / "it's a demo"
    done = oact("demo", "it's a demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # On a machine with one core it says that two calculations want more.
    assert done.stderr == "" or (usable_cores() < 2 and done.stderr.count("\n") == 1)
    assert "\x1b" not in done.stdout
    assert "31/31 done: 31 computed" in done.stdout
    assert "NOT ORCA: 31 of 31 results" in done.stdout
    assert "completed          31     100.0%" in done.stdout
    assert "oact web 'it'\"'\"'s a demo'\n" in done.stdout
    assert f"export OACT_CAMPAIGN={shlex.quote(str(folder / 'campaign.yaml'))}\n" in done.stdout
    assert f"export DAGSTER_HOME={shlex.quote(str(folder / '.dagster'))}\n" in done.stdout

    columns = "status, final_energy, max_forces, scf_steps, wall_time, n_cores"
    rows = sqlite3.connect(folder / "workflow.db").execute(f"SELECT {columns} FROM structures").fetchall()
    assert len(rows) == 31
    assert all(row[0] == "completed" and None not in row for row in rows)

    campaign = load_campaign(folder)
    with open_reader(campaign.ledger) as ledger:
        quality = evaluate(campaign, ledger)
    assert (quality.judged, quality.failed) == (31, {})
    found = {rule.name: (rule.checked, rule.failed) for rule in quality.rules}
    for rule in (
        "terminated_normally",
        "scf_converged",
        "metal_bound",
        "electron_parity",
        "one_level_of_theory",
    ):
        assert found[rule] == (31, 0)

    before = (folder / "jobs" / "job_0" / "orca.out").stat().st_mtime_ns
    again = oact("demo", folder)
    assert again.returncode == 0, again.stderr
    assert "nothing to compute" in again.stdout and "all 31 structures are completed" in again.stdout
    assert (folder / "jobs" / "job_0" / "orca.out").stat().st_mtime_ns == before
    assert not [entry for entry in (folder / "jobs").iterdir() if ".attempt-" in entry.name]


def test_a_folder_that_is_something_else_is_refused(tmp_path: Path) -> None:
    if importlib.util.find_spec("tblite") is None:
        lacking("engine", "pip install 'oact-dagster[demo]'")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "campaign.yaml").write_text("name: mine\ncsv: a.csv\norca: {command: orca}\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "campaign.yaml").write_text("nome: mine\n")
    assert_one_line(oact("demo", "full", cwd=tmp_path), "full: already exists and is not a demo")
    assert_one_line(oact("demo", "file", cwd=tmp_path), "file: already exists and is not a demo")
    assert_one_line(oact("demo", "other", cwd=tmp_path), "holds the campaign mine, which is not a demo")
    assert_one_line(oact("demo", "broken", cwd=tmp_path), "nome")
    assert [entry.name for entry in (tmp_path / "full").iterdir()] == ["thesis.tex"]
    assert [entry.name for entry in (tmp_path / "other").iterdir()] == ["campaign.yaml"]


def test_without_tblite_nothing_is_made(tmp_path: Path) -> None:
    # -S would hide everything: a package of that name that cannot be found is put in front of the real one.
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'tblite' else found(name, package)\n"
    )
    done = oact("demo", "here", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert_one_line(done, "tblite", "pip install 'oact-dagster[demo]'")
    assert not (tmp_path / "here").exists()

"""campaign.yaml: every wrong key or value ends in one line that names it and says what is right."""

from pathlib import Path

import pytest

from oact_dagster.campaign import CampaignError, load_campaign
from oact_dagster.execution.identity import check_identity, fix_names
from oact_dagster.execution.job_folder import input_text
from oact_dagster.ledger.connection import LedgerError
from oact_dagster.ledger.states import NewStructure
from oact_dagster.ledger.store import Ledger

GOOD = "name: demo\ncsv: structures.csv\norca:\n  command: /opt/orca/orca\n"


def write(folder: Path, text: str) -> Path:
    file = folder / "campaign.yaml"
    file.write_text(text)
    return file


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, GOOD + "jobs_dir: ../elsewhere\n")
    monkeypatch.chdir("/")
    campaign = load_campaign(tmp_path)
    assert campaign.csv == tmp_path / "structures.csv"
    assert campaign.ledger == tmp_path / "workflow.db"
    assert campaign.jobs_dir == tmp_path.parent / "elsewhere"
    assert load_campaign(tmp_path / "campaign.yaml") == campaign


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must hold settings as `key: value` lines"),
        ("[1, 2]", "must hold settings"),
        ("a: [1", "not YAML"),
        (
            "name: demo\nname: other\ncsv: s.csv\norca: {command: x}\n",
            "line 2: not YAML: name stands there twice",
        ),
        (GOOD + "orca: {command: y}\n", "orca stands there twice"),
        ("csv: s.csv\norca: {command: x}\n", "name: is missing; give a name of letters"),
        ("name: a\norca: {command: x}\n", "csv: is missing; give the path of the CSV"),
        (
            "name: a\ncsv: s.csv\norca: {}\n",
            "orca.command: is missing; give absolute path of the orca program",
        ),
        (GOOD.replace("demo", "a b"), "name: must be letters, digits and _ only (given: 'a b')"),
        (GOOD + "launchr: {}\n", "launchr: no such setting (did you mean launcher?); allowed: name, csv"),
        (GOOD + "launcher: {kind: slurm}\n", "launcher.kind: input should be 'local' (given: 'slurm')"),
        (
            GOOD + "launcher: {max_workers: 0}\n",
            "launcher.max_workers: input should be greater than or equal to 1",
        ),
        (
            GOOD + "launcher: {job_timeout_s: .inf}\n",
            "launcher.job_timeout_s: input should be a finite number",
        ),
        (GOOD + "  n_cores: true\n", "orca.n_cores: input should be a valid integer"),
        (GOOD + "  n_cores: 2.5\n", "orca.n_cores: input should be a valid integer"),
        (GOOD + "  functionl: PBE\n", "orca.functionl: no such setting (did you mean functional?)"),
        (GOOD + "  simple_input: x3c\n", "orca.simple_input: input should be 'omol', 'x2c' or 'dk3'"),
        (GOOD + "  actinide_basis: no.bas\n", "orca.actinide_basis: no.bas: no such file"),
        (GOOD + "annotate: name\n", "annotate: must be a list, such as [one, two] (given: 'name')"),
        (GOOD + "asset_prefix: [a/b]\n", "asset_prefix: must be a list of names"),
        (GOOD + "asset_prefix: a\n", "asset_prefix: must be a list"),
        (GOOD + "job_dir_pattern: job\n", "job_dir_pattern: must hold {orig_index} or {id}"),
        (GOOD + "job_dir_pattern: '../{id}'\n", "job_dir_pattern: must stay inside jobs_dir"),
        (GOOD + "job_dir_pattern: '{name}'\n", "job_dir_pattern: must hold {orig_index} or {id}"),
        (GOOD + "charge_column: uhf\n", "charge_column and spin_column are both uhf"),
        (GOOD + "ledger: jobs\n", "csv, ledger and jobs_dir must be three different paths"),
        (
            GOOD + "retry: {max_failures: 0}\n",
            "retry.max_failures: input should be greater than or equal to 1",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(CampaignError) as caught:
        load_campaign(file)
    message = str(caught.value)
    assert said in message
    assert message.startswith(str(file))
    assert "\n" not in message


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match=r"campaign.yaml: no such file; `oact init CSV` writes one"):
        load_campaign(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "campaign.yaml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(CampaignError, match="cannot be read"):
        load_campaign(tmp_path)


def test_a_basis_file_is_found_from_the_job_folder(tmp_path: Path) -> None:
    (tmp_path / "actinides.bas").write_text("basis")
    campaign = load_campaign(write(tmp_path, GOOD + "  actinide_basis: actinides.bas\n"))
    with Ledger(campaign.ledger, create=True) as ledger:
        ledger.add_structures([NewStructure(0, "U", 1, 0, 1, "U 0 0 0", "row", "calculation", {})])
        text = input_text(campaign, ledger.structures([0])[0], None)
    assert f'"{tmp_path / "actinides.bas"}"' in text
    # The folder may be moved: the level of theory names the file, not where it lies.
    assert campaign.level_of_theory()["actinide_basis"] == "actinides.bas"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("name: demo", "name: other"), "name: is 'other', and was 'demo' when the CSV was taken in"),
        (("orca:", "asset_prefix: [b]\norca:"), r"asset_prefix: is \['b'\], and was \[\]"),
        (("/opt/orca/orca", "standin"), "engine=ORCA; campaign.yaml now says engine=standin"),
    ],
)
def test_what_identifies_a_campaign_cannot_change(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    campaign = load_campaign(write(tmp_path, GOOD))
    with Ledger(campaign.ledger, create=True) as ledger:
        check_identity(campaign, ledger)
        fix_names(campaign, ledger)
        ledger.fix_level_of_theory(campaign.level_of_theory())
        check_identity(campaign, ledger)
        other = load_campaign(write(tmp_path, GOOD.replace(*change)))
        with pytest.raises(LedgerError, match=said):
            check_identity(other, ledger)

"""campaign.yaml: every wrong key or value ends in one line that names it and says what is right."""

from pathlib import Path

import pytest

from oact_dagster.attempts.job_folder import input_text
from oact_dagster.errors import CampaignError, LedgerError
from oact_dagster.intake.identity import check_identity, fix_names
from oact_dagster.ledger.level_of_theory import fix_level_of_theory
from oact_dagster.ledger.states import NewStructure, Outcome
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import load_campaign
from oact_dagster_tests.ledger.samples import run, structure

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
        ("", "must contain settings as `key: value` lines"),
        ("[1, 2]", "must contain settings"),
        ("a: [1", "not YAML"),
        (
            "name: demo\nname: other\ncsv: s.csv\norca: {command: x}\n",
            "line 2: not YAML: name is repeated",
        ),
        (GOOD + "orca: {command: y}\n", "orca is repeated"),
        ("csv: s.csv\norca: {command: x}\n", "name: is missing; give a name of letters"),
        ("name: a\norca: {command: x}\n", "csv: is missing; give the path of the CSV"),
        (
            "name: a\ncsv: s.csv\norca: {}\n",
            "orca.command: is missing; give absolute path of the orca program",
        ),
        (GOOD.replace("demo", "a b"), "name: must be letters, digits and _ only (given: 'a b')"),
        (GOOD + "launchr: {}\n", "launchr: no such setting (did you mean launcher?); allowed: name, csv"),
        (
            GOOD + "launcher: {kind: pbs}\n",
            "launcher.kind: input should be 'local', 'parsl', 'slurm' or 'flux' (given: 'pbs')",
        ),
        (
            GOOD + "launcher: {mem: much}\n",
            "launcher.mem: must be auto, none, or a number of MB (given: 'much')",
        ),
        (
            GOOD + "launcher: {address: login1}\n",
            "launcher.address: must be an IP address, such as 10.0.0.1 (given: 'login1')",
        ),
        (GOOD + "launcher: {address: 0.0.0.0}\n", "launcher.address: must be an IP address"),
        (
            GOOD + "launcher: {worker_ports: [54000]}\n",
            "launcher.worker_ports: must be two ports, the first below the last, from 1024 to 65535, such as"
            " [54000, 55000]",
        ),
        (GOOD + "launcher: {worker_ports: [54001, 54001]}\n", "the first below the last"),
        (GOOD + "launcher: {worker_ports: [80, 54000]}\n", "launcher.worker_ports: must be two ports"),
        (GOOD + "launcher: {worker_ports: [54000, 65536]}\n", "launcher.worker_ports: must be two ports"),
        (GOOD + "launcher: {worker_ports: [true, 54000]}\n", "launcher.worker_ports: must be two ports"),
        (GOOD + "launcher: {worker_ports: 54000-55000}\n", "launcher.worker_ports: must be two ports"),
        (GOOD + "launcher: {queue: ''}\n", "launcher.queue: is empty; leave it out, or write null"),
        (GOOD + 'launcher: {queue: "a\\nb"}\n', "launcher.queue: must be one line"),
        (
            GOOD + "launcher: {extra_directives: [exclusive]}\n",
            "'exclusive' is not an option; write each as one text",
        ),
        (GOOD + "launcher: {n_hours: x}\n", "launcher.n_hours: input should be a valid number"),
        (
            GOOD + "launcher: {resources: [{max_atoms: 9, n_cors: 4}]}\n",
            "launcher.resources.0.n_cors: no such setting (did you mean n_cores?); allowed: max_atoms, n_cores",
        ),
        (
            GOOD + "launcher: {resources: [{n_cores: 4}]}\n",
            "launcher.resources.0.max_atoms: is missing; give structures",
        ),
        (
            GOOD + "launcher: {resources: [{max_atoms: 9}, {max_atoms: 3}]}\n",
            "max_atoms must increase in each entry",
        ),
        (
            GOOD + "launcher: {n_hours: 3, max_job_timeout_s: 7200}\n",
            "max_job_timeout_s 7200 is below job_timeout_s 10800",
        ),
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
        (GOOD + "asset_prefix: [a/b]\n", "asset_prefix: must list names"),
        (GOOD + "asset_prefix: a\n", "asset_prefix: must be a list"),
        (
            GOOD + "remedies: [again]\n",
            "remedies: must contain `key: value` lines, such as {aborted: [again], timeout: [longer_limit]}"
            " (given: ['again'])",
        ),
        (GOOD + "job_dir_pattern: job\n", "job_dir_pattern: must contain {orig_index} or {id}"),
        (GOOD + "job_dir_pattern: '../{id}'\n", "job_dir_pattern: must stay inside jobs_dir"),
        (GOOD + "job_dir_pattern: '{name}'\n", "job_dir_pattern: must contain {orig_index} or {id}"),
        (GOOD + "charge_column: uhf\n", "charge_column and spin_column are both uhf"),
        (GOOD + "ledger: jobs\n", "csv, ledger and jobs_dir must be three different paths"),
        (
            GOOD + "retry: {max_failures: 0}\n",
            "retry.max_failures: input should be greater than or equal to 1",
        ),
        (
            GOOD + "quality: {max_gradient: 0}\n",
            "quality.max_gradient: input should be greater than 0 (given: 0)",
        ),
        (
            GOOD + "quality: {max_bond_stretch: 0.9}\n",
            "quality.max_bond_stretch: input should be greater than 1 (given: 0.9)",
        ),
        (
            GOOD + "quality: {max_spin_contamination: .nan}\n",
            "quality.max_spin_contamination: input should be",
        ),
        (
            GOOD + "quality: {max_gradients: 1}\n",
            "quality.max_gradients: no such setting (did you mean max_gradient?); allowed: max_gradient, max_spin",
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


def test_hours_stand_for_seconds_and_resources_go_by_size(tmp_path: Path) -> None:
    text = GOOD + "launcher: {kind: slurm, n_hours: 4, resources: [{max_atoms: 9, n_cores: 2, n_hours: 1}]}\n"
    launcher = load_campaign(write(tmp_path, text)).launcher
    assert launcher.job_timeout_s == 14400
    assert [launcher.time_limit_of(natoms) for natoms in (9, 10)] == [3600, 14400]
    assert launcher.resources_of(10) is None
    # An input of 2 processes with 2,000 MB each, and what ORCA does not count.
    assert launcher.memory_request_mb(2000, 2) == 5100
    flux = launcher.model_copy(update={"kind": "flux"})
    assert flux.memory_request_mb(2000, 2) is None, (
        "Flux is asked for no memory, so that jobs do not differ in it"
    )
    assert [launcher.margin_s(limit) for limit in (100, 14400)] == [25, 120]


def test_a_ledger_is_told_from_settings(tmp_path: Path) -> None:
    with Ledger(tmp_path / "x.db", create=True):
        pass
    with pytest.raises(CampaignError, match=r"x.db: is a ledger; give the campaign.yaml"):
        load_campaign(tmp_path / "x.db")


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match=r"campaign.yaml: no such file; `oact init CSV` writes one"):
        load_campaign(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "campaign.yaml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(CampaignError, match="cannot be read"):
        load_campaign(tmp_path)


def test_a_basis_file_is_found_from_the_job_folder(tmp_path: Path) -> None:
    basis = "URANIUM\nS 1\n  1 1.0 1.0\n"
    (tmp_path / "actinides.bas").write_text(basis)
    campaign = load_campaign(write(tmp_path, GOOD + "  actinide_basis: actinides.bas\n"))
    with Ledger(campaign.ledger, create=True) as ledger:
        ledger.add_structures([NewStructure(0, "U", 1, 0, 1, "U 0 0 0", "row", "calculation", {})])
        text = input_text(campaign, ledger.structures.of([0])[0], None)
    assert f'"{tmp_path / "actinides.bas"}"' in text
    # The file may be moved, and not be changed: the level of theory names what is in it.
    level = campaign.level_of_theory()
    (tmp_path / "other.bas").write_text(basis)
    moved = load_campaign(write(tmp_path, GOOD + "  actinide_basis: other.bas\n"))
    assert moved.level_of_theory() == level
    (tmp_path / "other.bas").write_text(basis.replace("1.0", "2.0"))
    assert moved.level_of_theory() != level


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("name: demo", "name: other"), "name: is 'other', but was 'demo' when the CSV was taken in"),
        (("orca:", "asset_prefix: [b]\norca:"), r"asset_prefix: is \['b'\], but was \[\]"),
        (("/opt/orca/orca", "standin"), "engine=ORCA, but the settings now say engine=standin"),
    ],
)
def test_what_identifies_a_campaign_cannot_change(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    campaign = load_campaign(write(tmp_path, GOOD))
    with Ledger(campaign.ledger, create=True) as ledger:
        check_identity(campaign, ledger)
        fix_names(campaign, ledger)
        ledger.add_structures([structure(0)])
        fix_level_of_theory(ledger, campaign.level_of_theory())
        run(ledger, 0, Outcome.COMPLETED)
        check_identity(campaign, ledger)
        other = load_campaign(write(tmp_path, GOOD.replace(*change)))
        with pytest.raises(LedgerError, match=said):
            check_identity(other, ledger)


def test_another_spelling_is_no_other_level_of_theory(tmp_path: Path) -> None:
    plain = load_campaign(write(tmp_path, GOOD))
    spelt = "  actinide_basis: MA-DEF-TZVP\n  actinide_ecp: def-ecp\n  non_actinide_basis: DEF2-TZVPD\n"
    other = load_campaign(write(tmp_path, GOOD + spelt + "  functional: wb97m-v\n"))
    assert other.level_of_theory() == plain.level_of_theory()
    assert other.settings_hash() == plain.settings_hash()


def test_how_many_cycles_are_allowed_is_no_level_of_theory(tmp_path: Path) -> None:
    plain = load_campaign(write(tmp_path, GOOD))
    more = load_campaign(write(tmp_path, GOOD + "  extra_lines: ['%geom MaxIter 300 end']\n"))
    assert more.level_of_theory() == plain.level_of_theory()
    assert more.settings_hash() != plain.settings_hash(), "it is written into the input"
    tighter = load_campaign(write(tmp_path, GOOD + "  extra_lines: ['%geom MaxIter 300 TolE 1e-7 end']\n"))
    assert tighter.level_of_theory() != plain.level_of_theory()


def test_the_templates_own_limit_may_be_written_out(tmp_path: Path) -> None:
    hashes = [
        load_campaign(write(tmp_path, GOOD + f"  scf_maxiter: {limit}\n")).settings_hash()
        for limit in ("null", "500", "501")
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_is_called_doubtful_changes_no_input_and_no_level_of_theory(tmp_path: Path) -> None:
    plain = load_campaign(write(tmp_path, GOOD))
    strict = load_campaign(write(tmp_path, GOOD + "quality: {max_gradient: 0.01, max_bond_stretch: null}\n"))
    assert (strict.quality.limits.max_gradient, strict.quality.limits.max_bond_stretch) == (0.01, None)
    assert strict.quality.limits.max_spin_contamination == plain.quality.limits.max_spin_contamination
    assert strict.settings_hash() == plain.settings_hash()
    assert strict.retry_key() == plain.retry_key()
    assert strict.level_of_theory() == plain.level_of_theory()


@pytest.mark.parametrize(
    ("old", "new"), [("cheap_first", "cheapest_first"), ("dear_first", "costliest_first")]
)
def test_an_old_name_of_an_order_works_with_a_notice(tmp_path: Path, old: str, new: str) -> None:
    campaign = load_campaign(write(tmp_path, GOOD + f"feed: {{order: {old}}}\n"))
    assert campaign.feed.order == new
    assert campaign.notices == [f"feed.order: {old} is now called {new}; the old name still works"]
    assert load_campaign(write(tmp_path, GOOD + f"feed: {{order: {new}}}\n")).notices == []
    with pytest.raises(
        CampaignError, match=r"feed\.order: input should be 'given', 'cheapest_first' or 'costliest_first'"
    ):
        load_campaign(write(tmp_path, GOOD + "feed: {order: cheap}\n"))

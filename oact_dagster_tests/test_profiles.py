"""Site profiles: found, put beneath what campaign.yaml says, and wrong ones told in one line."""

from pathlib import Path

import pytest
import yaml

from oact_dagster.attempts.engine import find_engine
from oact_dagster.errors import CampaignError, EngineError
from oact_dagster.settings.campaign import Campaign, checked_profile, load_campaign
from oact_dagster.settings.profiles import profiles_file
from oact_dagster_tests.cli.command import assert_one_line, oact
from oact_dagster_tests.intake.intake_samples import row, write_csv

PROFILES = """\
tuolumne:
  kind: flux
  queue: pbatch
  allocation: dnn-sim
  n_hours: 4
  modules: [openmpi/4.1.6, orca]
  orca_command: /usr/workspace/orca/orca
plain:
"""


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "profiles.yaml"
    file.write_text(PROFILES)
    monkeypatch.setenv("OACT_PROFILES", str(file))
    return file


def campaign(folder: Path, launcher: str, orca: str = "{}") -> Campaign:
    file = folder / "campaign.yaml"
    file.write_text(f"name: demo\ncsv: structures.csv\norca: {orca}\nlauncher: {launcher}\n")
    return load_campaign(file)


def test_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OACT_PROFILES", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert profiles_file() == tmp_path / "home/.config/oact/profiles.yaml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert profiles_file() == tmp_path / "home/.config/oact/profiles.yaml"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert profiles_file() == tmp_path / "xdg/oact/profiles.yaml"
    monkeypatch.setenv("OACT_PROFILES", "~/mine.yaml")
    assert profiles_file() == tmp_path / "home/mine.yaml"


def test_a_profile_lies_beneath_what_the_campaign_says(tmp_path: Path, profiles: Path) -> None:
    found = campaign(
        tmp_path, "{profile: tuolumne, queue: pdebug, constraint: null, allocation: null, modules: []}"
    )
    launcher = found.launcher
    assert (launcher.kind, launcher.profile, launcher.queue) == ("flux", "tuolumne", "pdebug")
    assert (launcher.allocation, launcher.job_timeout_s) == ("dnn-sim", 14400.0)
    assert launcher.modules == (), "a list of the campaign's own wins as a whole, also an empty one"
    assert found.orca.command == "/usr/workspace/orca/orca"
    assert campaign(tmp_path, "{profile: tuolumne}", "{command: /opt/orca}").orca.command == "/opt/orca"
    assert campaign(tmp_path, "{profile: plain}", "{command: /opt/orca}").launcher.kind == "local"


def test_the_time_limit_has_two_names_and_the_campaigns_wins(tmp_path: Path, profiles: Path) -> None:
    assert campaign(tmp_path, "{profile: tuolumne, job_timeout_s: 600}").launcher.job_timeout_s == 600.0
    assert campaign(tmp_path, "{profile: tuolumne, n_hours: 1}").launcher.job_timeout_s == 3600.0


def test_pilots_have_a_limit_beside_that_of_calculations(tmp_path: Path, profiles: Path) -> None:
    profiles.write_text("tuolumne: {kind: flux, per_job: parsl, n_hours: 12}\n")
    launcher = campaign(tmp_path, "{profile: tuolumne, job_timeout_s: 600}", "{command: /opt/orca}").launcher
    assert (launcher.pilot_s, launcher.job_timeout_s) == (43200.0, 600.0)


def test_a_flag_outranks_the_file(tmp_path: Path, profiles: Path) -> None:
    campaign(tmp_path, "{profile: plain, queue: pdebug}", "{command: /opt/orca}")
    found = load_campaign(tmp_path, profile="tuolumne")
    assert (found.launcher.profile, found.launcher.queue, found.launcher.kind) == (
        "tuolumne",
        "pdebug",
        "flux",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file, so no profile tuolumne"),
        ("a: [1", ": not YAML"),
        ("a: {}\na: {}\n", ", line 2: not YAML: a is repeated"),
        ("[1, 2]", "must contain a mapping for each profile"),
        (
            "tuolumn: {}\nother: {}\n",
            "no profile tuolumne (did you mean tuolumn?); profiles in it: tuolumn, other",
        ),
        ("{}", "no profile tuolumne; profiles in it: none"),
        ("tuolumne: pbatch\n", "profile tuolumne: must contain settings as `key: value` lines"),
        (
            "tuolumne: {queu: x}\nother: {}\n",
            "profile tuolumne: queu: no such setting (did you mean queue?); allowed: profile, kind",
        ),
        (
            "tuolumne: {kind: pbs}\nother: {}\n",
            "profile tuolumne: kind: input should be 'local', 'parsl', 'slurm' or 'flux' (given: 'pbs'); profiles in"
            " it: tuolumne, other",
        ),
        (
            "tuolumne: {resources: [{max_atoms: x}]}\n",
            "profile tuolumne: resources.0.max_atoms: input should be a valid integer",
        ),
        ("tuolumne: {profile: other}\n", "profile tuolumne: profile: a profile cannot name another one"),
        (
            "tuolumne: {orca_command: bin/orca}\n",
            "orca_command: must be the absolute path of orca, or a name on PATH",
        ),
        (
            "tuolumne: {orca_command: 5}\n",
            "orca_command: must be the absolute path of orca, or a name on PATH",
        ),
    ],
)
def test_a_wrong_profile_is_told_in_one_line(
    tmp_path: Path, profiles: Path, text: str | None, said: str
) -> None:
    profiles.unlink() if text is None else profiles.write_text(text)
    with pytest.raises(CampaignError) as caught:
        campaign(tmp_path, "{profile: tuolumne}", "{command: x}")
    told = str(caught.value)
    assert told.startswith(str(profiles)) and said in told and "\n" not in told


def test_settings_that_do_not_go_together_name_both_files(tmp_path: Path, profiles: Path) -> None:
    profiles.write_text("tuolumne: {max_job_timeout_s: 3600}\n")
    checked_profile("tuolumne")
    assert campaign(tmp_path, "{profile: tuolumne, n_hours: 1}", "{command: x}").launcher.n_hours == 1
    with pytest.raises(CampaignError) as caught:
        campaign(tmp_path, "{profile: tuolumne, n_hours: 2}", "{command: x}")
    told = str(caught.value)
    assert told.startswith(str(tmp_path / "campaign.yaml")) and "max_job_timeout_s 3600 is below" in told
    assert told.endswith(f"(with profile tuolumne of {profiles})")


def test_an_orca_that_is_not_there_is_told_with_where_it_was_said(tmp_path: Path, profiles: Path) -> None:
    with pytest.raises(EngineError) as caught:
        find_engine(campaign(tmp_path, "{profile: tuolumne, kind: local}"))
    assert str(caught.value).startswith(
        f"{profiles}: profile tuolumne: orca_command: /usr/workspace/orca/orca: no such"
    )
    with pytest.raises(EngineError) as caught:
        find_engine(campaign(tmp_path, "{profile: tuolumne, kind: local}", "{command: /no/orca}"))
    assert str(caught.value).startswith(f"{tmp_path / 'campaign.yaml'}: orca.command: /no/orca: no such file")


def test_oact_init_leaves_to_the_profile_what_it_says(tmp_path: Path, profiles: Path) -> None:
    csv = write_csv(tmp_path / "structures.csv", [row(0)])
    done = oact("init", csv, "--folder", tmp_path / "made", "--profile", "tuolumne")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "made/campaign.yaml").read_text()
    assert "  profile: tuolumne  #" in text
    assert "  # queue: pbatch  # left to profile tuolumne\n" in text
    assert "  # command: /usr/workspace/orca/orca  # left to profile tuolumne\n" in text
    found = load_campaign(tmp_path / "made")
    assert (found.launcher.kind, found.launcher.queue, found.launcher.job_timeout_s) == (
        "flux",
        "pbatch",
        14400.0,
    )
    assert found.orca.command == "/usr/workspace/orca/orca"
    # What the group changes holds in the campaign, too.
    values = yaml.safe_load(profiles.read_text())
    values["tuolumne"]["queue"] = "pdebug"
    profiles.write_text(yaml.safe_dump(values))
    assert load_campaign(tmp_path / "made").launcher.queue == "pdebug"


def test_oact_init_with_a_profile_that_is_not_there(tmp_path: Path, profiles: Path) -> None:
    csv = write_csv(tmp_path / "structures.csv", [row(0)])
    done = oact("init", csv, "--folder", tmp_path / "made", "--profile", "tuolumn")
    assert done.returncode == 2 and not (tmp_path / "made").exists()
    assert_one_line(done, f"{profiles}: no profile tuolumn (did you mean tuolumne?)")

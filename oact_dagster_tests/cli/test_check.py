"""``oact check``: a whole campaign's refusals at once, as text and as JSON, and nothing written."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from oact_dagster.cli import main
from oact_dagster.cli.size_text import size_text
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.cli.command import assert_one_line, oact
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.mounts import mount


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    return TestEngine(tmp_path / "engine").path


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_all_can_be_run(tmp_path: Path, engine: Path) -> None:
    campaign = write_campaign(tmp_path / "campaign", 4, engine)
    before = files(tmp_path)
    done = oact("check", campaign.file)
    assert (done.returncode, done.stderr) == (0, "")
    assert files(tmp_path) == before
    lines = done.stdout.splitlines()
    assert lines[0] == f"Campaign test ({campaign.file})"
    assert lines[1] == f"  structures    4 in {campaign.csv}"
    assert "  can be run    4" in lines and "  refused       0" in lines
    assert "  atoms         3 to 3, median 3" in lines
    assert "  electrons     4 closed-shell, 0 open-shell" in lines
    assert "  largest       structure 0: 3 atoms, 58 basis functions" in lines
    memory = "  memory        up to 2,000 MB for one calculation (structure 0: %maxcore 2,000 MB, 1 core)"
    assert memory in lines
    # 4 * (100,000 + 300 * 3 + 34 * 58^2 + 45 * 58), and 13 files and a folder each.
    assert 4 * (100_000 + 900 + 34 * 58**2 + 45 * 58) == 871_544
    assert any(
        line.startswith("  disk space    about 872 kB (") and line.endswith(" free)") for line in lines
    )
    assert any(line.startswith("  files         about 56, with folders") for line in lines)
    assert any("estimated from a model" in line for line in lines)
    assert lines[-1] == "All 4 structures can be run."
    # Plain text in a pipe.
    assert "\x1b" not in done.stdout and "\r" not in done.stdout


def test_refusals_and_warnings_with_counts(tmp_path: Path, engine: Path) -> None:
    campaign = write_campaign(
        tmp_path / "campaign",
        9,
        engine,
        broken=(1, 2, 4, 5, 7),
        settings={"orca": {"non_actinide_basis": "my-set"}},
    )
    done = oact("check", campaign.folder)
    assert (done.returncode, done.stderr) == (1, "")
    assert (
        "\nRefused:\n"
        "  5 x electron parity\n"
        "      structures 1 (line 5), 2 (line 8), 4 (line 14): uhf 1 does not fit H2O with charge +0: 10"
        " electrons need an even number of unpaired ones\n"
        "      and 2 more\n"
    ) in done.stdout
    assert (
        "\nWarnings:\n"
        "  4 x unknown basis my-set: cannot check whether it covers every element\n"
        "      structures 0, 3, 6, ...\n"
    ) in done.stdout
    assert done.stdout.endswith("\n5 of 9 structures would be refused; the other 4 can be run.\n")


def test_all_refused(tmp_path: Path, engine: Path) -> None:
    done = oact("check", write_campaign(tmp_path / "campaign", 2, engine, broken=(0, 1)).file)
    assert done.returncode == 1
    assert "  can be run    0\n" in done.stdout and "disk space" not in done.stdout
    assert done.stdout.endswith("\nAll 2 structures would be refused.\n")


def test_json(tmp_path: Path, engine: Path) -> None:
    campaign = write_campaign(tmp_path / "campaign", 3, engine, broken=(1,))
    done = oact("check", campaign.folder, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert (found["structures"], found["runnable"], found["refused_structures"]) == (3, 2, 1)
    assert not found["good"] and found["blocking"] == [] and found["ledger"] is None
    (group,) = found["refused"]
    assert (group["what"], group["count"]) == ("electron parity", 1)
    (example,) = group["examples"]
    assert (example["row"], example["line"]) == (1, 5)
    assert example["message"].startswith("uhf 1 does not fit H2O")
    assert found["atoms"] == {"min": 3, "median": 3, "max": 3}
    assert found["largest"] == {"row": 0, "atoms": 3, "basis_functions": 58}
    assert found["memory"] == {"row": 0, "MB": 2000, "cores": 1}
    disk = found["disk"]
    assert disk["bytes"] == disk["bytes_to_come"] == 871_544 // 2
    assert (disk["files"], disk["fits"]) == (28, True)


@pytest.mark.parametrize(
    ("orca", "words"),
    [
        ({"n_cores": 0}, ("orca.n_cores", "given: 0")),
        ({"n_cores": -4}, ("orca.n_cores", "given: -4")),
        ({"cores": 4}, ("orca.cores",)),
        ({"actinide_basis": "./mine.bas"}, ("actinide_basis", "mine.bas")),
    ],
)
def test_settings_that_cannot_be_read(
    tmp_path: Path, engine: Path, orca: dict[str, object], words: tuple[str, ...]
) -> None:
    campaign = write_campaign(tmp_path / "campaign", 1, engine)
    values = yaml.safe_load(campaign.file.read_text())
    values["orca"] |= orca
    campaign.file.write_text(yaml.safe_dump(values))
    assert_one_line(oact("check", campaign.file), *words)


def test_no_campaign(tmp_path: Path) -> None:
    assert_one_line(oact("check", tmp_path), "campaign.yaml: no such file")


def test_what_is_in_the_way_of_all(tmp_path: Path) -> None:
    campaign = write_campaign(tmp_path / "campaign", 2, tmp_path / "nowhere" / "orca")
    done = oact("check", campaign.file)
    assert done.returncode == 1
    assert "\nStops the whole campaign:\n  " in done.stdout
    assert "orca.command" in done.stdout and "  can be run    2\n" in done.stdout
    assert done.stdout.endswith("\nThe campaign cannot be run as it is.\n")


def test_after_a_run(tmp_path: Path, engine: Path) -> None:
    campaign = write_campaign(tmp_path / "campaign", 3, engine)
    assert oact("run", campaign.file, "--structures", "0-1").returncode == 0
    before = {path: path.stat().st_mtime_ns for path in campaign.folder.rglob("*")}
    done = oact("check", campaign.file)
    assert done.returncode == 0, done.stdout
    assert "  ledger        2 completed, 1 to_run\n" in done.stdout
    assert "estimated from 2 finished job folders of this campaign" in done.stdout
    folder = campaign.jobs_dir / "job_0"
    bytes_of = sum(file.stat().st_size for file in folder.iterdir())
    found = json.loads(oact("check", campaign.file, "--json").stdout)
    assert found["ledger"]["statuses"] == {"completed": 2, "to_run": 1}
    # The outputs of the two differ in a digit at most; all three structures are of one size.
    assert found["disk"]["bytes"] == pytest.approx(3 * bytes_of, rel=0.01)
    assert found["disk"]["bytes_to_come"] == pytest.approx(bytes_of, rel=0.01)
    assert found["disk"]["files"] == 3 * (len(list(folder.iterdir())) + 1)
    assert {path: path.stat().st_mtime_ns for path in campaign.folder.rglob("*")} == before


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the system's table of mounts calls a network file system's."""
    folder = tmp_path / "network"
    folder.mkdir()
    mount(folder, "nfs4", monkeypatch)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return folder


def check(campaign: Path) -> Result:
    return CliRunner().invoke(main, ["check", str(campaign)])


def test_dagsters_instance_on_a_network_file_system(
    tmp_path: Path, engine: Path, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = write_campaign(tmp_path / "campaign", 1, engine)
    assert check(campaign.file).exit_code == 0
    home = network / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    done = check(campaign.file)
    assert done.exit_code == 1
    (line,) = [line for line in done.output.splitlines() if str(home) in line]
    for words in ("DAGSTER_HOME", "(nfs4)", "PostgreSQL", "oact-dagster[postgres]", "local disk"):
        assert words in line
    assert not home.exists()


def test_dagsters_instance_beside_the_campaign(engine: Path, network: Path) -> None:
    campaign = write_campaign(network / "campaign", 1, engine)
    done = check(campaign.file)
    assert done.exit_code == 1
    assert f"{campaign.folder / '.dagster'}: Dagster's instance (DAGSTER_HOME is not set)" in done.output
    # The ledger lies there as well, and works without its write-ahead log.
    assert f"the ledger {campaign.ledger} is on a network file system (nfs4)" in done.output
    assert not (campaign.folder / ".dagster").exists()


@pytest.mark.parametrize(
    ("storage", "code"),
    [
        ({"storage": {"postgres": {"postgres_url": "postgresql://localhost/dagster"}}}, 0),
        ({"storage": {"sqlite": {"base_dir": "/tmp"}}}, 0),
        ({"storage": {"sqlite": {"base_dir": {"env": "OACT_TEST_LOCAL_DISK"}}}}, 0),
        ({"storage": {"sqlite": {}}}, 1),
        ({"storage": {"sqlite": None}}, 1),
        ({"telemetry": {"enabled": False}}, 1),
        (None, 1),
        (
            {
                key: {"module": f"dagster_postgres.{key}", "class": "Postgres"}
                for key in ("run_storage", "event_log_storage", "schedule_storage")
            },
            0,
        ),
        ({"run_storage": {"module": "dagster_postgres.run_storage", "class": "PostgresRunStorage"}}, 1),
    ],
)
def test_the_way_out_of_a_network_file_system(
    tmp_path: Path,
    engine: Path,
    network: Path,
    monkeypatch: pytest.MonkeyPatch,
    storage: dict[str, object] | None,
    code: int,
) -> None:
    campaign = write_campaign(tmp_path / "campaign", 1, engine)
    monkeypatch.setenv("DAGSTER_HOME", str(network))
    monkeypatch.setenv("OACT_TEST_LOCAL_DISK", str(tmp_path / "local"))
    (network / "dagster.yaml").write_text(yaml.safe_dump(storage))
    done = check(campaign.file)
    assert done.exit_code == code, done.output


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1 kB"),
        (871_544, "872 kB"),
        (999_600, "1 MB"),
        (1.21e12, "1.21 TB"),
        (2.5e18, "2.5e+03 PB"),
    ],
)
def test_sizes_as_people_read_them(number: float, shown: str) -> None:
    assert size_text(number) == shown

"""The tests' own Slurm keeps away from a site's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from oact_dagster_tests.schedulers import real_slurm
from oact_dagster_tests.schedulers.real_slurm import RealSlurm, missing_programs, site_configuration

ONE_TEST = (
    f"{Path(__file__).parent / 'test_slurm.py'}::test_arrays_are_split_by_request_and_at_the_largest_size"
)

pytestmark = pytest.mark.slurm


def run_one_test(**variables: str) -> "subprocess.CompletedProcess[str]":
    without = ("OACT_TEST_SLURM", "OACT_TEST_REQUIRE", "SLURM_CONF")
    kept = {key: value for key, value in os.environ.items() if key not in without}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", ONE_TEST],
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_site_that_has_a_slurm_is_left_alone_unless_it_is_asked_for(
    tmp_path: Path, slurm_cluster: RealSlurm
) -> None:
    # A login node's: whoever reads it, or asks its controller, fails.
    site = tmp_path / "slurm.conf"
    site.write_text("this is no configuration\n")
    done = run_one_test(SLURM_CONF=str(site))
    assert done.returncode == 0 and "1 skipped" in done.stdout, done.stdout
    said = f"this machine has a Slurm ({site}); OACT_TEST_SLURM=1 starts one of its own beside it"
    assert said in done.stdout
    required = run_one_test(SLURM_CONF=str(site), OACT_TEST_REQUIRE="slurm")
    assert required.returncode == 1 and said in required.stdout
    asked = run_one_test(SLURM_CONF=str(site), OACT_TEST_SLURM="1")
    assert asked.returncode == 0 and "1 passed" in asked.stdout, asked.stdout
    assert site.read_text() == "this is no configuration\n"


def test_a_configuration_in_its_usual_place_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_CONF", raising=False)
    usual = tmp_path / "slurm.conf"
    monkeypatch.setattr(real_slurm, "SITE_CONFIGURATIONS", (tmp_path / "other", usual))
    assert site_configuration() is None
    usual.write_text("")
    assert site_configuration() == str(usual)


def test_every_file_and_port_is_the_clusters_own(slurm_cluster: RealSlurm) -> None:
    assert missing_programs() == []
    text = slurm_cluster.configuration.read_text()
    told = slurm_cluster.run("scontrol", "show", "config")
    for key in ("AuthInfo", "StateSaveLocation", "SlurmctldLogFile", "SlurmdSpoolDir", "SLURM_CONF"):
        (line,) = [line for line in told.splitlines() if line.split(" ")[0] == key]
        assert str(slurm_cluster.folder) in line, line
    assert "NoInAddrAny,NoCtldInAddrAny" in text, "on loopback alone"
    assert "SlurmctldPort=6817" not in text and "Port=6818" not in text

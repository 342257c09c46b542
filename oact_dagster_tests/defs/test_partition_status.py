"""What is green and what is red: Dagster's own commands, in processes of their own, over a real instance."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterInstance,
    DagsterRunStatus,
    DynamicPartitionsDefinition,
)

from oact_dagster.defs.instance import dagster_home
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.engines import ENERGY, GRADIENT, TestEngine

pytestmark = pytest.mark.slow

RESULTS, INPUTS, METRICS = (AssetKey(name) for name in ("orca_results", "orca_inputs", "metric_summaries"))
GREEN, RED = "MATERIALIZED", "FAILED"


class Project:
    """A campaign with its Dagster instance, used as a user does."""

    def __init__(
        self, folder: Path, structures: int, monkeypatch: pytest.MonkeyPatch, **settings: Any
    ) -> None:
        self.engine = TestEngine(folder)
        self.campaign: Campaign = write_campaign(
            folder / "c", structures, self.engine.path, settings=settings
        )
        monkeypatch.delenv("DAGSTER_HOME", raising=False)
        self.home = dagster_home(self.campaign)
        self.environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.home),
            "OACT_CAMPAIGN": str(self.campaign.file),
            "DAGSTER_MODULE_NAME": "oact_dagster.definitions",
        }
        self.instance = DagsterInstance.from_config(str(self.home))
        assert self.materialize("--select", "intake").returncode == 0

    def dagster(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "dagster", *arguments],
            env=self.environment,
            cwd=self.campaign.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def materialize(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.dagster("asset", "materialize", *arguments)

    def run_structures(self, select: str) -> "subprocess.CompletedProcess[str]":
        config = self.campaign.folder / "run.yaml"
        config.write_text(f'ops: {{run_selected: {{config: {{select: "{select}"}}}}}}')
        return self.dagster("job", "execute", "-j", "run_structures", "-c", str(config))

    def status(self, key: AssetKey = RESULTS) -> dict[str, str | None]:
        name = self.campaign.partitions_name
        found = self.instance.get_status_by_partition(
            key, self.instance.get_dynamic_partitions(name), DynamicPartitionsDefinition(name=name)
        )
        return {partition: None if one is None else one.value for partition, one in (found or {}).items()}

    def metadata(self, partition: str, key: AssetKey = RESULTS) -> Mapping[str, Any]:
        """Of the newest materialization of a partition."""
        found = self.instance.fetch_materializations(
            AssetRecordsFilter(asset_key=key, asset_partitions=[partition]), limit=1
        )
        event = found.records[0].asset_materialization
        assert event is not None
        return {name: value.value for name, value in event.metadata.items()}

    def observation(self, partition: str, key: AssetKey = RESULTS) -> Mapping[str, Any]:
        found = self.instance.fetch_observations(
            AssetRecordsFilter(asset_key=key, asset_partitions=[partition]), limit=1
        )
        event = found.records[0].asset_observation
        assert event is not None
        return {name: value.value for name, value in event.metadata.items()}

    def newest_run(self) -> DagsterRunStatus:
        return self.instance.get_runs(limit=1)[0].status


def colours(good: set[int], bad: set[int], untouched: set[int] = frozenset()) -> dict[str, str | None]:  # type: ignore[assignment]
    found = {str(n): GREEN for n in good} | {str(n): RED for n in bad} | {str(n): None for n in untouched}
    return dict(sorted(found.items()))


def test_a_range_with_failures_then_mended_then_failing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path, 10, monkeypatch)
    # One fails in ORCA, the other one's input cannot be written.
    project.engine.set("scf_not_converged", 3)
    project.campaign.jobs_dir.mkdir()
    (project.campaign.jobs_dir / "job_7").write_text("in the way")
    done = project.materialize("--select", "orca_results+", "--partition-range", "0...9")
    assert done.returncode != 0
    assert project.newest_run() is DagsterRunStatus.FAILURE
    assert dict(sorted(project.status().items())) == colours({0, 1, 2, 4, 5, 6, 8, 9}, {3, 7})
    assert "2 of 10 structures have no result" in done.stdout + done.stderr

    # What a red partition tells.
    told = project.observation("3")
    assert told["failure_class"] == "scf_not_converged"
    assert "SCF NOT CONVERGED AFTER 500 CYCLES" in told["message"]
    assert "aborting the run" in told["last_lines"].records[-1].data["output"]
    assert told["fail_count"] == 1
    assert [record.data["failure_class"] for record in told["attempts"].records] == ["scf_not_converged"]

    # The numbers of a green one are those of the output file.
    shown = project.metadata("4")
    assert shown["final_energy_Eh"] == pytest.approx(ENERGY - 4 / 10_000, abs=1e-10)
    assert shown["max_gradient_component_Eh_per_bohr"] == pytest.approx(GRADIENT)
    assert (shown["scf_cycles"], shown["wall_time_s"], shown["n_cores"]) == (12, 3.6, 1)
    assert shown["core_hours"] == pytest.approx(0.001)
    assert (shown["attempt"], shown["remedy"], shown["engine"], shown["engine_version"]) == (
        1,
        "none",
        "ORCA",
        "6.1.0",
    )
    assert "reused" not in shown

    # Mended, the same range computes two and shows ten.
    project.engine.set("normal", 3)
    (project.campaign.jobs_dir / "job_7").unlink()
    before = len(project.engine.runs)
    done = project.materialize("--select", "orca_results+", "--partition-range", "0...9")
    assert done.returncode == 0, done.stderr
    assert dict(sorted(project.status().items())) == colours(set(range(10)), set())
    assert dict(sorted(project.status(METRICS).items())) == colours(set(range(10)), set())
    assert sorted(project.engine.runs[before:]) == [3, 7]
    reused = {n for n in range(10) if project.metadata(str(n)).get("reused")}
    assert reused == {0, 1, 2, 4, 5, 6, 8, 9}
    assert project.metadata("4")["final_energy_Eh"] == shown["final_energy_Eh"]


def test_one_that_fails_again_reddens_no_neighbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path, 6, monkeypatch)
    project.engine.set("crash", 2)
    for _ in range(2):
        assert project.materialize("--select", "*", "--partition-range", "0...5").returncode != 0
        assert dict(sorted(project.status().items())) == colours({0, 1, 3, 4, 5}, {2})
        assert dict(sorted(project.status(INPUTS).items())) == colours(set(range(6)), set())
    assert sorted(project.engine.runs) == [0, 1, 2, 2, 3, 4, 5]
    assert project.observation("2")["fail_count"] == 2
    assert project.newest_run() is DagsterRunStatus.FAILURE


def test_everything_for_one_partition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path, 3, monkeypatch)
    done = project.materialize("--select", "*", "--partition", "1")
    assert done.returncode == 0, done.stderr
    for name in ("architector_csv", "job_ledger", "orca_inputs", "orca_results", "metric_summaries"):
        assert project.status(AssetKey(name)) == colours({1}, set(), {0, 2})
    assert project.engine.runs == [1]
    summary = project.instance.get_latest_materialization_event(AssetKey("campaign_summary"))
    assert summary is not None
    materialization = summary.asset_materialization
    assert materialization is not None
    assert materialization.metadata["completed"].value == 1
    assert materialization.metadata["structures"].value == 3
    pictures = str(materialization.metadata["pictures"].value).split("\n\n")
    assert [picture.partition("](data:image/svg+xml;base64,")[0] for picture in pictures[:3]] == [
        "![status",
        "![progress",
        "![energy\\_per\\_atom",
    ]


@pytest.mark.parametrize("select", ["campaign_summary", "orca_inputs", "architector_csv,job_ledger"])
def test_selections_that_compute_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, select: str
) -> None:
    project = Project(tmp_path, 2, monkeypatch)
    which = [] if select == "campaign_summary" else ["--partition-range", "0...1"]
    done = project.materialize("--select", select, *which)
    assert done.returncode == 0, done.stderr
    assert project.engine.runs == []
    if select == "orca_inputs":
        assert project.status(INPUTS) == colours({0, 1}, set())
        text = (project.campaign.jobs_dir / "job_1" / "orca.inp").read_text()
        assert "# name: water 1" in text
        # Looked at, then computed: the folder becomes the attempt's.
        assert project.materialize("--select", "orca_results", "--partition", "1").returncode == 0
        assert project.engine.runs == [1]
        assert project.status() == colours({1}, set(), {0})


def test_metrics_without_a_result_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path, 1, monkeypatch)
    done = project.materialize("--select", "metric_summaries", "--partition", "0")
    assert done.returncode != 0
    assert project.status(METRICS) == colours(set(), {0})
    assert project.engine.runs == []


def test_a_range_that_runs_backwards_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path, 3, monkeypatch)
    done = project.materialize("--select", "orca_results", "--partition-range", "2...0")
    assert done.returncode != 0
    assert "runs backwards and holds no structure; write 0...2" in done.stdout + done.stderr


def test_scattered_structures_by_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path, 6, monkeypatch)
    project.engine.set("crash", 5)
    done = project.run_structures("0,2,5")
    assert done.returncode != 0
    assert project.status() == colours({0, 2}, {5}, {1, 3, 4})
    assert project.status(INPUTS) == colours({0, 2, 5}, set(), {1, 3, 4})
    assert project.status(AssetKey("architector_csv")) == colours({0, 2, 5}, set(), {1, 3, 4})
    assert project.observation("5")["failure_class"] == "aborted"
    project.engine.set("normal", 5)
    done = project.run_structures("failed")
    assert done.returncode == 0, done.stderr
    assert project.status() == colours({0, 2, 5}, set(), {1, 3, 4})
    assert project.engine.runs.count(5) == 2
    with Ledger(project.campaign.ledger) as ledger:
        assert ledger.figures.count_by_status() == {Status.COMPLETED: 3, Status.TO_RUN: 3}


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ("banana", "write for example 0-9,15"),
        ("3-1", "runs backwards"),
        ("0,99", "1 structure is not in the ledger"),
    ],
)
def test_a_selection_that_cannot_be_read_says_what_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, select: str, said: str
) -> None:
    project = Project(tmp_path, 2, monkeypatch)
    done = project.run_structures(select)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
    assert project.engine.runs == []


def test_an_engine_that_is_missing_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path, 2, monkeypatch)
    project.engine.path.unlink()
    done = project.materialize("--select", "orca_results", "--partition", "0")
    assert done.returncode != 0
    assert "no such file; give the absolute path of orca" in done.stdout + done.stderr
    with Ledger(project.campaign.ledger) as ledger:
        assert ledger.figures.count_by_status() == {Status.TO_RUN: 2}
        assert ledger.history.attempts(0) == []


def test_the_pipes_messages_of_all_payloads_are_in_the_runs_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path, 4, monkeypatch)
    assert project.materialize("--select", "orca_results", "--partition-range", "0...3").returncode == 0
    run = project.instance.get_runs(limit=1)[0]
    lines = [entry.message for entry in project.instance.all_logs(run.run_id)]
    for number in range(4):
        (line,) = [line for line in lines if line.startswith(f"structure {number}, attempt 1 on ")]
        assert "normal, E = -76.000" in line


def test_without_a_campaign_there_is_nothing_and_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import dagster as dg, oact_dagster.definitions as d; print(len(list(d.defs().assets or [])))",
        ],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "OACT_CAMPAIGN"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "0"
    (line,) = done.stderr.strip().splitlines()
    assert "set OACT_CAMPAIGN" in line and "oact init" in line

"""The quality rules as asset checks, and what a structure's partition shows: a real instance, real runs."""

import base64
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dagster as dg
import pytest

from oact_dagster.definitions import for_campaign
from oact_dagster.defs import columns
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.cli.command import oact
from oact_dagster_tests.defs.test_partition_status import Project
from oact_dagster_tests.engines import GRADIENT, TestEngine

pytestmark = pytest.mark.slow

ON_RESULTS = {
    "terminated_normally",
    "scf_converged",
    "optimization_converged",
    "electron_parity",
    "one_orca_version",
    "one_level_of_theory",
}
ON_METRICS = {"forces_below_limit", "spin_contamination", "energy_in_range", "metal_bound"}


def evaluations(project: Project) -> dict[str, list[dg.AssetCheckEvaluation]]:
    """All evaluations of each check, the newest first."""
    found = {}
    for asset, names in (("orca_results", ON_RESULTS), ("metric_summaries", ON_METRICS)):
        for name in names:
            key = dg.AssetCheckKey(dg.AssetKey(asset), name)
            records = project.instance.event_log_storage.get_asset_check_execution_history(key, limit=50)
            events = [record.event for record in records if record.event is not None]
            found[name] = [
                event.dagster_event.event_specific_data
                for event in events
                if event.dagster_event is not None
                and isinstance(event.dagster_event.event_specific_data, dg.AssetCheckEvaluation)
            ]
    return found


def metadata(project: Project, asset: str, partition: str) -> dict[str, Any]:
    filter_ = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition])
    (record,) = project.instance.fetch_materializations(filter_, limit=1).records
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def picture(markdown: str) -> str:
    """The SVG in an image of markdown; it is well-formed, and small."""
    assert len(markdown) <= 4096
    found = re.fullmatch(r"!\[.*\]\(data:image/svg\+xml;base64,(.*)\)", markdown)
    assert found is not None
    svg = base64.b64decode(found.group(1)).decode()
    ElementTree.fromstring(svg)
    return svg


def test_one_evaluation_for_each_check_and_run_with_counts_and_the_worst(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path, 14, monkeypatch, quality={"max_gradient": 0.004})
    assert project.materialize("--select", "orca_inputs++", "--partition-range", "0...11").returncode == 0
    found = evaluations(project)
    assert {name: len(events) for name, events in found.items()} == dict.fromkeys(ON_RESULTS | ON_METRICS, 1)
    (forces,) = found["forces_below_limit"]
    assert not forces.passed and forces.severity is dg.AssetCheckSeverity.WARN
    assert forces.metadata["judged"].value == forces.metadata["broken"].value == 12
    worst = forces.metadata["worst"].value.records
    assert len(worst) == 10
    assert (
        worst[0].data["found"] == f"largest gradient component {GRADIENT:.4g} Eh/bohr (limit 0.004 Eh/bohr)"
    )
    (ended,) = found["terminated_normally"]
    assert ended.passed and ended.metadata["judged"].value == 12
    assert ended.severity is dg.AssetCheckSeverity.ERROR
    # The job over scattered structures evaluates them, too, over all results so far.
    done = oact("run", project.campaign.file, "--structures", "12,13")
    assert done.returncode == 0, done.stderr
    again = evaluations(project)["forces_below_limit"]
    assert len(again) == 2 and again[0].metadata["judged"].value == 14
    assert again[0].target_materialization_data is not None
    with Ledger(project.campaign.ledger) as ledger:
        assert ledger.quality.counts()
    assert "results fail a quality check (forces_below_limit: 14)" in oact(
        "dashboard", project.campaign.file
    ).stdout.replace("\n", " ")


def test_the_checks_alone_and_a_rule_that_is_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path, 2, monkeypatch, quality={"max_gradient": None})
    assert oact("run", project.campaign.file).returncode == 0
    definitions = for_campaign(project.campaign.file)
    specs = [spec.name for assets in definitions.assets or [] for spec in getattr(assets, "check_specs", [])]
    assert set(specs) == (ON_RESULTS | ON_METRICS) - {"forces_below_limit"}
    key = dg.AssetCheckKey(dg.AssetKey("orca_results"), "scf_converged")
    job = definitions.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection=set(), asset_check_selection={key}
    )
    assert job.execute_in_process(instance=project.instance).success
    found = evaluations(project)
    assert {name: len(events) for name, events in found.items() if events} == {
        name: 2 if name == "scf_converged" else 1 for name in specs
    }
    assert sorted(project.engine.runs) == [0, 1]


def test_what_a_green_partition_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path, 2, monkeypatch, retry={"delay_s": 0})
    project.engine.set("crash normal", 1)
    assert oact("run", project.campaign.file).returncode == 1
    assert oact("run", project.campaign.file).returncode == 0
    row = metadata(project, "architector_csv", "1")
    assert (row["charge"], row["multiplicity"]) == (0, 1) and row["formula"] == "H2O"
    assert "<circle" in picture(row["geometry"])
    result = metadata(project, "orca_results", "1")
    assert result["failed_checks"] == "none"
    attempts = [record.data for record in result["attempts"].records]
    assert [one["outcome"] for one in attempts] == ["failed", "completed"]
    assert attempts[0]["failure_class"] == "aborted" and attempts[0]["host"]
    assert "attempts" not in metadata(project, "orca_results", "0"), "one attempt is told by its own numbers"
    quality = {
        record.data["rule"]: record.data
        for record in metadata(project, "metric_summaries", "1")["quality"].records
    }
    assert quality["scf_converged"]["verdict"] == "holds"
    assert quality["energy_in_range"]["verdict"] == "not judged"
    # What is shown has a column that says what it is.
    for asset, known in (
        ("architector_csv", columns.ARCHITECTOR_CSV),
        ("orca_inputs", columns.ORCA_INPUTS),
        ("metric_summaries", columns.METRIC_SUMMARIES),
    ):
        extra = {"reused", "engine", "attempt"}
        named = {name for name, _, _ in known} | extra
        shown = {key for key in metadata(project, asset, "1") if not key.startswith(("csv_", "dagster"))}
        assert shown <= named, asset


def test_the_convergence_of_an_scf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path, 2, monkeypatch)
    project.engine.set("iterations", 0)
    assert oact("run", project.campaign.file, "--structures", "0").returncode == 0
    svg = picture(metadata(project, "orca_results", "0")["convergence"])
    assert "SCF" in svg
    # Also of one that failed.
    project.engine.set("near", 1)
    (project.engine.control / "orca.gbw").write_bytes(b"orbitals")
    assert oact("run", project.campaign.file, "--structures", "1").returncode == 1
    assert "SCF" in picture(project.observation("1")["convergence"])


def test_the_graph_is_described(tmp_path: Path) -> None:
    settings = {"owners": ["me@example.org", "team:actinides"], "launcher": {"kind": "slurm"}}
    campaign = write_campaign(tmp_path / "c", 1, TestEngine(tmp_path).path, settings=settings)
    graph = for_campaign(campaign.file).resolve_asset_graph()
    kinds = {}
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        name = key.path[-1]
        kinds[name] = {
            tag.removeprefix("dagster/kind/") for tag in node.tags if tag.startswith("dagster/kind/")
        }
        assert list(node.owners) == ["me@example.org", "team:actinides"]
        assert node.group_name == campaign.name and node.description
        paths = [value for value in node.metadata.values() if isinstance(value, dg.PathMetadataValue)]
        assert paths or name == "metric_summaries"
        assert name == "intake" or "dagster/column_schema" in node.metadata
        assert "dagster/code_references" in node.metadata
    assert kinds == {
        "intake": {"csv", "sqlite"},
        "architector_csv": {"csv"},
        "job_ledger": {"sqlite"},
        "orca_inputs": {"orca"},
        "orca_results": {"orca", "slurm"},
        "metric_summaries": {"python"},
        "campaign_summary": {"parquet"},
    }


def test_an_owner_that_is_none(tmp_path: Path) -> None:
    campaign = write_campaign(tmp_path / "c", 1, TestEngine(tmp_path).path)
    campaign.file.write_text(f"{campaign.file.read_text()}\nowners: {json.dumps(['me'])}\n")
    done = oact("dashboard", campaign.file)
    assert done.returncode == 2 and (
        "owners: 'me' is neither an address, such as me@example.org, nor a team, such as team:actinides"
        in done.stderr
    )

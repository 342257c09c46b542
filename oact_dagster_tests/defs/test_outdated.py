"""Which partitions Dagster calls outdated when the campaign's settings change."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import AssetKey, DagsterInstance
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from oact_dagster.attempts.selection import Selection
from oact_dagster.definitions import for_campaign
from oact_dagster.defs.in_process import run_intake, run_selection
from oact_dagster.defs.instance import dagster_home
from oact_dagster.settings.campaign import Campaign, load_campaign
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.engines import TestEngine

ASSETS = ("orca_inputs", "orca_results")


def change(campaign: Campaign, **settings: Any) -> Campaign:
    values = yaml.safe_load(campaign.file.read_text())
    values["orca"] |= settings
    campaign.file.write_text(yaml.safe_dump(values))
    return load_campaign(campaign.file)


def outdated(campaign: Campaign) -> dict[str, list[str]]:
    """The partitions of each asset that are outdated, as the web page asks for them."""
    graph = for_campaign(campaign.file).resolve_asset_graph()
    with DagsterInstance.from_config(str(dagster_home(campaign))) as instance:
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        return {
            name: [
                key
                for key in instance.get_dynamic_partitions(campaign.partitions_name)
                if resolver.get_status(AssetKey(name), key).value == "STALE"
            ]
            for name in ASSETS
        }


def summary_is_outdated(campaign: Campaign) -> bool:
    graph = for_campaign(campaign.file).resolve_asset_graph()
    with DagsterInstance.from_config(str(dagster_home(campaign))) as instance:
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        return resolver.get_status(AssetKey("campaign_summary")).value != "FRESH"


def summary(campaign: Campaign) -> Any:
    with DagsterInstance.from_config(str(dagster_home(campaign))) as instance:
        event = instance.get_latest_materialization_event(AssetKey("campaign_summary"))
        assert event is not None and event.asset_materialization is not None
        return event.asset_materialization.metadata["stale_results"].value


def test_a_changed_setting_shows_results_as_outdated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    engine = TestEngine(tmp_path)
    campaign = write_campaign(tmp_path / "c", 3, engine.path)
    assert run_intake(campaign).success
    assert run_selection(campaign, Selection("0,1")).success
    assert outdated(campaign) == {name: [] for name in ASSETS}
    assert not summary_is_outdated(campaign)
    campaign = change(campaign, n_cores=2, maxcore=2500)
    assert outdated(campaign) == {name: [] for name in ASSETS}, "cores and memory change no result"
    campaign = change(campaign, scf_maxiter=250)
    assert outdated(campaign) == {name: ["0", "1"] for name in ASSETS}
    # What is told of again stays outdated; what is new is not.
    assert run_selection(campaign, Selection("0-2")).success
    assert outdated(campaign) == {name: ["0", "1"] for name in ASSETS}
    assert summary(campaign) == 2
    assert run_selection(campaign, Selection("stale")).success
    assert outdated(campaign) == {name: [] for name in ASSETS}
    assert summary(campaign) == 0
    # Set back, what has been computed is not computed again.
    assert sorted(engine.runs) == [0, 0, 1, 1, 2]
    campaign = change(campaign, scf_maxiter=500)
    assert outdated(campaign) == {name: ["0", "1", "2"] for name in ASSETS}
    assert run_selection(campaign, Selection("stale")).success
    assert sorted(engine.runs) == [0, 0, 1, 1, 2, 2]
    assert outdated(campaign) == {name: [] for name in ASSETS}

"""A campaign whose Dagster instance is in PostgreSQL: a real server, and the settings that the project ships."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from oact_dagster.cli.check_instance import instance_notes, instance_problems
from oact_dagster.definitions import for_campaign
from oact_dagster.defs.instance import TEMPLATE
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.postgres import PostgresServer, postgres_server
from oact_dagster_tests.waiting import until

VARIANT = TEMPLATE.with_name("dagster.postgres.yaml")


def test_both_variants_say_the_same_but_for_the_storage() -> None:
    ours: dict[str, Any] = yaml.safe_load(TEMPLATE.read_text())
    variant: dict[str, Any] = yaml.safe_load(VARIANT.read_text())
    assert variant.pop("storage")["postgres"]["postgres_db"]["scheme"] == "postgresql+psycopg2"
    assert variant == ours


def test_the_defaults_fit_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    campaign = write_campaign(tmp_path, 1, Path("/bin/true"), settings={"launcher": {"kind": "slurm"}})
    assert (campaign.batch_size, campaign.max_in_flight) == (500, 5000)
    assert list(instance_notes(campaign)) == []


def make_home(tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGSTER_HOME with the settings that the project ships, for a server."""
    home = tmp_path / "home"
    home.mkdir()
    settings = VARIANT.read_text()
    assert "port: 5432" in settings
    (home / "dagster.yaml").write_text(settings.replace("port: 5432", f"port: {server.port}"))
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return home


@pytest.mark.postgres
def test_a_batch_on_a_real_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres_server() as server:
        home = make_home(tmp_path, server, monkeypatch)
        engine = TestEngine(tmp_path)
        engine.set("scf_not_converged", 2)
        campaign = write_campaign(tmp_path / "campaign", 6, engine.path, settings={"feed": {"trial": 0}})
        assert list(instance_problems(campaign)) == []
        done = subprocess.run(
            [sys.executable, "-m", "oact_dagster", "run", str(campaign.file), "--structures", "0-3"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "1 failed" in done.stdout, done.stdout + done.stderr
        # What the sensors ask and show is there, too.
        definitions = for_campaign(campaign.file)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            assert instance.get_dynamic_partitions(campaign.partitions_name) == list("012345")
            sensor = next(one for one in definitions.sensors or [] if one.name == "feed_sensor")
            context = dg.build_sensor_context(
                instance, sensor_name="feed_sensor", definitions=definitions, cursor=None
            )
            (request,) = sensor.evaluate_tick(context).run_requests or []
            assert request.tags["oact/structures"] == "2"
            ended = definitions.resolve_job_def("run_structures").execute_in_process(
                run_config=request.run_config, instance=instance, tags=request.tags
            )
            assert ended.success
            found = instance.get_status_by_partition(
                dg.AssetKey("orca_results"),
                list("012345"),
                dg.DynamicPartitionsDefinition(name=campaign.partitions_name),
            )
        colours = {key: status.value for key, status in (found or {}).items() if status is not None}
        assert colours == {key: "FAILED" if key == "2" else "MATERIALIZED" for key in "012345"}
        with Ledger(campaign.ledger) as ledger:
            assert ledger.figures.count_by_status() == {Status.COMPLETED: 5, Status.FAILED: 1}
        assert server.ask("SELECT COUNT(*) FROM runs")[0][0] >= 2
        assert not list(home.rglob("*.db")), "nothing of the instance is in SQLite"
    assert server.process.returncode is not None


@pytest.mark.postgres
def test_what_computes_goes_on_when_the_server_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres_server() as server:
        home = make_home(tmp_path, server, monkeypatch)
        engine = TestEngine(tmp_path, "wait")
        campaign = write_campaign(tmp_path / "campaign", 4, engine.path)
        run = subprocess.Popen(
            [sys.executable, "-m", "oact_dagster", "run", str(campaign.file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until(lambda: len(engine.runs) == 2)
        server.process.send_signal(signal.SIGINT)
        server.process.wait(60)
        (engine.control / "go").touch()
        out, err = run.communicate(timeout=120)
    assert run.returncode == 1, (out, err)
    told = err.splitlines()[-1]
    assert told.startswith(f"oact: {home}: Dagster's storage cannot be used: "), err
    assert told.endswith("; run again when it works")
    # Dagster tells of each time that it tries again.
    assert "Traceback" not in out + err, err
    with Ledger(campaign.ledger) as ledger:
        done = ledger.figures.count_by_status()
        assert done[Status.COMPLETED] >= 2 and Status.RUNNING not in done
        assert all(one.loss_count == 0 for one in ledger.structures.of(range(4)).values())

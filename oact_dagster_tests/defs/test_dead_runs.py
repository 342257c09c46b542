"""Runs that died while they started: nobody but their code server could tell, and it is gone, too."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from oact_dagster.definitions import for_campaign
from oact_dagster.defs import dead_runs
from oact_dagster.defs.dead_runs import close_dead_runs
from oact_dagster_tests.defs.test_sensors import Watched


def starting(project: Watched, server: Path) -> str:
    """A run that a code server has been told to begin."""
    job = for_campaign(project.campaign.file).resolve_job_def("run_structures")
    run = project.instance.create_run_for_job(
        job,
        status=dg.DagsterRunStatus.NOT_STARTED,
        tags={".dagster/grpc_info": json.dumps({"host": "localhost", "socket": str(server)})},
    )
    project.instance.report_dagster_event(
        dg.DagsterEvent(event_type_value="PIPELINE_STARTING", job_name=run.job_name), run.run_id
    )
    assert status(project, run.run_id) is dg.DagsterRunStatus.STARTING
    return run.run_id


def status(project: Watched, run_id: str) -> dg.DagsterRunStatus:
    run = project.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def tell_pid(project: Watched, run_id: str, pid: int) -> None:
    from dagster._core.events import EngineEventData

    run = project.instance.get_run_by_id(run_id)
    project.instance.report_engine_event("Started process for run", run, EngineEventData.in_process(pid))


def test_a_run_that_died_while_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Watched(tmp_path, 1, monkeypatch)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "server"))
        server.listen()
        lives = starting(project, tmp_path / "server")
        gone = starting(project, tmp_path / "nobody")
        assert close_dead_runs(project.instance, project.campaign) == 0, "it may be about to tell its pid"
        monkeypatch.setattr(dead_runs, "BEGINS_WITHIN_S", 0.0)
        assert close_dead_runs(project.instance, project.campaign) == 1
        assert status(project, gone) is dg.DagsterRunStatus.FAILURE
        assert status(project, lives) is dg.DagsterRunStatus.STARTING


def test_a_run_that_has_told_its_pid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Watched(tmp_path, 1, monkeypatch)
    monkeypatch.setattr(dead_runs, "BEGINS_WITHIN_S", 0.0)
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    gone, lives = starting(project, tmp_path / "nobody"), starting(project, tmp_path / "nobody")
    tell_pid(project, gone, dead.pid)
    # Not the process of the tests themselves, which may go by another name.
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    tell_pid(project, lives, living.pid)
    closed = close_dead_runs(project.instance, project.campaign)
    living.communicate()
    assert closed == 1
    assert status(project, gone) is dg.DagsterRunStatus.FAILURE
    assert status(project, lives) is dg.DagsterRunStatus.STARTING, "its code server went, it lives on"


def test_runs_of_others_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Watched(tmp_path, 1, monkeypatch)
    monkeypatch.setattr(dead_runs, "BEGINS_WITHIN_S", 0.0)
    mine = starting(project, tmp_path / "nobody")
    other = project.campaign.model_copy(update={"asset_prefix": ("other",)})
    assert close_dead_runs(project.instance, other) == 0
    project.instance.add_run_tags(mine, {".dagster/grpc_info": json.dumps({"host": "n7", "port": 4000})})
    assert close_dead_runs(project.instance, project.campaign) == 0, "another host's code server began it"

"""The sensors' ticks over a real instance and a real ledger: what they see, ask for, and say."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from oact_dagster.definitions import for_campaign
from oact_dagster.defs.requests import CAMPAIGN_TAG, KIND_TAG, LIMIT_TAG, SUMMARY
from oact_dagster.feed import notices
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import load_campaign
from oact_dagster_tests.campaigns import write_csv
from oact_dagster_tests.cli.command import oact
from oact_dagster_tests.defs.test_partition_status import GREEN, RED, Project
from oact_dagster_tests.waiting import until

pytestmark = pytest.mark.slow


class Watched(Project):
    """A campaign whose sensors are asked by hand, and whose runs are carried out in this process."""

    def tick(self, name: str, definitions: dg.Definitions | None = None) -> tuple[list[dg.RunRequest], str]:
        """What a sensor asks for, and what it says; that of definitions that were loaded before, or of today's.

        Requests for a summary alone are kept apart, in ``summaries``.
        """
        definitions = definitions or for_campaign(self.campaign.file)
        sensor = next(one for one in definitions.sensors or [] if one.name == f"{name}_sensor")
        context = dg.build_sensor_context(
            self.instance, sensor_name=sensor.name, definitions=definitions, cursor=None
        )
        data = sensor.evaluate_tick(context)
        said = str(data.cursor if data.run_requests else data.skip_message)
        asked = list(data.run_requests or [])
        self.summaries = [request for request in asked if request.tags.get(KIND_TAG) == SUMMARY]
        assert ("updating campaign_summary" in said) == bool(self.summaries)
        return [request for request in asked if request not in self.summaries], said

    summaries: Sequence[dg.RunRequest] = ()
    """What the last tick asked for apart from the rest."""

    def carry_out(self, request: dg.RunRequest) -> bool:
        """Run what a sensor has asked for."""
        job = for_campaign(self.campaign.file).resolve_job_def(str(request.job_name))
        done = job.execute_in_process(
            run_config=request.run_config,
            instance=self.instance,
            tags={**request.tags, **({"dagster/run_key": request.run_key} if request.run_key else {})},
            raise_on_error=False,
        )
        return done.success

    @property
    def counts(self) -> dict[Status, int]:
        with Ledger(self.campaign.ledger) as ledger:
            return ledger.figures.count_by_status()


def limits(requests: list[dg.RunRequest]) -> list[int]:
    return [int(request.tags[LIMIT_TAG]) for request in requests]


def test_the_feed_begins_with_a_trial_and_goes_on_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Watched(tmp_path, 22, monkeypatch, batch_size=8, feed={"trial": 6})
    requests, said = project.tick("feed")
    assert limits(requests) == [6] and "0 of 22 completed" in said and "trial of 6" in said
    assert requests[0].tags[KIND_TAG] == "feed" and requests[0].tags[CAMPAIGN_TAG] == "test"
    assert requests[0].run_config == {"ops": {"run_selected": {"config": {"select": "feed", "limit": 6}}}}
    assert project.carry_out(requests[0])
    requests, said = project.tick("feed")
    assert limits(requests) == [8, 8] and said.endswith("16 more in 2 runs")
    assert all(project.carry_out(request) for request in requests)
    assert project.counts == {Status.COMPLETED: 22}
    requests, said = project.tick("feed")
    assert requests == [] and "the campaign test is done: 22 completed" in said
    assert set(project.status().values()) == {GREEN}


def test_what_was_asked_for_and_has_not_begun_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"batch_size": 5, "max_in_flight": 12, "feed": {"trial": 0}, "launcher": {"kind": "slurm"}}
    project = Watched(tmp_path, 20, monkeypatch, **settings)
    requests, _ = project.tick("feed")
    assert limits(requests) == [5, 5, 2]
    job = for_campaign(project.campaign.file).resolve_job_def("run_structures")
    # As the daemon does: the runs wait in Dagster's queue.
    for request in requests[:2]:
        project.instance.create_run_for_job(
            job, run_config=request.run_config, tags=request.tags, status=dg.DagsterRunStatus.NOT_STARTED
        )
    again, said = project.tick("feed")
    assert limits(again) == [2] and "10 requested" in said


def test_changed_settings_count_from_the_next_tick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"batch_size": 5, "max_in_flight": 5, "feed": {"trial": 0}, "launcher": {"kind": "slurm"}}
    project = Watched(tmp_path, 20, monkeypatch, **settings)
    file = project.campaign.file
    loaded, text = for_campaign(file), file.read_text()
    assert limits(project.tick("feed", loaded)[0]) == [5]
    file.write_text(text.replace("max_in_flight: 5", "max_in_flight: 10"))
    assert limits(project.tick("feed", loaded)[0]) == [5, 5]
    for name in ("feed", "retry", "timeout", "harvest", "intake"):
        file.write_text(text.replace("max_in_flight: 5", "max_in_flight: many"))
        requests, said = project.tick(name, loaded)
        assert requests == [] and f"{file}: max_in_flight: input should be a valid integer" in said
        file.write_text(text.replace("name: test", "name: other"))
        requests, said = project.tick(name, loaded)
        assert requests == [] and said == (
            f"{file}: name changed since the definitions were loaded: restart `oact web`, or press Reload in the web"
            " page"
        )


def test_failures_pause_the_feed_until_it_is_let_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    project = Watched(
        tmp_path,
        30,
        monkeypatch,
        feed={"trial": 6},
        retry={"delay_s": 0},
        notify={
            "command": [sys.executable, "-c", f"import sys; open({str(told)!r}, 'a').write(sys.stdin.read())"]
        },
    )
    project.engine.set("crash")
    (request,), _ = project.tick("feed")
    assert not project.carry_out(request)
    for name in ("feed", "retry", "feed"):
        requests, said = project.tick(name)
        assert requests == []
        assert "is paused: 6 of the last 6 attempts failed" in said and "6 aborted" in said
        assert "`oact release CAMPAIGN --feed` lets it go on" in said
    assert told.read_text().count("is paused") == 1, "it is told once"
    project.engine.set("normal")
    released = subprocess.run(
        [sys.executable, "-m", "oact_dagster", "release", str(project.campaign.file), "--feed"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "6 of the last 6 attempts failed" in released.stdout
    (request,), said = project.tick("retry")
    assert "6 failed or timed out, 6 due" in said and project.carry_out(request)
    assert project.counts == {Status.COMPLETED: 6, Status.TO_RUN: 24}


def test_news_that_could_not_be_told_is_told_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    told, ready, calls = tmp_path / "told", tmp_path / "ready", tmp_path / "calls"
    script = f"import sys, os; open({str(calls)!r}, 'a').write('x'); os.stat({str(ready)!r});"
    script += f" open({str(told)!r}, 'a').write(sys.stdin.read())"
    project = Watched(tmp_path, 1, monkeypatch, notify={"command": [sys.executable, "-c", script]})
    assert project.carry_out(project.tick("feed")[0][0])
    capfd.readouterr()
    for _ in range(2):
        assert "is done" in project.tick("feed")[1]
        project.tick("retry")
        assert not told.exists()
    assert calls.read_text() == "x", "neither each tick nor each sensor tries"
    assert (
        len(
            re.findall(
                r"No such file or directory.*; tried 1 of 10 times, next try at 2", capfd.readouterr().err
            )
        )
        == 1
    )
    ready.touch()
    monkeypatch.setattr(notices, "FIRST_DELAY_S", 0.0)
    for _ in range(2):
        project.tick("feed")
    assert told.read_text().count("is done") == 1


def test_retries_end_with_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Watched(tmp_path, 4, monkeypatch, feed={"trial": 0}, retry={"max_failures": 2, "delay_s": 0})
    project.engine.set("crash", 1)
    project.engine.set("input_error", 2)
    (request,), _ = project.tick("feed")
    project.carry_out(request)
    (request,), said = project.tick("retry")
    assert "2 failed or timed out, 1 due, 1 set aside" in said
    project.carry_out(request)
    requests, said = project.tick("retry")
    assert requests == [] and "2 failed or timed out, 0 due, 2 set aside, 0 resting" in said
    requests, said = project.tick("feed")
    assert "is done: 2 completed, 2 failed and set aside" in said
    assert project.engine.runs.count(1) == 2 and project.engine.runs.count(2) == 1
    assert project.status()["1"] == RED and project.status()["2"] == RED


def test_a_grown_csv_is_taken_in_and_a_changed_one_is_refused_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Watched(tmp_path, 3, monkeypatch)
    requests, said = project.tick("intake")
    assert requests == [] and "has not changed" in said
    write_csv(project.campaign.csv_file, 2, first=3)
    (request,), said = project.tick("intake")
    assert "is new or has changed" in said
    assert project.materialize("--select", "intake").returncode == 0
    assert project.tick("intake")[0] == []
    assert project.counts == {Status.TO_RUN: 5}
    # A row that is known says something else now.
    text = project.campaign.csv_file.read_text()
    project.campaign.csv_file.write_text(text.replace("-0.001000", "-0.101000", 1))
    (request,), _ = project.tick("intake")
    job = for_campaign(project.campaign.file).resolve_job_def("take_in")
    done = job.execute_in_process(
        instance=project.instance, tags={"dagster/run_key": str(request.run_key)}, raise_on_error=False
    )
    assert not done.success
    requests, said = project.tick("intake")
    assert requests == [] and f"was refused as it is: run {done.run_id}: " in said
    assert project.counts == {Status.TO_RUN: 5}
    # Whoever looks elsewhere is told, too, until the CSV is mended.
    (line,) = re.findall(r"CSV REFUSED: .*", oact("dashboard", project.campaign.file).stdout)
    assert "1 row that was taken in" in line and line.removeprefix("CSV REFUSED: ") in said
    project.campaign.csv_file.write_text(text)
    assert "CSV REFUSED" not in oact("dashboard", project.campaign.file).stdout


TAKE_IN = """
import socket, sys
import dagster as dg
from oact_dagster.definitions import for_campaign
from oact_dagster.defs.dead_runs import HOST_TAG
job = for_campaign(sys.argv[1]).resolve_job_def("take_in")
with dg.DagsterInstance.from_config(sys.argv[2]) as instance:
    tags = {"dagster/run_key": sys.argv[3], HOST_TAG: socket.gethostname()}
    job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
"""


def test_an_intake_that_is_killed_is_closed_and_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Watched(tmp_path, 3, monkeypatch)
    write_csv(project.campaign.csv_file, 2, first=3)
    (request,), _ = project.tick("intake")
    # While another process writes, the intake waits with its run at work.
    holder = sqlite3.connect(project.campaign.ledger, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    worker = subprocess.Popen(
        [sys.executable, "-c", TAKE_IN, str(project.campaign.file), str(project.home), str(request.run_key)]
    )
    at_work = dg.RunsFilter(job_name="take_in", statuses=[dg.DagsterRunStatus.STARTED])
    until(lambda: bool(project.instance.get_runs(at_work)), "the run")
    (run,) = project.instance.get_runs(at_work)
    until(
        lambda: bool(project.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START)),
        "the step",
    )
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    holder.execute("ROLLBACK")
    holder.close()
    (again,), said = project.tick("intake")
    assert "is new or has changed" in said and again.run_key != request.run_key
    closed = project.instance.get_run_by_id(run.run_id)
    assert closed is not None and closed.status is dg.DagsterRunStatus.FAILURE
    job = for_campaign(project.campaign.file).resolve_job_def("take_in")
    assert job.execute_in_process(
        instance=project.instance, tags={"dagster/run_key": str(again.run_key)}
    ).success
    assert project.tick("intake")[0] == [] and project.counts == {Status.TO_RUN: 5}


def test_a_csv_that_is_set_back_is_taken_in_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Watched(tmp_path, 2, monkeypatch)

    def take_in(annotate: str) -> bool:
        text = project.campaign.file.read_text()
        project.campaign.file.write_text(re.sub(r"annotate:.*(\n- .*)*", f"annotate: {annotate}", text))
        (request,), _ = project.tick("intake")
        job = for_campaign(project.campaign.file).resolve_job_def("take_in")
        tags = {"dagster/run_key": str(request.run_key)}
        done = job.execute_in_process(instance=project.instance, tags=tags, raise_on_error=False)
        assert project.tick("intake")[0] == []
        return done.success

    assert take_in("[]")
    assert take_in("[name]")
    assert take_in("[]"), "as it was before"


RUN_AND_WAIT = """
import sys
import dagster as dg
from oact_dagster.definitions import for_campaign
job = for_campaign(sys.argv[1]).resolve_job_def("run_structures")
with dg.DagsterInstance.from_config(sys.argv[2]) as instance:
    config = {"ops": {"run_selected": {"config": {"select": "feed", "limit": 6}}}}
    job.execute_in_process(run_config=config, instance=instance, raise_on_error=False)
"""


def test_a_dead_run_is_closed_and_what_it_left_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Watched(tmp_path, 6, monkeypatch, launcher={"max_workers": 1}, feed={"trial": 0})
    project.engine.set("slow")
    worker = subprocess.Popen(
        [sys.executable, "-c", RUN_AND_WAIT, str(project.campaign.file), str(project.home)]
    )
    until(lambda: project.counts.get(Status.COMPLETED, 0) >= 2)
    requests, said = project.tick("harvest")
    assert requests == [] and "closed 0 dead runs, 0 structures have no living run" in said
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    (run,) = [one for one in project.instance.get_runs() if one.job_name == "run_structures"]
    assert run.status is dg.DagsterRunStatus.STARTED, "nobody has told Dagster"
    (request,), said = project.tick("harvest")
    assert "closed 1 dead run, " in said
    assert project.instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]
    completed = [str(index) for index in completed_of(project)]
    assert {key for key, status in project.status().items() if status == GREEN} == set(completed)
    assert project.carry_out(request)
    assert project.counts[Status.COMPLETED] == 6 and set(project.status().values()) == {GREEN}
    assert sorted(set(project.engine.runs)) == list(range(6))
    assert all(project.engine.runs.count(int(key)) == 1 for key in completed), (
        "nothing good is computed again"
    )
    assert project.tick("harvest")[0] == []


def completed_of(project: Watched) -> list[int]:
    with Ledger(project.campaign.ledger) as ledger:
        return list(ledger.structures.completed_indices())


def test_what_finished_without_dagster_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Watched(tmp_path, 3, monkeypatch)
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from oact_dagster.settings.campaign import load_campaign\n"
            "from oact_dagster.ledger.store import Ledger; from oact_dagster_tests.batches import batch\n"
            "c = load_campaign(sys.argv[1]); list(batch(c, Ledger(c.ledger), [0, 2]))",
            str(project.campaign.file),
        ],
        check=True,
    )
    (request,), said = project.tick("harvest")
    assert "2 results are not shown" in said
    assert project.carry_out(request)
    assert project.status() == {"0": GREEN, "1": None, "2": GREEN}
    assert project.counts == {Status.COMPLETED: 2, Status.TO_RUN: 1}, "nothing else was begun"
    assert sorted(project.engine.runs) == [0, 2]


def test_what_others_marked_running_is_judged_by_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Watched(tmp_path, 3, monkeypatch, launcher={"silence_limit_s": 3600})
    requests, said = project.tick("timeout")
    assert requests == [] and "runs look after all other structures" in said
    folder = project.campaign.jobs_dir / "job_1"
    folder.mkdir(parents=True)
    (folder / "orca.out").write_text("   * O   R   C   A *\nand then nothing\n")
    os.utime(folder / "orca.out", (1e9, 1e9))
    with sqlite3.connect(project.campaign.ledger) as db:
        db.execute(
            "UPDATE structures SET status = 'running', job_dir = ? WHERE orig_index = 1", (str(folder),)
        )
    (request,), said = project.tick("timeout")
    assert "1 is marked running by hand or by another tool" in said
    project.carry_out(request)
    assert project.counts == {Status.TIMEOUT: 1, Status.TO_RUN: 2}
    assert project.engine.runs == []


def test_without_a_ledger_each_tick_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Watched(tmp_path, 1, monkeypatch)
    project.campaign.ledger.unlink()
    for name in ("feed", "retry", "timeout", "harvest"):
        requests, said = project.tick(name)
        assert requests == [] and "there is no ledger yet: materialize intake" in said
    assert len(project.tick("intake")[0]) == 1


def test_a_ledger_of_another_level_of_theory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Watched(tmp_path, 1, monkeypatch)
    project.carry_out(project.tick("feed")[0][0])
    text = project.campaign.file.read_text().replace("command:", "functional: PBE0\n  command:")
    project.campaign.file.write_text(text)
    assert load_campaign(project.campaign.file).orca.functional == "PBE0"
    requests, said = project.tick("feed")
    assert requests == [] and "functional=PBE0" in said


def test_all_sensors_are_off_until_they_are_switched_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Watched(tmp_path, 1, monkeypatch)
    sensors: Any = list(for_campaign(project.campaign.file).sensors or [])
    assert {sensor.name for sensor in sensors} == {
        "intake_sensor",
        "feed_sensor",
        "timeout_sensor",
        "retry_sensor",
        "harvest_sensor",
    }
    assert all(sensor.default_status is dg.DefaultSensorStatus.STOPPED for sensor in sensors)
    assert all(sensor.description for sensor in sensors)

"""Batches on a real Flux, which the tests start for themselves where `flux` is on PATH."""

import json
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.attempts.events import Completed, Event, Failed, Note, NotRun, Running
from oact_dagster.attempts.stop_request import StopLevel, StopRequest
from oact_dagster.attempts.submission import preview
from oact_dagster.errors import LauncherError
from oact_dagster.feed.bad_hosts import bad_hosts
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.maintenance.check import check_campaign
from oact_dagster.schedulers.flux.commands import Flux
from oact_dagster.schedulers.flux.directives import requires
from oact_dagster.schedulers.flux.states import f58
from oact_dagster.schedulers.jobs import Phase
from oact_dagster.schedulers.protocol import JobOptions
from oact_dagster_tests.batches import batch, settled
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.launchers.running import prepared, worker
from oact_dagster_tests.ledger.samples import run
from oact_dagster_tests.requirements import lacking
from oact_dagster_tests.schedulers.real_flux import RealFlux, missing_program
from oact_dagster_tests.waiting import until

pytestmark = pytest.mark.flux

QUEUES = """
[policy.jobspec.defaults.system]
queue = "pbatch"

[queues.pbatch]
policy.limits.duration = "4h"
policy.limits.job-size.max.ncores = 8

[queues.pdebug]
policy.limits.duration = "2m"
"""


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path)


def started(monkeypatch: pytest.MonkeyPatch, configuration: str = "") -> RealFlux:
    if missing_program() is not None:
        lacking("flux", "no `flux` on PATH; its documentation says how to install flux-core")
    instance = RealFlux(configuration=configuration)
    instance.start()
    for key, value in instance.environment.items():
        monkeypatch.setenv(key, value)
    return instance


@pytest.fixture
def flux(monkeypatch: pytest.MonkeyPatch) -> Iterator[RealFlux]:
    """An instance of its own, with its client on PATH."""
    instance = started(monkeypatch)
    yield instance
    instance.stop()


@pytest.fixture
def queues(monkeypatch: pytest.MonkeyPatch) -> Iterator[RealFlux]:
    """One with queues, limits and a default."""
    instance = started(monkeypatch, QUEUES)
    instance.run("queue", "start", "--all")
    yield instance
    instance.stop()


def notes(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


def all_completed(events: list[Event], structures: int) -> bool:
    words = settled(events)
    assert len(words) == structures, sorted(words)
    wrong = [word for word in words.values() if not isinstance(word, Completed)]
    assert not wrong, wrong
    return True


PILOTS = {
    "per_job": "parsl", "n_hours": 1, "job_timeout_s": 600, "max_workers": 2, "oversubscribe": True, "idle_s": 1,
    "grace_s": 2.0,
}  # fmt: skip


@pytest.mark.parametrize("structures", [1, 100])
def test_each_structure_is_recorded_once(
    tmp_path: Path, flux: RealFlux, engine: TestEngine, structures: int
) -> None:
    campaign, ledger = prepared(tmp_path, engine, structures, "flux")
    assert all_completed(list(batch(campaign, ledger, list(range(structures)))), structures)
    assert Counter(engine.runs) == dict.fromkeys(range(structures), 1)
    (call,) = flux.calls("submit")
    assert f"--cc={'0' if structures == 1 else '0-99'} " in call
    attempts = [ledger.history.attempts(index)[0] for index in range(structures)]
    assert {attempt.host for attempt in attempts} <= {f"fake{n}" for n in range(4)}, "as Flux names its nodes"
    by_id = {f58(job["id"]): job for job in flux.jobs()}
    assert {by_id[str(attempt.scheduler_job_id)]["result"] for attempt in attempts} == {"COMPLETED"}


def test_a_retry_of_one(tmp_path: Path, flux: RealFlux, engine: TestEngine) -> None:
    engine.set("near normal", 3)
    campaign, ledger = prepared(tmp_path, engine, 8, "flux")
    words = settled(list(batch(campaign, ledger, list(range(8)))))
    assert isinstance(words[3], Failed)
    assert all_completed(list(batch(campaign, ledger, [3], "retry")), 1)
    assert Counter(engine.runs) == {**dict.fromkeys(range(8), 1), 3: 2}
    assert "--cc=0 " in flux.calls("submit")[-1]


def test_2000_structures(tmp_path: Path, flux: RealFlux, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 2000, "flux", poll_interval_s=2.0, grace_s=60.0)
    assert all_completed(list(batch(campaign, ledger, list(range(2000)))), 2000)
    assert Counter(engine.runs) == dict.fromkeys(range(2000), 1)
    assert len(flux.calls("submit")) == 4
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 2000}


def test_10000_old_jobs(tmp_path: Path, flux: RealFlux, engine: TestEngine) -> None:
    """They end without a process, as Flux's own tests let them."""
    for _ in range(20):
        flux.run(
            "submit", "--quiet", "--cc=1-500", "--job-name=old-{cc}", "-n1",
            "--setattr=system.exec.test.run_duration=0.001s", "true",
        )  # fmt: skip
    flux.run("queue", "idle", "--timeout=250s")
    time.sleep(1.1)  # the history is asked for by whole seconds
    engine.set("slow")
    campaign, ledger = prepared(tmp_path, engine, 20, "flux")
    first = worker(campaign, "killed", "0-19", "before mark_submitted")
    first.wait()
    assert all_completed(list(batch(campaign, ledger, list(range(20)), "next")), 20)
    assert Counter(engine.runs) == dict.fromkeys(range(20), 1)
    assert len(flux.calls("submit")) == 1
    assert not any(" -a" in call for call in flux.calls("jobs"))
    client = Flux(JobOptions(), 60.0)
    answer = client._run(["flux", "jobs", "--json", *(f58(job["id"]) for job in flux.jobs()[:20])])
    assert len(json.loads(answer.stdout)["jobs"]) == 20


@pytest.mark.parsl
@pytest.mark.parametrize("pilots", [1, 3])
def test_pilots_share_the_structures(tmp_path: Path, flux: RealFlux, engine: TestEngine, pilots: int) -> None:
    campaign, ledger = prepared(tmp_path, engine, 12, "flux", jobs=pilots, **PILOTS)
    assert all_completed(list(batch(campaign, ledger, list(range(12)))), 12)
    assert Counter(engine.runs) == dict.fromkeys(range(12), 1)
    assert f"--cc={'0' if pilots == 1 else '0-2'} " in flux.calls("submit")[0]
    until(lambda: all(job["state"] == "INACTIVE" for job in flux.jobs()), "the pilots' end")


@pytest.mark.parsl
@pytest.mark.parametrize("how", ["cancelled", "its node dies"])
def test_a_pilot_that_is_lost_is_replaced(
    tmp_path: Path, flux: RealFlux, engine: TestEngine, how: str
) -> None:
    engine.set("wait")
    campaign, ledger = prepared(tmp_path, engine, 6, "flux", jobs=1, **PILOTS)
    # The first node holds the instance together.
    flux.run("submit", "-N1", "-n1", "-c16", "--requires=host:fake0", "sleep", "1000")
    events = []
    lost = False
    for event in batch(campaign, ledger, list(range(6))):
        events.append(event)
        if isinstance(event, Running) and not lost:
            lost = True
            until(lambda: len(engine.runs) == 2, "its calculations")
            (pilot,) = (job for job in flux.jobs() if job["name"].startswith("oact-"))
            if how == "cancelled":
                flux.run("cancel", f58(pilot["id"]))
            else:
                flux.kill_node(pilot["nodelist"])
            (engine.control / "go").touch()
    assert all_completed(events, 6)
    assert len(flux.calls("submit")) >= 2 and all("--cc=0 " in call for call in flux.calls("submit"))
    assert all(count <= 2 for count in Counter(engine.runs).values()), engine.runs
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 6}


def test_brokers_that_freeze_during_a_submit(tmp_path: Path, flux: RealFlux, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 6, "flux", command_timeout_s=3.0)
    flux.freeze()
    events = []
    for event in batch(campaign, ledger, list(range(6))):
        events.append(event)
        if isinstance(event, Note) and "was lost" in event.text:
            flux.thaw()
    assert all_completed(events, 6)
    assert any("the answer to a submit of 6 jobs was lost" in note for note in notes(events))
    assert Counter(engine.runs) == dict.fromkeys(range(6), 1)


def test_brokers_that_freeze_while_jobs_are_followed(
    tmp_path: Path, flux: RealFlux, engine: TestEngine
) -> None:
    engine.set("wait")
    campaign, ledger = prepared(tmp_path, engine, 6, "flux", command_timeout_s=2.0, grace_s=0.5)
    events = []
    frozen = False
    for event in batch(campaign, ledger, list(range(6))):
        events.append(event)
        if isinstance(event, Running) and not frozen:
            until(lambda: len(engine.runs) == 6, "all calculations")
            flux.freeze()
            frozen = True
            (engine.control / "go").touch()
        if isinstance(event, Note) and "flux does not answer" in event.text:
            flux.thaw()
    assert all_completed(events, 6)
    assert any("flux answers again" in note for note in notes(events))
    assert Counter(engine.runs) == dict.fromkeys(range(6), 1)


@pytest.mark.parametrize(
    "moment",
    ["after claim", "after mark_prepared", "before mark_submitted", "after mark_submitted", "before record"],
)
def test_a_run_killed_with_9_is_taken_over(
    tmp_path: Path, flux: RealFlux, engine: TestEngine, moment: str
) -> None:
    engine.set("slow")
    campaign, ledger = prepared(tmp_path, engine, 8, "flux")
    worker(campaign, "killed", "0-7", moment).wait()
    assert all_completed(list(batch(campaign, ledger, list(range(8)), "next")), 8)
    assert Counter(engine.runs) == dict.fromkeys(range(8), 1)
    assert len(flux.calls("submit")) == 1


def test_termination_cancels_and_ctrl_c_leaves_the_jobs(
    tmp_path: Path, flux: RealFlux, engine: TestEngine
) -> None:
    engine.set("hang")
    campaign, ledger = prepared(tmp_path, engine, 3, "flux")
    stop = StopRequest()
    events = []
    for event in batch(campaign, ledger, [0, 1, 2], stop=stop):
        events.append(event)
        if isinstance(event, Running):
            until(lambda: len(engine.runs) == 3, "all calculations")
            stop.raise_to(StopLevel.FINISH)
    (told,) = (note for note in notes(events) if "3 jobs go on in the queue" in note)
    assert ledger.figures.count_by_status() == {Status.RUNNING: 3}
    assert [job["state"] for job in flux.jobs()] == ["RUN"] * 3
    stop = StopRequest()
    for event in batch(campaign, ledger, [0, 1, 2], "next", stop=stop):
        if isinstance(event, Note) and "3 with a job to follow" in event.text:
            stop.raise_to(StopLevel.NOW, hold=True)
        if isinstance(event, NotRun):
            assert "go on" not in event.reason
    assert len(engine.runs) == 3
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 3} and ledger.figures.count_held() == 3
    until(lambda: all(job["state"] == "INACTIVE" for job in flux.jobs()), "the jobs' end")
    # The command that was printed does what it says.
    sleeper = re.search(r"flux pkill (oact-\w+-)", told)
    assert sleeper is not None
    flux.run("submit", "--cc=0-2", f"--job-name={sleeper[1]}{{cc}}", "-n1", "sleep", "1000")
    flux.run("submit", "--job-name=mine", "-n1", "sleep", "1000")
    flux.run("pkill", sleeper[1])
    until(lambda: sum(job["state"] != "INACTIVE" for job in flux.jobs()) == 1, "what was cancelled")
    assert {job["name"] for job in flux.jobs() if job["state"] != "INACTIVE"} == {"mine"}


def test_a_second_instance_has_other_jobs_under_our_ids(
    tmp_path: Path, flux: RealFlux, engine: TestEngine
) -> None:
    engine.set("hang normal")
    campaign, ledger = prepared(tmp_path, engine, 2, "flux", grace_s=0.5)
    first = worker(campaign, "killed", "0-1")
    until(lambda: sorted(engine.runs) == [0, 1], "both calculations")
    first.kill()
    first.wait()
    flux.kill()
    flux.start()
    strangers = flux.run("submit", "--cc=0-1", "--job-name=stranger-{cc}", "-n1", "sleep", "1000").split()
    # An instance gives out ids by the time since its start: these are the ones that ours had.
    (folder,) = (campaign.jobs_dir / ".batches").iterdir()
    (folder / "job_ids.json").write_text(json.dumps(dict(enumerate(strangers))))
    events = list(batch(campaign, ledger, [0, 1], "next"))
    assert all_completed(events, 2)
    assert Counter(engine.runs) == {0: 2, 1: 2}
    left = {job["name"]: job["state"] for job in flux.jobs() if job["name"].startswith("stranger")}
    assert left == {"stranger-0": "RUN", "stranger-1": "RUN"}, "nobody touches them"
    assert flux.calls("cancel") == []


def test_a_job_of_an_instance_that_is_not_asked_runs_on(
    tmp_path: Path, flux: RealFlux, engine: TestEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another instance does not know it, and its engine says nothing; its payload lives: it is not given up."""
    engine.set("wait")
    campaign, ledger = prepared(tmp_path, engine, 1, "flux", grace_s=6.0)
    first = worker(campaign, "killed", "0-0")
    until(lambda: engine.runs == [0], "the calculation")
    first.kill()
    first.wait()
    other = started(monkeypatch)
    try:
        events, told_at = [], 0.0
        for event in batch(campaign, ledger, [0], "next"):
            events.append(event)
            if isinstance(event, Note) and "flux does not know 1 job of a run that is gone" in event.text:
                told_at = time.monotonic()
                threading.Timer(15.0, (engine.control / "go").touch).start()
        assert all_completed(events, 1) and told_at
    finally:
        other.stop()
    assert engine.runs == [0] and len(ledger.history.attempts(0)) == 1


def test_a_node_that_dies(tmp_path: Path, flux: RealFlux, engine: TestEngine) -> None:
    """What ran there runs again elsewhere; what Flux gives it in the moment of its death had not begun."""
    engine.set("wait")
    campaign, ledger = prepared(
        tmp_path, engine, 12, "flux", resources=[{"max_atoms": 99, "n_cores": 16}], grace_s=1.0
    )
    campaign_cores = 16
    events = []
    killed = False
    for event in batch(campaign, ledger, list(range(12))):
        events.append(event)
        if isinstance(event, Running) and not killed:
            killed = True
            until(lambda: len(engine.runs) == 4, "a calculation on each node")
            flux.kill_node("fake3")
            (engine.control / "go").touch()
    assert all_completed(events, 12)
    for index in range(12):
        attempts = ledger.history.attempts(index)
        for attempt in attempts[:-1]:
            assert attempt.host == "fake3", (index, attempt)
            assert attempt.outcome in (Outcome.LOST, Outcome.CANCELLED)
        assert attempts[-1].host != "fake3" and attempts[-1].n_cores == campaign_cores
    lost = [a for index in range(12) for a in ledger.history.attempts(index) if a.outcome is Outcome.LOST]
    assert len(lost) == 1, "one calculation ran there"
    assert sum(s.loss_count for s in ledger.structures.of(range(12)).values()) == 1
    assert len(engine.runs) == 13


def test_hosts_are_avoided_by_the_names_that_flux_has(
    tmp_path: Path, flux: RealFlux, engine: TestEngine
) -> None:
    campaign, ledger = prepared(tmp_path, engine, 20, "flux")
    for index in range(6):
        run(ledger, index, Outcome.LOST, host="fake1" if index < 3 else "gone")
    for index in range(6):
        run(ledger, index, Outcome.COMPLETED, host="fake2")
    assert set(bad_hosts(campaign, ledger)) == {"fake1", "gone"}
    events = list(batch(campaign, ledger, list(range(6, 20))))
    assert all_completed(events, 14)
    assert any("jobs are not kept away from gone: flux has no such node" in note for note in notes(events))
    hosts = {attempt.host for index in range(6, 20) for attempt in ledger.history.attempts(index)}
    assert "fake1" not in hosts and len(hosts) > 1


def test_what_flux_refuses_is_refused_before_a_submit(
    tmp_path: Path, queues: RealFlux, engine: TestEngine
) -> None:
    def told(name: str, **launcher: Any) -> list[str]:
        campaign, ledger = prepared(tmp_path / name, engine, 2, "flux", max_job_timeout_s=None, **launcher)
        ledger.close()
        return check_campaign(campaign).blocking

    assert (
        told("good") == [] == told("big", constraint="big") == told("alone", extra_directives=["--exclusive"])
    )
    assert told("both", constraint="big|nosuch") == []
    (cores,) = told("cores", resources=[{"max_atoms": 99, "n_cores": 9}])
    assert "ask for 9 cores, but queue pbatch allows 8" in cores
    (large,) = told("large", queue="pdebug", n_hours=0.02, resources=[{"max_atoms": 99, "n_cores": 17}])
    assert "ask for 17 cores of one node, but queue pdebug has at most 16: they would never start" in large
    (limit,) = told("limit", queue="pdebug", n_hours=1)
    assert "ask for 60 minutes, but queue pdebug allows 2" in limit
    (feature,) = told("feature", constraint="nosuch")
    assert "no node of queue pbatch meets it" in feature and feature.endswith(
        "the properties of its nodes: big"
    )
    (syntax,) = told("syntax", constraint="a|(")
    assert (
        "flux submit would refuse the options of the jobs: --requires='a|(': Unclosed parenthesis" in syntax
    )
    (queue,) = told("queue", queue="nope")
    assert queue == "launcher.queue: nope: Flux has no such queue; it has pbatch, pdebug"
    assert queues.jobs() == [], "nothing was submitted"


def test_what_can_never_start_is_told_at_once(tmp_path: Path, flux: RealFlux, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 3, "flux", constraint="nosuch", grace_s=86400.0)
    with pytest.raises(LauncherError, match=r"its job could not be started: unsatisfiable request"):
        list(batch(campaign, ledger, [0, 1, 2]))
    assert engine.runs == [] and ledger.figures.count_by_status() == {Status.TO_RUN: 3}


def test_jobs_by_hand_that_wait_are_known(tmp_path: Path, flux: RealFlux, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 3, "flux")
    folders = [made.folder for made in preview(campaign, ledger, [0, 1, 2]) if made.folder is not None]
    (waiting,) = flux.run("batch", "--urgency=0", str(folders[0] / "flux_job.flux")).split()
    assert Flux(JobOptions()).states({waiting: ""}) == {}, "it is none of ours"
    # With one cancelled by hand it is as if it had never been submitted.
    (cancelled,) = flux.run("batch", str(folders[1] / "flux_job.flux")).split()
    flux.run("cancel", cancelled)
    until(
        lambda: all(job["state"] == "INACTIVE" for job in flux.jobs() if f58(job["id"]) == cancelled),
        "its end",
    )
    words = settled(list(batch(campaign, ledger, [0, 1, 2])))
    assert isinstance(words[1], Completed) and isinstance(words[2], Completed)
    assert isinstance(words[0], NotRun) and f"(flux job {waiting})" in words[0].reason
    flux.run("job", "urgency", waiting, "16")
    until(lambda: all(job["state"] == "INACTIVE" for job in flux.jobs()), "the job by hand")
    assert all_completed(list(batch(campaign, ledger, [0], "next")), 1)
    assert Counter(engine.runs) == {0: 1, 1: 1, 2: 1}, "what was computed by hand is recorded"


def test_what_stands_in_settings_and_paths_reaches_no_shell(
    tmp_path: Path, flux: RealFlux, engine: TestEngine
) -> None:
    nasty = 'it\'s; $(touch pwned) "x" `id` é'
    campaign, ledger = prepared(
        tmp_path / f"{nasty} {{id}} {{cc}}", engine, 2, "flux",
        allocation=nasty, constraint="big|$HOME;id", extra_directives=[f"--setattr=user.x={nasty}"],
    )  # fmt: skip
    assert all_completed(list(batch(campaign, ledger, [0, 1])), 2)
    assert not list(tmp_path.rglob("pwned"))


def test_a_brace_in_a_setting_costs_one_line(tmp_path: Path, flux: RealFlux, engine: TestEngine) -> None:
    """In the options of a bulk Flux reads what stands between braces, and has no way to say a brace itself."""
    campaign, ledger = prepared(tmp_path, engine, 2, "flux", allocation="{id}")
    with pytest.raises(
        LauncherError, match=r"flux refused its job: .*'id' not found in '-B\{id\}'; nothing more"
    ):
        list(batch(campaign, ledger, [0, 1]))
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 2}


def test_a_constraint_with_hosts_to_avoid_is_read_as_it_is_meant(flux: RealFlux) -> None:
    asked = requires("big|fake", ["fake1", "fake2"])
    done = subprocess.run(
        [str(shutil.which("flux")), "submit", "--dry-run", f"--requires={asked}", "true"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    constraint = json.loads(done.stdout)["attributes"]["system"]["constraints"]
    either = {"or": [{"properties": ["big"]}, {"properties": ["fake"]}]}
    assert constraint["and"][0] == either
    assert constraint["and"][1:] == [{"and": [{"not": [{"hostlist": [f"fake{n}"]}]} for n in (1, 2)]}]


def test_states_of_jobs_that_flux_knows_and_does_not_know(flux: RealFlux) -> None:
    client = Flux(JobOptions(), 20.0)
    (ours,) = flux.run("submit", "--job-name=oact-a-0", "-n1", "sleep", "1000").split()
    assert client.states({ours: "oact-a", "f1235": "oact-a"})[ours].phase in (Phase.QUEUED, Phase.RUNNING)
    assert client.states({"f1235": "oact-a"}) == {} == client.states({"f1235": "", "f1236": ""})
    assert client.states({ours: "oact-b"}) == {}
    client.cancel({ours: "oact-a", "f1235": "oact-a"})
    until(lambda: client.states({ours: "oact-a"})[ours].phase is Phase.ENDED, "its end")
    client.cancel({ours: "oact-a", "f1235": "oact-a"})
    assert client.hosts() == ["fake0", "fake1", "fake2", "fake3"]
    assert Flux(JobOptions(constraint="big"), 20.0).hosts() == ["fake0"]

"""Flux's launcher against a stand-in for its command, which answers as the real one was recorded to."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.attempts.engine import find_engine
from oact_dagster.attempts.events import Completed, Event, Note, NotRun, Running
from oact_dagster.attempts.job_folder import FolderWriter
from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.next_attempt import plan_next
from oact_dagster.attempts.stop_request import StopLevel, StopRequest
from oact_dagster.errors import LauncherError, NoAnswerError
from oact_dagster.feed.bad_hosts import bad_hosts
from oact_dagster.launchers.scheduler_launcher import SchedulerLauncher
from oact_dagster.ledger.queue import Due
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.schedulers.flux.commands import Flux
from oact_dagster.schedulers.flux.directives import requires
from oact_dagster.schedulers.flux.states import f58, job_state, read_jobs
from oact_dagster.schedulers.job_array import ResourceRequest
from oact_dagster.schedulers.job_files import job_file_text
from oact_dagster.schedulers.job_script import JobEnvironment
from oact_dagster.schedulers.jobs import Cause, Phase
from oact_dagster.schedulers.protocol import JobOptions
from oact_dagster.schedulers.slurm.commands import Slurm
from oact_dagster_tests.batches import batch, settled
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.launchers.running import prepared, worker
from oact_dagster_tests.ledger.samples import run
from oact_dagster_tests.waiting import until

pytestmark = pytest.mark.slow

STAND_IN = Path(__file__).parents[1] / "schedulers" / "stand_in_flux.py"


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path)


class StandIn:
    """The folder of the stand-in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fault(self, text: str) -> None:
        (self.folder / "fault").write_text(text)

    def mend(self) -> None:
        (self.folder / "fault").unlink(missing_ok=True)

    def instance(self, **what: Any) -> None:
        """Say which nodes and queues there are."""
        (self.folder / "instance.json").write_text(json.dumps(what))

    def history(self, jobs: int) -> None:
        """Let so many jobs of the same user have ended before."""
        ended = [
            {"id": number + 1, "name": f"old-{number}", "state": "INACTIVE", "result": "COMPLETED",
             "returncode": 0, "t_submit": 1.0, "t_inactive": 2.0}
            for number in range(jobs)
        ]  # fmt: skip
        (self.folder / "history.json").write_text(json.dumps(ended))

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs that there ever were."""
        answer = subprocess.run(["flux", "jobs", "-a", "-c0", "--json"], capture_output=True, check=True)
        return list(json.loads(answer.stdout)["jobs"])

    def calls(self, kind: str) -> list[str]:
        return [
            line for line in (self.folder / "calls").read_text().splitlines() if line.startswith(f"{kind} ")
        ]


@pytest.fixture
def flux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    folder = tmp_path / "stand-in"
    (folder / "bin").mkdir(parents=True)
    command = folder / "bin" / "flux"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_FLUX", str(folder))
    return StandIn(folder)


def notes(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


def test_structures_are_recorded_once_each(tmp_path: Path, flux: StandIn, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 20, "flux", queue="pbatch", allocation="my bank", n_hours=1)
    words = settled(list(batch(campaign, ledger, list(range(20)))))
    assert all(isinstance(word, Completed) for word in words.values())
    assert Counter(engine.runs) == dict.fromkeys(range(20), 1)
    (call,) = flux.calls("submit")
    assert "--cc=0-19" in call and "-N1 -n1 -c1 -t60m --queue=pbatch --bank=my bank" in call
    ids = [str(ledger.history.attempts(index)[0].scheduler_job_id) for index in range(20)]
    assert len(set(ids)) == 20 and all(one.isascii() and one.startswith("f") for one in ids)


@pytest.mark.parametrize("pilots", [{}, {"per_job": "parsl", "jobs": 1, "idle_s": 1, "oversubscribe": True}])
def test_one_structure_alone(
    tmp_path: Path, flux: StandIn, engine: TestEngine, pilots: dict[str, Any]
) -> None:
    campaign, ledger = prepared(tmp_path, engine, 1, "flux", n_hours=1, job_timeout_s=600, **pilots)
    assert isinstance(settled(list(batch(campaign, ledger, [0])))[0], Completed)
    (call,) = flux.calls("submit")
    assert "--cc=0 " in call, "Flux refuses a range of one number"
    assert engine.runs == [0]


def test_a_long_history_is_not_listed(tmp_path: Path, flux: StandIn, engine: TestEngine) -> None:
    flux.history(10_000)
    engine.set("slow")
    campaign, ledger = prepared(tmp_path, engine, 6, "flux")
    first = worker(campaign, "killed", "0-5", "before mark_submitted")
    first.wait()
    began = time.time()
    words = settled(list(batch(campaign, ledger, list(range(6)), "next")))
    assert all(isinstance(word, Completed) for word in words.values())
    assert Counter(engine.runs) == dict.fromkeys(range(6), 1)
    asked = flux.calls("jobs")
    assert asked and not any(" -a" in call for call in asked)
    for call in asked:
        since = re.search(r"--since=(\d+)", call)
        # By id only, or what has ended since the submit; clocks may differ by ten minutes.
        assert re.search(r" f\w+", call) if since is None else int(since[1]) > began - 700 and "-c0" in call


def test_an_id_that_flux_does_not_know_is_no_verdict(flux: StandIn) -> None:
    client = Flux(JobOptions(), 20.0)
    flux.history(3)
    known, unknown = f58(1), f58(10**12)
    assert set(client.states({known: "old", unknown: "old"})) == {known}, "the others are printed"
    assert client.states({unknown: "old"}) == {} == client.states({unknown: "old", f58(10**12 + 1): "old"})
    flux.fault("no-broker")
    with pytest.raises(NoAnswerError, match="Unable to connect"):
        client.states({unknown: "old"})


def test_a_job_is_followed_and_cancelled_only_while_it_bears_our_name(
    tmp_path: Path, flux: StandIn, engine: TestEngine
) -> None:
    engine.set("hang normal")
    campaign, ledger = prepared(tmp_path, engine, 1, "flux", grace_s=0.5)
    first = worker(campaign, "killed", "0-0")
    until(lambda: engine.runs == [0])
    first.kill()
    first.wait()
    (job,) = flux.jobs()
    client = Flux(JobOptions(), 20.0)
    array, _, _ = job["name"].rpartition("-")
    job_id = f58(job["id"])
    assert client.states({job_id: array})[job_id].phase is Phase.RUNNING
    assert client.states({job_id: ""})[job_id].phase is Phase.RUNNING, "the array's folder may be gone"
    # Another instance: its ids start over, and this one is a stranger's now, or another campaign's.
    file = flux.folder / f"job-{job['id']}.json"
    for name in ("their-job", "oact-0123456789abcdef-0"):
        file.write_text(json.dumps({**job, "name": name}))
        assert client.states({job_id: array}) == {}
        client.cancel({job_id: array})
    assert flux.calls("cancel") == []
    words = settled(list(batch(campaign, ledger, [0], "next")))
    assert isinstance(words[0], Completed) and len(ledger.history.attempts(0)) == 2
    assert flux.calls("cancel") == [], "the stranger's job goes on"
    os.kill(job["pid"], signal.SIGTERM)


def test_hosts_to_avoid_are_those_that_flux_has(tmp_path: Path, flux: StandIn, engine: TestEngine) -> None:
    flux.instance(
        nodes={f"fake{n}.site.org": {"cores": 16, "properties": []} for n in range(3)},
        queues=[{"name": "pbatch", "nodes": ["fake0.site.org", "fake1.site.org"]}],
    )
    campaign, ledger = prepared(tmp_path, engine, 9, "flux")
    for index in range(6):
        run(ledger, index, Outcome.LOST, host="fake0" if index < 3 else "fake2")
    for index in range(6):
        run(ledger, index, Outcome.COMPLETED, host="fake1")
    events = list(batch(campaign, ledger, [6, 7, 8]))
    assert all(isinstance(word, Completed) for word in settled(events).values())
    (call,) = (call for call in flux.calls("submit") if "--dry-run" not in call)
    assert "--requires=-host:fake0.site.org bash" in call
    (note,) = (note for note in notes(events) if "not kept away" in note)
    assert note == "flux: jobs are not kept away from fake2: flux has no such node for these jobs", (
        "fake2 belongs to no queue"
    )


def test_a_constraint_that_is_refused_for_one_host_holds_for_the_others(
    tmp_path: Path, flux: StandIn, engine: TestEngine
) -> None:
    campaign, ledger = prepared(tmp_path, engine, 8, "flux")
    for host in ("fake0", "fake3"):
        for index in range(3):
            run(ledger, 3 * ("fake0", "fake3").index(host) + index, Outcome.LOST, host=host)
    for index in range(6):
        run(ledger, index, Outcome.COMPLETED, host="fake1")

    class Older(Flux):
        """Knows its nodes from before one was taken away."""

        def hosts(self) -> list[str]:
            return ["fake0", "fake1", "fake2", "fake3"]

    flux.instance(nodes={f"fake{n}": {"cores": 16, "properties": []} for n in range(3)})
    launcher = SchedulerLauncher(
        Older(JobOptions(), 20.0), campaign.jobs_dir / ".batches", JobEnvironment(), 0.3
    )
    events = list(batch(campaign, ledger, [6, 7], launcher=launcher))
    assert all(isinstance(word, Completed) for word in settled(events).values())
    first, second = flux.calls("submit")
    assert "--requires=-host:fake0 -host:fake3 " in first and "--requires=-host:fake0 " in second
    (note,) = (note for note in notes(events) if "not kept away" in note)
    assert note.startswith("flux: jobs are not kept away from fake3: ") and "host 'fake3' not found" in note


def test_where_no_node_is_left_none_is_avoided(tmp_path: Path, flux: StandIn, engine: TestEngine) -> None:
    flux.instance(
        nodes={
            "fake0": {"cores": 16, "properties": ["gpu"]},
            "fake1": {"cores": 16, "properties": []},
        }
    )
    campaign, ledger = prepared(tmp_path, engine, 4, "flux", constraint="gpu")
    for index in range(3):
        run(ledger, index, Outcome.LOST, host="fake0")
    events = list(batch(campaign, ledger, [3]))
    assert isinstance(settled(events)[3], Completed)
    assert "flux: jobs are not kept away from fake0: no other node could run these jobs" in notes(events)


def test_a_node_that_dies_with_jobs_that_had_not_begun_costs_them_nothing(
    tmp_path: Path, flux: StandIn, engine: TestEngine
) -> None:
    flux.fault("dead-node fake3")
    campaign, ledger = prepared(tmp_path, engine, 4, "flux", grace_s=0.3)
    events = []
    for event in batch(campaign, ledger, list(range(4))):
        events.append(event)
        if isinstance(event, Note) and "its node failed before it began" in event.text:
            flux.mend()
    assert all(isinstance(word, Completed) for word in settled(events).values())
    assert Counter(engine.runs) == dict.fromkeys(range(4), 1)
    for structure in ledger.structures.of(range(4)).values():
        assert (structure.fail_count, structure.loss_count) == (0, 0)
        first, second = ledger.history.attempts(structure.orig_index)
        assert (first.outcome, first.failure_class, first.host) == (Outcome.CANCELLED, "lost", "fake3")
        assert second.host != "fake3"
    assert bad_hosts(campaign, ledger) == {"fake3": 4}, "they count for the node"


def test_a_job_submitted_by_hand_is_not_submitted_a_second_time(
    tmp_path: Path, flux: StandIn, engine: TestEngine
) -> None:
    campaign, ledger = prepared(tmp_path, engine, 3, "flux")
    engine_found = find_engine(campaign)
    writer = FolderWriter(campaign, JobLayout.of(campaign, ledger))
    folders = [
        writer.preview(
            ledger.structures.of([index])[index],
            plan_next(
                campaign, ledger.structures.of([index])[index], [], settings_hash=campaign.settings_hash()
            ),
            engine_found,
        ).folder
        for index in range(2)
    ]
    scripts = [(folder / "flux_job.flux").read_text() for folder in folders]
    (name,) = re.findall(r"^#flux: --job-name (job_0-\w+)$", scripts[0], re.MULTILINE)
    # `flux batch` gives the job this name; here it waits in the queue.
    waiting = {
        "id": 357321146368 - 58, "name": name, "state": "SCHED", "t_submit": time.time(), "urgency": 16,
    }  # fmt: skip
    (flux.folder / "job-0.json").write_text(json.dumps(waiting))
    words = settled(list(batch(campaign, ledger, [0, 1, 2])))
    assert isinstance(words[0], NotRun)
    assert words[0].reason == (
        f"it was submitted by hand (flux job {f58(waiting['id'])}) and is not submitted again; a run after the end of"
        " that job records its result"
    )
    assert isinstance(words[1], Completed) and isinstance(words[2], Completed)
    assert sorted(engine.runs) == [1, 2] and ledger.history.attempts(0) == []
    assert (folders[0] / "flux_job.flux").read_text() == scripts[0], "its folder is as it was"
    due = Due(time.time(), 3, 3, "")
    assert ledger.queue.select([Status.TO_RUN], 5, due) == [], "the feed leaves it alone for a while"
    (flux.folder / "job-0.json").write_text(
        json.dumps({**waiting, "state": "INACTIVE", "result": "CANCELED"})
    )
    assert isinstance(settled(list(batch(campaign, ledger, [0], "next")))[0], Completed)


def test_ids_have_one_form() -> None:
    assert f58(357321146368) == "fAPQFGw9"
    jobs = read_jobs('{"id": 357321146368, "jobid": "ƒAPQFGw9", "state": "RUN"}')
    assert list(jobs) == ["fAPQFGw9"], "of one id Flux prints a bare object"


def test_a_bad_host_is_left_out_of_what_is_required(
    tmp_path: Path, flux: StandIn, engine: TestEngine
) -> None:
    flux.instance(nodes={f"fake{n}": {"cores": 16, "properties": ["gpu"]} for n in range(4)})
    campaign, ledger = prepared(tmp_path, engine, 6, "flux", constraint="gpu|big")
    for index in range(3):
        run(ledger, index, Outcome.LOST, host="fake2")
    assert all(
        isinstance(word, Completed) for word in settled(list(batch(campaign, ledger, [3, 4, 5]))).values()
    )
    (call,) = (call for call in flux.calls("submit") if "--dry-run" not in call)
    assert "--requires=(gpu|big) -host:fake2 " in call
    assert {attempt.host for index in (3, 4, 5) for attempt in ledger.history.attempts(index)} <= {
        "fake0", "fake1", "fake3",
    }, "a host has the name that Flux knows it by"  # fmt: skip
    assert (
        requires(None, ()) is None
        and requires("a,b", ()) == "a,b"
        and requires(None, ("n1", "n2")) == ("-host:n1 -host:n2")
    )


EXEC = {"occurred": True, "severity": 0, "type": "exec"}


@pytest.mark.parametrize(
    ("job", "cause", "final"),
    [
        ({"result": "COMPLETED", "returncode": 0}, Cause.ITSELF, "COMPLETED"),
        ({"result": "FAILED", "returncode": 7}, Cause.ITSELF, "FAILED (exit code 7)"),
        ({"result": "FAILED", "returncode": 139}, Cause.ITSELF, "FAILED (exit code 139)"),
        (
            {"result": "TIMEOUT", "returncode": 142, "exception": {
                "occurred": True, "type": "timeout", "note": "resource allocation expired"}},
            Cause.TIME_LIMIT, "TIMEOUT (timeout: resource allocation expired)",
        ),
        ({"result": "CANCELED", "returncode": 143, "exception": {"occurred": True, "type": "cancel"}},
         Cause.CANCELLED, "CANCELED (exit code 143)"),
        ({"result": "CANCELED", "returncode": -128, "exception": {"occurred": True, "type": "cancel"}},
         Cause.CANCELLED, "CANCELED (exit code -128)"),
        ({"result": "FAILED", "returncode": 127, "exception": {**EXEC, "note":
            "task 0 (host vm): start failed: nosuchcommand: No such file or directory"}},
         Cause.ITSELF, "FAILED (exec: task 0 (host vm): start failed"),
        ({"result": "FAILED", "returncode": 1, "exception": {**EXEC, "note": "node failure on n4 (rank 3)"}},
         Cause.NODE_FAILED, "FAILED (exec: node failure on n4"),
        ({"result": "FAILED", "returncode": 1, "exception": {"occurred": True, "type": "alloc", "note":
            "unsatisfiable request: need 5 node(s)"}}, Cause.NOT_STARTED, "not started: unsatisfiable request"),
    ],
)  # fmt: skip
def test_final_states_are_read_as_they_were_recorded(job: dict[str, Any], cause: Cause, final: str) -> None:
    state = job_state({"state": "INACTIVE", **job})
    assert (state.phase, state.cause) == (Phase.ENDED, cause)
    assert state.final.startswith(final)


def test_a_job_that_is_held_waits_for_a_hand() -> None:
    held = job_state({"state": "SCHED", "urgency": 0})
    assert held.phase is Phase.QUEUED
    assert "flux job urgency" in str(Flux(JobOptions()).why_pending(held.reason))
    waiting = job_state({"state": "SCHED", "urgency": 16})
    assert (waiting.phase, Flux(JobOptions()).why_pending(waiting.reason)) == (Phase.QUEUED, None)


def test_a_frozen_broker_hangs_no_run(tmp_path: Path, flux: StandIn, engine: TestEngine) -> None:
    flux.fault("hang")
    client = Flux(JobOptions(), 0.5)
    with pytest.raises(NoAnswerError, match="did not answer within its time limit"):
        client.states({"fAPQFGw9": ""})


@pytest.mark.parametrize("fault", ["hang-after", "die-after 4"])
def test_a_bulk_whose_answer_is_lost_is_not_made_twice(
    tmp_path: Path, flux: StandIn, engine: TestEngine, fault: str
) -> None:
    flux.fault(fault)
    campaign, ledger = prepared(tmp_path, engine, 6, "flux", command_timeout_s=4.0)
    events = list(batch(campaign, ledger, list(range(6))))
    assert all(isinstance(word, Completed) for word in settled(events).values())
    assert Counter(engine.runs) == dict.fromkeys(range(6), 1)
    assert any("the answer to a submit of 6 jobs was lost" in note for note in notes(events))
    assert len(flux.calls("submit")) == (1 if fault == "hang-after" else 2), (
        "only what was not there is made again"
    )


def test_a_list_that_lags_behind_the_submit(tmp_path: Path, flux: StandIn, engine: TestEngine) -> None:
    flux.fault("lag")
    campaign, ledger = prepared(tmp_path, engine, 5, "flux")
    events = list(batch(campaign, ledger, list(range(5))))
    assert all(isinstance(word, Completed) for word in settled(events).values())
    assert Counter(engine.runs) == dict.fromkeys(range(5), 1)
    assert len(flux.calls("submit")) == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            "",
            r"flux refused its job: \[Errno 1\] Invalid queue '\$\(touch pwned\); x' specified; nothing more",
        ),
        ("no-broker", "flux refused its job: .*Unable to connect to Flux: broker socket"),
    ],
)
def test_a_refusal_is_told_in_one_line(
    tmp_path: Path, flux: StandIn, engine: TestEngine, fault: str, said: str
) -> None:
    flux.fault(fault or "none")
    campaign, ledger = prepared(tmp_path, engine, 5, "flux", queue="$(touch pwned); x")
    with pytest.raises(LauncherError, match=said):
        list(batch(campaign, ledger, list(range(5))))
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 5}
    assert not list(tmp_path.rglob("pwned"))


def test_what_stands_in_settings_and_paths_reaches_no_shell(
    tmp_path: Path, flux: StandIn, engine: TestEngine
) -> None:
    nasty = 'it\'s; $(touch pwned) "x" `id` é'
    # Flux reads operators in a constraint; this is a property to it.
    feature = "$HOME;id"
    flux.instance(
        nodes={"fake0": {"cores": 16, "properties": [feature]}}, queues=[{"name": nasty}], default=nasty
    )
    campaign, ledger = prepared(
        tmp_path / f"{nasty} {{id}} {{cc}}", engine, 2, "flux",
        queue=nasty, allocation=nasty, constraint=feature, modules=[nasty],
        extra_directives=[f"--setattr=user.x={nasty}"],
    )  # fmt: skip
    module = flux.folder / "bin" / "module"
    module.write_text("#!/bin/sh\n")
    module.chmod(0o755)
    words = settled(list(batch(campaign, ledger, [0, 1])))
    assert all(isinstance(word, Completed) for word in words.values())
    assert not list(tmp_path.rglob("pwned"))
    (call,) = flux.calls("submit")
    assert f"--queue={nasty} --bank={nasty} --requires={feature} --setattr=user.x={nasty} bash job.sh" in call


def test_what_flux_cannot_satisfy_stops_the_batch(tmp_path: Path, flux: StandIn, engine: TestEngine) -> None:
    # It is told at once: no payload's record can come any more that would be waited for.
    campaign, ledger = prepared(tmp_path, engine, 3, "flux", constraint="nosuch", grace_s=86400.0)
    with pytest.raises(
        LauncherError, match=r"its job could not be started: unsatisfiable request: need 1 slot"
    ):
        list(batch(campaign, ledger, [0, 1, 2]))
    assert engine.runs == [] and ledger.figures.count_by_status() == {Status.TO_RUN: 3}
    assert all(s.fail_count == s.loss_count == 0 for s in ledger.structures.of([0, 1, 2]).values())


def test_a_limit_on_active_jobs_is_waited_for(tmp_path: Path, flux: StandIn, engine: TestEngine) -> None:
    flux.fault("limit 3")
    campaign, ledger = prepared(tmp_path, engine, 8, "flux")
    events = list(batch(campaign, ledger, list(range(8))))
    assert all(isinstance(word, Completed) for word in settled(events).values())
    assert Counter(engine.runs) == dict.fromkeys(range(8), 1)
    assert sum("takes no more jobs for now" in note for note in notes(events)) >= 1


def test_a_node_failure_loses_the_attempt_and_it_runs_again(
    tmp_path: Path, flux: StandIn, engine: TestEngine
) -> None:
    engine.set("hang normal")
    campaign, ledger = prepared(tmp_path, engine, 1, "flux")
    events = []
    failed = False
    for event in batch(campaign, ledger, [0]):
        events.append(event)
        if isinstance(event, Running) and not failed:
            failed = True
            until(lambda: len(engine.runs) == 1)
            (job,) = flux.jobs()
            (flux.folder / f"node-failure-{job['id']}").touch()
            os.kill(job["pid"], signal.SIGTERM)
    assert isinstance(settled(events)[0], Completed)
    first, second = ledger.history.attempts(0)
    assert (first.outcome, second.outcome) == (Outcome.LOST, Outcome.COMPLETED)
    assert "node failure on fake0" in str(first.message) and first.host == "fake0"
    assert second.host != "fake0", "it runs again on another node"


def test_termination_cancels_and_ctrl_c_leaves_the_jobs(
    tmp_path: Path, flux: StandIn, engine: TestEngine
) -> None:
    engine.set("hang")
    campaign, ledger = prepared(tmp_path, engine, 3, "flux")
    stop = StopRequest()
    events = []
    for event in batch(campaign, ledger, [0, 1, 2], stop=stop):
        events.append(event)
        if isinstance(event, Running):
            until(lambda: len(engine.runs) == 3)
            stop.raise_to(StopLevel.FINISH)
    assert any("3 jobs go on in the queue" in n and "flux pkill oact-" in n for n in notes(events))
    assert ledger.figures.count_by_status() == {Status.RUNNING: 3}
    stop = StopRequest()
    for event in batch(campaign, ledger, [0, 1, 2], "next", stop=stop):
        if isinstance(event, Note) and "3 with a job to follow" in event.text:
            stop.raise_to(StopLevel.NOW, hold=True)
        if isinstance(event, NotRun):
            assert "go on" not in event.reason
    assert len(engine.runs) == 3
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 3} and ledger.figures.count_held() == 3
    assert all(job["state"] == "INACTIVE" for job in flux.jobs())


def test_a_run_killed_with_9_is_taken_over(tmp_path: Path, flux: StandIn, engine: TestEngine) -> None:
    engine.set("slow")
    campaign, ledger = prepared(tmp_path, engine, 8, "flux")
    first = worker(campaign, "killed", "0-7")
    until(lambda: len(engine.runs) >= 4)
    first.kill()
    first.wait()
    words = settled(list(batch(campaign, ledger, list(range(8)), "next")))
    assert all(isinstance(word, Completed) for word in words.values()) and len(words) == 8
    assert Counter(engine.runs) == dict.fromkeys(range(8), 1)
    assert len(flux.calls("submit")) == 1


@pytest.mark.parsl
def test_pilots_share_the_structures(tmp_path: Path, flux: StandIn, engine: TestEngine) -> None:
    campaign, ledger = prepared(
        tmp_path,
        engine,
        12,
        "flux",
        per_job="parsl",
        jobs=2,
        n_hours=1,
        job_timeout_s=600,
        max_workers=2,
        oversubscribe=True,
        idle_s=1,
    )
    words = settled(list(batch(campaign, ledger, list(range(12)))))
    assert all(isinstance(word, Completed) for word in words.values())
    assert Counter(engine.runs) == dict.fromkeys(range(12), 1)
    (call,) = flux.calls("submit")
    assert "--cc=0-1" in call and "-c2" in call and "-t60m" in call
    until(lambda: all(job["state"] == "INACTIVE" for job in flux.jobs()))


def test_the_job_script(tmp_path: Path) -> None:
    folder = tmp_path / "it's $(touch pwned)"
    folder.mkdir()
    environment = JobEnvironment(modules=["openmpi/4.1"], conda_env="my env")
    client = Flux(JobOptions(queue="pbatch", allocation="dnn-sim"))
    command = ["/opt/or ca/orca", "orca.inp"]
    text = job_file_text(client, folder, ResourceRequest(16, 120, None), command, environment)
    for line in ("-N 1", "-n 16", "-q pbatch", "-B dnn-sim", "-t 120m"):
        assert f"#flux: {line}\n" in text
    assert "module load openmpi/4.1 || exit 5\n" in text and "conda activate 'my env' || exit 5\n" in text
    assert text.rstrip().endswith("-- '/opt/or ca/orca' orca.inp")
    bare = job_file_text(Flux(JobOptions()), folder, ResourceRequest(1, 1, None), ["orca"], JobEnvironment())
    assert "-q" not in bare and "-B" not in bare and "conda" not in bare


def test_a_value_of_two_lines_is_refused(tmp_path: Path) -> None:
    request, bad = ResourceRequest(1, 1, None), "orca\nrm -rf /"
    with pytest.raises(ValueError, match="must be one line"):
        job_file_text(Flux(JobOptions()), tmp_path, request, [bad], JobEnvironment())
    for scheduler in (Flux, Slurm):
        for options in (JobOptions(queue=bad), JobOptions(extra=[bad])):
            with pytest.raises(ValueError, match="must be one line"):
                job_file_text(scheduler(options), tmp_path, request, ["orca"], JobEnvironment())

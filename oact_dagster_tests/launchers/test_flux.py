"""Flux's launcher against a stand-in for its command, which answers as the real one was recorded to."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.execution.events import Completed, Event, Note, NotRun, Running
from oact_dagster.execution.stopping import StopLevel, StopRequest
from oact_dagster.launchers.flux.commands import Flux, FluxOptions, requires
from oact_dagster.launchers.flux.job_file import write_flux_job
from oact_dagster.launchers.flux.job_ids import f58
from oact_dagster.launchers.flux.states import job_state, read_jobs
from oact_dagster.launchers.job_script import JobEnvironment
from oact_dagster.launchers.protocol import Cause, LauncherError, Phase
from oact_dagster.launchers.scheduler_command import NoAnswerError
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster_tests.batches import batch, settled
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.launchers.running import prepared, worker
from oact_dagster_tests.ledger.samples import run
from oact_dagster_tests.waiting import until

STAND_IN = Path(__file__).with_name("stand_in_flux.py")


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
    assert "--cc=0-19" in call and "-n1 -c1 -t60m" in call and "--queue=pbatch --bank=my bank" in call
    ids = [str(ledger.attempts(index)[0].scheduler_job_id) for index in range(20)]
    assert len(set(ids)) == 20 and all(one.isascii() and one.startswith("f") for one in ids)


def test_ids_have_one_form() -> None:
    assert f58(357321146368) == "fAPQFGw9"
    jobs = read_jobs('{"id": 357321146368, "jobid": "ƒAPQFGw9", "state": "RUN"}')
    assert list(jobs) == ["fAPQFGw9"], "of one id Flux prints a bare object"


def test_a_bad_host_is_left_out_of_what_is_required(
    tmp_path: Path, flux: StandIn, engine: TestEngine
) -> None:
    campaign, ledger = prepared(tmp_path, engine, 6, "flux", constraint="gpu|big")
    for index in range(3):
        run(ledger, index, Outcome.LOST, host="n7")
    assert all(
        isinstance(word, Completed) for word in settled(list(batch(campaign, ledger, [3, 4, 5]))).values()
    )
    (call,) = flux.calls("submit")
    assert "--requires=(gpu|big) -host:n7 " in call
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
            "unsatisfiable request: need 5 node(s)"}}, Cause.ITSELF, "not started: unsatisfiable request"),
    ],
)  # fmt: skip
def test_final_states_are_read_as_they_were_recorded(job: dict[str, Any], cause: Cause, final: str) -> None:
    state = job_state({"state": "INACTIVE", **job})
    assert (state.phase, state.cause) == (Phase.ENDED, cause)
    assert state.final.startswith(final)


def test_a_job_that_is_held_waits_for_a_hand() -> None:
    held = job_state({"state": "SCHED", "urgency": 0})
    assert held.phase is Phase.QUEUED
    assert "flux job urgency" in str(Flux(FluxOptions()).why_pending(held.reason))
    waiting = job_state({"state": "SCHED", "urgency": 16})
    assert (waiting.phase, Flux(FluxOptions()).why_pending(waiting.reason)) == (Phase.QUEUED, None)


def test_a_frozen_broker_hangs_no_run(tmp_path: Path, flux: StandIn, engine: TestEngine) -> None:
    flux.fault("hang")
    client = Flux(FluxOptions(), 0.5)
    with pytest.raises(NoAnswerError, match="gave no answer in its time limit"):
        client.states(["fAPQFGw9"])


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
            "refuse",
            r"flux refused its job: \[Errno 22\] Invalid queue '\$\(touch pwned\); x' specified; nothing more",
        ),
        ("no-broker", "flux refused its job: .*Unable to connect to Flux: broker socket"),
    ],
)
def test_a_refusal_is_told_in_one_line(
    tmp_path: Path, flux: StandIn, engine: TestEngine, fault: str, said: str
) -> None:
    flux.fault(fault)
    campaign, ledger = prepared(tmp_path, engine, 5, "flux", queue="$(touch pwned); x")
    with pytest.raises(LauncherError, match=said):
        list(batch(campaign, ledger, list(range(5))))
    assert ledger.count_by_status() == {Status.TO_RUN: 5}
    assert not list(tmp_path.rglob("pwned"))


def test_what_stands_in_settings_and_paths_reaches_no_shell(
    tmp_path: Path, flux: StandIn, engine: TestEngine
) -> None:
    nasty = 'it\'s; $(touch pwned) "x" `id` {id} {cc} é'
    campaign, ledger = prepared(
        tmp_path / nasty, engine, 2, "flux",
        queue=nasty, allocation=nasty, constraint=nasty, modules=[nasty],
        extra_directives=[f"--setattr=user.x={nasty}"],
    )  # fmt: skip
    module = flux.folder / "bin" / "module"
    module.write_text("#!/bin/sh\n")
    module.chmod(0o755)
    words = settled(list(batch(campaign, ledger, [0, 1])))
    assert all(isinstance(word, Completed) for word in words.values())
    assert not list(tmp_path.rglob("pwned"))
    (call,) = flux.calls("submit")
    assert f"--queue={nasty} --bank={nasty} --requires={nasty} --setattr=user.x={nasty} bash job.sh" in call


def test_what_flux_cannot_satisfy_stops_the_batch(tmp_path: Path, flux: StandIn, engine: TestEngine) -> None:
    flux.fault("unsatisfiable")
    campaign, ledger = prepared(tmp_path, engine, 3, "flux", grace_s=0.3)
    with pytest.raises(
        LauncherError, match=r"its job could not be started: unsatisfiable request: need 5 node"
    ):
        list(batch(campaign, ledger, [0, 1, 2]))
    assert engine.runs == [] and ledger.count_by_status() == {Status.TO_RUN: 3}
    assert all(s.fail_count == s.loss_count == 0 for s in ledger.structures([0, 1, 2]).values())


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
            job = next(iter(Flux(FluxOptions())._jobs().values()))
            (flux.folder / f"node-failure-{job['id']}").touch()
            os.kill(job["pid"], signal.SIGTERM)
    assert isinstance(settled(events)[0], Completed)
    first, second = ledger.attempts(0)
    assert (first.outcome, second.outcome) == (Outcome.LOST, Outcome.COMPLETED)
    assert "node failure on n4" in str(first.message)


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
    assert ledger.count_by_status() == {Status.RUNNING: 3}
    stop = StopRequest()
    for event in batch(campaign, ledger, [0, 1, 2], "next", stop=stop):
        if isinstance(event, Note) and "the jobs of 3 are followed" in event.text:
            stop.raise_to(StopLevel.NOW, hold=True)
        if isinstance(event, NotRun):
            assert "go on" not in event.reason
    assert len(engine.runs) == 3
    assert ledger.count_by_status() == {Status.TO_RUN: 3} and ledger.count_held() == 3
    assert all(job["state"] == "INACTIVE" for job in Flux(FluxOptions())._jobs().values())


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
    until(lambda: all(job["state"] == "INACTIVE" for job in Flux(FluxOptions())._jobs().values()))


def test_the_job_script(tmp_path: Path) -> None:
    folder = tmp_path / "it's $(touch pwned)"
    folder.mkdir()
    environment = JobEnvironment(modules=["openmpi/4.1"], conda_env="my env")
    file = write_flux_job(
        folder, n_cores=16, minutes=120, engine=["/opt/or ca/orca"], queue="pbatch", allocation="dnn-sim",
        environment=environment,
    )  # fmt: skip
    text = file.read_text()
    for line in ("-N 1", "-n 16", "-q pbatch", "-B dnn-sim", "-t 120m"):
        assert f"#flux: {line}\n" in text
    assert "module load openmpi/4.1 || exit 5\n" in text and "conda activate 'my env' || exit 5\n" in text
    assert text.rstrip().endswith("-- '/opt/or ca/orca' orca.inp")
    bare = write_flux_job(folder, n_cores=1, minutes=1, engine=["orca"]).read_text()
    assert "-q" not in bare and "-B" not in bare and "conda" not in bare


@pytest.mark.parametrize("make", [lambda f, v: write_flux_job(f, n_cores=1, minutes=1, engine=[v])])
def test_a_value_of_two_lines_is_refused(tmp_path: Path, make: Callable[[Path, str], Path]) -> None:
    with pytest.raises(ValueError, match="must be one line"):
        make(tmp_path, "orca\nrm -rf /")
    assert list(tmp_path.iterdir()) == []

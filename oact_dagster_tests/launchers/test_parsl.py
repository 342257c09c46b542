"""Batches through a real Parsl: its workers, its faults, and that nothing of it is left behind."""

import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from oact_dagster.attempts.events import Completed, Event, NotRun, Running
from oact_dagster.attempts.stop_request import StopLevel, StopRequest
from oact_dagster.errors import LauncherError
from oact_dagster.launchers.allocation import AllocationEnd
from oact_dagster.launchers.attempt_files import (
    ATTEMPT_FILE,
    START_FILE,
    AttemptSpec,
    How,
    read_exit,
    read_start,
    spec_text,
)
from oact_dagster.launchers.parsl.config import PoolOptions
from oact_dagster.launchers.parsl.factory import workers_refused
from oact_dagster.launchers.parsl.launcher import ParslLauncher
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.schedulers.jobs import Cause, Job, Phase
from oact_dagster_tests.batches import batch, settled
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.launchers.marked import marked
from oact_dagster_tests.launchers.parsl_runs import campaign_of, notes, process, run
from oact_dagster_tests.launchers.running import WORKER, prepared
from oact_dagster_tests.requirements import lacking
from oact_dagster_tests.waiting import until

pytestmark = [pytest.mark.parsl, pytest.mark.usefixtures("parsl_is_there")]


def test_two_workers_run_two_hundred_structures_each_once(tmp_path: Path, ours: str) -> None:
    engine = TestEngine(tmp_path)
    campaign, ledger = campaign_of(tmp_path, engine, 200)
    recorded = []
    for event in batch(campaign, ledger, list(range(200))):
        if isinstance(event, Completed):
            recorded.append(ledger.figures.count_by_status().get(Status.COMPLETED, 0))
    assert sorted(engine.runs) == list(range(200))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 200}
    assert recorded[0] < 50, "results are in the ledger while the others run"
    attempt = ledger.history.attempts(7)[0]
    assert attempt.launcher == "parsl" and attempt.result["final_energy"] == pytest.approx(-76.0007)
    assert marked(ours) == []


def test_failures_and_time_limits_are_judged_as_with_every_launcher(tmp_path: Path, ours: str) -> None:
    engine = TestEngine(tmp_path)
    engine.set("scf_not_converged", 0)
    engine.set("crash", 1)
    engine.set("hang", 2)
    campaign, ledger = campaign_of(tmp_path, engine, 4, job_timeout_s=2.0)
    settled(run(campaign, ledger, 4))
    status = {index: one.status for index, one in ledger.structures.of(range(4)).items()}
    assert status == {0: Status.FAILED, 1: Status.FAILED, 2: Status.TIMEOUT, 3: Status.COMPLETED}
    assert ledger.history.attempts(0)[0].failure_class == "scf_not_converged"


def test_the_dearest_structures_begin_first(tmp_path: Path, ours: str) -> None:
    engine = TestEngine(tmp_path)
    campaign, ledger = campaign_of(tmp_path, engine, 1, max_workers=1)
    ledger.close()
    sizes = [1, 5, 3, 2, 4]
    rows = ["name,aligned_csd_core,charge,uhf"]
    for number, size in enumerate(sizes):
        waters = "\n".join(
            f"O 0 0 {5 * n}\nH 0.76 0 {5 * n + 0.587}\nH -0.76 0 {5 * n + 0.587}" for n in range(size)
        )
        rows.append(f'water {number},"{waters}",0,0')
    campaign.csv_file.write_text("\n".join(rows) + "\n")
    campaign.ledger.unlink()
    from oact_dagster.intake.intake import take_in

    with Ledger(campaign.ledger, create=True) as fresh:
        take_in(campaign, fresh)
        run(campaign, fresh, len(sizes))
        assert fresh.figures.count_by_status() == {Status.COMPLETED: 5}
    assert engine.runs == [1, 4, 2, 3, 0]


def affinity_engine(tmp_path: Path) -> Path:
    """An engine whose two ranks tell on which cores they may run, beside what is needed for a result."""
    engine = TestEngine(tmp_path)
    engine.set("slow")
    wrapper = tmp_path / "ranks"
    wrapper.write_text(
        "#!/bin/sh\n"
        "for rank in 0 1; do (sed -n 's/^Cpus_allowed_list:[[:space:]]*/rank /p' /proc/self/status) & done; wait\n"
        f"env; exec '{engine.path}' \"$1\"\n"
    )
    wrapper.chmod(0o755)
    return wrapper


def test_each_calculation_has_its_own_cores_and_temporary_folder(tmp_path: Path, ours: str) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        lacking("parsl", "two cores")
    engine = TestEngine(tmp_path / "unused")
    engine.path = affinity_engine(tmp_path)
    campaign, ledger = campaign_of(tmp_path, engine, 2, oversubscribe=False, environment={"EXTRA": "1"})
    run(campaign, ledger, 2)
    seen = []
    for index in range(2):
        lines = Path(ledger.structures.of([index])[index].job_dir or "", "orca.out").read_text().splitlines()
        values = dict(line.split("=", 1) for line in lines if "=" in line)
        ranks = {line for line in lines if line.startswith("rank ")}
        assert len(ranks) == 1, "both ranks of a calculation keep to the same cores"
        assert values["OMPI_MCA_hwloc_base_binding_policy"] == "none"
        assert values["PRTE_MCA_hwloc_default_binding_policy"] == "none"
        assert values["OMP_NUM_THREADS"] == "1" and values["EXTRA"] == "1"
        assert "GOMP_CPU_AFFINITY" not in values and "KMP_AFFINITY" not in values
        seen.append((ranks.pop(), values["TMPDIR"]))
    assert seen[0][0] != seen[1][0], "and not to those of the other one"
    assert seen[0][1] != seen[1][1]


def test_cores_follow_the_worker_and_it_is_said(tmp_path: Path, ours: str) -> None:
    engine = TestEngine(tmp_path)
    campaign, ledger = campaign_of(tmp_path, engine, 1, cores_per_worker=2)
    events = run(campaign, ledger, 1)
    assert "orca.n_cores 1 differs from launcher.cores_per_worker 2: each calculation gets 2 cores" in notes(
        events
    )
    assert ledger.history.attempts(0)[0].n_cores == 2
    text = Path(ledger.structures.of([0])[0].job_dir or "", "orca.inp").read_text()
    assert "nprocs 2" in text.lower()


def test_more_workers_than_cores_are_refused_before_anything_starts(tmp_path: Path, ours: str) -> None:
    engine = TestEngine(tmp_path)
    campaign, ledger = campaign_of(tmp_path, engine, 1, max_workers=5000, oversubscribe=False)
    with pytest.raises(
        LauncherError,
        match=r"max_workers 5000 .*is 5000 cores, but this node offers \d+ .*oversubscribe: true",
    ) as refused:
        run(campaign, ledger, 1)
    assert "\n" not in str(refused.value)
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 1}
    assert engine.runs == []


def test_a_worker_set_up_that_fails_is_told_in_one_line(tmp_path: Path, ours: str) -> None:
    engine = TestEngine(tmp_path)
    campaign, ledger = campaign_of(tmp_path, engine, 3, worker_init=["echo no such module >&2", "exit 5"])
    with pytest.raises(LauncherError, match="no such module") as told:
        run(campaign, ledger, 3)
    assert "exit code 5" in str(told.value) and "\n" not in str(told.value)
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 3}
    assert ledger.structures.of([0])[0].loss_count == 0


# --- stopping ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hold", [False, True])
def test_a_stop_ends_what_runs_and_gives_the_rest_back(tmp_path: Path, ours: str, hold: bool) -> None:
    engine = TestEngine(tmp_path, "stubborn")
    campaign, ledger = campaign_of(tmp_path, engine, 20, stop_grace_s=0.5)
    stop = StopRequest()
    events: list[Event] = []
    for event in batch(campaign, ledger, list(range(20)), stop=stop):
        events.append(event)
        if isinstance(event, Running):
            stop.raise_to(StopLevel.NOW if hold else StopLevel.FINISH, hold=hold)
    assert len(settled(events)) == 20
    assert all(isinstance(event, NotRun) for event in settled(events).values())
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 20}
    assert {one.held for one in ledger.structures.of(range(20)).values()} == {hold}
    assert {one.fail_count + one.loss_count for one in ledger.structures.of(range(20)).values()} == {0}
    assert len(engine.runs) <= 4
    assert marked(ours) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_of_the_terminal_ends_the_batch_in_order(
    tmp_path: Path, ours: str, number: signal.Signals
) -> None:
    engine = TestEngine(tmp_path, "hang")
    campaign, ledger = campaign_of(tmp_path, engine, 8, stop_grace_s=0.5)
    ledger.close()
    with process(campaign, "first", "0-7") as one:
        until(lambda: len(engine.runs) >= 2)
        os.killpg(one.pid, number)
        printed, _ = one.communicate(timeout=60)
    assert one.returncode == 0
    assert printed.count("NotRun") == 8
    assert "lost" not in printed
    with Ledger(campaign.ledger) as after:
        assert after.figures.count_by_status() == {Status.TO_RUN: 8}
        assert {attempt.outcome for attempt in after.history.attempts(engine.runs[0])} == {Outcome.CANCELLED}
    assert marked(ours) == []


def test_after_kill_9_of_the_run_nothing_is_left_and_the_next_run_goes_on(tmp_path: Path, ours: str) -> None:
    engine = TestEngine(tmp_path, "hang")
    campaign, ledger = campaign_of(tmp_path, engine, 6, stop_grace_s=0.5)
    ledger.close()
    with process(campaign, "first", "0-5") as one:
        until(lambda: len(engine.runs) >= 2)
        assert marked(ours, "interchange") and marked(ours, "process_worker_pool")
        one.kill()
    until(lambda: not marked(ours), "the end of all that the run had started")
    engine.set("normal")
    with Ledger(campaign.ledger) as again:
        events = run(campaign, again, 6, batch_id="second")
        assert again.figures.count_by_status() == {Status.COMPLETED: 6}
    assert "left by a run that is gone" in notes(events)


def test_the_next_run_ends_what_a_killed_run_has_left_running(tmp_path: Path, ours: str) -> None:
    engine = TestEngine(tmp_path, "hang")
    campaign, ledger = campaign_of(tmp_path, engine, 2)
    ledger.close()
    with process(campaign, "first", "0-1") as one:
        until(lambda: len(engine.runs) >= 2)
        # Nobody is there that could end anything: guard, interchange and workers are frozen.
        frozen = [p for p in marked(ours) if p.pid != one.pid and "sleep 1000" not in " ".join(p.cmdline())]
        for left in frozen:
            left.suspend()
        one.kill()
    engine.set("normal")
    with Ledger(campaign.ledger) as again:
        run(campaign, again, 2, batch_id="second")
        assert again.figures.count_by_status() == {Status.COMPLETED: 2}
    assert sorted(engine.runs) == [0, 0, 1, 1]
    assert marked(ours, "payload") == marked(ours, "sleep 1000") == marked(ours, "process_worker_pool") == []
    for left in marked(ours):
        left.resume()
    until(lambda: not marked(ours), "the end of the interchange, whose parent is gone")


# --- faults --------------------------------------------------------------------------------------------------------


def payload_of(ledger: Ledger, index: int) -> psutil.Process:
    folder = Path(ledger.structures.of([index])[index].job_dir or "")
    started = read_start(folder, ledger.history.attempts(index)[-1].token)
    assert started is not None
    return psutil.Process(started.pid)


def kill_worker(ledger: Ledger, mark_: str) -> None:
    worker = payload_of(ledger, 0).parent()
    assert worker is not None
    worker.kill()


def kill_manager(ledger: Ledger, mark_: str) -> None:
    worker = payload_of(ledger, 0).parent()
    assert worker is not None
    manager = worker.parent()
    assert manager is not None and "process_worker_pool" in " ".join(manager.cmdline())
    manager.kill()


def kill_interchange(ledger: Ledger, mark_: str) -> None:
    (interchange,) = marked(mark_, "interchange")
    interchange.kill()


def quick_job(tmp_path: Path, token: str, command: str = "true") -> Job:
    folder = tmp_path / token
    folder.mkdir()
    (folder / "orca.inp").write_text("# structure 0 of 1\n")
    (folder / ATTEMPT_FILE).write_text(spec_text(AttemptSpec(token, 1, 0, [command], 1, 1000.0, 0.3)))
    return Job(token, folder, 1, 1.0)


@pytest.mark.parametrize("fault", [kill_worker, kill_manager, kill_interchange])
def test_what_ran_in_a_worker_that_was_killed_is_lost_and_the_batch_goes_on(
    tmp_path: Path, ours: str, fault: Any
) -> None:
    engine = TestEngine(tmp_path)
    engine.set("hang normal", 0)
    campaign, ledger = campaign_of(tmp_path, engine, 12, stop_grace_s=0.5)
    faults = 0
    for event in batch(campaign, ledger, list(range(12))):
        if isinstance(event, Running) and event.orig_index == 0 and not faults:
            until(lambda: len(marked(ours, "sleep 1000")) == 1)
            fault(ledger, ours)
            faults += 1
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 12}
    first, second = ledger.history.attempts(0)
    assert (first.outcome, second.outcome) == (Outcome.LOST, Outcome.COMPLETED)
    assert ledger.structures.of([0])[0].fail_count == 0
    assert marked(ours) == []


def test_the_interchange_listens_on_the_loopback_alone(tmp_path: Path, ours: str) -> None:
    engine = TestEngine(tmp_path, "slow")
    campaign, ledger = campaign_of(tmp_path, engine, 2)
    heard: set[str] = set()
    for event in batch(campaign, ledger, [0, 1]):
        if isinstance(event, Running):
            for one in (*marked(ours, "parsl"), psutil.Process()):
                listening = [c for c in one.net_connections() if c.status == psutil.CONN_LISTEN]
                heard |= {connection.laddr.ip.removeprefix("::ffff:") for connection in listening}
    assert heard == {"127.0.0.1"}


def test_workers_that_wait_for_ever_are_started_again(tmp_path: Path, ours: str) -> None:
    jobs = [quick_job(tmp_path, "before"), quick_job(tmp_path, "after")]
    launcher = ParslLauncher(
        PoolOptions(2, 1, "none", heartbeat_period_s=1, heartbeat_threshold_s=2), tmp_path, 0.3
    )
    (before,) = launcher.submit(jobs[:1]).taken.values()
    while launcher.states([before])[before].phase is not Phase.ENDED:
        launcher.wait(0.2)
    # One of them waits for the next task, and with it dies the lock that it holds.
    for worker in marked(ours, "spawn_main"):
        worker.kill()
    (after,) = launcher.submit(jobs[1:]).taken.values()
    while launcher.states([after])[after].phase is not Phase.ENDED:
        launcher.wait(0.2)
    assert launcher.states([after])[after].final == "exit 0"
    # On a busy machine the new workers may be too slow for the limit of this test, too.
    assert [text for text in launcher.notes() if "its workers start again" in text]
    launcher.close()


# --- walltime ------------------------------------------------------------------------------------------------------


def test_a_second_run_on_the_node_waits_for_the_cores_of_the_first(tmp_path: Path, ours: str) -> None:
    engine = TestEngine(tmp_path, "wait")
    campaign, ledger = prepared(tmp_path, engine, 4, "parsl", cores_per_worker=1)
    ledger.close()
    runs = [subprocess.Popen([sys.executable, "-c", WORKER, str(campaign.file), "first", "0-1"])]
    until(lambda: len(engine.runs) >= 1)
    told = (tmp_path / "second").open("w")
    arguments = [sys.executable, "-c", WORKER, str(campaign.file), "second", "2-3"]
    runs.append(subprocess.Popen(arguments, stdout=told))
    until(lambda: "another run is using this node" in (tmp_path / "second").read_text())
    assert set(engine.runs) <= {0, 1}
    (engine.control / "go").touch()
    assert [run.wait(120) for run in runs] == [0, 0]
    told.close()
    assert set(engine.runs[:2]) == {0, 1} and set(engine.runs[2:]) == {2, 3}
    with Ledger(campaign.ledger) as ledger:
        assert ledger.figures.count_by_status() == {Status.COMPLETED: 4}


def test_what_cannot_end_before_the_allocation_does_is_not_started(tmp_path: Path, ours: str) -> None:
    engine = TestEngine(tmp_path)
    end = datetime.now() + timedelta(minutes=30)
    campaign, ledger = campaign_of(tmp_path, engine, 5, allocation_end=end.isoformat(), job_timeout_s=3600.0)
    told = settled(run(campaign, ledger, 5))
    assert all(isinstance(event, NotRun) and "allocation ends" in event.reason for event in told.values())
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 5}
    assert not any(one.held for one in ledger.structures.of(range(5)).values())
    assert engine.runs == []


def test_what_runs_when_the_allocation_ends_is_ended_in_time(tmp_path: Path, ours: str) -> None:
    engine = TestEngine(tmp_path, "hang")
    # It was expected to need a second.
    job = quick_job(tmp_path, "token", str(engine.path))
    waits = quick_job(tmp_path, "behind", str(engine.path))
    far_off = AllocationEnd(time.time() + 3600.0, "a test")
    launcher = ParslLauncher(
        PoolOptions(1, 1, "none"), tmp_path, 0.3, allocation_end=lambda: far_off, end_margin_s=60.0
    )
    job_id, behind = launcher.submit([job, waits]).taken.values()
    until(lambda: engine.runs == [0])
    # However long the workers took to start, the margin is reached now.
    launcher._end = end = AllocationEnd(time.time() + 60.0, "a test")
    while launcher.states([job_id])[job_id].phase is not Phase.ENDED:
        launcher.wait(0.2)
    state = launcher.states([job_id])[job_id]
    assert time.time() < end.at
    left = launcher.states([behind])[behind]
    assert left.cause is Cause.OUT_OF_TIME and "the allocation ends" in left.reason, (
        "it costs nothing, and is not held"
    )
    assert list(waits.folder.iterdir()) and not (waits.folder / START_FILE).exists()
    assert state.cause is Cause.PREEMPTED and "the allocation ends" in state.final
    assert "the allocation ends" in launcher.closing()
    record = read_exit(job.folder, "token")
    assert record is not None and record.how is How.STOPPED
    launcher.close()
    assert engine.runs == [0]


# --- without parsl -------------------------------------------------------------------------------------------------

BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("parsl", "zmq", "dill"):
            raise ModuleNotFoundError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
"""


def blocked(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED + code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_other_launchers_need_no_parsl(tmp_path: Path) -> None:
    engine = TestEngine(tmp_path)
    campaign, ledger = prepared(tmp_path, engine, 2, "local")
    ledger.close()
    printed = blocked(WORKER, str(campaign.file), "batch", "0-1")
    assert printed.count("Completed") == 2
    made = blocked(
        "from oact_dagster.settings.campaign import load_campaign\n"
        "from oact_dagster.settings.launcher import LauncherSettings\n"
        "from oact_dagster.launchers.factory import make_launcher\n"
        "campaign = load_campaign(sys.argv[1])\n"
        "for kind in ('local', 'slurm', 'flux', 'parsl'):\n"
        "    settings = LauncherSettings.model_validate({'kind': kind})\n"
        "    print(make_launcher(campaign.model_copy(update={'launcher': settings})).kind)\n"
        "print([m for m in sys.modules if m.partition('.')[0] in ('parsl', 'zmq')])",
        str(campaign.file),
    )
    assert made.split("\n")[:5] == ["local", "slurm", "flux", "parsl", "[]"]


def test_without_parsl_it_is_said_in_one_line(tmp_path: Path) -> None:
    engine = TestEngine(tmp_path)
    campaign, ledger = campaign_of(tmp_path, engine, 2)
    told = blocked(
        WORKER.replace("for event in run.run():", "try:\n        list(run.run())\n    except Exception as error:\n"
        "        print(type(error).__name__, error)\n    for event in ():"),
        str(campaign.file), "batch", "0-1",
    )  # fmt: skip
    assert (
        told
        == "LauncherError launcher.kind: parsl: Parsl is not installed: pip install 'parsl>=2025.1.13,<2026.11'\n"
    )
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 2}


def test_on_a_login_node_with_an_allocation_of_one_node_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"launcher": {"kind": "parsl"}}
    campaign = write_campaign(tmp_path, 1, TestEngine(tmp_path / "engine").path, settings=settings)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURMD_NODENAME", raising=False)
    assert "salloc runs its command where it was typed; use sbatch" in workers_refused(campaign)
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    assert "salloc" not in workers_refused(campaign)

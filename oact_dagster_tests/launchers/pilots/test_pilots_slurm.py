"""Pilots on a real Slurm with a real Parsl: shared lists, cancelled pilots, killed runs, limits."""

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.attempts.events import Completed, Event, Failed, Note, NotRun
from oact_dagster.attempts.stop_request import StopLevel, StopRequest
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.schedulers.jobs import Job
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.batches import batch, settled
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.launchers.running import prepared, worker
from oact_dagster_tests.ledger.samples import run
from oact_dagster_tests.schedulers.real_slurm import RealSlurm
from oact_dagster_tests.waiting import until

pytestmark = [pytest.mark.slurm, pytest.mark.parsl]


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path)


def campaign_of(
    tmp_path: Path, engine: TestEngine, structures: int, **launcher: Any
) -> tuple[Campaign, Ledger]:
    settings = {
        "per_job": "parsl",
        "n_hours": 1.0,
        "job_timeout_s": 600,
        "max_workers": 2,
        "cores_per_worker": 1,
        # The nodes of the test's Slurm are not real ones.
        "oversubscribe": True,
        "idle_s": 1.0,
        "stop_grace_s": 1.0,
        **launcher,
    }
    return prepared(tmp_path, engine, structures, "slurm", **settings)


def pilots(slurm: RealSlurm) -> list[str]:
    """The jobs of the queue with their states."""
    return slurm.run("squeue", "-h", "-r", "-o", "%i %T").splitlines()


def running(slurm: RealSlurm) -> list[str]:
    return [line.split()[0] for line in pilots(slurm) if line.endswith("RUNNING")]


def stopping(
    stop: StopRequest, when: Callable[[], bool], level: StopLevel, *, hold: bool = False
) -> threading.Thread:
    """Ask for a stop as soon as something is so."""

    def ask() -> None:
        until(when)
        stop.raise_to(level, hold=hold)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def rarely(campaign: Campaign) -> Campaign:
    """The campaign of a run that sees what becomes of a pilot later than others do."""
    launcher = campaign.launcher.model_copy(update={"poll_interval_s": 5.0})
    return campaign.model_copy(update={"launcher": launcher})


@contextmanager
def beside(campaign: Campaign, indices: list[int], batch_id: str) -> Iterator[list[Event]]:
    """Another run of the campaign; its events are there when it is left, which waits for its end."""
    events: list[Event] = []

    def work() -> None:
        with Ledger(campaign.ledger) as ledger:
            events.extend(batch(campaign, ledger, indices, batch_id))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield events
    finally:
        thread.join()


def test_two_pilots_share_structures_and_a_cancelled_one_loses_only_what_it_ran(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("slow")
    campaign, ledger = campaign_of(tmp_path, engine, 100, jobs=2, max_workers=4)
    process = worker(campaign, "first", "0-99")
    until(lambda: ledger.figures.count_by_status().get(Status.COMPLETED, 0) >= 30)
    jobs = running(slurm)
    assert len(jobs) == 2
    slurm.run("scancel", jobs[0])
    assert process.wait(240) == 0
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 100}
    hosts = Counter()
    attempts = {index: ledger.history.attempts(index) for index in range(100)}
    for index, tries in attempts.items():
        assert tries[-1].outcome is Outcome.COMPLETED, index
        assert all(one.outcome is Outcome.LOST for one in tries[:-1]), index
        started = json.loads((campaign.jobs_dir / f"job_{index}" / "started.json").read_text())
        hosts[started["job_id"]] += 1
    lost = sum(len(tries) - 1 for tries in attempts.values())
    assert 1 <= lost <= 8, "a lost pilot loses what its four workers had, and what waited behind it"
    assert len(hosts) >= 2, "both of them ran some"
    assert len(engine.runs) == 100 + lost
    assert all(structure.fail_count == 0 for structure in ledger.structures.of(range(100)).values())
    until(lambda: pilots(slurm) == [], "the pilots' end")


def test_pilots_and_jobs_keep_away_from_a_bad_host(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 7)
    for index in range(3):
        run(ledger, index, Outcome.LOST, host="n1")
    settled(list(batch(campaign, ledger, [3, 4, 5], "pilots")))
    jobs = campaign.launcher.model_copy(update={"per_job": None, "n_hours": None})
    settled(list(batch(campaign.model_copy(update={"launcher": jobs}), ledger, [6], "jobs")))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 4, Status.TO_RUN: 3}
    calls = slurm.calls_of("sbatch")
    assert len(calls) == 2 and all("--exclude=n1" in call for call in calls)


def test_a_run_killed_with_9_leaves_its_pilots_to_the_next_one(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("slow")
    campaign, ledger = campaign_of(tmp_path, engine, 20)
    first = worker(campaign, "killed", "0-19")
    until(lambda: ledger.figures.count_by_status().get(Status.COMPLETED, 0) >= 2)
    first.kill()
    first.wait()
    (job,) = running(slurm)
    events = list(batch(campaign, ledger, list(range(20)), "second"))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 20}
    assert Counter(engine.runs) == dict.fromkeys(range(20), 1), "nothing was computed twice"
    assert [word for word in settled(events).values() if not isinstance(word, Completed)] == []
    assert len(slurm.calls_of("sbatch")) == 1, f"the pilot {job} went on"


def test_termination_ends_the_calculations_and_their_pilots(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("hang")
    campaign, ledger = campaign_of(tmp_path, engine, 8)
    stop = StopRequest()
    stopper = stopping(stop, lambda: len(engine.runs) == 2, StopLevel.NOW, hold=True)
    events = list(batch(campaign, ledger, list(range(8)), stop=stop))
    stopper.join()
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 8}
    assert all(structure.held for structure in ledger.structures.of(range(8)).values())
    assert all(isinstance(word, NotRun) for word in settled(events).values())
    until(lambda: pilots(slurm) == [], "the pilots' end")
    assert len(engine.runs) == 2


def test_ctrl_c_leaves_the_pilots_at_work(tmp_path: Path, slurm: RealSlurm, engine: TestEngine) -> None:
    engine.set("slow")
    campaign, ledger = campaign_of(tmp_path, engine, 6)
    stop = StopRequest()
    stopper = stopping(stop, lambda: bool(engine.runs), StopLevel.FINISH)
    events = list(batch(campaign, ledger, list(range(6)), stop=stop))
    stopper.join()
    (note,) = [one.text for one in events if isinstance(one, Note) and "go on" in one.text]
    assert "scancel" in note
    until(lambda: len(engine.runs) == 6 and pilots(slurm) == [], "the pilots' end")
    list(batch(campaign, ledger, list(range(6)), "second"))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 6}
    assert Counter(engine.runs) == dict.fromkeys(range(6), 1)


def test_failures_are_judged_as_everywhere(tmp_path: Path, slurm: RealSlurm, engine: TestEngine) -> None:
    engine.set("scf_not_converged", 1)
    engine.set("crash", 2)
    engine.set("hang", 3)
    campaign, ledger = campaign_of(tmp_path, engine, 5, job_timeout_s=3)
    words = settled(list(batch(campaign, ledger, list(range(5)))))
    kinds = {index: word.failure_class for index, word in words.items() if isinstance(word, Failed)}
    assert kinds == {1: "scf_not_converged", 2: "aborted", 3: "timeout"}
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 2, Status.FAILED: 2, Status.TIMEOUT: 1}


def test_two_runs_share_a_pilot(tmp_path: Path, slurm: RealSlurm, engine: TestEngine) -> None:
    engine.set("slow")
    campaign, ledger = campaign_of(tmp_path, engine, 24, idle_s=20.0)
    runs = [worker(campaign, "one", "0-11"), worker(campaign, "two", "12-23")]
    assert [run.wait(180) for run in runs] == [0, 0]
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 24}
    assert Counter(engine.runs) == dict.fromkeys(range(24), 1)
    assert len(slurm.calls_of("sbatch")) == 1


def test_a_run_leaves_a_pilot_alone_that_another_one_is_submitting(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    slurm.put_fault("sbatch", 'sleep 6; exec "$REAL" "$@"')
    campaign, ledger = campaign_of(tmp_path, engine, 2)
    with beside(campaign, [0], "one") as first:
        until(lambda: slurm.calls_of("sbatch") != [], "the first run's pilot")
        second = list(batch(campaign, ledger, [1], "two"))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 2}
    assert sorted(settled([*first, *second])) == [0, 1]
    assert len(slurm.calls_of("sbatch")) == 1


def test_what_a_pilot_did_counts_for_each_run_that_shares_it(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("slow")
    campaign, ledger = campaign_of(tmp_path, engine, 40)
    # It sees a pilot's end after the other run, which has struck the pilot off by then.
    with beside(rarely(campaign), list(range(20)), "two"):
        first = worker(campaign, "one", "20-39")
        for _ in range(3):
            # Results of the last pilot may still come in: what begins from now on, begins in this one.
            until(lambda: running(slurm) != [], "a pilot")
            begun = len(engine.runs)
            # Of six in two workers at least four have ended.
            until(lambda begun=begun: len(engine.runs) >= begun + 6, "its calculations")
            slurm.run("scancel", *running(slurm))
    assert first.wait(240) == 0
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 40}


def test_nothing_is_started_that_cannot_end_before_its_pilot(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("slower")
    # A minute's job, of which one calculation may take half. Slurm's signal may come up to a minute early: none here.
    campaign, ledger = campaign_of(
        tmp_path, engine, 10, n_hours=1 / 60, job_timeout_s=30, max_workers=1, signal_before_limit_s=0
    )
    assert worker(campaign, "short", "0-9").wait(300) == 0
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 10}
    assert Counter(engine.runs) == dict.fromkeys(range(10), 1), "none was cut off"
    ends = [
        json.loads(file.read_text())["reason"] for file in (campaign.jobs_dir / ".pilots").rglob("end.json")
    ]
    assert any("no waiting structure can finish before its job ends" in reason for reason in ends), ends


def test_pilots_that_cannot_run_anything_stop_the_run_with_their_reason(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 4, setup_lines=["echo no such module >&2; exit 7"])
    words = settled(list(batch(campaign, ledger, list(range(4)))))
    for word in words.values():
        assert isinstance(word, NotRun) and word.reason.startswith(
            "pilots end before any of their calculations "
        )
        assert "no such module" in word.reason
    assert engine.runs == []
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 4} and ledger.figures.count_held() == 0
    without = campaign.launcher.model_copy(update={"setup_lines": ()})
    mended = campaign.model_copy(update={"launcher": without})
    words = settled(list(batch(mended, ledger, list(range(4)), "again")))
    assert all(isinstance(word, Completed) for word in words.values())
    assert Counter(engine.runs) == dict.fromkeys(range(4), 1)


def test_a_run_that_gives_up_takes_only_its_own_structures_back(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 4, setup_lines=["exit 7"])
    with beside(rarely(campaign), [2, 3], "two") as second:
        until(lambda: slurm.calls_of("sbatch") != [], "the second run's pilot")
        words = settled(list(batch(campaign, ledger, [0, 1], "one")))
    for word in (words | settled(second)).values():
        assert isinstance(word, NotRun) and word.reason.startswith("pilots end before any")
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 4}
    attempts = [attempt for index in range(4) for attempt in ledger.history.attempts(index)]
    assert [attempt for attempt in attempts if attempt.outcome is Outcome.LOST] == []


def test_workers_that_do_not_fit_on_the_node_are_told(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    directives = ["--ntasks-per-node=1"]
    campaign, ledger = campaign_of(tmp_path, engine, 2, oversubscribe=False, extra_directives=directives)
    words = settled(list(batch(campaign, ledger, [0, 1])))
    for word in words.values():
        assert isinstance(word, NotRun)
        assert "2 times launcher.cores_per_worker 1 is 2 cores, but this node offers 1" in word.reason
    assert engine.runs == [] and ledger.figures.count_by_status() == {Status.TO_RUN: 2}


def test_a_pilot_that_ended_while_nobody_looked_takes_no_place(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 2, grace_s=3600)
    list(batch(campaign, ledger, [0]))
    ends = campaign.jobs_dir / ".pilots"
    until(lambda: any(ends.rglob("end.json")), "the pilot's end")
    # Its scheduler has forgotten it: as if it might live still.
    for folder in (campaign.jobs_dir / ".batches").glob("oact-*"):
        (folder / "job_ids.json").write_text('{"0": "999999_0"}')
    list(batch(campaign, ledger, [1], "second"))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 2}
    assert len(slurm.calls_of("sbatch")) == 2


def test_a_calculation_that_no_pilot_has_time_for_is_refused(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    campaign, _ = campaign_of(tmp_path, engine, 1)
    launcher = make_launcher(campaign)
    answer = launcher.submit([Job("long", tmp_path, 1, 3590.0), Job("wide", tmp_path, 2, 60.0)])
    assert answer.taken == {}
    assert "3590 s does not fit into the 3480 s of a pilot" in answer.refused["long"]
    assert "needs 2 cores, but a worker has 1" in answer.refused["wide"]
    assert slurm.calls_of("sbatch") == []


def test_what_oact_submit_hands_over_is_run_by_pilots(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 6)
    done = subprocess.run(
        [sys.executable, "-m", "oact_dagster", "submit", str(campaign.file), "--batch-size", "6"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 " in done.stdout and "scancel" in done.stdout
    until(lambda: len(engine.runs) == 6 and pilots(slurm) == [], "the pilots' end")
    updated = subprocess.run(
        [
            sys.executable,
            "-m",
            "oact_dagster",
            "dashboard",
            str(campaign.file),
            "--update",
            str(campaign.jobs_dir),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert updated.returncode == 0, updated.stdout + updated.stderr
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 6}
    assert Counter(engine.runs) == dict.fromkeys(range(6), 1)
    assert len(slurm.calls_of("sbatch")) == 1, "bringing the ledger up to date submits nothing"

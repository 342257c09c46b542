"""A task that is cancelled while it waits, of which Slurm keeps no record, on a real Slurm."""

import signal
import time
from pathlib import Path

import pytest

from oact_dagster.attempts.events import Completed, Event, Note, NotRun, Running
from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.stop_request import StopLevel, StopRequest
from oact_dagster.launchers.attempt_files import FILES_SHOW_S
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.launchers.protocol import Orphan
from oact_dagster.launchers.scheduler_launcher import SchedulerLauncher
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.maintenance.update import launchers_of, update_running
from oact_dagster.schedulers.job_script import JobEnvironment
from oact_dagster.schedulers.jobs import Cause, Job, JobState, Phase
from oact_dagster.schedulers.protocol import JobOptions
from oact_dagster.schedulers.slurm.commands import Slurm
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.batches import batch, settled
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.launchers.running import prepared, worker
from oact_dagster_tests.schedulers.real_slurm import RealSlurm
from oact_dagster_tests.waiting import until

pytestmark = pytest.mark.slurm

# A whole node each, of the one node of the queue: the others wait for the first.
ONE_BY_ONE = {"queue": "last", "resources": [{"max_atoms": 9, "n_cores": 8}]}
MIN_JOB_AGE_S = 10.0


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path)


def hide(slurm: RealSlurm, engine: TestEngine) -> None:
    """Let the controller start anew, and then answer nothing for longer than it knows what has ended."""
    slurm.stop_controller()
    slurm.start_controller()
    slurm.freeze()
    time.sleep(MIN_JOB_AGE_S + 2.0)
    slurm.thaw()
    (engine.control / "go").touch()


def test_it_is_held_also_when_the_controller_starts_anew_and_freezes(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("wait")
    campaign, ledger = prepared(tmp_path, engine, 4, "slurm", **ONE_BY_ONE, command_timeout_s=2.0)
    events: list[Event] = []
    for event in batch(campaign, ledger, [0, 1, 2, 3]):
        events.append(event)
        if isinstance(event, Running) and not (engine.control / "go").exists():
            (attempt,) = ledger.history.attempts(2)
            slurm.run("scancel", str(attempt.scheduler_job_id))
            hide(slurm, engine)
    words = settled(events)
    assert isinstance(words[2], NotRun) and "held until `oact release`" in words[2].reason
    assert all(isinstance(words[index], Completed) for index in (0, 1, 3))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 3, Status.TO_RUN: 1}
    assert ledger.figures.count_held() == 1 and ledger.history.attempts(2) == [], "it costs nothing"
    assert sorted(engine.runs) == [0, 1, 3]


def killed_run(campaign: Campaign, ledger: Ledger, engine: TestEngine, structures: int) -> list[str]:
    """Let a run die as soon as Slurm has its jobs and one of them runs; returns their ids."""
    run = worker(campaign, "killed", f"0-{structures - 1}")
    until(lambda: bool(engine.runs))
    run.kill()
    run.wait()
    return [str(ledger.history.attempts(index)[0].scheduler_job_id) for index in range(structures)]


@pytest.mark.parametrize("who", ["the next run", "an update"])
def test_it_is_held_also_when_the_run_that_followed_it_is_gone(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine, who: str
) -> None:
    engine.set("wait")
    campaign, ledger = prepared(tmp_path, engine, 3, "slurm", **ONE_BY_ONE)
    ids = killed_run(campaign, ledger, engine, 3)
    slurm.run("scancel", ids[1])
    until(lambda: "1" not in slurm.jobs("%K", ids[0]))
    if who == "an update":
        report = update_running(ledger, JobLayout.of(campaign, ledger), launchers_of(campaign))
        assert report.changed == {"to_run": 1} and report.still_running == 2
        (engine.control / "go").touch()
    else:
        events: list[Event] = []
        for event in batch(campaign, ledger, [0, 1, 2], "next"):
            events.append(event)
            (engine.control / "go").touch()
        word = settled(events)[1]
        assert isinstance(word, NotRun) and "held until `oact release`" in word.reason
    assert ledger.figures.count_held() == 1
    structure = ledger.structures.of([1])[1]
    assert (structure.status, structure.held) == (Status.TO_RUN, True)
    assert (structure.fail_count, structure.loss_count) == (0, 0)
    list(batch(campaign, ledger, [0, 2], "last"))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 2, Status.TO_RUN: 1}
    assert sorted(engine.runs) == [0, 2]


@pytest.mark.parametrize("options", [[], ["--output=/dev/null"]], ids=["log", "log elsewhere"])
def test_one_that_began_and_left_nothing_but_an_empty_log_is_lost_and_not_held(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine, options: list[str]
) -> None:
    engine.set("wait", 2)
    # The second ends before its payload begins, and says nothing.
    campaign, ledger = prepared(
        tmp_path, engine, 3, "slurm", **ONE_BY_ONE, extra_directives=options,
        setup_lines=['[ "$SLURM_ARRAY_TASK_ID" != 1 ] || exit 9'],
    )  # fmt: skip
    ids = killed_run(campaign, ledger, engine, 3)
    until(lambda: 2 in engine.runs)
    # Somebody looks while Slurm still knows it: its log is not taken away.
    orphans = [
        Orphan(ledger.history.attempts(n)[0].token, campaign.jobs_dir / f"job_{n}", job_id)
        for n, job_id in enumerate(ids)
    ]
    looking = make_launcher(campaign, only_asks=True)
    looking.adopt(orphans)
    assert looking.states(ids)[ids[1]].phase is Phase.ENDED
    until(lambda: slurm.jobs("%K", ids[0]) == ["2"])
    stop = StopRequest()
    events: list[Event] = []
    for event in batch(campaign, ledger, [0, 1, 2], "next", stop=stop):
        events.append(event)
        if isinstance(event, NotRun) or (isinstance(event, Note) and "structure 1 was lost" in event.text):
            stop.raise_to(StopLevel.NOW, hold=True)
    lost = ledger.history.attempts(1)[0]
    assert lost.outcome is Outcome.LOST and "no longer known" in str(lost.message)
    assert ledger.structures.of([1])[1].loss_count == 1


def test_nothing_is_concluded_before_its_files_have_had_the_time_to_show(
    tmp_path: Path, slurm: RealSlurm
) -> None:
    late = 0.0
    jobs = [Job(name, tmp_path / name, 1) for name in ("cancelled", "began", "waits")]
    client = Slurm(JobOptions(extra=["--hold"]))
    taken = SchedulerLauncher(client, tmp_path / "arrays", JobEnvironment(), 0.1).submit(jobs).taken
    launcher = SchedulerLauncher(
        client, tmp_path / "arrays", JobEnvironment(), 0.1, clock=lambda: time.monotonic() + late
    )
    orphans = [Orphan(job.token, job.folder, taken[job.token], began=job.token == "began") for job in jobs]
    assert launcher.adopt(orphans) == taken
    slurm.run("scancel", taken["cancelled"], taken["began"])

    def look() -> dict[str, JobState]:
        states = launcher.states(taken.values())
        return {token: states[job_id] for token, job_id in taken.items()}

    until(lambda: slurm.jobs("%K", taken["waits"]) == ["2"])
    # What squeue does not know may have run and ended 10 s ago, when it was forgotten.
    until(lambda: look()["cancelled"].phase is Phase.UNKNOWN)
    late = FILES_SHOW_S - MIN_JOB_AGE_S - 20.0
    assert look()["cancelled"].phase is Phase.UNKNOWN
    late += 21.0
    states = look()
    assert (states["cancelled"].phase, states["cancelled"].cause) == (Phase.ENDED, Cause.CANCELLED)
    assert states["began"].phase is Phase.UNKNOWN, "a run that is gone saw it run"
    assert states["waits"].phase is Phase.QUEUED


def test_a_job_that_was_seen_to_run_and_is_cancelled_before_its_payload_begins_is_held(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    campaign, ledger = prepared(tmp_path, engine, 1, "slurm", setup_lines=["sleep 1000"])
    assert worker(campaign, "killed", "0-0", killed="after mark_running").wait(60) == -signal.SIGKILL
    job_id = str(ledger.history.attempts(0)[0].scheduler_job_id)
    slurm.run("scancel", job_id)
    until(lambda: slurm.jobs("%T", job_id) == ["CANCELLED"])
    (word,) = settled(list(batch(campaign, ledger, [0], "next"))).values()
    assert isinstance(word, NotRun) and "held until `oact release`" in word.reason
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 1} and ledger.figures.count_held() == 1
    assert [attempt.outcome for attempt in ledger.history.attempts(0)] == [Outcome.CANCELLED], (
        "its job did begin"
    )

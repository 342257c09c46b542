"""Judging running structures without running anything: attempts of ours, and what their scheduler says of them."""

import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from oact_dagster.attempts.engine import STANDIN_NAME
from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.recovery import LauncherOf, UpdateReport
from oact_dagster.errors import LauncherError
from oact_dagster.launchers.attempt_files import ATTEMPT_FILE, TOKEN_VARIABLE, How
from oact_dagster.launchers.protocol import Orphan, Submission
from oact_dagster.ledger.by_hand import record_seen, update_status
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.states import Outcome, Preparation, SeenEnding, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.maintenance.fsck_folders import Unreadable, unproved_results
from oact_dagster.maintenance.update import launchers_of, update_running
from oact_dagster.schedulers.jobs import Job, JobState, Phase
from oact_dagster_tests.engines import ENERGY, TestEngine
from oact_dagster_tests.job_folders import age, made_job, write_exit
from oact_dagster_tests.ledger.samples import claim, structure

LOCAL = launchers_of(None)


class ProcessScheduler:
    """A scheduler whose jobs are processes; it goes on when whoever submitted has gone."""

    kind = "processes"
    jobs_outlive_process = True

    def __init__(self) -> None:
        self.jobs: dict[str, subprocess.Popen[bytes]] = {}
        self.reachable = True
        self.says_nothing = False
        self.forgotten: set[str] = set()

    def start(self, token: str) -> None:
        self.jobs[token] = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    def submit(self, jobs: Sequence[Job]) -> Submission:
        raise LauncherError("nothing is submitted in an update")

    def withdraw(self, tokens: Collection[str]) -> Collection[str]:
        return ()

    def states(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
        found = {}
        for job_id in job_ids:
            if job_id in self.forgotten or self.says_nothing:
                found[job_id] = JobState(Phase.QUEUED if self.says_nothing else Phase.UNKNOWN)
                continue
            code = self.jobs[job_id].poll()
            found[job_id] = JobState(Phase.RUNNING) if code is None else JobState(Phase.ENDED, f"exit {code}")
        return found

    def cancel(self, job_ids: Collection[str]) -> None:
        for job_id in job_ids:
            self.jobs[job_id].terminate()

    def how_to_cancel(self, job_ids: Collection[str]) -> str:
        return "kill"

    def adopt(self, orphans: Sequence[Orphan]) -> Mapping[str, str]:
        if not self.reachable:
            raise LauncherError("squeue: no answer for 60 s")
        return {one.token: one.token for one in orphans if one.token in {*self.jobs, *self.forgotten}}

    def notes(self) -> Sequence[str]:
        return ["no answer"] if self.says_nothing else []

    def wait(self, seconds: float) -> bool:
        time.sleep(min(seconds, 0.05))
        return True

    def close(self) -> None:
        pass

    def end(self) -> None:
        for process in self.jobs.values():
            process.kill()
            process.wait()


@pytest.fixture
def scheduler() -> Iterator[ProcessScheduler]:
    made = ProcessScheduler()
    yield made
    made.end()


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path / "engine")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "workflow.db", create=True) as made:
        made.add_structures([structure(n) for n in range(10)])
        yield made


def jobs(ledger: Ledger) -> Path:
    return ledger.path.parent / "jobs"


def attempt(
    ledger: Ledger,
    engine: TestEngine,
    index: int,
    behaviour: str | None = "normal",
    *,
    launcher: str = "local",
    silent_h: float = 0.0,
) -> str:
    """An attempt of a batch that is gone, whose folder holds what the engine wrote; None: it never began."""
    [one] = claim(ledger, [index], launcher=launcher)
    folder = jobs(ledger) / f"job_{index}"
    if behaviour is not None:
        made_job(folder, engine, index, behaviour, token=one.token, silent_h=silent_h)
    ledger.mark_prepared([Preparation(one.token, str(folder), "hash", 4)])
    ledger.mark_submitted({one.token: one.token})
    if behaviour is not None:
        ledger.mark_running([one.token])
    return one.token


def update(ledger: Ledger, launcher_of: LauncherOf = LOCAL) -> UpdateReport:
    return update_running(ledger, JobLayout(jobs(ledger), "job_{orig_index}"), launcher_of)


def status(ledger: Ledger, index: int) -> Status:
    return ledger.structures.of([index])[index].status


def test_attempts_of_a_dead_batch_are_judged_by_the_table(ledger: Ledger, engine: TestEngine) -> None:
    good = attempt(ledger, engine, 0)
    write_exit(jobs(ledger) / "job_0", good)
    attempt(ledger, engine, 1, "scf_not_converged")
    limit = attempt(ledger, engine, 2, "half")
    write_exit(jobs(ledger) / "job_2", limit, How.TIME_LIMIT, None)
    attempt(ledger, engine, 3, "half")  # its payload vanished without a word
    attempt(ledger, engine, 4, None)  # it never began
    foreign = attempt(ledger, engine, 5, "foreign")  # the output is another attempt's
    write_exit(jobs(ledger) / "job_5", foreign)
    report = update(ledger)
    assert report.looked_at == 6 and report.still_running == 0 and not report.notes
    assert report.changed == {"completed": 1, "failed": 2, "timeout": 1, "to_run": 2}
    [last] = ledger.history.attempts(0)
    assert last.outcome is Outcome.COMPLETED and last.host == "node7"
    assert ledger.structures.of([0])[0].job_dir == str(jobs(ledger) / "job_0")
    assert next(ledger.history.completed())["final_energy"] == ENERGY
    assert [ledger.history.attempts(n)[0].outcome for n in (1, 2, 3, 5)] == [
        Outcome.FAILED, Outcome.TIMEOUT, Outcome.LOST, Outcome.FAILED,
    ]  # fmt: skip
    assert ledger.history.attempts(4) == [] and status(ledger, 4) is Status.TO_RUN
    assert ledger.structures.of([3])[3].loss_count == 1
    assert update(ledger).looked_at == 0


def test_a_batch_that_lives_is_left_alone(ledger: Ledger, engine: TestEngine) -> None:
    token = attempt(ledger, engine, 0, "half", silent_h=9)
    ledger.open_batch("batch", Owner.this_process())
    report = update(ledger)
    assert (report.followed, report.still_running, report.changed) == (1, 1, {})
    assert ledger.history.open_attempts([0])[0].token == token


def test_processes_that_a_dead_batch_left_here_are_ended_first(ledger: Ledger, engine: TestEngine) -> None:
    token = attempt(ledger, engine, 0, "half")
    left = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env={**os.environ, TOKEN_VARIABLE: token}
    )
    report = update(ledger)
    left.wait(timeout=30)
    assert report.changed == {"to_run": 1} and ledger.history.attempts(0)[0].outcome is Outcome.LOST


def test_a_silent_job_that_the_scheduler_has_is_cancelled_then_marked(
    ledger: Ledger, engine: TestEngine, scheduler: ProcessScheduler
) -> None:
    silent = attempt(ledger, engine, 0, "half", launcher="processes", silent_h=7)
    busy = attempt(ledger, engine, 1, "half", launcher="processes", silent_h=5)
    for token in (silent, busy):
        scheduler.start(token)
    report = update(ledger, lambda kind: scheduler if kind == scheduler.kind else None)
    assert report.changed == {"timeout": 1} and report.still_running == 1
    assert scheduler.jobs[silent].poll() is not None and scheduler.jobs[busy].poll() is None
    [last] = ledger.history.attempts(0)
    assert (last.outcome, last.failure_class) == (Outcome.TIMEOUT, "timeout")
    assert last.message is not None and "7.0 h; it was ended" in last.message
    assert status(ledger, 0) is Status.TIMEOUT and ledger.structures.of([0])[0].fail_count == 1
    assert status(ledger, 1) is Status.RUNNING


def test_without_an_answer_of_the_scheduler_a_silent_job_stays_running(
    ledger: Ledger, engine: TestEngine, scheduler: ProcessScheduler
) -> None:
    token = attempt(ledger, engine, 0, "half", launcher="processes", silent_h=7)
    attempt(ledger, engine, 1, "normal", launcher="processes")  # its output says it all
    scheduler.start(token)
    report = update(ledger)
    assert report.changed == {"completed": 1} and report.still_running == 1
    [note] = report.notes.values()
    assert note.text.startswith("no launcher of kind processes") and note.examples == [1]
    scheduler.reachable = False
    report = update(ledger, lambda kind: scheduler)
    [note] = report.notes.values()
    assert "the scheduler cannot be asked (squeue: no answer for 60 s)" in note.text
    assert status(ledger, 0) is Status.RUNNING and scheduler.jobs[token].poll() is None


def test_a_job_that_the_scheduler_does_not_know_yet_has_a_grace_period(
    ledger: Ledger, engine: TestEngine, scheduler: ProcessScheduler
) -> None:
    attempt(ledger, engine, 0, None, launcher="processes")
    folder = jobs(ledger) / "job_0"
    folder.mkdir(parents=True)
    (folder / ATTEMPT_FILE).write_text("{}")
    report = update(ledger, lambda kind: scheduler)
    assert report.still_running == 1 and "does not know its job yet" in next(iter(report.notes))
    age(folder / ATTEMPT_FILE, 1)
    assert update(ledger, lambda kind: scheduler).changed == {"to_run": 1}


def test_a_job_that_is_not_in_the_queue_any_more_decides_nothing_by_itself(
    ledger: Ledger, engine: TestEngine, scheduler: ProcessScheduler
) -> None:
    for index in (0, 1):
        scheduler.forgotten.add(attempt(ledger, engine, index, "half", launcher="processes"))
    for file in (jobs(ledger) / "job_1").iterdir():
        age(file, 1)
    report = update(ledger, lambda kind: scheduler)
    assert report.changed == {"to_run": 1} and ledger.history.attempts(1)[0].outcome is Outcome.LOST
    assert (
        "does not know its job any more" in next(iter(report.notes)) and status(ledger, 0) is Status.RUNNING
    )


def test_a_scheduler_that_says_nothing_of_a_job_leaves_it_running(
    ledger: Ledger, engine: TestEngine, scheduler: ProcessScheduler
) -> None:
    token = attempt(ledger, engine, 0, "half", launcher="processes", silent_h=7)
    scheduler.start(token)
    scheduler.says_nothing = True
    report = update(ledger, lambda kind: scheduler)
    [note] = report.notes.values()
    assert note.text == "the scheduler says nothing about its job (no answer): it stays running"
    assert scheduler.jobs[token].poll() is None and status(ledger, 0) is Status.RUNNING


def test_what_was_changed_meanwhile_is_not_overwritten(ledger: Ledger, engine: TestEngine) -> None:
    assert update_status(ledger, 1, Status.RUNNING)
    made_job(jobs(ledger) / "job_0", engine, 0, "scf_not_converged")
    assert update(ledger).changed == {"failed": 1}
    # A failure that no attempt of ours stands for is counted by the reset.
    assert ledger.structures.of([0])[0].fail_count == 0
    seen = SeenEnding(1, Status.COMPLETED, "jobs/job_0", None, final_energy=-1.0)
    assert record_seen(ledger, [seen]) == set() and status(ledger, 0) is Status.FAILED
    assert ledger.reset() == 1 and ledger.structures.of([0])[0].fail_count == 1
    attempt(ledger, engine, 1, None)
    assert record_seen(ledger, [SeenEnding(2, Status.COMPLETED, "jobs/job_1", None)]) == set()


def test_a_result_of_the_stand_in_that_another_tool_started_is_marked_as_not_orca(
    ledger: Ledger, engine: TestEngine
) -> None:
    for index in (0, 1):
        assert update_status(ledger, index + 1, Status.RUNNING)
        made_job(jobs(ledger) / f"job_{index}", engine, index)
    output = jobs(ledger) / "job_0" / "orca.out"
    banner = "* O   R   C   A *"
    output.write_text(
        output.read_text().replace(banner, f"{banner}\n        THE STAND-IN ENGINE, NOT ORCA", 1)
    )
    assert update(ledger).changed == {"completed": 2}
    assert ledger.figures.count_by_engine() == {STANDIN_NAME: 1, None: 1}
    [marked] = ledger.history.attempts(0)
    assert marked.result["engine"] == STANDIN_NAME and marked.result["final_energy"] == ENERGY
    assert not list(unproved_results(ledger, JobLayout(jobs(ledger), "job_{orig_index}"), Unreadable()))
    # What is set to run again by hand has no such result any more.
    assert update_status(ledger, 1, Status.TO_RUN)
    assert ledger.figures.count_by_engine() == {None: 1}

"""What may go wrong around a batch, each with real processes: nothing is lost, and nothing is computed twice."""

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from oact_dagster.attempts.batch import BatchRun
from oact_dagster.attempts.engine import find_engine
from oact_dagster.attempts.events import Completed, Event, Failed
from oact_dagster.attempts.selection import BatchRequest
from oact_dagster.errors import LauncherError
from oact_dagster.feed.decisions import decide_feed
from oact_dagster.intake.intake import take_in
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.batches import batch, settled
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path)


def prepared(tmp_path: Path, engine: TestEngine, structures: int) -> tuple[Campaign, Ledger]:
    settings = {"retry": {"delay_s": 0}, "feed": {"trial": 0}}
    campaign = write_campaign(tmp_path / "campaign", structures, engine.path, settings=settings)
    ledger = Ledger(campaign.ledger, create=True)
    take_in(campaign, ledger)
    return campaign, ledger


RUN = """
import os, sys
from oact_dagster.settings.campaign import load_campaign
from oact_dagster.attempts.batch import BatchRun
from oact_dagster.attempts.engine import find_engine
from oact_dagster.attempts.events import Completed
from oact_dagster.attempts.selection import BatchRequest
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.errors import LedgerError
from oact_dagster.ledger.store import Ledger

campaign, fault = load_campaign(sys.argv[1]), sys.argv[2]
ledger, launcher = Ledger(campaign.ledger, timeout=1.0), make_launcher(campaign)
submit, record = launcher.submit, ledger.record

def die():
    os.kill(os.getpid(), 9)

def faulty_submit(jobs):
    if fault == "before submit":
        die()
    done = submit(jobs)
    if fault == "after submit":
        die()
    return done

def faulty_record(endings):
    if fault == "before recording":
        die()
    if fault == "disk full":
        pages = ledger.file.connection.execute("PRAGMA page_count").fetchone()[0]
        ledger.file.connection.execute(f"PRAGMA max_page_count = {pages}")
        endings = [type(one)(**{name: getattr(one, name) for name in one.__slots__} | {"message": "x" * 100_000})
                   for one in endings]
    done = record(endings)
    if fault == "after recording":
        die()
    return done

launcher.submit, ledger.record = faulty_submit, faulty_record
request = BatchRequest(list(range(int(sys.argv[3]))))
try:
    for event in BatchRun(campaign, ledger, launcher, find_engine(campaign), request, fault).run():
        if isinstance(event, Completed):
            print("completed", flush=True)
except LedgerError as error:
    sys.exit(str(error))
"""


def run_with(campaign: Campaign, fault: str, structures: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(campaign.file), fault, str(structures)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check_once_each(campaign: Campaign, ledger: Ledger, engine: TestEngine, structures: int) -> None:
    """All are completed; what was computed more than once has a lost attempt that says why."""
    assert ledger.figures.count_by_status() == {Status.COMPLETED: structures}
    runs = Counter(engine.runs)
    for index in range(structures):
        outcomes = [attempt.outcome for attempt in ledger.history.attempts(index)]
        assert outcomes.count(Outcome.COMPLETED) == 1 and outcomes[-1] is Outcome.COMPLETED
        assert runs[index] <= len(outcomes), f"structure {index} ran {runs[index]} times: {outcomes}"
    assert not list(ledger.history.every_open_attempt())
    assert ledger.batches.left_by_dead() == []


@pytest.mark.parametrize("phase", ["before submit", "after submit", "before recording", "after recording"])
def test_a_run_killed_with_9_in_any_phase(tmp_path: Path, engine: TestEngine, phase: str) -> None:
    campaign, ledger = prepared(tmp_path, engine, 6)
    killed = run_with(campaign, phase, 6)
    assert killed.wait(60) == -9
    killed.communicate()
    before = ledger.figures.count_by_status().get(Status.COMPLETED, 0)
    assert (before > 0) is (phase == "after recording")
    assert len(ledger.batches.left_by_dead()) > 0, "what it left is seen"
    list(batch(campaign, ledger, list(range(6)), "next"))
    check_once_each(campaign, ledger, engine, 6)
    if phase == "before recording":
        # What had finished is read, not computed again.
        assert sum(ledger.structures.of([i])[i].loss_count for i in range(6)) < len(engine.runs)


def test_a_ledger_that_stays_locked(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("slow")
    campaign, ledger = prepared(tmp_path, engine, 4)
    run = run_with(campaign, "locked", 4)
    until(lambda: len(engine.runs) >= 2)
    holder = sqlite3.connect(campaign.ledger, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    # Past its limit of a second the run ends and says why.
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 1 and "kept it locked for 1 s" in errors and "Traceback" not in errors, errors
    holder.execute("ROLLBACK")
    holder.close()
    engine.set("normal")
    list(batch(campaign, ledger, list(range(4)), "next"))
    check_once_each(campaign, ledger, engine, 4)


def test_a_disk_that_is_full_while_results_are_recorded(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 4)
    run = run_with(campaign, "disk full", 4)
    out, errors = run.communicate(timeout=60)
    assert run.returncode == 1 and "disk is full; nothing was changed" in errors, errors
    assert out == "", "nothing was told that is not recorded"
    assert Status.COMPLETED not in ledger.figures.count_by_status()
    finished = len({folder.parent for folder in campaign.jobs_dir.glob("job_*/exit.json")})
    assert finished > 0
    list(batch(campaign, ledger, list(range(4)), "next"))
    check_once_each(campaign, ledger, engine, 4)


def test_the_jobs_folder_is_removed_while_a_batch_runs(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("normal slow", 0)
    engine.set("slow")
    campaign, ledger = prepared(tmp_path, engine, 8)
    gone = threading.Thread(
        target=lambda: (
            until(lambda: ledger_has(campaign, Status.COMPLETED, 2)),
            shutil.rmtree(campaign.jobs_dir, ignore_errors=True),
        )
    )
    gone.start()
    events: list[Event] = []
    # Where what is at work cannot go on and nothing can be started any more, it says so and ends.
    with contextlib.suppress(LauncherError):
        events.extend(iter(batch(campaign, ledger, list(range(8)))))
    gone.join()
    words = settled(events)
    done = {index for index, word in words.items() if isinstance(word, Completed)}
    assert len(done) >= 2, "what was recorded stays"
    counts = ledger.figures.count_by_status()
    assert counts.get(Status.COMPLETED) == len(done) and Status.RUNNING not in counts
    # A result is recorded only if its files were there; the others are tried again, within their budget.
    list(batch(campaign, ledger, list(range(8)), "next"))
    check_once_each(campaign, ledger, engine, 8)


def ledger_has(campaign: Campaign, status: Status, at_least: int) -> bool:
    with Ledger(campaign.ledger) as ledger:
        return ledger.figures.count_by_status().get(status, 0) >= at_least


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_is_set_while_a_batch_runs(tmp_path: Path, engine: TestEngine, jump: float) -> None:
    engine.set("slow")
    campaign, ledger = prepared(tmp_path, engine, 6)

    def clock() -> float:
        return time.time() + (jump if len(engine.runs) >= 3 else 0.0)

    run = BatchRun(
        campaign,
        ledger,
        make_launcher(campaign),
        find_engine(campaign),
        BatchRequest([0, 1, 2, 3]),
        "leap",
        clock=clock,
    )
    assert all(isinstance(word, Completed) for word in settled(list(run.run())).values())
    assert sorted(engine.runs) == [0, 1, 2, 3]
    # Whatever the hour, only what was never begun is to be begun.
    for now in (time.time() - 7200.0, time.time(), time.time() + 7200.0):
        assert sum(decide_feed(campaign, ledger, 0, now).limits) == 2
    assert ledger.batches.left_by_dead(time.time() + jump) == []
    list(batch(campaign, ledger, list(range(6)), "next"))
    check_once_each(campaign, ledger, engine, 6)
    assert sorted(engine.runs) == list(range(6))


def test_an_engine_that_fills_its_stderr(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("stderr", 1)
    campaign, ledger = prepared(tmp_path, engine, 3)
    words = settled(list(batch(campaign, ledger, [0, 1, 2])))
    assert not any(isinstance(word, Failed) for word in words.values())
    assert (campaign.jobs_dir / "job_1" / "orca.err").stat().st_size > 500_000
    check_once_each(campaign, ledger, engine, 3)


def test_a_folder_that_cannot_be_written_is_told_by_its_cause(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 3)
    campaign = campaign.model_copy(update={"job_dir_pattern": "part/job_{orig_index}"})
    campaign.jobs_dir.mkdir()
    (campaign.jobs_dir / "part").write_text("not a folder")
    words = settled(list(batch(campaign, ledger, [0, 1, 2])))
    told = {word.message for word in words.values() if isinstance(word, Failed)}
    assert told == {f"the job folder could not be written: {campaign.jobs_dir / 'part'}: Not a directory"}

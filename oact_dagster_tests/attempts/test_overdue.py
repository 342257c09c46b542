"""Calculations that come to a standstill while a batch follows them, with real processes."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.attempts.batch import BatchRun
from oact_dagster.attempts.ending import OUTLIVED_S, LiveAttempt, overdue
from oact_dagster.attempts.engine import find_engine
from oact_dagster.attempts.events import Completed, Failed, Note
from oact_dagster.attempts.selection import BatchRequest
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


def campaign_of(
    tmp_path: Path, engine: TestEngine, structures: int, **launcher: Any
) -> tuple[Campaign, Ledger]:
    settings = {"launcher": {"stop_grace_s": 0.3, **launcher}, "retry": {"delay_s": 0}}
    campaign = write_campaign(tmp_path / "campaign", structures, engine.path, settings=settings)
    ledger = Ledger(campaign.ledger, create=True)
    take_in(campaign, ledger)
    return campaign, ledger


def test_a_silent_one_is_ended_as_timed_out_and_the_batch_goes_on(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("hang", 1)
    engine.set("stubborn", 2)
    campaign, ledger = campaign_of(tmp_path, engine, 6, silence_limit_s=2.0)
    events = list(batch(campaign, ledger, list(range(6))))
    words = settled(events)
    assert {index for index, word in words.items() if isinstance(word, Completed)} == {0, 3, 4, 5}
    for index in (1, 2):
        word = words[index]
        assert isinstance(word, Failed) and word.failure_class == "timeout"
        assert "has not changed for" in word.message
        (attempt,) = ledger.history.attempts(index)
        assert attempt.outcome is Outcome.TIMEOUT
        assert (
            ledger.structures.of([index])[index].fail_count == 1
            and not ledger.structures.of([index])[index].held
        )
    assert sum("; ending it" in event.text for event in events if isinstance(event, Note)) == 2


def test_a_queued_one_never_times_out(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("slow")
    campaign, ledger = campaign_of(tmp_path, engine, 8, silence_limit_s=2.5, max_workers=1)
    list(batch(campaign, ledger, list(range(8))))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 8}


def test_a_clock_that_jumps_makes_nothing_old(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("hang")
    campaign, ledger = campaign_of(tmp_path, engine, 1, silence_limit_s=6.0, job_timeout_s=4)
    jump = 0.0

    def leap() -> None:
        nonlocal jump
        until(lambda: engine.runs == [0])
        jump = 12 * 3600.0

    leaper = threading.Thread(target=leap)
    leaper.start()
    run = BatchRun(
        campaign,
        ledger,
        make_launcher(campaign),
        find_engine(campaign),
        BatchRequest([0]),
        "leap",
        clock=lambda: time.time() + jump,
    )
    words = settled(list(run.run()))
    leaper.join()
    word = words[0]
    assert isinstance(word, Failed) and "time limit of 4 s reached" in word.message, (
        "ended by its own limit alone"
    )


def test_what_outlives_its_limit_and_is_quiet_is_overdue(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 1, job_timeout_s=100)
    list(batch(campaign, ledger, [0]))
    (attempt,) = ledger.history.attempts(0)
    folder = campaign.jobs_dir / "job_0"
    live = LiveAttempt(ledger.structures.of([0])[0], attempt.token, folder, "job")
    begun = float(attempt.started_at or 0.0)
    assert overdue(live, 21600.0, begun + 100 + OUTLIVED_S - 1) == ""
    assert overdue(live, 21600.0, begun + 101 + OUTLIVED_S) == "it has run past its time limit"
    os.utime(folder / "orca.out", (begun + 5000, begun + 5000))
    assert overdue(live, 21600.0, begun + 5001) == "", "its output still moves"
    assert "has not changed for 6.0 h" in overdue(live, 21600.0, begun + 5000 + 21600)

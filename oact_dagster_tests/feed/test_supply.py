"""Batches that take the next structures themselves: what is due, in its order, and never twice."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.attempts.batch import BatchRun
from oact_dagster.attempts.engine import find_engine
from oact_dagster.attempts.events import Completed, Event, Failed, TakenIn
from oact_dagster.attempts.selection import Selection, resolve
from oact_dagster.intake.intake import take_in
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.batches import settled
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.waiting import until

NO_DELAY = {"retry": {"max_failures": 3, "delay_s": 0}}


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path)


def campaign_of(
    tmp_path: Path, engine: TestEngine, structures: int, **settings: Any
) -> tuple[Campaign, Ledger]:
    campaign = write_campaign(tmp_path / "campaign", structures, engine.path, settings=settings)
    ledger = Ledger(campaign.ledger, create=True)
    take_in(campaign, ledger)
    return campaign, ledger


def run(
    campaign: Campaign, ledger: Ledger, select: str, limit: int, batch_id: str, now: float | None = None
) -> list[Event]:
    request = resolve(campaign, ledger, Selection(select, limit))
    engine, launcher = find_engine(campaign), make_launcher(campaign)
    clock = {} if now is None else {"clock": lambda: now}
    return list(BatchRun(campaign, ledger, launcher, engine, request, batch_id, **clock).run())


def state(ledger: Ledger, orig_index: int, column: str) -> Any:
    with sqlite3.connect(ledger.path) as db:
        return db.execute(
            f"SELECT st.{column} FROM structure_state st JOIN structures s ON s.id = st.structure_id"
            " WHERE s.orig_index = ?",
            (orig_index,),
        ).fetchone()[0]


def prioritise(ledger: Ledger, priorities: dict[int, float]) -> None:
    with sqlite3.connect(ledger.path) as db:
        for index, priority in priorities.items():
            db.execute(
                "UPDATE structure_state SET priority = ?"
                " WHERE structure_id = (SELECT id FROM structures WHERE orig_index = ?)",
                (priority, index),
            )


def test_the_next_ones_are_taken_the_most_urgent_first(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 8, launcher={"max_workers": 1})
    prioritise(ledger, {6: 2.0, 3: 5.0, 0: -1.0})
    events = run(campaign, ledger, "feed", 4, "first")
    assert engine.runs == [3, 6, 1, 2]
    assert set(settled(events)) == {3, 6, 1, 2}
    taken = [
        structure.orig_index
        for event in events
        if isinstance(event, TakenIn)
        for structure in event.structures
    ]
    assert taken == [3, 6, 1, 2], "only what was claimed is told of"
    run(campaign, ledger, "feed", 100, "second")
    assert engine.runs == [3, 6, 1, 2, 4, 5, 7, 0]
    assert settled(run(campaign, ledger, "feed", 100, "third")) == {}


FEED = """
import sys
from oact_dagster.settings.campaign import load_campaign
from oact_dagster.attempts.batch import BatchRun
from oact_dagster.attempts.engine import find_engine
from oact_dagster.attempts.selection import Selection, resolve
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.ledger.store import Ledger
campaign = load_campaign(sys.argv[1])
with Ledger(campaign.ledger) as ledger:
    request = resolve(campaign, ledger, Selection("feed", 10))
    sys.stdin.readline()
    run = BatchRun(campaign, ledger, make_launcher(campaign), find_engine(campaign), request, sys.argv[2])
    print(sum(type(event).__name__ == "Completed" for event in run.run()))
"""


def test_three_runs_that_start_at_once_take_ten_each(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 40, batch_size=4)
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", FEED, str(campaign.file), f"run{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    outputs = [process.communicate("go\n", timeout=120)[0] for process in runs]
    assert [int(output) for output in outputs] == [10, 10, 10]
    assert Counter(engine.runs) == dict.fromkeys(range(30), 1)
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 30, Status.TO_RUN: 10}


def test_what_failed_rests_before_it_is_tried_again(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("crash")
    retry = {"retry": {"max_failures": 4, "delay_s": 600, "longest_delay_s": 1000}}
    campaign, ledger = campaign_of(tmp_path, engine, 1, **retry)
    run(campaign, ledger, "feed", 5, "feed")
    first = ledger.history.attempts(0)[0]
    assert first.ended_at is not None and state(ledger, 0, "not_before") == pytest.approx(
        first.ended_at + 600
    )
    assert settled(run(campaign, ledger, "retry", 5, "early")) == {}
    again = run(campaign, ledger, "retry", 5, "late", first.ended_at + 601)
    assert isinstance(settled(again)[0], Failed)
    second = ledger.history.attempts(0)[1]
    assert second.ended_at is not None
    assert state(ledger, 0, "not_before") == pytest.approx(second.ended_at + 1000), (
        "it doubles up to its limit"
    )
    assert engine.runs == [0, 0]


def test_a_clock_that_was_set_back_holds_nothing_up_for_ever(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("crash normal")
    campaign, ledger = campaign_of(tmp_path, engine, 1)
    run(campaign, ledger, "feed", 5, "feed")
    with sqlite3.connect(ledger.path) as db:
        db.execute("UPDATE structure_state SET not_before = not_before + 400 * 86400")
    assert isinstance(settled(run(campaign, ledger, "retry", 5, "retry"))[0], Completed)


def test_what_has_no_remedy_left_is_set_aside_until_the_settings_change(
    tmp_path: Path, engine: TestEngine
) -> None:
    engine.set("input_error", 1)
    engine.set("crash normal", 2)
    campaign, ledger = campaign_of(tmp_path, engine, 3, **NO_DELAY)
    run(campaign, ledger, "feed", 5, "feed")
    assert state(ledger, 1, "set_aside_for") == campaign.retry_key(), "as soon as it has failed"
    words = settled(run(campaign, ledger, "retry", 5, "retry"))
    assert set(words) == {2} and isinstance(words[2], Completed)
    told = settled(run(campaign, ledger, "1", 1, "by hand"))[1]
    assert isinstance(told, Failed) and told.message.startswith("not tried again: ")
    assert settled(run(campaign, ledger, "retry", 5, "once more")) == {}, (
        "it is not asked for again and again"
    )
    assert engine.runs.count(1) == 1
    # Other settings may help.
    engine.set("normal", 1)
    other = campaign.model_copy(update={"orca": campaign.orca.model_copy(update={"scf_maxiter": 300})})
    assert other.retry_key() != campaign.retry_key()
    assert isinstance(settled(run(other, ledger, "retry", 5, "mended"))[1], Completed)
    assert state(ledger, 1, "set_aside_for") is None


def test_held_structures_and_spent_budgets_are_passed_over(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("crash", 0)
    campaign, ledger = campaign_of(tmp_path, engine, 4, retry={"max_failures": 1, "delay_s": 0})
    ledger.hold([2])
    run(campaign, ledger, "feed", 10, "feed")
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 2, Status.FAILED: 1, Status.TO_RUN: 1}
    assert settled(run(campaign, ledger, "retry", 10, "retry")) == {}
    assert sorted(engine.runs) == [0, 1, 3]


def test_a_lost_one_runs_again_and_takes_no_place_of_another(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("hang normal", 0)
    campaign, ledger = campaign_of(tmp_path, engine, 4)
    started = campaign.jobs_dir / "job_0" / "started.json"

    def kill() -> None:
        until(lambda: engine.runs.count(0) == 1)
        os.kill(json.loads(started.read_text())["pid"], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    words = settled(run(campaign, ledger, "feed", 2, "feed"))
    killer.join()
    assert [type(words[index]) for index in sorted(words)] == [Completed, Completed]
    assert [one.outcome for one in ledger.history.attempts(0)] == [Outcome.LOST, Outcome.COMPLETED]
    assert set(engine.runs) == {0, 1}

"""What a campaign that feeds itself begins, and when it begins nothing: real ledgers, real batches."""

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.attempts import batch as batch_run
from oact_dagster.attempts.events import Completed, Note, NotRun
from oact_dagster.feed.decisions import MOST_REQUESTS, Decision, decide_feed, decide_retry
from oact_dagster.feed.state import let_go_on, read_feed_state
from oact_dagster.intake.intake import take_in
from oact_dagster.ledger.by_hand import update_status
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.batches import settled
from oact_dagster_tests.campaigns import write_csv
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.feed.test_supply import campaign_of, run
from oact_dagster_tests.ledger.samples import claim, ending, failures_by_class, structure

AT_ONCE: dict[str, Any] = {"launcher": {"max_workers": 4}, "retry": {"delay_s": 0}}


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path)


def with_feed(campaign: Campaign, **feed: Any) -> Campaign:
    return campaign.model_copy(update={"feed": campaign.feed.model_copy(update=feed)})


def carry_out(campaign: Campaign, ledger: Ledger, decision: Decision, select: str = "feed") -> None:
    """Run what a decision asks for."""
    for limit in decision.limits:
        run(campaign, ledger, select, limit, f"{select} {time.monotonic_ns()}")


def restarted(ledger: Ledger) -> Ledger:
    """The ledger, as another process opens it."""
    ledger.close()
    return Ledger(ledger.path)


def set_state(ledger: Ledger, column: str, value: object, *orig_indices: int) -> None:
    with sqlite3.connect(ledger.path) as db:
        db.executemany(
            f"UPDATE structure_state SET {column} = ? WHERE structure_id ="
            " (SELECT id FROM structures WHERE orig_index = ?)",
            [(value, index) for index in orig_indices],
        )
    db.close()


def test_a_trial_of_20_and_then_the_rest(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 26, **AT_ONCE)
    trial = decide_feed(campaign, ledger, 0)
    assert trial.limits == [20] and trial.said.endswith("26 due (trial of 20): 20 more in 1 run")
    for asked_for in (20, 25):
        waits = decide_feed(campaign, ledger, asked_for)
        assert waits.limits == () and waits.said.endswith("(trial of 20): waiting for the trial")
    assert decide_feed(campaign, ledger, 15).limits == [5]
    carry_out(campaign, ledger, trial)
    rest = decide_feed(campaign, ledger, 0)
    assert rest.limits == [6]
    assert rest.said == "20 of 26 completed, 0 running, 0 requested, 6 due: 6 more in 1 run"
    carry_out(campaign, ledger, rest)
    assert sorted(engine.runs) == list(range(26))
    done = decide_feed(campaign, ledger, 0)
    assert (done.limits, done.news) == ((), ("the campaign test is done: 26 completed",))


def test_many_failures_pause_it_until_it_is_released(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("crash")
    campaign, ledger = campaign_of(tmp_path, engine, 16, feed={"trial": 6}, **AT_ONCE)
    carry_out(campaign, ledger, decide_feed(campaign, ledger, 0))
    paused = decide_feed(campaign, ledger, 0)
    assert paused.limits == () and paused.news == (paused.said,)
    assert paused.said == (
        "the campaign test is paused: 6 of the last 6 attempts failed: 6 aborted (feed.pause_at_failure_rate 0.5);"
        " `oact release CAMPAIGN --feed` lets it go on"
    )
    engine.set("normal")
    ledger = restarted(ledger)
    for decide in (decide_feed, decide_retry):
        again = decide(campaign, ledger, 0)
        assert (again.limits, again.said, again.news) == ((), paused.said, ()), "and it is told once"
    waited = run(campaign, ledger, "feed", 8, "asked for before")
    assert not settled(waited) and any(
        isinstance(event, Note)
        and "running calculations go on: the campaign test is paused: 6 of" in event.text
        for event in waited
    )
    # Also what goes well meanwhile, run by hand, lets nothing go on.
    assert len(settled(run(campaign, ledger, "to_run", 8, "by hand"))) == 8
    assert decide_feed(campaign, ledger, 0).said == paused.said
    assert let_go_on(ledger).startswith("6 of the last 6 attempts failed")
    state = read_feed_state(ledger)
    assert let_go_on(ledger) == "", "there is nothing to let go on any more"
    assert read_feed_state(ledger) == state
    goes_on = decide_retry(campaign, ledger, 0)
    assert goes_on.limits == [6], "what failed before does not count any more"
    carry_out(campaign, ledger, goes_on, "retry")
    carry_out(campaign, ledger, decide_feed(campaign, ledger, 0))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 16}
    # A second time it is told again.
    engine.set("crash")
    write_csv(campaign.csv_file, 6, first=16)
    take_in(campaign, ledger)
    campaign = with_feed(campaign, window=5)
    carry_out(campaign, ledger, decide_feed(campaign, ledger, 0))
    assert len(decide_feed(campaign, ledger, 0).news) == 1


def test_a_run_takes_back_what_has_not_begun_when_too_many_fail(
    tmp_path: Path, engine: TestEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_run, "LOOK_IF_PAUSED_S", 3600.0)  # the failures themselves make it look
    engine.set("crash")
    feed = {"trial": 0, "window": 5}
    campaign, ledger = campaign_of(tmp_path, engine, 30, feed=feed, launcher={"max_workers": 1})
    events = run(campaign, ledger, "feed", 30, "feed")
    words = settled(events)
    begun = len(engine.runs)
    assert 5 <= begun <= 12 and len(words) == 30
    given_back = [word for word in words.values() if isinstance(word, NotRun)]
    assert len(given_back) == 30 - begun
    assert all("5 of the last 5 attempts failed" in word.reason for word in given_back)
    assert ledger.figures.count_by_status() == {Status.FAILED: begun, Status.TO_RUN: 30 - begun}
    assert ledger.figures.count_held() == 0
    assert all(ledger.history.attempts(index) == [] for index in range(begun, 30)), (
        "no attempt was made of them"
    )
    assert len(decide_feed(campaign, ledger, 0).news) == 1, "it is told all the same"


def test_a_run_takes_back_what_has_not_begun_when_the_budget_is_spent(
    tmp_path: Path, engine: TestEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_run, "LOOK_IF_PAUSED_S", 0.0)
    feed = {"trial": 0, "core_hours": 1e-6}
    campaign, ledger = campaign_of(tmp_path, engine, 12, feed=feed, launcher={"max_workers": 1})
    words = settled(run(campaign, ledger, "feed", 12, "feed")).values()
    assert len(words) == 12 and 1 <= len(engine.runs) <= 3
    assert sum(isinstance(w, NotRun) and "budget" in w.reason for w in words) == 12 - len(engine.runs)
    # Whoever names structures has decided that they run.
    named = settled(run(campaign, ledger, "10-11", 2, "by hand"))
    assert all(isinstance(word, Completed) for word in named.values())


def test_hopeless_structures_do_not_pause_the_end_of_a_campaign(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("crash", 1, 4, 7)
    settings = {**AT_ONCE, "feed": {"trial": 0, "window": 5, "pause_at_failure_rate": 0.5}}
    campaign, ledger = campaign_of(tmp_path, engine, 10, **settings, batch_size=100)
    carry_out(campaign, ledger, decide_feed(campaign, ledger, 0))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 7, Status.FAILED: 3}
    # The last five attempts will be of these three: what they had before says nothing new.
    write_csv(campaign.csv_file, 1, first=10)
    take_in(campaign, ledger)
    ledger.hold([10])
    for _ in range(8):
        decision = decide_retry(campaign, ledger, 0)
        assert "paused" not in decision.said
        carry_out(campaign, ledger, decision, "retry")
    assert len(ledger.history.attempts(1)) > 1
    assert read_feed_state(ledger).paused == ""
    assert decide_feed(campaign, ledger, 0).news == (
        "the campaign test is done: 7 completed, 3 failed and set aside, 1 held",
    )


def test_retries_that_fail_otherwise_than_before_pause_it(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("scf_not_converged")
    settings = {**AT_ONCE, "feed": {"trial": 0, "window": 5}, "batch_size": 100}
    campaign, ledger = campaign_of(tmp_path, engine, 6, **settings)
    run(campaign, ledger, "to_run", 6, "by hand")
    assert "paused" in decide_retry(campaign, ledger, 0).said
    let_go_on(ledger)
    engine.set("crash")  # the engine has been broken since
    carry_out(campaign, ledger, decide_retry(campaign, ledger, 0), "retry")
    assert "paused: 6 of the last 6 attempts failed" not in decide_retry(campaign, ledger, 0).said
    assert "paused: 5 of the last 5 attempts failed" in decide_retry(campaign, ledger, 0).said


def test_after_a_release_retries_keep_to_the_trial(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("crash")
    settings = {**AT_ONCE, "feed": {"trial": 5}, "batch_size": 100}
    campaign, ledger = campaign_of(tmp_path, engine, 12, **settings)
    run(campaign, ledger, "to_run", 12, "by hand")
    assert "paused" in decide_retry(campaign, ledger, 0).said
    let_go_on(ledger)
    trial = decide_retry(campaign, ledger, 0)
    assert trial.limits == [5] and "(trial of 5)" in trial.said
    carry_out(campaign, ledger, trial, "retry")
    assert "paused: 5 of the last 5" in decide_retry(campaign, ledger, 0).said, (
        "the same failure, after the release"
    )
    assert sum(len(ledger.history.attempts(index)) for index in range(12)) == 17


def test_a_share_that_is_allowed_does_not_pause_it(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("crash", 0, 2, 4)
    campaign, ledger = campaign_of(tmp_path, engine, 8, feed={"trial": 6}, **AT_ONCE)
    carry_out(campaign, ledger, decide_feed(campaign, ledger, 0))
    assert ledger.figures.count_by_status()[Status.FAILED] == 3
    assert decide_feed(campaign, ledger, 0).limits == [2]
    stricter = with_feed(campaign, pause_at_failure_rate=0.49)
    assert "3 of the last 6 attempts failed" in decide_feed(stricter, ledger, 0).said


def test_a_clock_that_was_set_back_after_the_release_hides_nothing(
    tmp_path: Path, engine: TestEngine
) -> None:
    engine.set("crash")
    campaign, ledger = campaign_of(tmp_path, engine, 20, feed={"trial": 5, "window": 5}, **AT_ONCE)
    carry_out(campaign, ledger, decide_feed(campaign, ledger, 0))
    assert "paused" in decide_feed(campaign, ledger, 0).said
    let_go_on(ledger)
    an_hour_ago = time.time() - 3600
    run(campaign, ledger, "feed", 5, "after", an_hour_ago)
    assert "5 of the last 5 attempts failed" in decide_feed(campaign, ledger, 0, an_hour_ago).said


def test_the_budget_stops_it_and_it_goes_on_when_that_is_raised(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 6, feed={"trial": 0, "core_hours": 1e-9}, **AT_ONCE)
    run(campaign, ledger, "feed", 2, "begun before")
    for times in range(2):
        spent = decide_feed(campaign, ledger, 0)
        assert spent.limits == () and len(spent.news) == (times == 0)
        assert spent.said.startswith("the budget of the campaign test is spent: ")
        assert decide_retry(campaign, ledger, 0).limits == ()
    richer = campaign
    for raised in (1000.0, None):
        richer = with_feed(campaign, core_hours=raised)
        assert decide_feed(richer, ledger, 0).limits == [4]
        assert len(decide_feed(campaign, ledger, 0).news) == 1, "spent once more, told once more"
    carry_out(richer, ledger, decide_feed(richer, ledger, 0))
    assert "is done: 6 completed" in decide_feed(campaign, ledger, 0).said, "done counts more than spent"


def test_done_is_told_once_and_again_when_there_was_more_to_do(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("crash", 1)
    once = {**AT_ONCE, "retry": {"max_failures": 1, "delay_s": 0}}
    campaign, ledger = campaign_of(tmp_path, engine, 3, **once)
    assert decide_feed(campaign, ledger, 0).news == ()
    carry_out(campaign, ledger, decide_feed(campaign, ledger, 0))
    text = "the campaign test is done: 2 completed, 1 failed and set aside"
    assert [decide_feed(campaign, ledger, 0).news for _ in range(2)] == [(text,), ()]
    write_csv(campaign.csv_file, 2, first=3)
    take_in(campaign, ledger)
    assert decide_feed(campaign, ledger, 0).news == ()
    carry_out(campaign, ledger, decide_feed(campaign, ledger, 0))
    text = "the campaign test is done: 4 completed, 1 failed and set aside"
    assert [decide_feed(campaign, ledger, 0).news for _ in range(2)] == [(text,), ()]
    # A larger budget of failures is more to do, which only the retries see.
    more = campaign.model_copy(update={"retry": campaign.retry.model_copy(update={"max_failures": 2})})
    assert "nothing to begin" in decide_feed(more, ledger, 0).said
    carry_out(more, ledger, decide_retry(more, ledger, 0), "retry")
    assert [decide_feed(more, ledger, 0).news for _ in range(2)] == [(text,), ()]


def test_a_ledger_without_structures_is_not_done(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 1)
    ledger.file.connection.execute("DELETE FROM structure_state")
    ledger.file.connection.execute("DELETE FROM structures")
    assert decide_feed(campaign, ledger, 0).news == ()


def test_limits_are_batches_and_only_a_few(tmp_path: Path, engine: TestEngine) -> None:
    settings = {"batch_size": 3, "feed": {"trial": 0}, "launcher": {"kind": "slurm"}}
    campaign, ledger = campaign_of(tmp_path, engine, 25, **settings)
    assert decide_feed(campaign, ledger, 0).limits == [3] * MOST_REQUESTS
    fewer = campaign.model_copy(update={"max_in_flight": 10})
    assert decide_feed(fewer, ledger, 2).limits == [3, 3, 2]
    assert decide_feed(fewer, ledger, 10).limits == ()
    assert decide_feed(fewer, ledger, 12).limits == ()
    claim(ledger, range(7))
    assert decide_feed(fewer, ledger, 1).limits == [2], "what runs and what was asked for count alike"
    larger = campaign.model_copy(update={"batch_size": 500})
    assert decide_feed(larger, ledger, 0).limits == [18]


@pytest.mark.parametrize("kind", ["local", "parsl"])
def test_on_one_machine_two_runs_share_its_cores(tmp_path: Path, engine: TestEngine, kind: str) -> None:
    settings = {"batch_size": 3, "feed": {"trial": 0}, "launcher": {"kind": kind}}
    campaign, ledger = campaign_of(tmp_path, engine, 25, **settings)
    assert decide_feed(campaign, ledger, 0).limits == [3, 3]
    assert decide_feed(campaign, ledger, 3, runs=1).limits == [3]
    waits = decide_feed(campaign, ledger, 6, runs=2)
    assert waits.limits == () and waits.said.endswith("25 due: 2 runs already share this machine")


def test_held_resting_and_set_aside_structures(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 6, retry={"max_losses": 2}, feed={"trial": 0})
    now = time.time()
    ledger.hold([0, 1])
    set_state(ledger, "loss_count", 2, 2)
    set_state(ledger, "not_before", now + 60, 3)
    two = decide_feed(campaign, ledger, 0, now)
    assert two.limits == [2] and "2 due, 4 resting, held or set aside" in two.said
    run(campaign, ledger, "feed", 6, "feed", now)
    assert sorted(engine.runs) == [4, 5]
    waits = decide_feed(campaign, ledger, 0, now)
    assert waits.news == () and waits.said.endswith("nothing to begin"), "what rests is to be run yet"
    assert decide_feed(campaign, ledger, 0, now + 61).limits == [1]
    run(campaign, ledger, "feed", 6, "later", now + 61)
    assert decide_feed(campaign, ledger, 0, now + 62).news == (
        "the campaign test is done: 3 completed, 2 held, 1 set aside (retry.max_losses 2)",
    )


def test_retries_rest_and_are_set_aside(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("crash", 0, 1, 2, 3)
    engine.set("input_error", 4)
    settings = {"retry": {"max_failures": 2, "delay_s": 600}, "feed": {"trial": 0}}
    campaign, ledger = campaign_of(tmp_path, engine, 5, **settings)
    now = time.time()
    run(campaign, ledger, "feed", 5, "feed", now)
    ledger.hold([3])
    said = decide_retry(campaign, ledger, 0, now).said
    # For an input error nothing is left to try, which is known as soon as it has failed.
    assert said == "5 failed or timed out, 0 due, 1 set aside, 3 resting, 1 held: nothing to try again yet"
    later = decide_retry(campaign, ledger, 0, now + 700)
    assert later.limits == [3]
    run(campaign, ledger, "retry", 3, "retry", now + 700)
    said = decide_retry(campaign, ledger, 0, now + 700).said
    assert said == "5 failed or timed out, 0 due, 4 set aside, 0 resting, 1 held: nothing to try again"
    assert decide_feed(campaign, ledger, 0, now + 700).news == (
        "the campaign test is done: 0 completed, 4 failed and set aside, 1 held",
    )


def with_francium(tmp_path: Path, engine: TestEngine, *rows: int) -> tuple[Campaign, Ledger]:
    """A campaign of 12, of which some have an element without a basis: no input can be written."""
    campaign, ledger = campaign_of(tmp_path, engine, 12, feed={"trial": 6}, **AT_ONCE)
    ledger.close()
    campaign.ledger.unlink()
    lines = ["name,aligned_csd_core,charge,uhf"]
    lines += [f"{n},{'Fr 0 0 0,0,1' if n in rows else f'Ne 0 0 {n},0,0'}" for n in range(12)]
    campaign.csv_file.write_text("\n".join(lines))
    ledger = Ledger(campaign.ledger, create=True)
    take_in(campaign, ledger)
    return campaign, ledger


def test_a_few_inputs_that_are_refused_at_once_are_no_trial(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = with_francium(tmp_path, engine, 0, 1, 2)
    carry_out(campaign, ledger, decide_feed(campaign, ledger, 0))
    assert failures_by_class(ledger) == {"input_refused": 3}
    again = decide_feed(campaign, ledger, 0)
    assert again.limits == [3] and "(trial of 6)" in again.said, "three have not been tried yet"
    carry_out(campaign, ledger, again)
    assert decide_feed(campaign, ledger, 0).limits == [3]


def test_many_inputs_that_are_refused_pause_it(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = with_francium(tmp_path, engine, *range(12))
    carry_out(campaign, ledger, decide_feed(campaign, ledger, 0))
    said = decide_feed(campaign, ledger, 0).said
    assert "no input could be written for 6 of the last 6 attempts" in said


def test_failures_of_an_old_file_or_by_hand_are_none_of_the_campaigns(
    tmp_path: Path, engine: TestEngine
) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 60, feed={"window": 5, "trial": 5})
    for row in range(1, 51):
        update_status(ledger, row, Status.FAILED, "before our time")
    assert len(ledger.history.attempts(0)) == 1 and failures_by_class(ledger) == {"failed": 50}
    again = decide_retry(campaign, ledger, 0)
    assert again.limits == [5] and "50 due" in again.said and "(trial of 5)" in again.said
    assert "(trial of 5)" in decide_feed(campaign, ledger, 0).said


def test_those_that_fail_early_do_not_stand_for_all_that_began_with_them(
    tmp_path: Path, engine: TestEngine
) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 1, feed={"window": 10, "trial": 5})
    ledger.add_structures([structure(n) for n in range(1, 200)])

    def begin(some: range, at: float) -> list[str]:
        tokens = [one.token for one in claim(ledger, some)]
        ledger.mark_submitted({token: token for token in tokens}, now=at)
        ledger.mark_running(tokens, now=at)
        return tokens

    def fail(some: list[str], after_s: float) -> None:
        when = 1000.0 + after_s
        ledger.record([ending(token, Outcome.FAILED, ended_at=when, elapsed=after_s) for token in some])

    tokens = begin(range(100), 1000.0)
    fail(tokens[:12], 10.0)
    assert decide_feed(campaign, ledger, 0, 1005.0).limits == (), "none of them has lived longer yet"
    ledger.set_meta("feed", "{}")
    assert decide_feed(campaign, ledger, 0, 1060.0).limits == [100]
    # Those that began later prove nothing.
    begin(range(100, 190), 5000.0)
    fail(tokens[12:90], 50.0)
    assert decide_feed(campaign, ledger, 0, 1060.0).limits == [10], "10 of 20 is not more than half"
    fail(tokens[90:91], 50.0)
    assert "10 of the last 10 attempts failed" in decide_feed(campaign, ledger, 0, 1060.0).said


def test_a_state_that_cannot_be_read_is_none(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 1)
    for text in ("[]", "{", '{"after": "x"}', '{"told": 3}'):
        ledger.set_meta("feed", text)
        assert read_feed_state(ledger).paused == "" and decide_feed(campaign, ledger, 0).limits == [1]

"""Resets, changes by hand, and that each failure counts once whoever counts it."""

import pytest

from oact_dagster.ledger.by_hand import update_metrics, update_status, update_status_bulk
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.ledger.old_files import old_file
from oact_dagster_tests.ledger.samples import claim, ending, result, row, run, structure

RESULT_COLUMNS = ("final_energy", "max_forces", "scf_steps", "wall_time", "n_cores")


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(10)])
        yield ledger


def results(ledger, index):
    return tuple(row(ledger, index)[column] for column in RESULT_COLUMNS)


def fail_recorded(ledger, index):
    run(ledger, index, Outcome.FAILED, message="recorded")


def fail_timed_out(ledger, index):
    run(ledger, index, Outcome.TIMEOUT, message="recorded")


def fail_by_hand(ledger, index):
    """As a tool does that submits by itself."""
    assert update_status(ledger, index + 1, Status.RUNNING)
    assert update_status(ledger, index + 1, Status.FAILED, "by hand")


def fail_by_hand_and_count(ledger, index):
    assert update_status(ledger, index + 1, Status.RUNNING)
    assert update_status(ledger, index + 1, Status.FAILED, "by hand", increment_fail_count=True)


def fail_in_sql(ledger, index):
    """As a tool does that knows nothing of attempts."""
    ledger.file.connection.execute("UPDATE structures SET status = 'failed' WHERE orig_index = ?", (index,))


def fail_by_hand_while_it_runs(ledger, index):
    [claimed] = claim(ledger, [index])
    assert update_status(ledger, index + 1, Status.TIMEOUT, "silent for 6 h")
    assert ledger.record([ending(claimed.token, Outcome.FAILED)]) == {claimed.token}


def fail_counted_by_hand_while_it_runs(ledger, index):
    [claimed] = claim(ledger, [index])
    assert update_status(ledger, index + 1, Status.FAILED, increment_fail_count=True)
    assert ledger.record([ending(claimed.token, Outcome.FAILED)]) == {claimed.token}


WAYS = [
    fail_recorded,
    fail_timed_out,
    fail_by_hand,
    fail_by_hand_and_count,
    fail_in_sql,
    fail_by_hand_while_it_runs,
    fail_counted_by_hand_while_it_runs,
]
BOTH = [Status.FAILED, Status.TIMEOUT]


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("second", WAYS)
def test_three_retries_are_three_attempts_in_all_whoever_counts(ledger, first, second):
    first(ledger, 0)
    assert ledger.reset(BOTH, 3) == 1
    assert row(ledger, 0)["fail_count"] == 1
    second(ledger, 0)
    assert ledger.reset(BOTH, 3) == 1
    assert row(ledger, 0)["fail_count"] == 2
    first(ledger, 0)
    for _ in range(2):
        assert ledger.reset(BOTH, 3) == 0, "three attempts have failed"
        assert (row(ledger, 0)["status"] in BOTH, row(ledger, 0)["fail_count"]) == (True, 3)
    assert claim(ledger, [0], max_failures=3) == []
    assert len(ledger.history.attempts(0)) == 3


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("second", WAYS)
def test_three_retries_are_three_attempts_in_all_without_resets(ledger, first, second):
    first(ledger, 0)
    ledger.give_back([one.token for one in claim(ledger, [0], max_failures=3)])
    second(ledger, 0)
    ledger.give_back([one.token for one in claim(ledger, [0], max_failures=3)])
    assert row(ledger, 0)["fail_count"] == 2
    first(ledger, 0)
    assert claim(ledger, [0], max_failures=3) == []
    assert row(ledger, 0)["fail_count"] == 3


@pytest.mark.parametrize("counted", [None, 0, 2])
@pytest.mark.parametrize("status", BOTH)
def test_a_failure_in_an_old_file_is_counted_by_the_reset(tmp_path, counted, status):
    path = old_file(tmp_path / "old.db", [{"status": status, "error_message": "no", "fail_count": counted}])
    with Ledger(path) as ledger:
        assert ledger.reset([status], 3) == (counted != 2)
        assert row(ledger, 0)["fail_count"] == (counted or 0) + 1
        assert ledger.reset([status], 3) == 0
        assert row(ledger, 0)["fail_count"] == (counted or 0) + 1
        assert len(claim(ledger, [0], max_failures=3)) == (counted != 2)


@pytest.mark.parametrize("counted", [0, 2])
def test_a_failure_in_an_old_file_is_counted_by_a_claim(tmp_path, counted):
    path = old_file(tmp_path / "old.db", [{"status": "failed", "fail_count": counted}])
    with Ledger(path) as ledger:
        assert ledger.figures.count_set_aside(3, 3) == (counted == 2), (
            "it has used up its budget, counted or not"
        )
        assert len(claim(ledger, [0], max_failures=3)) == (counted == 0)
        assert row(ledger, 0)["fail_count"] == counted + 1
        assert ledger.structures.of([0])[0].fail_count == counted + 1
        assert ledger.figures.count_set_aside(3, 3) == (counted == 2)


def test_a_reset_takes_the_statuses_that_it_is_asked_for(ledger):
    run(ledger, 0, Outcome.FAILED, message="no")
    run(ledger, 1, Outcome.TIMEOUT, message="late")
    run(ledger, 2, Outcome.COMPLETED)
    claim(ledger, [3])
    assert ledger.reset() == 1
    assert (row(ledger, 0)["status"], row(ledger, 0)["error_message"]) == ("to_run", None)
    assert [row(ledger, n)["status"] for n in (1, 2, 3)] == ["timeout", "completed", "running"]
    assert ledger.reset([Status.TIMEOUT]) == 1
    assert ledger.reset(BOTH) == 0
    with pytest.raises(ValueError, match="not running"):
        ledger.reset([Status.RUNNING])


def test_a_held_structure_stays_held_when_it_is_reset(ledger):
    run(ledger, 0, Outcome.FAILED)
    ledger.hold([0])
    assert ledger.reset() == 1
    assert 0 not in ledger.queue.select([Status.TO_RUN])


@pytest.mark.parametrize("metrics_first", [True, False])
def test_numbers_may_be_set_before_or_after_the_status(ledger, metrics_first):
    update_status(ledger, 1, Status.RUNNING)
    numbers = {"final_energy": -1.5, "max_forces": 0.1, "scf_steps": 9, "wall_time": 3.0, "n_cores": 2}
    if metrics_first:
        assert update_metrics(ledger, 1, job_dir="jobs/job_0", **numbers)
        assert update_status(ledger, 1, Status.COMPLETED)
    else:
        assert update_status(ledger, 1, Status.COMPLETED)
        assert update_metrics(ledger, 1, job_dir="jobs/job_0", **numbers)
    assert results(ledger, 0) == (-1.5, 0.1, 9, 3.0, 2)
    assert row(ledger, 0)["job_dir"] == "jobs/job_0"
    assert update_metrics(ledger, 1, scf_steps=10)
    assert results(ledger, 0) == (-1.5, 0.1, 10, 3.0, 2)
    assert update_status(ledger, 1, Status.COMPLETED)
    assert results(ledger, 0) == (-1.5, 0.1, 10, 3.0, 2)
    assert update_status(ledger, 1, Status.TO_RUN)
    assert results(ledger, 0) == (None,) * 5


def test_a_failure_set_by_hand_takes_the_numbers_into_its_attempt(ledger):
    update_metrics(ledger, 1, scf_steps=500, n_cores=4, error_message="said before")
    update_status(ledger, 1, Status.FAILED)
    assert results(ledger, 0) == (None,) * 5
    [attempt] = ledger.history.attempts(0)
    assert (attempt.outcome, attempt.message) == (Outcome.FAILED, "said before")
    assert (attempt.result, attempt.batch_id) == ({"scf_steps": 500, "n_cores": 4}, "by hand")
    update_status(ledger, 1, Status.TIMEOUT, "said again")
    assert len(ledger.history.attempts(0)) == 1, "it failed once"
    assert row(ledger, 0)["error_message"] == "said again"
    update_status(ledger, 1, Status.TO_RUN)
    assert row(ledger, 0)["error_message"] is None
    assert row(ledger, 0)["fail_count"] == 0, "taken back, and not reset"


def test_a_result_that_was_taken_back_by_hand_is_nobodys(ledger):
    token = run(ledger, 0, Outcome.COMPLETED)
    update_status(ledger, 1, Status.TO_RUN)
    update_status(ledger, 1, Status.COMPLETED)
    update_metrics(ledger, 1, final_energy=-1.0)
    assert ledger.history.good_attempts([0]) == {}
    [summarised] = ledger.history.completed()
    assert (summarised["final_energy"], summarised["result"]) == (-1.0, None)
    assert ledger.figures.count_by_engine() == {None: 1}
    update_status(ledger, 1, Status.TO_RUN)
    assert ledger.restore(0, token, [Status.TO_RUN])
    assert ledger.history.good_attempts([0])[0].token == token


@pytest.mark.parametrize("status", [Status.TO_RUN, Status.FAILED, Status.TIMEOUT, Status.READY])
def test_what_runs_is_given_to_nobody_else_whatever_is_set_by_hand(ledger, status):
    [claimed] = claim(ledger, [0])
    update_status(ledger, 1, status)
    assert ledger.reset(BOTH) == (status in BOTH)
    assert claim(ledger, [0]) == []
    assert row(ledger, 0)["status"] == "running", "whoever looks next finds its attempt and follows it"
    assert ledger.history.open_attempts([0])[0].token == claimed.token
    assert not ledger.restore(0, claimed.token, list(Status))
    assert ledger.record([ending(claimed.token, Outcome.COMPLETED)]) == {claimed.token}
    assert (row(ledger, 0)["status"], row(ledger, 0)["final_energy"]) == ("completed", -75.5)


@pytest.mark.parametrize("by_hand", list(Status))
@pytest.mark.parametrize("outcome", list(Outcome))
def test_an_attempt_always_ends_whatever_was_set_by_hand(ledger, by_hand, outcome):
    [claimed] = claim(ledger, [0])
    update_status(ledger, 1, by_hand, "by hand")
    recorded = ledger.record([ending(claimed.token, outcome, message="its end")])
    assert ledger.history.open_attempts([0]) == {}
    now = row(ledger, 0)["status"]
    failing = outcome in (Outcome.FAILED, Outcome.TIMEOUT)
    if outcome is Outcome.COMPLETED:
        assert (now, row(ledger, 0)["final_energy"]) == ("completed", -75.5)
    elif by_hand is Status.COMPLETED:
        assert now == "completed"
    elif failing:
        assert now == outcome
    else:
        assert now == ("to_run" if by_hand is Status.RUNNING else by_hand)
    assert row(ledger, 0)["fail_count"] == failing
    assert ledger.structures.of([0])[0].loss_count == (outcome is Outcome.LOST)
    assert recorded == (set() if failing and by_hand is Status.COMPLETED else {claimed.token})


def test_a_failure_counted_by_hand_that_came_out_well_is_none(ledger):
    [claimed] = claim(ledger, [0])
    update_status(ledger, 1, Status.FAILED, increment_fail_count=True)
    assert row(ledger, 0)["fail_count"] == 1
    ledger.record([ending(claimed.token, Outcome.COMPLETED)])
    assert row(ledger, 0)["fail_count"] == 0


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.CANCELLED])
def test_a_failure_counted_by_hand_counts_once_when_its_attempt_is_lost(ledger, outcome):
    [claimed] = claim(ledger, [0])
    update_status(ledger, 1, Status.FAILED, increment_fail_count=True)
    ledger.record([ending(claimed.token, outcome)])
    assert ledger.reset() == 1
    assert row(ledger, 0)["fail_count"] == 1


def test_a_claim_that_is_given_back_keeps_what_was_set_by_hand(ledger):
    [claimed] = claim(ledger, [0])
    update_status(ledger, 1, Status.COMPLETED)
    assert ledger.give_back([claimed.token]) == [0]
    assert row(ledger, 0)["status"] == "completed"
    assert ledger.history.open_attempts([0]) == {}


def test_running_set_by_hand_has_no_attempt_and_is_given_to_nobody(ledger):
    assert update_status_bulk(ledger, range(1, 4), Status.RUNNING) == 3
    assert ledger.history.open_attempts(range(10)) == {}
    assert claim(ledger, [0, 1, 2, 3]) != []
    assert [row(ledger, n)["status"] for n in range(4)] == ["running"] * 4
    assert len(ledger.history.attempts(0)) == 0


def test_many_at_once(ledger):
    ids = [1, 2, 3, 99, 3]
    run(ledger, 2, Outcome.COMPLETED)
    assert update_status_bulk(ledger, ids, Status.FAILED) == 3
    assert [len(ledger.history.attempts(n)) for n in range(4)] == [1, 1, 2, 0]
    assert ledger.figures.count_by_status() == {Status.FAILED: 3, Status.TO_RUN: 7}
    assert results(ledger, 2) == (None,) * 5
    assert ledger.reset() == 3
    assert update_status_bulk(ledger, [], Status.FAILED) == 0
    assert update_status_bulk(ledger, range(5000), Status.COMPLETED) == 10


def test_who_is_not_there(ledger):
    assert not update_status(ledger, 99, Status.FAILED)
    assert not update_status(ledger, 99, Status.FAILED, increment_fail_count=True)
    assert not update_metrics(ledger, 99, scf_steps=1)
    assert ledger.structures.stored([99]) == {}


def test_rows_by_id_status_and_fail_count(tmp_path):
    path = old_file(
        tmp_path / "old.db",
        [
            {"status": ("failed", "completed", "ready")[n % 3], "fail_count": n % 5, "orig_index": n // 2}
            for n in range(3000)
        ],
    )
    with Ledger(path) as ledger:
        failed = list(ledger.structures.stored_by_status([Status.FAILED]))
        assert [one.id for one in failed] == [*range(1, 3001, 3)]
        assert (failed[1].id, failed[1].orig_index, failed[1].fail_count, failed[1].spin) == (4, 1, 3, 1)
        both = [
            one.id for one in ledger.structures.stored_by_status([Status.READY, Status.FAILED, Status.READY])
        ]
        assert both == [n for n in range(1, 3001) if n % 3 != 2]
        assert [one.id for one in ledger.structures.stored_by_status()] == [*range(1, 3001)]
        assert list(ledger.structures.stored_by_status([])) == []
        assert [one.fail_count for one in ledger.structures.stored_by_fail_count(3)] == [4] * 600 + [3] * 600
        assert len(ledger.structures.stored_by_fail_count(0)) == 3000
        assert ledger.structures.stored([5])[5].orig_index == 2
        # What is asked for may be changed at once.
        for one in ledger.structures.stored_by_status([Status.FAILED]):
            update_status(ledger, one.id, Status.COMPLETED)
        assert ledger.figures.count_by_status()[Status.COMPLETED] == 2000


@pytest.mark.parametrize("text", ['it\'s "no";\n--\r\n', "Å → 你好 \U0001f600", "x" * 1_000_000])
def test_messages_are_kept_whole(ledger, text):
    update_status(ledger, 1, Status.FAILED, text)
    assert (row(ledger, 0)["error_message"], ledger.history.attempts(0)[0].message) == (text, text)
    update_metrics(ledger, 2, error_message=text, job_dir=text[:1000])
    assert ledger.structures.stored([2])[2].error_message == text
    update_status(ledger, 3, Status.FAILED, "caf\udce9")
    assert row(ledger, 2)["error_message"] == "caf?"


def test_figures_are_exact_and_of_completed_ones_only(ledger):
    for index, energy, forces in ((0, -1.0, 0.1), (1, -2.0, None), (2, -6.0, 0.4), (3, -7.0, 0.2)):
        run(
            ledger,
            index,
            Outcome.COMPLETED,
            result=result(final_energy=energy, max_forces=forces, wall_time=60.0 * index, n_cores=4),
        )
    run(ledger, 4, Outcome.FAILED, result=result(max_forces=9.0))
    found = ledger.figures.metrics()
    assert (found.completed, found.with_metrics, found.with_times) == (4, 4, 4)
    assert (found.max_forces.count, found.max_forces.median) == (3, 0.2)
    assert (found.final_energy.median, found.final_energy.mean) == (-4.0, -4.0)
    assert (found.wall_time.minimum, found.wall_time.maximum, found.wall_time.total) == (0.0, 180.0, 360.0)
    assert (found.n_cores.mean, found.core_hours) == (4.0, 0.4)
    assert found.scf_steps.median == 12.0


def test_figures_of_nothing(tmp_path):
    with Ledger(tmp_path / "empty.db", create=True) as ledger:
        found = ledger.figures.metrics()
        assert (found.completed, found.max_forces, found.core_hours, found.with_metrics) == (0, None, 0.0, 0)
        assert ledger.figures.count_by_status() == {}
        assert ledger.figures.count_set_aside(0, 0) == 0


def test_what_is_set_aside_by_the_class_of_its_last_attempt(ledger):
    for _ in range(2):
        run(ledger, 0, Outcome.FAILED, failure_class="memory")
        run(ledger, 1, Outcome.LOST)
        run(ledger, 2, Outcome.TIMEOUT)
    run(ledger, 3, Outcome.FAILED, failure_class="memory")
    update_status(ledger, 5, Status.FAILED)
    assert ledger.figures.set_aside_by_class(2, 2) == [("lost", 1), ("memory", 1), ("timeout", 1)]
    assert ledger.figures.set_aside_by_class(1, 2) == [
        ("memory", 2),
        ("failed", 1),
        ("lost", 1),
        ("timeout", 1),
    ]
    assert ledger.figures.count_set_aside(2, 2) == 3
    assert ledger.figures.count_set_aside(1, 2) == 5
    assert ledger.figures.count_set_aside(0, 2) == 10

"""What claims, endings, holds and budgets do to a structure."""

import sqlite3

import pytest

from oact_dagster.ledger.ledger_file import CHUNK
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import AttemptState, Outcome, Place, Preparation, Rejection, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.ledger.samples import claim, ending, failures_by_class, result, row, run, structure

RESULT_COLUMNS = ("final_energy", "max_forces", "scf_steps", "wall_time", "n_cores")


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(10)])
        yield ledger


def results(ledger, index):
    return tuple(row(ledger, index)[column] for column in RESULT_COLUMNS)


def test_a_claim_opens_an_attempt_and_says_what_to_run(ledger):
    [one, two] = claim(ledger, [5, 2])
    assert [one.structure.orig_index, two.structure.orig_index] == [5, 2]
    assert one.token != two.token
    assert (one.attempt, two.attempt) == (1, 1)
    assert one.structure.annotations == {"name": "hydroxide 5"}
    assert (one.structure.charge, one.structure.multiplicity, one.structure.natoms) == (-1, 1, 2)
    assert row(ledger, 5)["status"] == "running"
    open_attempt = ledger.history.open_attempts([5])[5]
    assert (open_attempt.token, open_attempt.state) == (one.token, AttemptState.CLAIMED)
    assert (open_attempt.batch_id, open_attempt.launcher) == ("batch", "local")
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 8, Status.RUNNING: 2}


def test_what_is_running_is_not_claimed_again(ledger):
    claim(ledger, [1])
    assert claim(ledger, [1], statuses=list(set(Status) - {Status.RUNNING})) == []
    assert [c.structure.orig_index for c in claim(ledger, [0, 1, 2])] == [0, 2]
    assert claim(ledger, [99]) == []
    assert claim(ledger, []) == []


def test_a_structure_named_twice_is_claimed_once(tmp_path):
    with Ledger(tmp_path / "other.db", create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(2 * CHUNK)])
        wanted = [3, *range(2 * CHUNK), 3]
        claimed = [c.structure.orig_index for c in claim(ledger, wanted)]
        assert sorted(claimed) == list(range(2 * CHUNK))


def test_ready_of_an_old_file_is_claimed_like_to_run(ledger):
    ledger.file.connection.execute("UPDATE structures SET status = 'ready' WHERE orig_index = 4")
    assert len(claim(ledger, [4], statuses=[Status.TO_RUN])) == 1
    ledger.file.connection.execute("UPDATE structures SET status = 'ready' WHERE orig_index = 5")
    assert claim(ledger, [5], statuses=[Status.FAILED]) == []


def test_the_way_of_an_attempt(ledger):
    [claimed] = claim(ledger, [3], settings_hash="settings")
    ledger.mark_prepared([Preparation(claimed.token, "/jobs/job_3", "inputhash", 8, "slowconv", {"x": 1})])
    assert row(ledger, 3)["job_dir"] == "/jobs/job_3"
    assert ledger.figures.count_running_started() == 0
    ledger.mark_running([claimed.token])
    assert ledger.history.open_attempts([3])[3].state is AttemptState.CLAIMED, "it was never handed over"
    ledger.mark_submitted({claimed.token: "4711"}, now=1001.0)
    ledger.mark_submitted({claimed.token: "4712"}, now=1002.0)
    attempt = ledger.history.open_attempts([3])[3]
    assert (attempt.state, attempt.scheduler_job_id) == (AttemptState.SUBMITTED, "4711")
    ledger.mark_running([claimed.token], now=1003.0)
    assert ledger.figures.count_running_started() == 1
    ledger.record([ending(claimed.token, Outcome.COMPLETED, host="node7", elapsed=61.0)])
    [done] = ledger.history.attempts(3)
    assert (done.state, done.outcome) == (AttemptState.CLOSED, Outcome.COMPLETED)
    assert (done.claimed_at, done.started_at, done.ended_at) == (1000.0, 1003.0, 2000.0)
    assert (done.scheduler_job_id, done.host, done.job_dir) == ("4711", "node7", "/jobs/job_3")
    assert (done.input_hash, done.elapsed, done.n_cores) == ("inputhash", 61.0, 4)
    assert (done.settings_hash, done.remedy, done.plan) == ("settings", "slowconv", {"x": 1})
    assert done.result["final_energy"] == -75.5
    assert ledger.history.open_attempts([3]) == {}
    assert ledger.history.good_attempts([3, 4]) == {3: done}
    assert ledger.figures.count_running_started() == 0


def test_completed_sets_the_results(ledger):
    run(ledger, 0, Outcome.COMPLETED)
    assert row(ledger, 0)["status"] == "completed"
    assert results(ledger, 0) == (-75.5, 0.001, 12, 60.0, 4)
    assert row(ledger, 0)["error_message"] is None
    assert row(ledger, 0)["fail_count"] == 0


def test_completed_needs_a_result_and_spoils_no_neighbour(ledger):
    one, two = claim(ledger, [0, 1])
    with pytest.raises(ValueError, match="has no energy"):
        ledger.record(
            [ending(one.token, Outcome.COMPLETED), ending(two.token, Outcome.COMPLETED, result=None)]
        )
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 8, Status.RUNNING: 2}
    assert ledger.record([ending(one.token, Outcome.COMPLETED)]) == {one.token}


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMEOUT])
def test_a_failure_and_a_timeout_count_once(ledger, outcome):
    token = run(
        ledger, 0, outcome, message="SCF did not converge", failure_class="scf_not_converged", elapsed=9.0
    )
    kept = row(ledger, 0)
    assert (kept["status"], kept["fail_count"], kept["error_message"]) == (outcome, 1, "SCF did not converge")
    assert results(ledger, 0) == (None,) * 5
    assert ledger.record([ending(token, outcome)]) == set()
    assert row(ledger, 0)["fail_count"] == 1
    run(ledger, 0, outcome)
    assert row(ledger, 0)["fail_count"] == 2
    assert [a.number for a in ledger.history.attempts(0)] == [1, 2]
    assert ledger.history.attempts(0)[0].failure_class == "scf_not_converged"


def test_a_loss_counts_against_its_own_budget(ledger):
    run(ledger, 0, Outcome.LOST, message="node failed")
    kept = ledger.structures.of([0])[0]
    assert (kept.status, kept.fail_count, kept.loss_count) == (Status.TO_RUN, 0, 1)
    assert kept.error_message == "node failed"


def test_what_the_user_cancelled_counts_against_nothing(ledger):
    run(ledger, 0, Outcome.CANCELLED)
    kept = ledger.structures.of([0])[0]
    assert (kept.status, kept.fail_count, kept.loss_count, kept.held) == (Status.TO_RUN, 0, 0, False)


def test_results_leave_with_the_status_completed(ledger):
    run(ledger, 0, Outcome.COMPLETED)
    [again] = claim(ledger, [0], statuses=[Status.COMPLETED])
    assert results(ledger, 0) == (None,) * 5
    assert again.attempt == 2
    ledger.record([ending(again.token, Outcome.FAILED, message="no", n_cores=8)])
    assert results(ledger, 0) == (None,) * 5
    assert ledger.history.good_attempts([0]) == {}
    first, second = ledger.history.attempts(0)
    assert (first.result["final_energy"], first.n_cores, second.result, second.n_cores) == (-75.5, 4, {}, 8)


def test_a_structure_completed_twice_is_summarised_once(ledger):
    run(ledger, 0, Outcome.COMPLETED)
    [again] = claim(ledger, [0], statuses=[Status.COMPLETED])
    ledger.record([ending(again.token, Outcome.COMPLETED, result=result(final_energy=-76.0))])
    run(ledger, 1, Outcome.COMPLETED)
    summarised = [(r["orig_index"], r["final_energy"], r["attempt"]) for r in ledger.history.completed()]
    assert summarised == [(0, -76.0, 2), (1, -75.5, 1)]
    assert ledger.history.good_attempts([0])[0].number == 2


def test_what_has_no_open_attempt_cannot_end(ledger):
    run(ledger, 0, Outcome.FAILED)
    token = ledger.history.attempts(0)[0].token
    ledger.file.connection.execute("UPDATE structures SET status = 'running' WHERE orig_index = 0")
    assert ledger.record([ending(token, Outcome.COMPLETED)]) == set()
    assert row(ledger, 0)["final_energy"] is None
    assert ledger.record([ending("nobody's token", Outcome.COMPLETED)]) == set()


def test_an_ending_is_recorded_by_one_of_two_only(tmp_path, ledger):
    [claimed] = claim(ledger, [0])
    with Ledger(tmp_path / "workflow.db") as other:
        assert other.record([ending(claimed.token, Outcome.COMPLETED)]) == {claimed.token}
        assert ledger.record([ending(claimed.token, Outcome.FAILED, message="late")]) == set()
    assert (row(ledger, 0)["status"], row(ledger, 0)["fail_count"]) == ("completed", 0)


def test_what_was_never_started_is_given_back(ledger):
    run(ledger, 0, Outcome.FAILED, message="first")
    [again, other, started, done] = claim(ledger, [0, 1, 2, 3])
    ledger.mark_submitted({other.token: "1", started.token: "2"})
    ledger.mark_running([started.token])
    ledger.record([ending(done.token, Outcome.COMPLETED)])
    tokens = [again.token, other.token, started.token, done.token, "nobody's"]
    assert ledger.batches.unstarted("batch") == [again.token, other.token]
    assert ledger.give_back(tokens) == [0, 1]
    assert ledger.give_back(tokens) == []
    assert [row(ledger, n)["status"] for n in range(4)] == ["to_run", "to_run", "running", "completed"]
    assert row(ledger, 0)["fail_count"] == 1
    assert [a.number for a in ledger.history.attempts(0)] == [1]
    assert claim(ledger, [0])[0].attempt == 2
    assert ledger.record([ending(again.token, Outcome.COMPLETED)]) == set(), "its token names nothing now"


def test_budgets_of_failures_and_losses(ledger):
    for _ in range(2):
        run(ledger, 0, Outcome.FAILED)
        run(ledger, 1, Outcome.LOST)
    run(ledger, 2, Outcome.TIMEOUT)
    run(ledger, 2, Outcome.FAILED)

    def claimed(**budget):
        given = claim(ledger, [0, 1, 2, 3], **budget)
        ledger.give_back([c.token for c in given])
        return [c.structure.orig_index for c in given]

    assert claimed(max_failures=2, max_losses=2) == [3]
    assert claimed(max_failures=3, max_losses=2) == [0, 2, 3]
    assert claimed(max_failures=2, max_losses=3) == [1, 3]
    assert claimed() == [0, 1, 2, 3]


def test_what_is_held_waits_for_its_release_or_to_be_named(ledger):
    ledger.hold([1, 2, 3])
    assert ledger.figures.count_held() == 3
    assert 1 not in ledger.queue.select([Status.TO_RUN])
    assert claim(ledger, [1]) == []
    assert [c.structure.orig_index for c in claim(ledger, [0, 1], release_held=True)] == [0, 1]
    assert ledger.figures.count_held() == 2
    assert not ledger.structures.of([1])[1].held
    assert ledger.release([2]) == 1
    assert ledger.release([2]) == 0
    assert ledger.release() == 1
    assert ledger.figures.count_held() == 0


def test_the_most_urgent_are_selected_first(ledger):
    ledger.add_structures([structure(10, place=Place(5.0)), structure(11, place=Place(-1.0))])
    assert ledger.queue.select([Status.TO_RUN], limit=3) == [10, 0, 1]
    assert ledger.queue.select([Status.TO_RUN])[-1] == 11
    assert ledger.queue.select([Status.FAILED]) == []


def test_faults_are_counted_by_host(ledger):
    run(ledger, 0, Outcome.FAILED, failure_class="disk_full", host="n7")
    run(ledger, 1, Outcome.FAILED, failure_class="mpi_error", host="n7")
    run(ledger, 2, Outcome.FAILED, failure_class="mpi_error", host="n2")
    run(ledger, 3, Outcome.FAILED, failure_class="scf_not_converged", host="n3")
    run(ledger, 4, Outcome.LOST, failure_class="lost", host="n4")
    assert ledger.figures.faults_by_host() == [("n7", 2), ("n2", 1)]


def test_failures_and_core_hours_are_summed_up(ledger):
    run(ledger, 0, Outcome.FAILED, failure_class="scf_not_converged", elapsed=3600.0, n_cores=2)
    run(ledger, 1, Outcome.FAILED, failure_class="scf_not_converged")
    run(ledger, 2, Outcome.TIMEOUT)
    run(ledger, 3, Outcome.FAILED, failure_class="disk_full")
    run(ledger, 3, Outcome.COMPLETED, elapsed=1800.0)
    assert failures_by_class(ledger) == {"scf_not_converged": 2, "timeout": 1}
    spent = ledger.figures.cores_spent()
    assert spent[Outcome.FAILED] == pytest.approx(2.0)
    assert spent[Outcome.COMPLETED] == pytest.approx(2.0)


NASTY = [
    'it\'s "quoted"; DROP TABLE structures; --\r\n\tline two',
    "Å ℏω → 你好 \U0001f600",
    "",
    "x" * 1_000_000,
]


@pytest.mark.parametrize("text", NASTY, ids=["quotes", "scripts", "empty", "a megabyte"])
def test_texts_come_back_as_they_were(ledger, text):
    ledger.add_structures([structure(20, annotations={text[:1000]: text})])
    assert ledger.structures.of([20])[20].annotations == {text[:1000]: text}
    ledger.set_annotations({20: {"name": text}})
    [claimed] = claim(ledger, [20])
    assert claimed.structure.annotations == {"name": text}
    ledger.record([ending(claimed.token, Outcome.FAILED, message=text)])
    assert ledger.structures.of([20])[20].error_message == text
    assert ledger.history.attempts(20)[0].message == text
    ledger.add_structures([], [Rejection(21, 7, text, "hash")])
    assert ledger.intake.rejections() == [Rejection(21, 7, text, "hash")]


def test_a_message_that_is_no_unicode_is_recorded_all_the_same(ledger):
    # What surrogateescape makes of bytes in another encoding.
    run(ledger, 0, Outcome.FAILED, message=b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert row(ledger, 0)["status"] == "failed"
    assert row(ledger, 0)["error_message"] == "caf?"


def test_rows_are_added_all_or_none(ledger):
    def interrupted():
        yield structure(20)
        raise RuntimeError("the reader broke")

    with pytest.raises(RuntimeError):
        ledger.add_structures(interrupted())
    assert sum(ledger.figures.count_by_status().values()) == 10
    with pytest.raises(sqlite3.Error):
        ledger.add_structures([structure(20), structure(21, geometry=object())])
    assert sum(ledger.figures.count_by_status().values()) == 10
    assert ledger.add_structures([structure(20)]) == (1, 0)


def test_rows_that_are_known_are_not_added_again(ledger):
    rejections = [Rejection(11, 1, "bad", "h")]
    assert ledger.add_structures([structure(9), structure(10), structure(12)], rejections) == (2, 1)
    assert ledger.add_structures([structure(10), structure(12), structure(13)], rejections) == (1, 0)
    assert list(ledger.structures.indices()) == [*range(11), 12, 13]
    known = list(ledger.intake.known_rows())
    assert [index for index, _, _ in known] == list(range(14))
    assert known[11] == (11, "h", None)
    assert known[12] == (12, "row12", '{"name": "hydroxide 12"}')
    assert ledger.intake.count_rejections() == 1


def test_structures_of_one_calculation_are_found(ledger):
    ledger.add_structures(
        [structure(n, calculation_hash=h) for n, h in ((10, "calculation2"), (11, "x"), (12, "x"), (13, "x"))]
    )
    assert ledger.intake.same_calculations(10) == (3, [[2, 10], [11, 12, 13]])
    assert ledger.intake.same_calculations(1) == (3, [[2, 10]])


def test_the_numbers_of_a_failed_attempt_stay_with_it(ledger):
    run(ledger, 0, Outcome.FAILED, result=result(final_energy=None, scf_steps=500), evidence={"near": True})
    assert results(ledger, 0) == (None,) * 5
    [failed] = ledger.history.attempts(0)
    assert (failed.result["scf_steps"], failed.evidence) == (500, {"near": True})
    assert ledger.history.good_attempts([0]) == {}


def test_an_earlier_result_is_the_structures_again(ledger):
    token = run(ledger, 0, Outcome.COMPLETED)
    before = results(ledger, 0)
    [again] = claim(ledger, [0], statuses=[Status.COMPLETED])
    ledger.record([ending(again.token, Outcome.FAILED)])
    assert results(ledger, 0) == (None,) * 5
    assert not ledger.restore(0, token, [Status.TO_RUN]), "it is failed by now"
    assert not ledger.restore(0, again.token, [Status.FAILED]), "that attempt has no result"
    assert not ledger.restore(1, token, [Status.FAILED, Status.TO_RUN]), "that is another structure's"
    assert ledger.restore(0, token, [Status.FAILED])
    assert row(ledger, 0)["status"] == "completed"
    assert results(ledger, 0) == before
    assert row(ledger, 0)["fail_count"] == 1, "what failed in between stays counted"


def test_results_made_with_other_settings_are_found(ledger):
    for index, settings in ((0, "old"), (1, "new"), (2, None)):
        [claimed] = claim(ledger, [index], settings_hash=settings)
        ledger.record([ending(claimed.token, Outcome.COMPLETED)])
    assert ledger.figures.count_results_by_settings() == {"old": 1, "new": 1, None: 1}
    assert ledger.history.results_of_other_settings("new") == [0]


def test_the_attempts_of_many_structures(ledger):
    run(ledger, 0, Outcome.FAILED)
    run(ledger, 0, Outcome.COMPLETED)
    run(ledger, 4, Outcome.TIMEOUT)
    found = ledger.history.attempts_of([0, 1, 4])
    assert {index: [one.outcome for one in attempts] for index, attempts in found.items()} == {
        0: [Outcome.FAILED, Outcome.COMPLETED],
        4: [Outcome.TIMEOUT],
    }


def test_what_writes_is_one_small_class() -> None:
    public = {name for name in dir(Ledger) if not name.startswith("_")}
    assert len(public) <= 25, sorted(public)
    assert Ledger.__mro__[1:] == (LedgerReader, object)

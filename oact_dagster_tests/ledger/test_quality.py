"""What the ledger keeps of the quality of its results, and when it goes."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oact_dagster.errors import LedgerError
from oact_dagster.ledger.by_hand import update_metrics, update_status
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.quality import JudgedResult, QualityCounts
from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.ledger.old_files import old_file
from oact_dagster_tests.ledger.samples import KeptQuality, claim, failing_results, quality_of, run, structure


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Structures 0 to 3 with results, 4 failed, 5 to run."""
    with Ledger(tmp_path / "workflow.db", create=True) as made:
        made.add_structures([structure(n) for n in range(6)])
        for index in range(4):
            run(made, index, Outcome.COMPLETED)
        run(made, 4, Outcome.FAILED)
        yield made


def said(index: int, *failed: str, attempt: int = 1, energy: float = -75.5, judged: int = 8) -> JudgedResult:
    return JudgedResult(index + 1, attempt, energy, failed, judged)


def test_what_was_said_is_kept_and_counted(ledger: Ledger) -> None:
    assert ledger.quality.counts() == QualityCounts(0, 0, {})
    results = [said(0), said(1, "scf_converged", "metal_bound"), said(2, "metal_bound", judged=6), said(3)]
    assert ledger.set_quality(results, "limits") == 4
    counts = ledger.quality.counts()
    assert counts == QualityCounts(4, 2, {"metal_bound": 2, "scf_converged": 1})
    assert list(counts.by_rule) == ["metal_bound", "scf_converged"], "the most first"
    assert failing_results(ledger) == [(1, ("scf_converged", "metal_bound")), (2, ("metal_bound",))]
    assert quality_of(ledger, [2, 0, 4, 99]) == {
        0: KeptQuality(1, (), 8, "limits"), 2: KeptQuality(1, ("metal_bound",), 6, "limits"),
    }  # fmt: skip


def test_only_what_differs_is_written(ledger: Ledger) -> None:
    results = [said(0), said(1, "scf_converged"), said(2)]
    assert ledger.set_quality(results, "limits") == 3
    before = ledger.file.connection.total_changes
    assert ledger.set_quality(results, "limits") == 0
    assert ledger.file.connection.total_changes == before
    assert ledger.set_quality([said(0, "metal_bound"), *results[1:]], "limits") == 1
    assert ledger.set_quality(results, "other limits") == 3


def test_what_has_no_such_result_is_passed_over(ledger: Ledger) -> None:
    outdated = [said(0, attempt=2), said(1, energy=-75.6), said(4), said(5, attempt=0), said(77)]
    assert ledger.set_quality([*outdated, said(2)], "limits") == 1
    assert quality_of(ledger, range(6)).keys() == {2}


def reset(ledger: Ledger) -> None:
    update_status(ledger, 1, Status.TO_RUN)


def claimed(ledger: Ledger) -> None:
    assert len(claim(ledger, [0], statuses=[Status.COMPLETED])) == 1


def failed_by_hand(ledger: Ledger) -> None:
    update_status(ledger, 1, Status.FAILED, "no")


def another_result(ledger: Ledger) -> None:
    update_status(ledger, 1, Status.TO_RUN)
    run(ledger, 0, Outcome.COMPLETED)


def energy_by_hand(ledger: Ledger) -> None:
    update_metrics(ledger, 1, final_energy=-1.0)


def restored(ledger: Ledger) -> None:
    [attempt] = ledger.history.attempts(0)
    update_status(ledger, 1, Status.TO_RUN)
    assert ledger.restore(0, attempt.token, [Status.TO_RUN])


def by_another_tool(ledger: Ledger) -> None:
    with sqlite3.connect(ledger.path) as db:
        db.execute("UPDATE structures SET status = 'to_run' WHERE id = 1")
    db.close()


@pytest.mark.parametrize(
    "change", [reset, claimed, failed_by_hand, another_result, energy_by_hand, restored, by_another_tool]
)
def test_it_goes_with_the_result(ledger: Ledger, change: Callable[[Ledger], None]) -> None:
    ledger.set_quality([said(0, "scf_converged"), said(1, "scf_converged")], "limits")
    change(ledger)
    assert quality_of(ledger, range(6)).keys() == {1}
    assert ledger.quality.counts() == QualityCounts(1, 1, {"scf_converged": 1})


def test_what_changes_no_result_leaves_it(ledger: Ledger) -> None:
    ledger.set_quality([said(0, "scf_converged")], "limits")
    update_metrics(ledger, 1, job_dir="elsewhere", wall_time=5.0)
    ledger.hold([0])
    ledger.set_annotations({0: {"name": "other"}})
    assert quality_of(ledger, [0]).keys() == {0}


def test_the_results_to_judge_come_with_what_was_said_before(ledger: Ledger) -> None:
    ledger.set_quality([said(1, "metal_bound", judged=5)], "limits")
    rows = [dict(row) for row in ledger.quality.results_to_judge()]
    assert [row["orig_index"] for row in rows] == [0, 1, 2, 3]
    assert rows[0] | {"result": ""} == {
        "id": 1, "orig_index": 0, "elements": "O;H", "charge": -1, "spin": 1, "final_energy": -75.5,
        "max_forces": 0.001, "attempt": 1, "engine": "ORCA", "settings_hash": None, "result": "",
        "kept_attempt": None, "kept_failed": None, "kept_judged": None, "kept_for": None,
    }  # fmt: skip
    kept = [rows[1][f"kept_{name}"] for name in ("attempt", "failed", "judged", "for")]
    assert kept == [1, "metal_bound", 5, "limits"]


def test_a_result_without_an_attempt(tmp_path: Path) -> None:
    path = old_file(
        tmp_path / "workflow.db",
        [
            {"status": "completed", "final_energy": -1.0, "charge": None, "spin": None, "elements": None},
            {"status": "completed", "orig_index": None},
            {"status": "completed", "orig_index": 0, "final_energy": -2.0},
        ],
    )
    with open_reader(path) as reader:
        [row] = reader.quality.results_to_judge()
        assert (row["attempt"], row["charge"], row["spin"], row["elements"]) == (0, 0, 1, "")
        assert reader.quality.counts() == QualityCounts(0, 0, {})
    with Ledger(path) as ledger:
        assert ledger.set_quality([said(0, attempt=0, energy=-1.0)], "limits") == 1
        assert quality_of(ledger, [0]) == {0: KeptQuality(0, (), 8, "limits")}


def test_another_host_that_writes_is_respected(ledger: Ledger) -> None:
    other = Owner("elsewhere", "boot", 17, 1.0)
    with Ledger(ledger.path, owner=other) as theirs:
        theirs.take_writer(other)
    with pytest.raises(LedgerError, match="elsewhere"):
        ledger.set_quality([said(0)], "limits")
    assert ledger.quality.counts().judged == 0

"""What fsck asks a scheduler."""

from pathlib import Path

import pytest

from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.states import Preparation
from oact_dagster.ledger.store import Ledger
from oact_dagster.maintenance.fsck import INVARIANTS, Found, run_fsck
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.job_folders import age, made_job
from oact_dagster_tests.ledger.samples import claim, structure
from oact_dagster_tests.maintenance.test_update import ProcessScheduler, scheduler

__all__ = ["scheduler"]


def test_each_invariant_has_a_name_of_its_own_and_is_explained() -> None:
    names = [one.name for one in INVARIANTS]
    assert len(set(names)) == len(names)
    assert all(one.holds and one.advice for one in INVARIANTS)


def test_the_document_lists_them_all() -> None:
    document = Path(__file__).parents[2] / "docs" / "fsck.md"
    if not document.is_file():
        pytest.skip("docs/fsck.md is in the repository only")
    rows = [line for line in document.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{one.name}` | {one.holds} | {one.mends or 'leaves it'} | {one.advice} |" for one in INVARIANTS
    ]


def test_jobs_that_the_scheduler_has_ended(tmp_path: Path, scheduler: ProcessScheduler) -> None:
    engine = TestEngine(tmp_path / "engine")
    layout = JobLayout(tmp_path / "jobs", "job_{orig_index}")
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(2)])
        for one in claim(ledger, [0, 1], launcher=scheduler.kind):
            folder = layout.folder(one.structure.orig_index, one.structure.id)
            made_job(folder, engine, one.structure.orig_index, "half", token=one.token)
            ledger.mark_prepared([Preparation(one.token, str(folder), "hash", 4)])
            ledger.mark_submitted({one.token: one.token})
            scheduler.start(one.token)
        ledger.open_batch("batch", Owner.this_process())
        ended = ledger.history.attempts(1)[0].token

        def found() -> Found:
            with open_reader(tmp_path / "workflow.db") as reader:
                every = list(run_fsck(reader, layout, lambda kind: scheduler))
            assert not any(one.count for one in every[:-1])
            return every[-1]

        assert found().count == 0
        scheduler.jobs[ended].kill()
        scheduler.jobs[ended].wait()
        assert found().count == 0  # the run that follows it will record it
        for file in layout.folder(1, 2).iterdir():
            age(file, 1)
        last = found()
        assert last.invariant.name == "attempt-has-job" and last.count == 1
        assert last.examples[0].detail == f"attempt 1: job {ended} is exit -9"


def test_to_repair_needs_a_ledger_that_can_be_written(tmp_path: Path) -> None:
    with Ledger(tmp_path / "workflow.db", create=True):
        pass
    with (
        open_reader(tmp_path / "workflow.db") as reader,
        pytest.raises(ValueError, match="open for writing"),
    ):
        list(run_fsck(reader, JobLayout(tmp_path, "job_{id}"), lambda kind: None, repair=True))

"""How many runs a campaign that feeds itself asks for: never twice for the same, and not one for each structure."""

from pathlib import Path

import pytest

from oact_dagster.feed.decisions import decide_feed, decide_retry
from oact_dagster.ledger.states import Status
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.feed.test_supply import campaign_of, run


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path)


def test_what_is_asked_for_is_not_asked_for_again(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = campaign_of(tmp_path, engine, 12, batch_size=10, feed={"trial": 0})
    assert decide_feed(campaign, ledger, 0).limits == [10, 2]
    asked = decide_feed(campaign, ledger, 12, runs=2)
    assert asked.limits == () and asked.said.endswith("12 requested, 12 due: all have been requested")
    assert decide_feed(campaign, ledger, 10, runs=1).limits == [2]


def test_a_few_at_a_time_gather_to_one_run(tmp_path: Path, engine: TestEngine) -> None:
    settings = {"batch_size": 10, "max_in_flight": 100, "feed": {"trial": 0}, "retry": {"delay_s": 0}}
    campaign, ledger = campaign_of(tmp_path, engine, 12, **settings)
    engine.set("scf_not_converged", *range(12))
    run(campaign, ledger, "feed", 9, "first")
    assert ledger.figures.count_by_status() == {Status.FAILED: 9, Status.TO_RUN: 3}
    # Nine are fewer than a run is worth while two others of their kind are at work.
    for runs in (0, 1):
        assert decide_retry(campaign, ledger, 0, runs=runs).limits == [9]
    launcher = campaign.launcher.model_copy(update={"kind": "slurm"})
    on_slurm = campaign.model_copy(update={"launcher": launcher})
    waits = decide_retry(on_slurm, ledger, 0, runs=2)
    assert waits.limits == () and waits.said.endswith("too few for another run yet")
    run(campaign, ledger, "feed", 3, "second")
    assert decide_retry(on_slurm, ledger, 0, runs=2).limits == [10, 2]

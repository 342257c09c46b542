"""Two daemons by mistake, and a machine that is rebooted twice: all is killed, and what was locked stays so."""

from pathlib import Path

import pytest

from oact_dagster.ledger.states import Status
from oact_dagster_tests.chaos.test_chaos import check
from oact_dagster_tests.chaos.world import live, world
from oact_dagster_tests.waiting import until

pytestmark = pytest.mark.slow


def test_two_daemons_and_two_reboots(tmp_path: Path) -> None:
    # The first one ends when it is told to: however late the test looks, something runs.
    settings = {
        "feed": {"interval_s": 5, "trial": 0},
        "launcher": {"max_workers": 2, "job_timeout_s": 3600, "stop_grace_s": 0.5},
    }
    with world(tmp_path, 16, seed=3, behaviours=["wait", *["slow"] * 15], **settings) as made:
        made.start_daemon()

        def at_work() -> bool:
            counts = made.counts()
            return counts.get(Status.COMPLETED, 0) >= 2 and counts.get(Status.RUNNING, 0) > 0

        until(at_work, "the first results", 600)
        assert made.kill_all()
        assert made.counts().get(Status.RUNNING, 0) > 0
        for _ in range(2):
            made.start_daemon()
        until(lambda: made.counts().get(Status.COMPLETED, 0) >= 4, "more results", 600)
        (made.engine.control / "go").touch()
        live(made, 600.0, kills=0, every_s=0.0)
        check(made)
        assert made.counts() == {Status.COMPLETED: 16}

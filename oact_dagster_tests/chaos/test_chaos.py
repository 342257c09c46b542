"""A campaign that runs itself to its end whatever happens: a real daemon, a real engine that fails, real kills."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from oact_dagster.ledger.states import Outcome, Status
from oact_dagster_tests.chaos.world import World, live, world
from oact_dagster_tests.engines import ENERGY

pytestmark = pytest.mark.slow


def test_60_structures_come_to_their_end_by_themselves(tmp_path: Path) -> None:
    with world(tmp_path, 60, seed=7) as made:
        killed = live(made, 900.0, kills=4, every_s=15.0)
        assert len(killed) >= 2, "there was nobody to kill"
        check(made)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [1, 2])
def test_300_structures_come_to_their_end_by_themselves(tmp_path: Path, seed: int) -> None:
    with world(tmp_path, 300, seed=seed) as made:
        killed = live(made, 2400.0, kills=30, every_s=15.0)
        assert len(killed) >= 10
        check(made)


def check(made: World) -> None:
    """Every structure has exactly one true status, no result is lost, and none was computed twice without a reason."""
    records, attempts = made.records(), made.attempts()
    assert set(records) == set(range(made.structures))
    for index, record in records.items():
        tries = attempts.get(index, [])
        good = [one for one in tries if one.outcome is Outcome.COMPLETED]
        assert all(one.outcome is not None for one in tries), f"structure {index} has an open attempt"
        counted = [one for one in tries if one.outcome in (Outcome.FAILED, Outcome.TIMEOUT)]
        assert record.fail_count == len(counted), f"structure {index}: each failure counts once"
        assert record.loss_count == sum(one.outcome is Outcome.LOST for one in tries)
        if record.status is Status.COMPLETED:
            assert len(good) == 1 and tries[-1] is good[0], f"structure {index} was computed twice: {tries}"
            result = good[0].result
            assert result["final_energy"] == pytest.approx(ENERGY - index / 10_000, abs=1e-9)
        else:
            assert not good, f"structure {index} has lost a result"
            assert made.is_set_aside(record), f"structure {index} was forgotten"
    # No attempt of ours ran an engine without being in the ledger.
    for index in set(made.engine.runs):
        assert made.engine.runs.count(index) <= len(attempts[index])
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "oact_dagster",
            "fsck",
            str(made.campaign.ledger),
            str(made.campaign.jobs_dir),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    told = subprocess.run(
        [sys.executable, "-m", "oact_dagster", "dashboard", str(made.campaign.file), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    shown = json.loads(told.stdout)
    assert shown["total"] == made.structures and shown["left"] == 0

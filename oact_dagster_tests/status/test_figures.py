"""The figures of a whole campaign, against ledgers whose attempts are known one by one."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oact_dagster.ledger.figures import Origin
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.orca.metals import main_metal
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.figures import (
    NO_METAL,
    POINTS,
    CampaignFigures,
    HostCount,
    MetalCount,
    campaign_figures,
)
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.ledger.old_files import old_file
from oact_dagster_tests.ledger.samples import claim, ending, failures_by_class, result, structure

ELEMENTS = ("U;O;O", "U;Cl;Cl;Cl", "Np;O;O", "Eu;Pt;O", "O;H;H", "U;O;O")


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return write_campaign(tmp_path / "c", 1, tmp_path / "orca")


@pytest.fixture
def ledger(campaign: Campaign) -> Iterator[Ledger]:
    with Ledger(campaign.ledger, create=True) as opened:
        opened.add_structures(
            structure(index, elements=elements, natoms=len(elements.split(";")), charge=0)
            for index, elements in enumerate(ELEMENTS)
        )
        opened.open_batch("batch", Owner.this_process())
        yield opened


def attempt(ledger: Ledger, index: int, outcome: Outcome | None, **changes: Any) -> str:
    """One attempt from its claim to its end, or to its start where it has no outcome."""
    [claimed] = claim(ledger, [index], settings_hash=changes.pop("settings_hash", "s1"))
    ledger.mark_submitted({claimed.token: "17"}, now=1001.0)
    if changes.pop("started", True):
        ledger.mark_running([claimed.token], now=1002.0)
    if outcome is not None:
        values = {"n_cores": 4, "elapsed": 900.0, "host": "node1", **changes}
        assert ledger.record([ending(claimed.token, outcome, **values)]) == {claimed.token}
    return claimed.token


def known(ledger: Ledger) -> None:
    """Structure 0 is completed at the second attempt, 1 and 3 at the first; 2 fails, 4 is lost, then computes."""
    attempt(ledger, 0, Outcome.FAILED, failure_class="memory", ended_at=2000.0, host="bad")
    second = result(final_energy=-30.0, max_forces=0.002, scf_steps=20, wall_time=1800.0, n_cores=4)
    attempt(ledger, 0, Outcome.COMPLETED, result=second, ended_at=4000.0, elapsed=1810.0)
    first = result(
        final_energy=-80.0, max_forces=0.004, scf_steps=10, wall_time=3600.0, engine_version="6.0.1"
    )
    attempt(ledger, 1, Outcome.COMPLETED, result=first, ended_at=3000.0, elapsed=3610.0, settings_hash="s0")
    attempt(ledger, 3, Outcome.COMPLETED, result=result(wall_time=None, max_forces=None), ended_at=3000.0)
    attempt(ledger, 2, Outcome.TIMEOUT, ended_at=3500.0, host="bad", message="no output")
    attempt(ledger, 4, Outcome.LOST, ended_at=3600.0, host="bad")
    attempt(ledger, 4, None)


def figures(campaign: Campaign) -> CampaignFigures:
    with open_reader(campaign.ledger) as reader:
        return campaign_figures(campaign, reader, now=5000.0)


def test_counts_tell_what_computes_and_what_waits(campaign: Campaign, ledger: Ledger) -> None:
    known(ledger)
    attempt(ledger, 5, None, started=False)
    overview = figures(campaign).overview
    assert overview.counts == {Status.COMPLETED: 3, Status.TIMEOUT: 1, Status.RUNNING: 2}
    assert (overview.running_started, overview.queued, overview.held) == (1, 1, 0)


def test_progress_counts_attempts_until_each_end(campaign: Campaign, ledger: Ledger) -> None:
    known(ledger)
    progress = figures(campaign).progress
    assert progress is not None
    assert progress.times.tolist() == [2000.0, 3000.0, 3500.0, 4000.0]
    assert progress.completed.tolist() == [0, 2, 2, 3]
    assert progress.failed.tolist() == [1, 1, 2, 2]


def test_progress_of_many_attempts_has_few_points_and_the_right_end(
    campaign: Campaign, ledger: Ledger
) -> None:
    with ledger.file.transaction() as db:
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
            " INSERT INTO attempts (structure_id, number, token, state, batch_id, launcher, outcome, claimed_at,"
            " ended_at) SELECT 1, i, i, 'closed', 'batch', 'local', CASE WHEN i % 3 THEN 'completed' ELSE 'failed' END,"
            " 1.0, 10.0 * i FROM n"
        )
    progress = figures(campaign).progress
    assert progress is not None
    assert progress.times.size == POINTS
    assert (progress.completed[-1], progress.failed[-1]) == (2000, 1000)
    assert (progress.completed[0], progress.times[0], progress.times[-1]) == (1, 10.0, 30000.0)
    assert np.all(np.diff(progress.completed) >= 0) and np.all(np.diff(progress.failed) >= 0)


def test_numbers_of_the_results(campaign: Campaign, ledger: Ledger) -> None:
    known(ledger)
    found = figures(campaign).summary
    assert sorted(found.energies_per_atom) == pytest.approx([-75.5 / 3, -80.0 / 4, -30.0 / 3])
    assert sorted(found.max_forces) == [0.002, 0.004]
    assert sorted(found.scf_steps) == [10, 12, 20]
    assert sorted(found.wall_times) == [1800.0, 3600.0]
    assert sorted(found.core_hours) == [2.0, 4.0]
    assert found.counts == ledger.figures.count_by_status() and found.spent == ledger.figures.cores_spent()
    assert dict(found.failures) == failures_by_class(ledger)


def test_failures_by_class_count_attempts_that_were_mended_too(campaign: Campaign, ledger: Ledger) -> None:
    known(ledger)
    found = figures(campaign)
    assert found.failed_attempts == (("memory", 1), ("timeout", 1))
    assert found.overview.failures == (("timeout", 1),)


def test_metals(campaign: Campaign, ledger: Ledger) -> None:
    known(ledger)
    assert figures(campaign).metals == (
        MetalCount("U", 3, 2, 0),
        MetalCount("Eu", 1, 1, 0),
        MetalCount("Np", 1, 0, 1),
        MetalCount(NO_METAL, 1, 0, 0),
    )


@pytest.mark.parametrize(
    ("symbols", "metal"),
    [
        (["O", "U", "Fe"], "U"),
        (["Gd", "Cl"], "Gd"),
        (["Pb", "Zn", "Sc"], "Zn"),
        (["La"], "La"),
        (["Lu", "Hf"], "Lu"),
        (["Al", "Pb", "Na", "Rn"], "Pb"),
        (["Na", "Ba", "O", "As"], None),
        ([], None),
    ],
)
def test_main_metal(symbols: list[str], metal: str | None) -> None:
    assert main_metal(symbols) == metal


def test_the_worst_host_is_first(campaign: Campaign, ledger: Ledger) -> None:
    known(ledger)
    found = figures(campaign).hosts
    assert [(one.host, dict(one.outcomes)) for one in found] == [
        ("bad", {Outcome.FAILED: 1, Outcome.TIMEOUT: 1, Outcome.LOST: 1}),
        ("node1", {Outcome.COMPLETED: 3}),
    ]


def test_one_failure_is_less_than_many_failures_among_more() -> None:
    once = HostCount("once", {Outcome.FAILED: 1})
    often = HostCount("often", {Outcome.FAILED: 40, Outcome.LOST: 10, Outcome.COMPLETED: 10})
    cancelled = HostCount("cancelled", {Outcome.CANCELLED: 9, Outcome.COMPLETED: 1})
    assert once.badness < often.badness
    for host, share, count in ((once, 1.0, 1), (often, 50 / 60, 60)):
        # What defines Wilson's bound b: the share lies 1.96 standard deviations of b's own distribution above it.
        deviation = math.sqrt(host.badness * (1 - host.badness) / count)
        assert share - host.badness == pytest.approx(1.96 * deviation)
    assert (cancelled.badness, cancelled.judged) == (0.0, 1)


def test_core_hours_on_good_and_on_lost_work(campaign: Campaign, ledger: Ledger) -> None:
    known(ledger)
    found = figures(campaign)
    assert found.good_core_hours == pytest.approx((1810 + 3610 + 900) * 4 / 3600)
    assert found.lost_core_hours == pytest.approx(3 * 900 * 4 / 3600)


def test_wall_time_against_basis_functions_counted_or_kept(campaign: Campaign, ledger: Ledger) -> None:
    known(ledger)
    with ledger.file.transaction() as db:
        db.execute("UPDATE structure_state SET n_basis_functions = 777 WHERE structure_id = 2")
    found = figures(campaign)
    # UO2 has 183 functions in the default bases, as ORCA 6.1 prints it; structure 3 has no wall time.
    assert found.basis_functions.tolist() == [183.0, 777.0]
    assert found.wall_times.tolist() == [1800.0, 3600.0]


def test_origins_are_those_of_the_attempts_that_gave_the_results(campaign: Campaign, ledger: Ledger) -> None:
    known(ledger)
    found = figures(campaign)
    assert found.origins == (Origin("ORCA", "6.1.0", "s1", 2), Origin("ORCA", "6.0.1", "s0", 1))
    assert found.settings_hashes == {"s1": 2, "s0": 1}


def test_a_result_that_is_no_json_spoils_nothing(campaign: Campaign, ledger: Ledger) -> None:
    known(ledger)
    with ledger.file.transaction() as db:
        db.execute("UPDATE attempts SET result = 'nonsense' WHERE outcome = 'completed' AND structure_id = 1")
        db.execute("UPDATE attempts SET result = '[1]' WHERE outcome = 'completed' AND structure_id = 4")
    assert set(figures(campaign).origins) == {
        Origin("ORCA", None, "s1", 2),
        Origin("ORCA", "6.0.1", "s0", 1),
    }


def test_an_empty_campaign(campaign: Campaign) -> None:
    with Ledger(campaign.ledger, create=True):
        pass
    found = figures(campaign)
    assert (found.overview.total, found.progress, found.metals, found.hosts) == (0, None, (), ())
    assert found.origins == () and found.summary.energies.size == 0
    assert math.isclose(found.good_core_hours + found.lost_core_hours, 0.0)


def test_an_old_file_has_its_results_and_no_attempts(campaign: Campaign) -> None:
    old_file(
        campaign.ledger,
        [
            {
                "status": "completed",
                "final_energy": -1.17,
                "max_forces": 1e-3,
                "wall_time": 90.0,
                "n_cores": 4,
            },
            {"status": "failed", "error_message": "SCF did not converge", "elements": "U;O;O"},
        ],
    )
    found = figures(campaign)
    assert (found.overview.completed, found.overview.failures) == (1, (("failed", 1),))
    assert found.progress is None and found.hosts == () and found.origins == (Origin(None, None, None, 1),)
    assert found.metals == (MetalCount("U", 1, 0, 1), MetalCount(NO_METAL, 1, 1, 0))
    assert found.good_core_hours == pytest.approx(0.1) and found.lost_core_hours == 0
    # H2 has 9 functions on each atom in def2-TZVPD.
    assert found.basis_functions.tolist() == [18.0]

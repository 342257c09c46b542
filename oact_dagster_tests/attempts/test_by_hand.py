"""Calculations that somebody submitted by hand in a job folder: with a batch's own inputs and real processes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oact_dagster.attempts.events import Completed, Failed, Note
from oact_dagster.attempts.submission import preview
from oact_dagster.intake.intake import take_in
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign, load_campaign
from oact_dagster_tests.batches import batch, settled
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.engines import ENERGY, TestEngine

STRUCTURES = [0, 1, 2, 3]


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path / "engine")


@pytest.fixture
def campaign(tmp_path: Path, engine: TestEngine) -> Campaign:
    return write_campaign(tmp_path / "campaign", len(STRUCTURES), engine.path)


@pytest.fixture
def ledger(campaign: Campaign) -> Iterator[Ledger]:
    with Ledger(campaign.ledger, create=True) as made:
        take_in(campaign, made)
        yield made


def run_by_hand(campaign: Campaign, ledger: Ledger, engine: TestEngine, *indices: int) -> None:
    """What the script of a folder does that ``--dry-run`` has written."""
    for one in preview(campaign, ledger, indices):
        assert one.folder is not None
        payload = [sys.executable, "-m", "oact_dagster.launchers.payload", str(engine.path), "orca.inp"]
        subprocess.run(payload, cwd=one.folder, timeout=60, check=True)


def test_what_was_run_by_hand_is_recorded_and_not_computed_again(
    campaign: Campaign, ledger: Ledger, engine: TestEngine
) -> None:
    engine.set("scf_not_converged", 1)
    engine.set("half", 2)
    run_by_hand(campaign, ledger, engine, 0, 1, 2)
    engine.set("normal", 2)
    words = settled(list(batch(campaign, ledger, STRUCTURES)))
    # The one without an end and the one that nobody had run are computed.
    assert sorted(engine.runs) == [0, 1, 2, 2, 3]
    assert [type(words[index]) for index in STRUCTURES] == [Completed, Failed, Completed, Completed]
    [good], [bad] = ledger.history.attempts(0), ledger.history.attempts(1)
    assert (good.outcome, good.result["engine"]) == (Outcome.COMPLETED, "ORCA")
    assert good.result["final_energy"] == pytest.approx(ENERGY)
    assert (bad.outcome, bad.failure_class) == (Outcome.FAILED, "scf_not_converged")
    assert ledger.structures.of([1])[1].fail_count == 1
    # The next attempt at it takes the remedy for how it failed, and keeps its folder.
    engine.set("normal", 1)
    list(batch(campaign, ledger, STRUCTURES, "again"))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 4}
    assert ledger.history.attempts(1)[-1].remedy == "slowconv"
    assert (campaign.jobs_dir / "job_1.attempt-1" / "exit.json").exists()
    assert sorted(engine.runs) == [0, 1, 1, 2, 2, 3]


def test_a_result_of_another_input_is_computed_again(
    campaign: Campaign, ledger: Ledger, engine: TestEngine
) -> None:
    run_by_hand(campaign, ledger, engine, 0, 1)
    # The input was changed after it had run, and an output was copied from another structure.
    file = campaign.jobs_dir / "job_0" / "orca.inp"
    file.write_text(file.read_text().replace("EnGrad", "EnGrad UNO"))
    other = (campaign.jobs_dir / "job_1" / "orca.out").read_text().replace("structure 1 of", "structure 9 of")
    (campaign.jobs_dir / "job_1" / "orca.out").write_text(other)
    events = list(batch(campaign, ledger, [0, 1]))
    assert all(isinstance(word, Completed) for word in settled(events).values())
    assert sorted(engine.runs) == [0, 0, 1, 1]
    told = [event.text for event in events if isinstance(event, Note)]
    for index, reason in enumerate(
        ("its input differs from the one that would be run", "it does not echo the input in its folder")
    ):
        assert (
            f"the folder of 1 structure (first: {index}) holds a normally ended output that is not used:"
            f" {reason}. It is kept beside the new folder, and the structure is computed"
        ) in told


def test_what_a_setup_func_counts_in_is_not_known_of_a_folder(
    campaign: Campaign, ledger: Ledger, engine: TestEngine
) -> None:
    (campaign.folder / "mine.py").write_text("def add(folder, record):\n    return 'version 2'\n")
    campaign.file.write_text(campaign.file.read_text() + "setup_func: mine:add\n")
    changed = load_campaign(campaign.file)
    run_by_hand(changed, ledger, engine, 0)
    list(batch(changed, ledger, [0]))
    assert engine.runs == [0, 0]

"""Jobs that may wait for ever: in the ledger as long as they do, told once for each structure and reason."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pytest
from dagster import AssetObservation

from oact_dagster.attempts.batch import BatchRun
from oact_dagster.attempts.engine import find_engine
from oact_dagster.attempts.events import Completed, Stuck
from oact_dagster.attempts.selection import BatchRequest
from oact_dagster.cli.dashboard_text import dashboard_lines
from oact_dagster.defs.batch_events import BatchReport
from oact_dagster.defs.keys import CampaignKeys
from oact_dagster.intake.intake import take_in
from oact_dagster.launchers.local import LocalLauncher
from oact_dagster.launchers.protocol import Submission
from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.store import Ledger
from oact_dagster.schedulers.jobs import Job, JobState, Phase
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.overview import overview_of
from oact_dagster_tests.batches import settled
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.cli.command import oact
from oact_dagster_tests.engines import TestEngine

DOWN = "PartitionDown (the queue is down)"
NODES = "ReqNodeNotAvail, UnavailableNodes:{} (the nodes are reserved or down; a maintenance may be near)"


class WaitingFirst(LocalLauncher):
    """Processes of this machine, each of which waits first, for the reasons of a script."""

    def __init__(self, script: Sequence[Sequence[str]]) -> None:
        super().__init__(2, 1.0)
        self._script = list(script)

    def submit(self, jobs: Sequence[Job]) -> Submission:
        self._jobs = list(jobs)
        return Submission({job.token: job.token for job in jobs})

    def states(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
        if self._script:
            reasons = self._script.pop(0)
            return {i: JobState(Phase.QUEUED, stuck=why) for i, why in zip(job_ids, reasons, strict=True)}
        if self._jobs:
            self.started = super().submit(self._jobs).taken
            self._jobs = []
        there = {ours: theirs for ours, theirs in self.started.items() if ours in job_ids}
        found = super().states(list(there.values()))
        return {ours: found[theirs] for ours, theirs in there.items()}


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    found = write_campaign(tmp_path / "campaign", 2, TestEngine(tmp_path).path)
    with Ledger(found.ledger, create=True) as ledger:
        take_in(found, ledger)
    return found


def test_each_structure_and_reason_is_told_once_and_kept_as_long_as_it_holds(campaign: Campaign) -> None:
    script = [
        ["", ""],
        [DOWN, ""],
        [DOWN, DOWN],
        [NODES.format("n1"), DOWN],
        [NODES.format("n2"), ""],
        ["", DOWN],
        ["", ""],
    ]
    events, kept = [], []
    with Ledger(campaign.ledger) as ledger:
        run = BatchRun(
            campaign, ledger, WaitingFirst(script), find_engine(campaign), BatchRequest([0, 1]), "batch"
        )
        for event in run.run():
            events.append(event)
            if isinstance(event, Stuck):
                kept.append(ledger.figures.stuck_by_reason())
        assert all(isinstance(word, Completed) for word in settled(events).values())
        assert ledger.figures.stuck_by_reason() == []
    told = [(event.orig_index, event.reason) for event in events if isinstance(event, Stuck)]
    assert told == [(0, DOWN), (1, DOWN), (0, NODES.format("n1"))]
    assert kept == [[(DOWN, 1)], [(DOWN, 2)], [(DOWN, 1), (NODES.format("n1"), 1)]]


def test_the_dashboard_and_the_asset_show_it(campaign: Campaign) -> None:
    keys = CampaignKeys.of(campaign)
    observations = []
    with Ledger(campaign.ledger) as ledger:
        report = BatchReport(campaign, ledger, keys.per_structure)
        run = BatchRun(
            campaign,
            ledger,
            WaitingFirst([[DOWN, DOWN], [DOWN, NODES.format("n1")]]),
            find_engine(campaign),
            BatchRequest([0, 1]),
            "batch",
        )
        shown = ""
        for event in run.run():
            observations += [e for e in report.dagster_events(event) if isinstance(e, AssetObservation)]
            if isinstance(event, Stuck) and event.reason != DOWN:
                with open_reader(campaign.ledger) as reader:
                    shown = "\n".join(dashboard_lines(overview_of(reader)))
                as_json = oact("dashboard", campaign.ledger, "--json").stdout
    assert (
        f"running 2 (2 queued)\n  1 may wait for ever: {DOWN}\n  1 may wait for ever: {NODES.format('n1')}\n"
    ) in shown
    assert f'"stuck_by_reason": {{\n    "{DOWN}": 1' in as_json
    assert [(e.asset_key, e.partition, e.metadata["pending_reason"].value) for e in observations] == [
        (keys.orca_results, "0", DOWN),
        (keys.orca_results, "1", DOWN),
        (keys.orca_results, "1", NODES.format("n1")),
    ]
    assert "may wait for ever" not in oact("dashboard", campaign.ledger).stdout

"""What follows from the class ``file_system``; run by ``test_new_failure_class.py`` in a copy that has the class."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import oact_dagster
from oact_dagster.attempts.next_attempt import NextAttempt, plan_next
from oact_dagster.attempts.verdict import Evidence, judge
from oact_dagster.launchers.attempt_files import ExitRecord, How
from oact_dagster.ledger.states import Outcome
from oact_dagster.ledger.store import Ledger
from oact_dagster.orca.failures import find_failure_class
from oact_dagster.orca.inputs.settings import InputSettings
from oact_dagster.orca.outputs.reader import read_output
from oact_dagster.orca.remedies.next_input import PastAttempt, Plan, Stop, check_ladders, next_input
from oact_dagster.schedulers.jobs import JobState, Phase
from oact_dagster_tests.attempts.test_verdict import ECHO, HEAD, TOKEN
from oact_dagster_tests.cli.command import oact
from oact_dagster_tests.intake.intake_samples import campaign_on
from oact_dagster_tests.ledger.samples import run, structure
from oact_dagster_tests.orca.outputs import made_outputs as made
from oact_dagster_tests.orca.remedies.test_ladders import URANYL

NAME = "file_system"
FILE_SYSTEM = find_failure_class(NAME)


def test_this_is_the_copy() -> None:
    assert Path(oact_dagster.__file__).is_relative_to(Path.cwd())
    assert FILE_SYSTEM is not None


def test_verdict(tmp_path: Path) -> None:
    (tmp_path / "orca.out").write_text(
        f"{HEAD}{ECHO.format(token=TOKEN)}write error: Stale file handle\n{made.error_end()}"
    )
    record = ExitRecord(TOKEN, How.EXITED, 55, 1.0, 2.0, 1.0, "n7", 1, "")
    verdict = judge(Evidence(TOKEN, record, read_output(tmp_path), JobState(Phase.ENDED, "")))
    assert (verdict.outcome, verdict.failure_class) == (Outcome.FAILED, NAME)
    assert verdict.message == "file_system: write error: Stale file handle"


def test_ladder_and_advice() -> None:
    attempts: list[PastAttempt] = []
    for expected in (Plan(), Plan("again"), Plan("again")):
        plan = next_input(InputSettings(), URANYL, attempts, time_limit_s=9.0)
        assert plan == expected
        attempts.append(PastAttempt(FILE_SYSTEM, expected))
    assert next_input(InputSettings(), URANYL, attempts, time_limit_s=9.0) == Stop(
        "file_system after again 2 times; see whether the host still has its file systems"
    )


def test_ladder_of_a_campaign() -> None:
    assert FILE_SYSTEM is not None
    assert check_ladders({NAME: ["again"]})[FILE_SYSTEM] == ("again",)
    with pytest.raises(ValueError, match="kdiis on the ladder of file_system changes how the SCF converges"):
        check_ladders({NAME: ["kdiis"]})


def test_host_and_dashboard(tmp_path: Path) -> None:
    campaign = campaign_on(tmp_path / "a.csv")
    with Ledger(campaign.ledger, create=True) as ledger:
        ledger.add_structures([structure(index) for index in range(5)])
        for index in range(3):
            run(ledger, index, Outcome.FAILED, host="n7.site", failure_class=NAME)
        run(ledger, 4, Outcome.COMPLETED, host="n2")
        assert ledger.health.bad_hosts(3, now=3000.0) == [("n7", 3)]
        attempts = [replace(attempt, settings_hash="s") for attempt in ledger.history.attempts(0)]
        planned = plan_next(campaign, ledger.structures.of([0])[0], attempts, settings_hash="s")
        assert isinstance(planned, NextAttempt)
        assert planned.avoid == ("n7",)
    shown = json.loads(oact("dashboard", campaign.ledger, "--json").stdout)
    assert shown["faults_by_host"] == {"n7.site": 3}
    assert NAME in oact("dashboard", campaign.ledger, "--show-failed", "--verbose").stdout

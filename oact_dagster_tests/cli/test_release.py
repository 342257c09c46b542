"""``oact release``: of a campaign, or of a bare ledger."""

import shlex
from pathlib import Path

import pytest

from oact_dagster.feed.state import pause
from oact_dagster.ledger.states import Outcome
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.cli.command import assert_one_line, oact
from oact_dagster_tests.ledger.samples import run, structure


def test_held_structures_are_released(tmp_path: Path) -> None:
    file = tmp_path / "workflow.db"
    with Ledger(file, create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(5)])
        ledger.hold([0, 1, 2])
    done = oact("release", file, "--structures", "0,4")
    assert done.stdout == "1 structure released of 2 named; the others were not held\n", done.stderr
    unknown = "1 structure is not in the ledger (refused or unknown): 99"
    assert_one_line(oact("release", file, "--structures", "1,99"), unknown)
    (tmp_path / "campaign.yaml").write_text("name: a\ncsv: null\norca: {command: orca}\n")
    assert oact("release", tmp_path).stdout == "2 structures released\n"
    assert_one_line(oact("release", tmp_path / "none.db"), "none.db: no such ledger")


@pytest.mark.parametrize("name", ["campaign", "my campaign"])
def test_what_a_broken_engine_cost_is_told_when_a_paused_campaign_goes_on(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "campaign.yaml").write_text(
        "name: a\ncsv: null\norca: {command: orca}\nretry: {max_failures: 2, delay_s: 0}\n"
    )
    with Ledger(folder / "workflow.db", create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(3)])
        for index in (0, 0, 1):
            run(ledger, index, Outcome.FAILED, failure_class="aborted")
        pause(ledger, "the module is broken")
    first, second = oact("release", folder, "--feed").stdout.splitlines()
    assert first == "the campaign goes on; it was paused: the module is broken"
    shown = shlex.quote(str(folder))
    assert second == (
        "1 structure set aside; once their cause is fixed, run them again:"
        f" oact run {shown} --structures 0-9,15 --ignore-budget (`oact dashboard {shown}"
        " --show-chronic-failures 1` lists them)"
    )
    assert oact("release", folder, "--feed").stdout == "the campaign was not paused\n"


def test_a_paused_campaign_is_told_of(tmp_path: Path) -> None:
    file = tmp_path / "workflow.db"
    with Ledger(file, create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(2)])
        pause(ledger, "5 of the last 5 attempts failed")
    told = (
        "0 structures released\nthe campaign is paused and starts nothing: 5 of the last 5 attempts failed;"
        " `oact release workflow.db --feed` lets it go on\n"
    )
    assert oact("release", "workflow.db", cwd=tmp_path).stdout == told
    assert oact("release", file, "--feed").stdout.startswith(
        "the campaign goes on; it was paused: 5 of the last"
    )
    assert oact("release", file).stdout == "0 structures released\n"

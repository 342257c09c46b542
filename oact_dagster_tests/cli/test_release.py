"""``oact release``: of a campaign, or of a bare ledger."""

from pathlib import Path

from oact_dagster.execution.feed_state import pause
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.cli.command import assert_one_line, oact
from oact_dagster_tests.ledger.samples import structure


def test_held_structures_are_released(tmp_path: Path) -> None:
    file = tmp_path / "workflow.db"
    with Ledger(file, create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(5)])
        ledger.hold([0, 1, 2])
    done = oact("release", file, "--structures", "0,4")
    assert done.stdout == "1 structure released of 2 named ones; the others were not held\n", done.stderr
    unknown = "1 structure is not in the ledger (refused or unknown): 99"
    assert_one_line(oact("release", file, "--structures", "1,99"), unknown)
    (tmp_path / "campaign.yaml").write_text("name: a\ncsv: null\norca: {command: orca}\n")
    assert oact("release", tmp_path).stdout == "2 structures released\n"
    assert_one_line(oact("release", tmp_path / "none.db"), "none.db: no such ledger")


def test_a_paused_campaign_is_told_of(tmp_path: Path) -> None:
    file = tmp_path / "workflow.db"
    with Ledger(file, create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(2)])
        pause(ledger, "5 of the last 5 attempts failed")
    told = (
        "0 structures released\nthe campaign is paused, and begins nothing: 5 of the last 5 attempts failed;"
        " `oact release workflow.db --feed` lets it go on\n"
    )
    assert oact("release", "workflow.db", cwd=tmp_path).stdout == told
    assert oact("release", file, "--feed").stdout.startswith(
        "the campaign goes on; it was paused: 5 of the last"
    )
    assert oact("release", file).stdout == "0 structures released\n"

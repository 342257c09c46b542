"""The page on remedies says what the ladders are."""

import re
from pathlib import Path

from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.remedies import DEFAULT_LADDERS, STEPS

PAGE = Path(__file__).parents[2] / "docs" / "remedies.md"


def rows() -> list[tuple[list[str], list[str]]]:
    """The names in the first and in the second column of each row of the tables."""
    found = []
    for line in PAGE.read_text().splitlines():
        cells = line.split("|")
        if len(cells) == 4 and "`" in cells[1]:
            found.append((re.findall(r"`(\w+)`", cells[1]), re.findall(r"`(\w+)`", cells[2])))
    return found


def test_every_class_has_its_ladder_on_the_page() -> None:
    told = {name: steps for names, steps in rows() for name in names if name in list(FailureClass)}
    assert set(told) == {str(failure) for failure in FailureClass}
    for failure, ladder in DEFAULT_LADDERS.items():
        assert list(dict.fromkeys(ladder)) == [step for step in told[failure] if step in STEPS], failure


def test_every_step_is_on_the_page() -> None:
    told = [name for names, _ in rows() for name in names if name in STEPS]
    assert told == list(STEPS)

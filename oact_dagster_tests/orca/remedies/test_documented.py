"""The page on remedies says what the ladders are, and what each failure looks like."""

import re
from pathlib import Path

import pytest

from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.outputs.reader import read_output
from oact_dagster.orca.remedies.next_input import DEFAULT_LADDERS, STEPS
from oact_dagster_tests.orca.outputs import made_outputs as made

PAGE = Path(__file__).parents[3] / "docs" / "remedies.md"


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


def looks() -> dict[str, list[str]]:
    """What the page says that stands in the output, by the class of failure."""
    found = {}
    for line in PAGE.read_text().splitlines() if PAGE.is_file() else ():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 6 and (name := re.fullmatch(r"`(\w+)`", cells[1])):
            found[name[1]] = re.findall(r"`([^`]+)`", cells[3])
    return found


def test_every_class_is_described() -> None:
    assert set(looks()) == {str(failure) for failure in FailureClass}


MESSAGES = [(name, line) for name, lines in looks().items() for line in lines if line != "oact check"]


@pytest.mark.parametrize(("name", "line"), MESSAGES)
def test_what_stands_in_the_output_has_the_class_that_the_page_says(
    tmp_path: Path, name: str, line: str
) -> None:
    begun = made.banner() + made.echo("! wB97M-V EnGrad") + made.coordinates() + made.settings()
    aborted = "" if name in ("truncated", "aborted") else made.error_end()
    (tmp_path / "orca.out").write_text(f"{begun}{line}\n{aborted}")
    assert read_output(tmp_path / "orca.out").termination == name

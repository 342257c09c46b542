"""The page on remedies says of each class of failure what the table of classes says, and describes each step."""

import re
from itertools import groupby
from pathlib import Path

import pytest

from oact_dagster.orca.failures import FailureClass
from oact_dagster.orca.outputs.reader import read_output
from oact_dagster.orca.remedies.next_input import STEPS
from oact_dagster_tests.orca.outputs import made_outputs as made

PAGE = Path(__file__).parents[3] / "docs" / "remedies.md"


def table(head: str) -> list[list[str]]:
    """The rows of the table whose first column has this head, each as its cells."""
    text = PAGE.read_text() if PAGE.is_file() else ""
    rows = text.partition(f"\n| {head} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_every_class_is_described() -> None:
    rows = {name.strip("`"): rest for name, *rest in table("class")}
    assert list(rows) == list(FailureClass)
    for failure in FailureClass:
        looks_like, _, advice = (cell.replace("`", "") for cell in rows[failure])
        assert looks_like == failure.facts.looks_like, failure
        # The page may say more.
        assert advice.startswith(failure.facts.advice), failure


def ladder(failure: FailureClass) -> str:
    """The ladder of a class as the page writes it."""
    words = []
    for step, places in groupby(failure.facts.ladder):
        again = " as often as it helps" if step in failure.facts.as_often_as_it_helps else ""
        words.append(f"`{step}`{again or ['', ' twice'][len(list(places)) - 1]}")
    return ", ".join(words + ["from scratch"] * failure.facts.from_scratch) or "none"


def test_every_class_has_its_ladder_on_the_page() -> None:
    rows = {name.strip("`"): rest for name, *rest in table("class of failure")}
    assert list(rows) == list(FailureClass)
    for failure in FailureClass:
        steps, fault, host = rows[failure]
        facts = failure.facts
        assert re.match(re.escape(ladder(failure)) + "($|[:;,] )", steps), failure
        assert {step for step in re.findall(r"`(\w+)`", steps) if step in STEPS} == set(facts.ladder), failure
        assert fault == facts.fault.value, failure
        marks = {"avoid": facts.avoid_host, "count": facts.count_host, "show": facts.show_host}
        assert host == ", ".join(word for word, holds in marks.items() if holds), failure


def test_every_step_is_on_the_page() -> None:
    assert [name.strip("`") for name, _ in table("step")] == list(STEPS)
    assert {step for failure in FailureClass for step in failure.facts.ladder} <= set(STEPS)


MESSAGES = [
    (name.strip("`"), line)
    for name, _, output, _ in table("class")
    for line in re.findall(r"`([^`]+)`", output)
    if line != "oact check"
]


@pytest.mark.parametrize(("name", "line"), MESSAGES)
def test_what_stands_in_the_output_has_the_class_that_the_page_says(
    tmp_path: Path, name: str, line: str
) -> None:
    begun = made.banner() + made.echo("! wB97M-V EnGrad") + made.coordinates() + made.settings()
    aborted = "" if name in ("truncated", "aborted") else made.error_end()
    (tmp_path / "orca.out").write_text(f"{begun}{line}\n{aborted}")
    assert read_output(tmp_path / "orca.out").termination == name

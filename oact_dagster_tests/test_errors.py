"""All errors of the package have one base, and stand in its drawing."""

import ast
import builtins
import re

import pytest

from oact_dagster import errors
from oact_dagster.cli.errors import told_of
from oact_dagster.errors import CampaignError, OactError
from oact_dagster_tests.test_architecture import FILES, module_name, payload_modules

BUILT_IN = {
    name
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}


def drawn() -> dict[str, set[str]]:
    """The bases of each class in the drawing: the one above it, and what stands behind its name."""
    found: dict[str, set[str]] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        node = re.fullmatch(r"    ([│├└─ ]*)(\w+)(?: \((\w+)\))?", line)
        if node is None:
            continue
        depth = len(node[1]) // 4
        above[depth] = node[2]
        found[node[2]] = {above[depth - 1] if depth else "Exception", *filter(None, [node[3]])}
    return found


def defined() -> dict[str, set[str]]:
    """The bases of each exception that the package defines, but for those of the payload."""
    kinds = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for file in FILES
        if module_name(file) not in payload_modules()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    known = set(BUILT_IN)
    while fresh := {name for name, bases in kinds.items() if bases & known} - known:
        known |= fresh
    return {name: bases for name, bases in kinds.items() if name in known - BUILT_IN}


def test_each_error_stands_in_the_drawing_below_its_base() -> None:
    assert drawn() == defined()
    assert len(drawn()) > 20


@pytest.mark.parametrize(
    "kind", [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, OactError)]
)
def test_whatever_of_ours_reaches_the_command_line_is_one_line(kind: type[OactError]) -> None:
    assert told_of(kind("a folder: is\nnot there")) == "a folder: is not there"


def test_only_our_errors_are_told_in_one_line() -> None:
    assert told_of(ValueError("a fault of the program")) is None


def test_a_campaign_error_knows_its_text_without_the_file() -> None:
    error = CampaignError("name: is missing", errors.Path("/data/campaign.yaml"))
    assert (str(error), error.problem) == ("/data/campaign.yaml: name: is missing", "name: is missing")

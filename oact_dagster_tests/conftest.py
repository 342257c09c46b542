"""Fixtures that every part of the tests shares."""

import os
from pathlib import Path

import pytest

from oact_dagster_tests.requirements import lacking


@pytest.fixture(scope="session")
def orca_outputs() -> Path:
    """The folder of real ORCA outputs with their ``truth.json``."""
    where = os.environ.get("OACT_TEST_DATA")
    if not where:
        lacking("data", "set OACT_TEST_DATA to a folder of real ORCA outputs with a truth.json")
    folder = Path(str(where))
    if not (folder / "truth.json").is_file():
        lacking("data", f"OACT_TEST_DATA={where} holds no truth.json")
    return folder

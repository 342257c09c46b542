"""Fixtures that every part of the tests shares."""

import os
import signal
from pathlib import Path

import pytest

from oact_dagster_tests.requirements import lacking


def pytest_configure() -> None:
    """Let Ctrl+C reach what the tests start: a shell starts what runs in its background with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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

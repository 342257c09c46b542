"""What the tests of the stand-in engine share."""

from importlib.util import find_spec

import pytest

from oact_dagster_tests.requirements import lacking


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip the tests that compute something where tblite is missing."""
    if find_spec("tblite") is None:
        lacking("engine", "pip install 'oact-dagster[demo]'")

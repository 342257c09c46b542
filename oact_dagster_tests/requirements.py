"""What a test may lack on a machine: skipped with what to install, or failed where it is required.

``OACT_TEST_REQUIRE`` (comma-separated: data, engine, browser, slurm, parsl, postgres, flux) turns the skips into
failures.
"""

import os

import pytest


def lacking(part: str, what_to_do: str) -> None:
    """Skip the calling test because ``part`` is missing, or fail it where ``part`` is required."""
    required = {name.strip() for name in os.environ.get("OACT_TEST_REQUIRE", "").split(",")}
    if part in required:
        pytest.fail(f"{part} is required here (OACT_TEST_REQUIRE) and missing: {what_to_do}", pytrace=False)
    pytest.skip(f"{part} is missing: {what_to_do}")

"""A run that has written nothing for a long time, judged by its output's time and not by what it says."""

import os
from pathlib import Path

import pytest

from oact_dagster.orca.outputs.silence import SILENCE_LIMIT_S, is_silent, silent_for_s
from oact_dagster_tests.orca.outputs import made_outputs as made

THEN = 1_700_000_000.0


@pytest.fixture
def output(tmp_path: Path) -> Path:
    file = tmp_path / "orca.out"
    file.write_text(made.single_point(end=""))
    os.utime(file, (THEN, THEN))
    return file


def test_six_hours_by_default(output: Path) -> None:
    assert SILENCE_LIMIT_S == 6 * 3600
    assert is_silent(output, now=THEN + 6 * 3600) is True
    assert is_silent(output, now=THEN + 6 * 3600 - 1) is False
    assert silent_for_s(output, now=THEN + 61) == 61.0


def test_the_limit_is_the_callers(output: Path) -> None:
    assert is_silent(output, limit_s=60, now=THEN + 60) is True
    assert is_silent(output, limit_s=120, now=THEN + 60) is False


def test_of_a_folder_its_output_counts(output: Path) -> None:
    (output.parent / "slurm-1.out").write_text("just now")
    assert silent_for_s(output.parent, now=THEN + 5) == 5.0


def test_a_clock_that_is_behind_and_a_file_that_is_not_there(output: Path) -> None:
    assert silent_for_s(output, now=THEN - 100) == 0.0
    assert silent_for_s(output.parent / "nothing") is None
    assert is_silent(output.parent / "nothing") is None
    output.unlink()
    assert is_silent(output.parent) is None


def test_the_present_by_default(output: Path) -> None:
    assert is_silent(output) is True
    output.touch()
    assert is_silent(output) is False

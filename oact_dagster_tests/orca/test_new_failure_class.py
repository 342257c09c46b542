"""The example of docs/architecture.md: a new class of failure needs the places that the page names, and no other."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from oact_dagster_tests.documentation import ROOT, blocks_of

PAGE = ROOT / "docs" / "architecture.md"
TESTS = (
    "orca/with_a_new_failure_class.py",
    "orca/remedies/test_documented.py",
    "orca/outputs/test_terminations.py",
    "attempts/test_verdict.py::test_every_termination_has_a_class_of_failure",
    "orca/remedies/test_level_of_theory.py::test_every_ladder_ends",
)


def apply(diff: str, folder: Path) -> None:
    """Make the changes of a diff without line numbers: what stands around each must be in its file exactly once."""
    for part in re.split(r"^--- ", diff, flags=re.MULTILINE)[1:]:
        name, *hunks = part.split("\n@@\n")
        file = folder / name
        text = file.read_text()
        for hunk in hunks:
            lines = hunk.rstrip("\n").split("\n")
            old = "".join(f"{line[1:]}\n" for line in lines if line[0] != "+")
            assert text.count(old) == 1, f"{name}: {old}"
            text = text.replace(old, "".join(f"{line[1:]}\n" for line in lines if line[0] != "-"))
        file.write_text(text)


def test_the_example_needs_no_other_place(tmp_path: Path) -> None:
    if not PAGE.is_file():
        pytest.skip("docs/architecture.md is in the repository only")
    [example] = [block.text for block in blocks_of(PAGE) if "FILE_SYSTEM" in block.text]
    for name in ("oact_dagster", "oact_dagster_tests", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.png"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    apply(example, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", *(f"oact_dagster_tests/{name}" for name in TESTS)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr

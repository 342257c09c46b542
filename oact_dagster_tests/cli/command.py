"""The command ``oact`` as a process of its own."""

import os
import subprocess
import sys
from pathlib import Path


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without a campaign in it."""
    kept = {key: value for key, value in os.environ.items() if key not in ("OACT_CAMPAIGN", "DAGSTER_HOME")}
    return {**kept, **variables}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "oact_dagster", *map(str, arguments)]


def oact(
    *arguments: str | Path, cwd: Path | None = None, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run ``oact`` to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def assert_one_line(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    """It ended with exit code 2 and one line on stderr that holds these words."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stderr.startswith("oact: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr

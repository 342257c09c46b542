"""Job folders as jobs leave them, without a batch: the test engine's outputs, attempts, records."""

import os
import subprocess
import time
from pathlib import Path

from oact_dagster.launchers.attempt_files import (
    ATTEMPT_FILE,
    EXIT_FILE,
    TOKEN_COMMENT,
    AttemptSpec,
    ExitRecord,
    How,
    exit_text,
    spec_text,
)
from oact_dagster_tests.engines import TestEngine

WATER_INPUT = """\
# structure {index} of campaign test
{token}! wB97M-V def2-TZVPD EnGrad
%pal nprocs 4 end
* xyz 0 1
O 0.0 0.0 0.0
H 0.76 0.0 0.587
H -0.76 0.0 0.587
*
"""
HOURS = 3600.0


def made_job(
    folder: Path,
    engine: TestEngine,
    index: int,
    behaviour: str = "normal",
    *,
    token: str | None = None,
    silent_h: float = 0.0,
) -> Path:
    """A job folder with what the engine writes; with a token it is an attempt's of ours."""
    folder.mkdir(parents=True)
    comment = "" if token is None else f"# {TOKEN_COMMENT}: {token}\n"
    (folder / "orca.inp").write_text(WATER_INPUT.format(index=index, token=comment))
    engine.set(behaviour, index)
    with (folder / "orca.out").open("wb") as out:
        subprocess.run([str(engine.path), "orca.inp"], cwd=folder, stdout=out, timeout=60, check=False)
    if token is not None:
        spec = AttemptSpec(token, 1, index, [str(engine.path)], 4, 7200.0, 1.0)
        (folder / ATTEMPT_FILE).write_text(spec_text(spec))
    age(folder / "orca.out", silent_h)
    return folder


def age(file: Path, hours: float) -> None:
    """Make a file as old."""
    then = time.time() - hours * HOURS
    os.utime(file, (then, then))


def write_exit(folder: Path, token: str, how: How = How.EXITED, returncode: int | None = 0) -> None:
    """The payload's record of how an attempt ended."""
    record = ExitRecord(token, how, returncode, 1000.0, 1060.0, 60.0, "node7", 4711, "as the test says")
    (folder / EXIT_FILE).write_text(exit_text(record))

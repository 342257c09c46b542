"""Running a scheduler's command: an argument list, with a time limit, and never through a shell."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oact_dagster.errors import LauncherError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed, and how it ended."""

    command: str
    """Its name."""
    returncode: int | None
    """Negative for a signal; None when it was ended at its time limit: what it asked for may have been done."""
    stdout: str
    stderr: str

    @property
    def told(self) -> str:
        """The line that says most about why it failed."""
        if self.returncode is None:
            return f"{self.command} gave no answer in its time limit"
        lines = [line.strip() for line in (self.stderr or self.stdout).splitlines() if line.strip()]
        return lines[-1] if lines else f"{self.command} ended with exit code {self.returncode}"


def run_command(
    command: Sequence[str],
    timeout_s: float,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    without: tuple[str, ...] = (),
) -> Answer:
    """Run a scheduler's command.

    Args:
        command: program and arguments.
        timeout_s: a frozen controller or broker hangs its clients: after this time they are ended, s.
        folder: where it runs; the current one where it is not given.
        environment: variables added to ours.
        without: beginnings of variables that are left out: a user's defaults for the command, such as a filter.

    Raises:
        LauncherError: there is no such program.
    """
    try:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env={key: value for key, value in os.environ.items() if not key.startswith(without)}
            | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            # Ctrl+C in the terminal is for us: a submit that it ended half-way would have to be looked for.
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if error.filename != command[0]:
            raise
        raise LauncherError(
            f"{command[0]}: no such program on PATH; is this a machine from which jobs can be submitted?"
        ) from None
    except OSError as error:
        raise LauncherError(f"{command[0]}: cannot be run: {error.strerror or error}") from None
    with process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            _kill(process)
            # Not communicate(): what it started might hold its pipes open.
            return Answer(command[0], None, "", "")
        except BaseException:
            _kill(process)
            raise
    return Answer(command[0], process.returncode, out, err)


def _kill(process: "subprocess.Popen[str]") -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()

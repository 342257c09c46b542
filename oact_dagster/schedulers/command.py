"""Run a scheduler's command: an argument list with a time limit, never through a shell."""

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
    """The output and the exit code of a command."""

    command: str
    returncode: int | None
    """Negative for a signal; None after the time limit, when the command may still have had its effect."""
    stdout: str
    stderr: str

    @property
    def told(self) -> str:
        """The line that best explains why the command failed."""
        if self.returncode is None:
            return f"{self.command} did not answer within its time limit"
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
        timeout_s: time limit, s. A frozen controller or broker would hang its clients for ever.
        folder: working directory; by default the current one.
        environment: additional variables.
        without: prefixes of variables to leave out, such as a user's defaults for the command.

    Raises:
        LauncherError: the program does not exist or cannot be run.
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
            # Keep Ctrl+C in the terminal from interrupting a submit, whose jobs would then have to be searched for.
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
            # Not communicate(): a child of the command might keep the pipes open.
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

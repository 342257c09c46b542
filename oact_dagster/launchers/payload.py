"""The program that runs beside ORCA on the compute node, one process for each structure.

``python -P -m oact_dagster.launchers.payload TOKEN [--lifeline FD]``, started in the job folder. It runs the engine
that ``attempt.json`` names, in a process group of its own, with a time limit, and writes ``exit.json``. Every
path is relative: when the folder is renamed because a later attempt has taken its place, what still runs here
goes on writing here and never into the new attempt's folder.

It imports the standard library, :mod:`oact_dagster.orca` and, where somebody listens, ``dagster_pipes``.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from oact_dagster.launchers.attempt_files import (
    EXIT_FILE,
    INPUT_FILE,
    OUTPUT_FILE,
    TOKEN_VARIABLE,
    AttemptSpec,
    ExitRecord,
    How,
    exit_text,
    read_spec,
    write_whole,
)

EXIT_NOT_MINE: Final = 3
"""Exit code when the folder belongs to another attempt: nothing was written."""

SCRUBBED: Final = ("SLURM_", "PMI_", "PMIX_", "OMPI_", "FLUX_", "PRTE_")
"""ORCA starts its own mpirun, which hangs, or binds all ranks to one core, when it finds the scheduler's settings."""


class Messages(Protocol):
    """Where a payload tells what happens."""

    def log(self, text: str) -> None:
        """A line for the run's log."""

    def report(self, payload: Mapping[str, Any]) -> None:
        """A message for whoever follows."""


class _Silence:
    def log(self, text: str) -> None:
        pass

    def report(self, payload: Mapping[str, Any]) -> None:
        pass


def main(arguments: list[str]) -> int:
    """Run the attempt of the current folder.

    Args:
        arguments: the token, then perhaps ``--lifeline`` and a file descriptor at whose end of file the payload
            ends: whoever started it has died.

    Returns:
        0 when ``exit.json`` was written, whatever it says; 3 when the folder is another attempt's.
    """
    token = arguments[0]
    lifeline = int(arguments[2]) if arguments[1:2] == ["--lifeline"] else None
    spec = read_spec(Path())
    if spec is None or spec.token != token:
        print(f"payload {token}: this folder belongs to another attempt; nothing was run", file=sys.stderr)
        return EXIT_NOT_MINE
    with _pipes(spec) as messages:
        record = run_engine(spec, lifeline)
        write_whole(Path(EXIT_FILE), exit_text(record))
        _tell(spec, record, messages)
    return 0


def run_engine(spec: AttemptSpec, lifeline: int | None) -> ExitRecord:
    """Run the engine to its end, its time limit, or the order to stop.

    Args:
        spec: what to run.
        lifeline: see :func:`main`.

    Returns:
        How it ended; no process of the engine's group is left.
    """
    started_at, clock = time.time(), time.monotonic()
    bell = _Bell()
    returncode: int | None = None
    reason = ""
    with tempfile.TemporaryDirectory(prefix="oact-", ignore_cleanup_errors=True) as scratch:
        try:
            engine = _start(spec, scratch)
        except OSError as error:
            how, reason = How.NOT_STARTED, f"{spec.command[0]}: {error.strerror or error}"
            if isinstance(error, FileNotFoundError) and Path(spec.command[0]).exists():
                reason += " (the file is there; what it needs to run, such as its interpreter, is not)"
        else:
            how, reason = _wait(engine, spec, bell, lifeline, clock)
            returncode = _end_group(engine, spec.stop_grace_s if how is not How.EXITED else 0.0)
    return ExitRecord(
        token=spec.token,
        how=how,
        returncode=returncode,
        started_at=started_at,
        ended_at=time.time(),
        elapsed_s=time.monotonic() - clock,
        host=socket.gethostname(),
        pid=os.getpid(),
        reason=reason,
    )


class _Bell:
    """Wakes a select() when a signal comes: of a child's end, or the order to stop."""

    def __init__(self) -> None:
        self.stop: signal.Signals | None = None
        self.fd, writer = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for order in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(order, self._on_stop)

    def _on_stop(self, number: int, frame: object) -> None:
        self.stop = signal.Signals(number)


def _start(spec: AttemptSpec, scratch: str) -> "subprocess.Popen[bytes]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith(SCRUBBED)}
    environment |= {"OMP_NUM_THREADS": "1"}
    environment |= spec.environment
    environment |= {"TMPDIR": scratch, TOKEN_VARIABLE: spec.token}
    # Files and never pipes: a pipe that nobody reads holds 64 KB, and the engine hangs.
    with Path(OUTPUT_FILE).open("wb") as output, Path("orca.err").open("wb") as errors:
        return subprocess.Popen(
            [*spec.command, INPUT_FILE],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=environment,
            start_new_session=True,
        )


def _wait(
    engine: "subprocess.Popen[bytes]", spec: AttemptSpec, bell: _Bell, lifeline: int | None, clock: float
) -> tuple[How, str]:
    deadline = clock + spec.time_limit_s
    watched = [bell.fd] if lifeline is None else [bell.fd, lifeline]
    while True:
        if _has_ended(engine):
            return How.EXITED, ""
        if bell.stop is not None:
            return How.STOPPED, f"stopped by {bell.stop.name}"
        left = deadline - time.monotonic()
        if left <= 0:
            return How.TIME_LIMIT, f"time limit of {spec.time_limit_s:g} s reached"
        ready, _, _ = select.select(watched, [], [], left)
        if bell.fd in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(bell.fd, 4096)
        if lifeline is not None and lifeline in ready and not os.read(lifeline, 1):
            return How.STOPPED, "the process that started it has died"


def _has_ended(engine: "subprocess.Popen[bytes]") -> bool:
    """Tell whether the engine ended, and leave it unreaped: until then its group's number cannot be used again."""
    if not hasattr(os, "waitid"):
        return engine.poll() is not None
    return os.waitid(os.P_PID, engine.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end_group(engine: "subprocess.Popen[bytes]", grace_s: float) -> int:
    """End what is left of the engine's process group: mpirun and its ranks too."""
    if grace_s > 0 and not _has_ended(engine):
        _signal_group(engine.pid, signal.SIGTERM)
        limit = time.monotonic() + grace_s
        while time.monotonic() < limit and not _has_ended(engine):
            time.sleep(0.02)
    _signal_group(engine.pid, signal.SIGKILL)
    return engine.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


@contextlib.contextmanager
def _pipes(spec: AttemptSpec) -> Iterator[Messages]:
    if not spec.pipes:
        yield _Silence()
        return
    import dagster_pipes

    # Messages are a mirror of exit.json and may be lost: a Pipes file that cannot be used costs no calculation.
    try:
        loader = dagster_pipes.PipesMappingParamsLoader(spec.pipes)
        context = dagster_pipes.open_dagster_pipes(params_loader=loader)
        context.__enter__()
    except Exception as error:
        print(f"payload {spec.token}: no Pipes messages: {error}", file=sys.stderr)
        yield _Silence()
        return
    try:
        yield _PipesMessages(context)
    finally:
        with contextlib.suppress(Exception):
            context.__exit__(None, None, None)


class _PipesMessages:
    def __init__(self, context: Any) -> None:
        self._context = context

    def log(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._context.log.info(text)

    def report(self, payload: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._context.report_custom_message(dict(payload))


def _tell(spec: AttemptSpec, record: ExitRecord, messages: Messages) -> None:
    if isinstance(messages, _Silence):
        return
    from oact_dagster.orca.outputs import read_output

    output = read_output(Path(OUTPUT_FILE))
    energy = "" if output.final_energy is None else f", E = {output.final_energy:.9f} Eh"
    cycles = "" if output.scf_cycles_total is None else f", {output.scf_cycles_total} SCF cycles"
    ended = f"{output.termination}" if record.how is How.EXITED else record.reason
    messages.log(
        f"structure {spec.orig_index}, attempt {spec.attempt} on {record.host}: {ended}{energy}{cycles},"
        f" {record.elapsed_s:.1f} s"
    )
    messages.report(
        {
            "structure": spec.orig_index,
            "attempt": spec.attempt,
            "token": spec.token,
            "how": str(record.how),
            "returncode": record.returncode,
            "termination": str(output.termination),
            "final_energy_Eh": output.final_energy,
            "elapsed_s": record.elapsed_s,
        }
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

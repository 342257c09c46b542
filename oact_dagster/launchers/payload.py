"""The program that runs beside ORCA on the compute node, one process for each structure.

``python -P -m oact_dagster.launchers.payload [--token TOKEN] [--lifeline FD] [ENGINE… INPUT]`` is started in the job
folder. With a token it runs the attempt that ``attempt.json`` describes; without one (a job script submitted by hand)
it runs the given engine. The engine runs in its own process group, with a time limit, and ``exit.json`` says how it
ended. Every path is relative: if a later attempt takes the folder's place and it is renamed, what still runs here
keeps writing here, and never into the new attempt's folder.

It imports little, since it starts once for each structure: ``dagster_pipes`` only if somebody listens.
"""

import argparse
import contextlib
import errno
import math
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from oact_dagster.files import atomic_write
from oact_dagster.launchers.attempt_files import (
    ERRORS_FILE,
    EXIT_FILE,
    EXIT_NO_SPACE,
    INPUT_FILE,
    OUTPUT_FILE,
    TOKEN_VARIABLE,
    AttemptSpec,
    ExitRecord,
    How,
    StartRecord,
    claim_folder,
    exit_text,
    hold_folder,
    is_full,
    leave_no_room,
    no_space_line,
    read_spec,
    show_life,
)
from oact_dagster.launchers.node_scratch import NodeScratch

EXIT_NOT_MINE: Final = 3
"""Exit code if the folder belongs to another attempt, or to another payload of this one: nothing was written."""

JOB_ID_VARIABLES: Final = ("SLURM_JOB_ID", "FLUX_JOB_ID", "FLUX_ENCLOSING_ID")

LIMIT_SIGNALS: Final = (signal.SIGUSR1, signal.SIGALRM)
"""Sent by schedulers at or before a job's time limit: SIGUSR1 by Slurm, since we ask for it; SIGALRM by Flux."""

_FROM_OUTSIDE: Final = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT, *LIMIT_SIGNALS)
_ENDED_FROM_OUTSIDE: Final = frozenset(code for number in _FROM_OUTSIDE for code in (-number, 128 + number))
"""Exit codes of an engine, or a shell around it, that was ended by a signal which this process may get as well."""
_SIGNAL_DELAY_S: Final = 1.0
"""How much later than the engine this process may get that signal, s."""

STOP_GRACE_S: Final = 10.0
"""Time between SIGTERM and SIGKILL for an engine without an attempt, s."""

SCRUBBED: Final = ("SLURM_", "PMI_", "PMIX_", "OMPI_", "FLUX_", "PRTE_")
"""With the scheduler's variables, ORCA's own mpirun hangs, or binds all ranks to one core."""


class NoSpaceError(Exception):
    """The job folder's disk has no space left for an output."""


class Messages:
    """Where a payload reports what happens; this one reports to nobody."""

    heard = False

    def log(self, text: str) -> None:
        """Write a line to the run's log."""

    def report(self, payload: Mapping[str, Any]) -> None:
        """Send a message to the run."""


def main(arguments: list[str]) -> int:
    """Run the attempt of the current folder, or the given engine.

    Args:
        arguments: see the module. The payload ends at the lifeline's end of file: the process that started it died.

    Returns:
        0 if ``exit.json`` was written, whatever it says; 3 if the folder is another's; 6 if its disk is full.
    """
    parser = argparse.ArgumentParser("payload")
    parser.add_argument("--token")
    parser.add_argument("--lifeline", type=int)
    parser.add_argument("command", nargs="*", help="the engine with its arguments, then the input file")
    given = parser.parse_args(arguments)
    token: str = given.token or ""
    if token:
        spec = read_spec(Path())
        if spec is None or spec.token != token:
            _say(f"payload {token}: this folder belongs to another attempt; nothing was run")
            return EXIT_NOT_MINE
        started = StartRecord(token, socket.gethostname(), os.getpid(), time.time(), scheduler_job_id())
        try:
            mine = claim_folder(Path(), started)
        except OSError as error:
            if is_full(error):
                return _no_space(token, error)
            raise
        if not mine:
            _say(f"payload {token}: another payload has begun this attempt; nothing was run")
            return EXIT_NOT_MINE
    else:
        if not hold_folder(Path()):
            _say("payload: another job runs in this folder; nothing was run")
            return EXIT_NOT_MINE
        spec = AttemptSpec("", 0, -1, given.command[:-1], 1, math.inf, STOP_GRACE_S)
    with _pipes(spec) as messages:
        input_file = given.command[-1] if given.command else INPUT_FILE
        try:
            record = run_engine(spec, given.lifeline, messages, input_file)
        except NoSpaceError as error:
            return _no_space(token, error)
        try:
            atomic_write(Path(EXIT_FILE), exit_text(record))
        except OSError as error:
            if not is_full(error):
                raise
            _say(f"payload {token}: {EXIT_FILE}: {error.strerror}; what it has computed is in {OUTPUT_FILE}")
            return EXIT_NO_SPACE
        _tell(spec, record, messages)
    return 0


def _no_space(token: str, error: Exception) -> int:
    """Report that nothing was run because the disk is full, without writing a byte to it."""
    leave_no_room(Path())
    _say(f"{no_space_line(token)}: {error}")
    return EXIT_NO_SPACE


def _say(text: str) -> None:
    """Print a line to the job's log, which may be on a full disk as well."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def scheduler_job_id() -> str:
    """The id of the scheduler's job in which this process runs; empty outside one."""
    return next((os.environ[name] for name in JOB_ID_VARIABLES if os.environ.get(name)), "")


def run_engine(
    spec: AttemptSpec, lifeline: int | None, messages: Messages, input_file: str = INPUT_FILE
) -> ExitRecord:
    """Run the engine until it ends, reaches its time limit, or is told to stop.

    Args:
        spec: what to run.
        lifeline: file descriptor; see :func:`main`.
        messages: where to report progress.
        input_file: the engine's last argument.

    Returns:
        How it ended; no process of the engine's group is left.

    Raises:
        NoSpaceError: the engine was not started, because the job folder's disk has no space for its output.
    """
    started_at, clock = time.time(), time.monotonic()
    bell = _Bell()
    returncode: int | None = None
    how, reason = How.NOT_STARTED, ""
    try:
        with _temporary(spec) as temporary:
            scratch = NodeScratch.of(Path(), Path(temporary, "job")) if spec.scratch_dir is not None else None
            try:
                engine = _start(spec, temporary, scratch.folder if scratch is not None else None, input_file)
            except OSError as error:
                if is_full(error):
                    raise NoSpaceError(f"{OUTPUT_FILE}: {error.strerror}") from error
                reason = f"{spec.command[0]}: {error.strerror or error}"
                if isinstance(error, FileNotFoundError) and Path(spec.command[0]).exists():
                    reason += " (the file exists, but something it needs does not, such as its interpreter)"
            else:
                watch = _Watch(spec, messages)
                how, reason = _wait(engine, spec, bell, lifeline, clock, watch)
                returncode = _end_group(engine, spec.stop_grace_s if how is not How.EXITED else 0.0)
                if scratch is not None:
                    _save(scratch, spec, messages)
    except OSError as error:
        if how is How.NOT_STARTED:
            where = "the node's folder for temporary files"
            reason = f"{where}: {error.filename or ''}: {error.strerror or error}"
            # Other nodes may have space.
            how = How.STOPPED if is_full(error) else how
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
        **(_costs() if returncode is not None else {}),
    )


def _costs() -> dict[str, float]:
    """CPU time and memory of the engine and the processes it waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Linux counts in kB, macOS in bytes.
    megabytes = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {"cpu_time_s": used.ru_utime + used.ru_stime, "max_rss_mb": megabytes}


class _Bell:
    """Wakes a select() at a signal: a child's end, or the order to stop."""

    def __init__(self) -> None:
        self.stop: signal.Signals | None = None
        self.fd, writer = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for order in (signal.SIGTERM, signal.SIGINT, *LIMIT_SIGNALS):
            signal.signal(order, self._on_stop)

    def _on_stop(self, number: int, frame: object) -> None:
        # The first signal tells the cause: a job at its limit soon gets others.
        self.stop = self.stop or signal.Signals(number)

    def drain(self) -> None:
        """Forget the signals so far, so that the next select() waits again."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)


class _Watch:
    """Reports the calculation's progress now and then."""

    def __init__(self, spec: AttemptSpec, messages: Messages) -> None:
        self._name = f"structure {spec.orig_index}, attempt {spec.attempt}"
        self._interval = spec.progress_s
        self._messages = messages
        self._due = math.inf
        if spec.progress_s > 0 and messages.heard:
            from oact_dagster.orca.outputs.progress import ProgressReader

            self._reader = ProgressReader(Path(OUTPUT_FILE))
            self._due = time.monotonic() + spec.progress_s

    def wait_s(self) -> float:
        """Time to the next look, s."""
        return max(0.0, self._due - time.monotonic())

    def look(self) -> None:
        """Report the progress if it is due."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self._interval
        progress = self._reader.look()
        if progress is not None:
            self._messages.log(f"{self._name}: {progress}")


def _temporary(spec: AttemptSpec) -> "tempfile.TemporaryDirectory[str]":
    """Make a folder for the calculation's temporary files, which is removed with it.

    Raises:
        OSError: it cannot be made.
    """
    parent = None
    if spec.scratch_dir is not None:
        parent = os.path.expandvars(spec.scratch_dir)
        if not Path(parent).is_absolute() or "$" in parent:
            # An unset variable would create a folder of that name in the job folder.
            told = "is not an absolute path on this node, or uses a variable that is not set there"
            raise FileNotFoundError(errno.ENOENT, told, spec.scratch_dir)
        Path(parent).mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="oact-", dir=parent, ignore_cleanup_errors=True)


def _save(scratch: NodeScratch, spec: AttemptSpec, messages: Messages) -> None:
    left_out = scratch.save(round(spec.scratch_save_mb * 1e6))
    if left_out:
        text = f"structure {spec.orig_index}: not copied back from {scratch.folder}: {', '.join(left_out)}"
        _say(text)
        messages.log(text)


def _start(
    spec: AttemptSpec, temporary: str, folder: Path | None, input_file: str
) -> "subprocess.Popen[bytes]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith(SCRUBBED)}
    environment |= {"OMP_NUM_THREADS": "1", **spec.environment}
    environment |= {"TMPDIR": temporary, TOKEN_VARIABLE: spec.token}
    # Files, not pipes: once a pipe that nobody reads holds 64 KB, the engine hangs.
    with Path(OUTPUT_FILE).open("wb") as output, Path(ERRORS_FILE).open("wb") as errors:
        return subprocess.Popen(
            [*spec.command, input_file],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=environment,
            start_new_session=True,
        )


def _wait(
    engine: "subprocess.Popen[bytes]",
    spec: AttemptSpec,
    bell: _Bell,
    lifeline: int | None,
    clock: float,
    watch: _Watch,
) -> tuple[How, str]:
    deadline = clock + spec.time_limit_s
    next_sign = time.monotonic() + spec.sign_of_life_s
    watched = [bell.fd] if lifeline is None else [bell.fd, lifeline]
    while True:
        if (ended := _end_of(engine)) is not None:
            # A scheduler ends all processes of a job at once: its signal may reach us after the engine has ended.
            if ended in _ENDED_FROM_OUTSIDE:
                _await_signal(bell)
            if bell.stop is None:
                return How.EXITED, ""
        if bell.stop in LIMIT_SIGNALS:
            return How.TIME_LIMIT, f"the job's time limit is near ({bell.stop.name})"
        if bell.stop is not None:
            return How.STOPPED, f"stopped by {bell.stop.name}"
        left = deadline - time.monotonic()
        if left <= 0:
            return How.TIME_LIMIT, f"time limit of {spec.time_limit_s:g} s reached"
        sign = max(0.0, next_sign - time.monotonic())
        ready, _, _ = select.select(watched, [], [], min(left, watch.wait_s(), sign))
        watch.look()
        if time.monotonic() >= next_sign:
            next_sign = time.monotonic() + spec.sign_of_life_s
            show_life(Path())
        if bell.fd in ready:
            bell.drain()
        if lifeline is not None and lifeline in ready and not os.read(lifeline, 1):
            return How.STOPPED, "the process that started it has died"


def _await_signal(bell: _Bell) -> None:
    limit = time.monotonic() + _SIGNAL_DELAY_S
    while bell.stop is None and (left := limit - time.monotonic()) > 0:
        select.select([bell.fd], [], [], left)
        bell.drain()


def _end_of(engine: "subprocess.Popen[bytes]") -> int | None:
    """The engine's exit code, or the negative number of its signal; None while it runs.

    The engine is not reaped, so that its group's number cannot be used again.
    """
    if not hasattr(os, "waitid"):
        return engine.poll()
    found = os.waitid(os.P_PID, engine.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _end_group(engine: "subprocess.Popen[bytes]", grace_s: float) -> int:
    """End what is left of the engine's process group, including mpirun and its ranks."""
    if grace_s > 0 and _end_of(engine) is None:
        _signal_group(engine.pid, signal.SIGTERM)
        limit = time.monotonic() + grace_s
        while time.monotonic() < limit and _end_of(engine) is None:
            time.sleep(0.02)
    _signal_group(engine.pid, signal.SIGKILL)
    return engine.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


@contextlib.contextmanager
def _pipes(spec: AttemptSpec) -> Iterator[Messages]:
    if not spec.pipes:
        yield Messages()
        return
    import dagster_pipes

    # Messages only mirror exit.json: an unusable Pipes file must not cost a calculation.
    try:
        loader = dagster_pipes.PipesMappingParamsLoader(spec.pipes)
        context = dagster_pipes.open_dagster_pipes(params_loader=loader)
        context.__enter__()
    except Exception as error:
        _say(f"payload {spec.token}: no Pipes messages: {error}")
        yield Messages()
        return
    try:
        yield _PipesMessages(context)
    finally:
        with contextlib.suppress(Exception):
            context.__exit__(None, None, None)


class _PipesMessages(Messages):
    heard = True

    def __init__(self, context: Any) -> None:
        self._context = context

    def log(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._context.log.info(text)

    def report(self, payload: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._context.report_custom_message(dict(payload))


def _tell(spec: AttemptSpec, record: ExitRecord, messages: Messages) -> None:
    if not messages.heard:
        return
    from oact_dagster.orca.outputs.reader import read_output

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

"""A pool of Parsl's workers: its start, its health and its end. Only this module touches a running Parsl."""

import atexit
import contextlib
import logging
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from oact_dagster.errors import LauncherError
from oact_dagster.launchers.leftovers import end_marked
from oact_dagster.launchers.parsl.app import TaskAnswer, run_attempt
from oact_dagster.launchers.parsl.block_watch import PATIENCE_THRESHOLDS, Block, BlockPhase, BlockWatch
from oact_dagster.launchers.parsl.blocks import ANSWER_S, end_blocks
from oact_dagster.launchers.parsl.config import POOL_VARIABLE, PoolOptions, build_config
from oact_dagster.launchers.parsl.control import ControlFolder

CLEANUP_S: Final = 20.0
"""How long Parsl may take to close, s. It waits for answers of processes that may be dead."""

CLOSE_PATIENCE_S: Final = 30.0
"""How long a run that ends tries to cancel its blocks while Slurm does not answer, s."""

AGAIN_S: Final = 2.0
"""Time between two attempts to cancel blocks, s."""

_HERE: Final = "oact-parsl-"

_ORDERS: Final = "orders"

_LOG_LINES: Final = 3

_GIVEN_UP: Final[list[Any]] = []
"""Kernels that were not closed, kept so that Python never collects them: their sockets would wait for a dead peer for
ever."""


class Pool:
    """Workers, and Parsl's kernel that gives them their tasks.

    Args:
        run: the pool's name, which its processes carry.
        shared: folder that other nodes see, for a pool that is not on this node alone.
    """

    def __init__(self, options: PoolOptions, run: str, shared: Path) -> None:
        self._options = options
        self._run = run
        self._folder = _folder(options, run, shared)
        self.control = ControlFolder(self._folder / _ORDERS)
        self._kernel: Any = None
        self._closed = False
        self._executor: Any = None
        self._app: Any = None
        self._group: int | None = None
        self._watch: BlockWatch | None = None
        try:
            self._start()
        except BaseException:
            self.kill()
            raise

    def _start(self) -> None:
        logging.getLogger("parsl").addHandler(logging.NullHandler())
        from parsl.app.python import PythonApp
        from parsl.dataflow.dflow import DataFlowKernel

        self.control.open()
        try:
            config = build_config(self._options, self._run, self._folder, self._look_at_blocks)
            self._executor = config.executors[0]
            self._kernel = DataFlowKernel(config)
        except LauncherError:
            raise
        except Exception as error:
            raise LauncherError(f"Parsl does not start: {error}{self._log()}") from error
        app: Any = PythonApp
        executors = [self._executor.label]
        self._app = app(run_attempt, data_flow_kernel=self._kernel, executors=executors, cache=False)

    def submit(
        self, token: str, folder: Path, ticket: str, start_before: float | None
    ) -> "Future[TaskAnswer]":
        """Submit an attempt with the arguments of :func:`~oact_dagster.launchers.parsl.app.run_attempt`.

        Raises:
            Exception: Parsl accepts no tasks any more.
        """
        control = str(self.control.path)
        future: Future[TaskAnswer] = self._app(token, str(folder), control, ticket, start_before)
        return future

    def notes(self) -> list[str]:
        """Notes about its blocks of nodes since the last call."""
        return [] if self._watch is None else self._watch.notes()

    def _look_at_blocks(self, executor: Any, states: Mapping[str, Any]) -> None:
        """Look at the blocks of nodes, in a thread of Parsl's, each time Parsl has done so."""
        if executor.bad_state_is_set:
            return
        if self._watch is None:
            options, blocks = self._options, self._options.blocks
            assert blocks is not None
            patience_s = PATIENCE_THRESHOLDS * options.heartbeat_threshold_s
            self._watch = BlockWatch(_reach(executor, options), patience_s, blocks.init)
        connected = set(executor.connected_blocks())
        found = [_block(executor, number, state, number in connected) for number, state in states.items()]
        if failing := self._watch.see(found, time.monotonic()):
            # Parsl requests no more of them.
            executor.set_bad_state_and_fail_all(RuntimeError(failing))

    def trouble(self) -> str:
        """Why this pool no longer works; empty while it does."""
        interchange = self._executor.interchange_proc
        if interchange is not None and (code := interchange.poll()) is not None:
            return f"its interchange has ended ({f'signal {-code}' if code < 0 else f'exit code {code}'})"
        if self._executor.bad_state_is_set:
            return f"its blocks of nodes fail: {_one_line(str(self._executor.executor_exception))}"
        if self._options.blocks is None:
            return self._trouble_here()
        return ""

    def _trouble_here(self) -> str:
        failed = self._executor._simulated_status
        if failed:
            return f"its workers were not started: {_one_line(next(iter(failed.values())).message or '')}"
        for job in list(self._executor.blocks_to_job_id.values()):
            if self._group is None:
                with contextlib.suppress(ProcessLookupError):
                    self._group = os.getpgid(int(job))
            (state,) = self._executor.provider.status([job])
            if state.terminal:
                said = _one_line(state.stderr_summary or "")
                code = "" if state.exit_code is None else f" (exit code {state.exit_code})"
                return f"its workers have ended{code}{': ' if said else ''}{said}"
        return ""

    def close(self) -> str:
        """End the workers with all that they run, and Parsl, in a bounded time.

        Returns:
            What could not be ended, and what to do; empty if nothing is left.
        """
        self.control.stop()
        self._stop_requests()
        if self._kernel is not None and not self.trouble():
            # In a thread, since it hangs for ever if the interchange dies meanwhile.
            cleanup = threading.Thread(target=self._clean_up, name="parsl-cleanup", daemon=True)
            cleanup.start()
            cleanup.join(CLEANUP_S)
        return self.kill(CLOSE_PATIENCE_S)

    def _clean_up(self) -> None:
        with contextlib.suppress(Exception):
            self._kernel.cleanup()
            self._closed = True

    def kill(self, patience_s: float = 0.0) -> str:
        """End what is left of the pool, without Parsl, and remove its files.

        Args:
            patience_s: how long to try to cancel blocks while Slurm does not answer, s.

        Returns:
            What could not be ended, and what to do; empty if nothing is left.
        """
        self.control.stop()
        self._stop_requests()
        if not self._closed:
            _GIVEN_UP.append((self._kernel, self._executor))
        if self._kernel is not None:
            atexit.unregister(self._kernel.atexit_cleanup)
            self._kernel.job_status_poller._kill_event.set()
            # Newer Parsl only. Without a shutdown, Python waits at its own end for these threads.
            if (launching := getattr(self._kernel, "_task_launch_pool", None)) is not None:
                launching.shutdown(wait=False)
        if self._executor is not None:
            self._executor._result_queue_thread_exit.set()
            interchange = self._executor.interchange_proc
            if interchange is not None:
                interchange.kill()
                interchange.wait()
        if self._group is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, signal.SIGKILL)
        left = ""
        if self._options.blocks is None:
            end_marked(POOL_VARIABLE, [self._run])
        elif self._kernel is not None:
            left = self._end_blocks(patience_s)
        # Not earlier: while workers live, its files say which tickets must not be taken.
        self.control.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        if not self._options.here:
            with contextlib.suppress(OSError):
                self._folder.parent.rmdir()
        return left

    def _stop_requests(self) -> None:
        """Request no more blocks."""
        if self._options.blocks is not None and self._executor is not None:
            self._executor.provider.shut(ANSWER_S)

    def _end_blocks(self, patience_s: float) -> str:
        """Cancel the blocks by name, since Parsl does not know those whose submit had no answer; as :meth:`kill`."""
        limit = time.monotonic() + patience_s
        while True:
            try:
                end_blocks([self._run])
            except LauncherError as error:
                # Without the interchange, their workers end by themselves.
                if time.monotonic() >= limit:
                    return str(error)
                time.sleep(AGAIN_S)
            else:
                return ""

    def _log(self) -> str:
        """The last line of the interchange's log in parentheses; empty if there is none."""
        for log in sorted(self._folder.glob("*/*/interchange.log")):
            with contextlib.suppress(OSError):
                lines = log.read_text(errors="replace").strip().splitlines()
                return f" ({lines[-1]})" if lines else ""
        return ""


class Parting(threading.Thread):
    """Kills an abandoned pool, whose blocks of nodes may take long to end. It ends in a bounded time."""

    def __init__(self, pool: Pool, patience_s: float) -> None:
        super().__init__(name="parsl-parting", daemon=True)
        self._pool = pool
        self._patience_s = patience_s
        self.left = "it is not known whether any workers are left"
        """Once it is over: what could not be ended, and what to do; empty if nothing is left."""
        self.start()

    def run(self) -> None:
        """Kill the pool: see :meth:`Pool.kill`."""
        self.left = self._pool.kill(self._patience_s)


def remove_folders(run: str, shared: Path) -> None:
    """Remove the folders of pools whose batch is gone, which orders their workers on other nodes to end."""
    for folder in (*Path(tempfile.gettempdir()).glob(f"{_HERE}{run}-*"), *shared.glob(f"{run}-*")):
        ControlFolder(folder / _ORDERS).close()
        shutil.rmtree(folder, ignore_errors=True)


def _folder(options: PoolOptions, run: str, shared: Path) -> Path:
    """Make a folder for Parsl's files, on this node's own disk if no other node needs them."""
    try:
        if options.here:
            return Path(tempfile.mkdtemp(prefix=f"{_HERE}{run}-"))
        shared.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{run}-", dir=shared))
    except OSError as error:
        raise LauncherError(
            f"{error.filename or shared}: cannot make a folder for Parsl's files: {error.strerror or error}"
        ) from None


def _block(executor: Any, number: str, state: Any, connected: bool) -> Block:
    """Make a :class:`Block` from Parsl's objects."""
    from parsl.jobs.states import JobState

    job_id = executor.blocks_to_job_id.get(number, "")
    queued = executor.provider.queue.get(job_id)
    phase = BlockPhase.WAITS
    if state.state is JobState.SCALED_IN:
        phase = BlockPhase.GIVEN_BACK
    elif state.terminal:
        phase = BlockPhase.ENDED
    elif queued is not None and queued.state == "R":
        phase = BlockPhase.RUNS
    errors = ""
    if phase is BlockPhase.ENDED and not connected:
        errors = _one_line((state.stderr_summary if job_id else state.message) or "")
    return Block(int(number), job_id, phase, connected, "" if queued is None else queued.since, errors)


def _reach(executor: Any, options: PoolOptions) -> str:
    """What workers on other nodes try to reach, as a clause."""
    # Older Parsl has two ports for the workers.
    names = ("worker_port", "worker_task_port", "worker_result_port")
    ports = sorted({str(port) for name in names if (port := getattr(executor, name, None)) is not None})
    first, last = options.ports
    return (
        f"its workers try {', '.join(sorted(executor.all_addresses))} at port {' and '.join(ports)} (of"
        f" launcher.worker_ports {first} to {last})"
    )


def _one_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines[-_LOG_LINES:])

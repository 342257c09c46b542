"""One Pipes session per batch: one thread reads the message files of all payloads."""

import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from dagster import (
    AssetExecutionContext,
    OpExecutionContext,
    PipesFileContextInjector,
    PipesMessageHandler,
    PipesMessageReader,
    PipesSession,
)
from dagster_pipes import PipesDefaultMessageWriter, PipesParams

from oact_dagster.defs.dagster_internals import build_external_execution_context_data
from oact_dagster.launchers.attempt_files import MESSAGES_FILE

_SHORTEST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_MOST_WRITERS: Final = 2**31
_POLLING_SHARE: Final = 0.02
"""Largest share of a core for checking whether files have grown."""


class BatchMessageReader(PipesMessageReader):
    """Follows one JSON-lines file per payload, in one thread that polls less often while nothing changes."""

    def __init__(self) -> None:
        self._files: dict[Path, int] = {}
        self._finished: set[Path] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._over = False

    @property
    def expected_writer_count(self) -> int:
        """More than there will ever be: until its end, a batch may take in structures and try lost ones again."""
        return _MOST_WRITERS

    def follow(self, file: Path) -> None:
        """Read this file from now on; it need not exist yet."""
        with self._lock:
            self._files.setdefault(file, 0)

    def finish(self, file: Path) -> None:
        """Read the rest of this file, then forget it: nothing more will be written to it."""
        with self._lock:
            self._finished.add(file)
        self._wake.set()

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[PipesParams]:
        """Read until the session ends; on return, everything written by then has been handled."""
        thread = threading.Thread(target=self._read_all, args=(handler,), name="pipes-batch", daemon=True)
        thread.start()
        try:
            # A relative path, so that each payload writes into its own folder even if that is renamed.
            yield {PipesDefaultMessageWriter.FILE_PATH_KEY: MESSAGES_FILE}
        finally:
            self._over = True
            self._wake.set()
            thread.join()

    def no_messages_debug_text(self) -> str:
        """Where messages are expected."""
        return f"Attempted to read messages from {MESSAGES_FILE} in each job folder."

    def _read_all(self, handler: PipesMessageHandler) -> None:
        pause, next_poll = _SHORTEST_PAUSE_S, 0.0
        while True:
            over = self._over
            with self._lock:
                files, finished = dict(self._files), self._finished
                self._finished = set()
            grown: set[Path] = set()
            if over or time.monotonic() >= next_poll:
                began = time.thread_time()
                grown = {file for file, position in files.items() if _size(file) > position}
                pause = _SHORTEST_PAUSE_S if grown else min(pause * 1.5, _LONGEST_PAUSE_S)
                # Polling many files is expensive, even if only one of them grows.
                pause = max(pause, (time.thread_time() - began) / _POLLING_SHARE)
                next_poll = time.monotonic() + pause
            for file in grown | (finished & files.keys()):
                end = self._read_new(handler, file, files[file])
                with self._lock:
                    self._files[file] = end
            with self._lock:
                for file in finished:
                    self._files.pop(file, None)
            if over:
                return
            self._wake.wait(max(0.0, next_poll - time.monotonic()))
            self._wake.clear()

    @staticmethod
    def _read_new(handler: PipesMessageHandler, file: Path, position: int) -> int:
        try:
            with file.open("rb") as stream:
                stream.seek(position)
                new = stream.read()
        except OSError:
            return position
        whole, _, _ = new.rpartition(b"\n")  # the next poll reads a line that is still being written
        if not whole:
            return position
        for line in whole.split(b"\n"):
            # Messages only mirror the exit records, so losing one does no harm.
            try:
                handler.handle_message(json.loads(line))
            except Exception:
                # Dagster's storage may refuse the report, too.
                with suppress(Exception):
                    handler.report_pipes_framework_exception(str(file), sys.exc_info())
        return position + len(whole) + 1


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


class BatchPipes:
    """The Pipes session of a batch as a :class:`oact_dagster.attempts.batch_state.MessageChannel`."""

    def __init__(self, session: PipesSession, reader: BatchMessageReader) -> None:
        self._parameters = dict(session.get_bootstrap_env_vars())
        self.follow = reader.follow
        self.finish = reader.finish

    def parameters(self) -> Mapping[str, str]:
        """The session's bootstrap parameters: the same for every payload, since their paths are relative."""
        return self._parameters


@contextmanager
def batch_pipes(
    context: AssetExecutionContext | OpExecutionContext, context_file: Path
) -> Iterator[BatchPipes]:
    """Open the session of a batch.

    Args:
        context: of the step that runs the batch.
        context_file: file for Dagster's context, on a file system that the payloads can read.
    """
    reader = BatchMessageReader()
    handler = PipesMessageHandler(context, reader)
    data = build_external_execution_context_data(context, extras=None)
    context_file.parent.mkdir(parents=True, exist_ok=True)
    # Not open_pipes_session(): in an asset it makes every output mandatory, even those of failed structures.
    with (
        PipesFileContextInjector(str(context_file)).inject_context(data) as injected,
        handler.handle_messages() as written,
    ):
        yield BatchPipes(PipesSession(data, handler, injected, written, context), reader)

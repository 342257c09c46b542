"""One Pipes session for a whole batch: one reader thread follows the message files of all its payloads."""

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

FASTEST_S: Final = 0.1
SLOWEST_S: Final = 5.0
MOST_WRITERS: Final = 2**31
LARGEST_SHARE: Final = 0.02
"""Of a core, at most, for looking whether files have grown."""


class BatchMessageReader(PipesMessageReader):
    """Follows one JSON-lines file for each payload, in one thread that looks less often when nothing moves."""

    def __init__(self) -> None:
        self._files: dict[Path, int] = {}
        self._finished: set[Path] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._over = False

    @property
    def expected_writer_count(self) -> int:
        """More than there will be: a batch may take structures in, and try lost ones again, until its end."""
        return MOST_WRITERS

    def follow(self, file: Path) -> None:
        """Read this file from now on; it need not exist yet."""
        with self._lock:
            self._files.setdefault(file, 0)

    def finish(self, file: Path) -> None:
        """No more will be written to this file: read what is left, then let go of it."""
        with self._lock:
            self._finished.add(file)
        self._wake.set()

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[PipesParams]:
        """Read until the session ends; what has been written by then has been handled on return."""
        thread = threading.Thread(target=self._read_all, args=(handler,), name="pipes-batch", daemon=True)
        thread.start()
        try:
            # Relative: each payload writes into its own folder, also after the folder was renamed.
            yield {PipesDefaultMessageWriter.FILE_PATH_KEY: MESSAGES_FILE}
        finally:
            self._over = True
            self._wake.set()
            thread.join()

    def no_messages_debug_text(self) -> str:
        """Where messages are looked for."""
        return f"Attempted to read messages from {MESSAGES_FILE} in each job folder."

    def _read_all(self, handler: PipesMessageHandler) -> None:
        pause, next_look = FASTEST_S, 0.0
        while True:
            over = self._over
            with self._lock:
                files, finished = dict(self._files), self._finished
                self._finished = set()
            grown: set[Path] = set()
            if over or time.monotonic() >= next_look:
                began = time.thread_time()
                grown = {file for file, position in files.items() if _size(file) > position}
                pause = FASTEST_S if grown else min(pause * 1.5, SLOWEST_S)
                # With many files a look is dear, also when one of them moves all the time.
                pause = max(pause, (time.thread_time() - began) / LARGEST_SHARE)
                next_look = time.monotonic() + pause
            for file in grown | (finished & files.keys()):
                end = self._read_new(handler, file, files[file])
                with self._lock:
                    self._files[file] = end
            with self._lock:
                for file in finished:
                    self._files.pop(file, None)
            if over:
                return
            self._wake.wait(max(0.0, next_look - time.monotonic()))
            self._wake.clear()

    @staticmethod
    def _read_new(handler: PipesMessageHandler, file: Path, position: int) -> int:
        try:
            with file.open("rb") as stream:
                stream.seek(position)
                new = stream.read()
        except OSError:
            return position
        whole, _, _ = new.rpartition(b"\n")  # a line that is still being written waits for the next look
        if not whole:
            return position
        for line in whole.split(b"\n"):
            # Messages mirror the exit records: one that cannot be read costs nothing but itself.
            try:
                handler.handle_message(json.loads(line))
            except Exception:
                # Nor does it where Dagster cannot be told of that either.
                with suppress(Exception):
                    handler.report_pipes_framework_exception(str(file), sys.exc_info())
        return position + len(whole) + 1


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


class BatchPipes:
    """The Pipes session of a batch, as :class:`oact_dagster.attempts.batch_state.MessageChannel` wants it."""

    def __init__(self, session: PipesSession, reader: BatchMessageReader) -> None:
        self._parameters = dict(session.get_bootstrap_env_vars())
        self._reader = reader

    def parameters(self) -> Mapping[str, str]:
        """The session's bootstrap parameters: the same for each payload, since their paths are relative."""
        return self._parameters

    def follow(self, file: Path) -> None:
        """See :meth:`BatchMessageReader.follow`."""
        self._reader.follow(file)

    def finish(self, file: Path) -> None:
        """See :meth:`BatchMessageReader.finish`."""
        self._reader.finish(file)


@contextmanager
def batch_pipes(
    context: AssetExecutionContext | OpExecutionContext, context_file: Path
) -> Iterator[BatchPipes]:
    """Open the session of a batch.

    Args:
        context: of the step that runs the batch.
        context_file: where the payloads find Dagster's context: on a file system that they can read.
    """
    reader = BatchMessageReader()
    handler = PipesMessageHandler(context, reader)
    data = build_external_execution_context_data(context, extras=None)
    context_file.parent.mkdir(parents=True, exist_ok=True)
    # Not open_pipes_session(): in an asset it makes every output mandatory, also those of failed structures.
    with (
        PipesFileContextInjector(str(context_file)).inject_context(data) as injected,
        handler.handle_messages() as written,
    ):
        yield BatchPipes(PipesSession(data, handler, injected, written, context), reader)

"""Requests to stop a run, by a signal or by the program that runs it."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType
from typing import Final

ASK_EVERY_S: Final = 5.0


class StopLevel(IntEnum):
    """How urgently to stop. Jobs of a scheduler go on at either level, unless ``StopRequest.hold`` is set."""

    NONE = 0
    FINISH = 1
    """Start nothing more; end running calculations after the grace time."""
    NOW = 2
    """End running calculations now."""


class StopRequest:
    """Set by a signal handler or another thread, and checked by the batch.

    Args:
        ask: May raise the level. The batch calls it every few seconds and before it first acts on a request, but
            never in a signal handler.
    """

    def __init__(self, ask: Callable[[], None] | None = None) -> None:
        self.ask = ask
        self._last_asked = time.monotonic()
        self._asked_since = False
        self.level = StopLevel.NONE
        self.hold = False
        """The user has terminated the run: queued jobs are cancelled too, and structures given back are held so that
        nothing starts them again automatically."""

    def raise_to(self, level: StopLevel, *, hold: bool = False) -> None:
        """Raise the request to at least this level."""
        self.level = max(self.level, level)
        self.hold = self.hold or hold

    def look(self) -> StopLevel:
        """Call ``ask`` if it is time, and return the level."""
        wanted = self.level is not StopLevel.NONE and not self._asked_since
        if self.ask is not None and (wanted or time.monotonic() - self._last_asked >= ASK_EVERY_S):
            self._last_asked = time.monotonic()
            self._asked_since = self.level is not StopLevel.NONE
            self.ask()
        return self.level


@contextmanager
def signals_stop(stop: StopRequest) -> Iterator[None]:
    """Let SIGINT and SIGTERM request a stop instead of raising: the first to finish, the next to end now.

    Does nothing outside the main thread, where Python delivers no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.raise_to(StopLevel.FINISH if stop.level is StopLevel.NONE else StopLevel.NOW)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

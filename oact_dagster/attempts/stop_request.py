"""How a run is asked to stop: by a signal, or by whoever runs it."""

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
    """How urgently. Jobs of a scheduler go on at either level, unless ``StopRequest.hold`` says to cancel them."""

    NONE = 0
    FINISH = 1
    """Start nothing more; what runs gets the grace time, then ends."""
    NOW = 2
    """End what runs now."""


class StopRequest:
    """Set by a signal handler or another thread, looked at by the batch.

    Args:
        ask: called by the batch, and never in a signal handler, every few seconds and before it acts on a request
            for the first time; it may raise the level.
    """

    def __init__(self, ask: Callable[[], None] | None = None) -> None:
        self.ask = ask
        self._last_asked = time.monotonic()
        self._asked_since = False
        self.level = StopLevel.NONE
        self.hold = False
        """The user has terminated the run: jobs in a queue are cancelled, too, and structures given back are held, so
        that nothing starts them again by itself."""

    def raise_to(self, level: StopLevel, *, hold: bool = False) -> None:
        """Ask for at least this level."""
        self.level = max(self.level, level)
        self.hold = self.hold or hold

    def look(self) -> StopLevel:
        """The level, after :class:`StopRequest`'s ``ask`` had its say."""
        wanted = self.level is not StopLevel.NONE and not self._asked_since
        if self.ask is not None and (wanted or time.monotonic() - self._last_asked >= ASK_EVERY_S):
            self._last_asked = time.monotonic()
            self._asked_since = self.level is not StopLevel.NONE
            self.ask()
        return self.level


@contextmanager
def signals_stop(stop: StopRequest) -> Iterator[None]:
    """Let SIGINT and SIGTERM ask for a stop instead of raising: first to finish, again to end now.

    Outside the main thread, where Python delivers no signals, nothing changes.
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

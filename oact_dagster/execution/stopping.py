"""How a run is asked to stop: by a signal, or by whoever runs it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType


class StopLevel(IntEnum):
    """How urgently."""

    NONE = 0
    FINISH = 1
    """Start nothing more; what runs gets the grace time, then ends."""
    NOW = 2
    """End what runs now."""


class StopRequest:
    """Set by a signal handler or another thread, looked at by the batch.

    Args:
        on_first: called once, by the batch and not in a signal handler, before it acts on the request; it may
            raise the level.
    """

    def __init__(self, on_first: Callable[[], None] | None = None) -> None:
        self.on_first = on_first
        self.level = StopLevel.NONE
        self.hold = False
        """Whether structures given back are held, so that nothing starts them again by itself."""

    def raise_to(self, level: StopLevel, *, hold: bool = False) -> None:
        """Ask for at least this level."""
        self.level = max(self.level, level)
        self.hold = self.hold or hold

    def look(self) -> StopLevel:
        """The level, after :class:`StopRequest`'s ``on_first`` was asked."""
        if self.level is not StopLevel.NONE and self.on_first is not None:
            on_first, self.on_first = self.on_first, None
            on_first()
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

"""Wait in a test for what another process does."""

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], what: str = "it", seconds: float = 60.0) -> None:
    """Wait for a condition.

    Raises:
        AssertionError: it did not come.
    """
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"waited in vain for {what}"
        time.sleep(0.02)

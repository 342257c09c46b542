"""Wait in a test for what another process does."""

import time
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 300.0
"""Only a test that fails waits so long. A machine with much else to do is several times slower than an idle one."""


def until(condition: Callable[[], bool], what: str = "it", seconds: float = PATIENCE_S) -> None:
    """Wait for a condition.

    Raises:
        AssertionError: it did not come.
    """
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"waited in vain for {what}"
        time.sleep(0.02)

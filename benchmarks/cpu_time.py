"""How much of a core something takes."""

import statistics
import time
from collections.abc import Callable


def cpu_ms(work: Callable[[], object], repetitions: int) -> float:
    """Median CPU time, ms, of so many repetitions, after one that does not count."""
    work()
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times) * 1000

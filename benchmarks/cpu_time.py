"""Measurement of CPU time."""

import statistics
import time
from collections.abc import Callable


def cpu_ms(work: Callable[[], object], repetitions: int) -> float:
    """Return the median CPU time in ms of several repetitions, after a warm-up."""
    work()
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times) * 1000

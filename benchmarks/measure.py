"""Measurement of CPU time and memory."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path


def cpu_ms(work: Callable[[], object], repetitions: int) -> float:
    """Return the median CPU time in ms of several repetitions, after a warm-up."""
    work()
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times) * 1000


def peak_mb(pid: int | str = "self") -> float:
    """Return the peak memory of a process, MB: of its own program, unlike getrusage, which counts the one before."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024

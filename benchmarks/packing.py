"""Simulation of how well a node is used, depending on the order in which structures go to its workers.

``python benchmarks/packing.py [--structures 1000] [--seed 0]`` draws run times like those of a real campaign (1,000
optimisations and single points of actinide complexes: mean 196 s, from 45 to 892 s). For several numbers of workers it
prints the share of the node's core time that is used until the last structure has ended:

- given: in the order of a CSV whose rows go from small complexes to large ones;
- random: in random order (mean of 20);
- longest first: by the estimate of ``launchers/packing.py``, which knows the size but not the run time (run times of
  structures of the same size differ by a third);
- perfect: longest first with known run times;
- tail: the time from the first idle worker to the end of the last structure.
"""

import argparse
import heapq
import math
import random
from collections.abc import Sequence
from typing import Final

from oact_dagster.launchers.packing import expected_cost

MEAN_S: Final = 196.0
LEAST_S: Final = 45.0
MOST_S: Final = 892.0
SPREAD: Final = 0.55
"""Of the logarithm of the run times."""
NOT_SIZE: Final = 0.33
"""Part of the spread that the size does not explain."""
WORKERS: Final = (4, 8, 16, 32, 64)
SHUFFLES: Final = 20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--structures", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    sizes, times = campaign(options.structures, draw)
    mean = sum(times) / len(times)
    print(f"{len(times)} structures: mean {mean:.0f} s, from {min(times):.0f} to {max(times):.0f} s\n")
    print("| workers | given | random | longest first | perfect | tail with longest first, s |")
    print("|---|---|---|---|---|---|")
    by_estimate = sorted(range(len(times)), key=lambda i: -expected_cost(sizes[i], 1, opt=False))
    by_time = sorted(times, reverse=True)
    given = sorted(range(len(times)), key=lambda i: sizes[i])
    for workers in WORKERS:
        shuffled = sum(
            utilisation(draw.sample(times, len(times)), workers)[0] for _ in range(SHUFFLES)
        ) / SHUFFLES  # fmt: skip
        longest, wait = utilisation([times[i] for i in by_estimate], workers)
        first, _ = utilisation([times[i] for i in given], workers)
        best, _ = utilisation(by_time, workers)
        print(f"| {workers} | {first:.1%} | {shuffled:.1%} | {longest:.1%} | {best:.1%} | {wait:.0f} |")


def campaign(structures: int, draw: random.Random) -> tuple[list[int], list[float]]:
    """Draw numbers of basis functions, and run times in s."""
    by_size = math.sqrt(SPREAD**2 - NOT_SIZE**2)
    sizes, times = [], []
    for _ in range(structures):
        size = draw.gauss(0.0, by_size)
        # The cost grows with the square of the number of basis functions.
        sizes.append(round(600 * math.exp(size / 2)))
        times.append(math.exp(size + draw.gauss(0.0, NOT_SIZE)))
    # Clipping to the bounds changes the mean, so rescale until it stays.
    for _ in range(50):
        scale = MEAN_S * structures / sum(times)
        times = [min(max(time * scale, LEAST_S), MOST_S) for time in times]
    return sizes, times


def utilisation(times: Sequence[float], workers: int) -> tuple[float, float]:
    """Simulate structures in this order, each on the first free worker.

    Returns:
        The share of the workers' time used until the last structure ends, and the time from the first idle worker to
        that end, s.
    """
    free = [0.0] * workers
    for time in times:
        heapq.heapreplace(free, free[0] + time)
    return sum(times) / (workers * max(free)), max(free) - min(free)


if __name__ == "__main__":
    main()

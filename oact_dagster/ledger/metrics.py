"""Statistics of the result columns of completed structures."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oact_dagster.ledger.schema import RESULT_COLUMNS


@dataclass(frozen=True, slots=True)
class Statistic:
    """Statistic of one quantity over all completed structures that have it."""

    count: int
    mean: float
    median: float
    minimum: float
    maximum: float
    total: float

    @classmethod
    def of(cls, values: "np.typing.NDArray[np.float64]") -> "Statistic | None":
        """The statistic of an array; None if it is empty."""
        if values.size == 0:
            return None
        return cls(
            count=int(values.size),
            mean=float(values.mean()),
            median=float(np.median(values)),
            minimum=float(values.min()),
            maximum=float(values.max()),
            total=float(values.sum()),
        )


@dataclass(frozen=True, slots=True)
class Metrics:
    """Statistics of all completed structures; None if no structure has the quantity."""

    completed: int
    final_energy: Statistic | None
    """Eh"""
    max_forces: Statistic | None
    """Largest Cartesian gradient component, Eh/bohr"""
    scf_steps: Statistic | None
    wall_time: Statistic | None
    """s"""
    n_cores: Statistic | None
    core_hours: float
    """Sum over structures with a wall time and cores."""
    with_metrics: int
    """Structures with forces or SCF steps."""
    with_times: int
    """Structures with a wall time."""


def metrics_of(chunks: Iterable[Sequence[Sequence[Any]]]) -> Metrics:
    """The statistics of rows of :data:`RESULT_COLUMNS`, given in chunks; 8 bytes are kept for each number."""
    columns = tuple(array("d") for _ in RESULT_COLUMNS)
    nan = float("nan")
    for rows in chunks:
        for column, values in zip(columns, zip(*rows, strict=True), strict=True):
            if None in values:
                column.extend(nan if value is None else value for value in values)
            else:
                column.extend(values)
    numbers = dict(zip(RESULT_COLUMNS, (np.frombuffer(c, dtype=np.float64) for c in columns), strict=True))
    there = {name: ~np.isnan(values) for name, values in numbers.items()}
    both = there["wall_time"] & there["n_cores"]
    core_seconds = np.dot(numbers["wall_time"][both], numbers["n_cores"][both])
    return Metrics(
        completed=len(columns[0]),
        core_hours=float(core_seconds) / 3600.0,
        with_metrics=int(np.count_nonzero(there["max_forces"] | there["scf_steps"])),
        with_times=int(np.count_nonzero(there["wall_time"])),
        **{name: Statistic.of(values[there[name]]) for name, values in numbers.items()},
    )

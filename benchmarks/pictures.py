"""Size of the pictures, and CPU time to draw them.

Run ``python benchmarks/pictures.py``. CPU times are of this process, the median of many repetitions. The molecules are
the package's own complexes, several of them side by side for the large ones; everything else is synthetic.
"""

import csv
import io
import math
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files

import numpy as np
from measure import cpu_ms

from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.outputs.convergence import Convergence
from oact_dagster.pictures.bars import bars
from oact_dagster.pictures.convergence import convergence_picture
from oact_dagster.pictures.geometry import geometry_picture
from oact_dagster.pictures.histogram import histogram
from oact_dagster.pictures.lines import lines
from oact_dagster.pictures.markdown import as_markdown
from oact_dagster.pictures.scatter import scatter
from oact_dagster.pictures.status_bar import status_bar

SMALL_BYTES = 4096
"""Of a small picture inside markdown."""

SMALL_MS = 5.0
LARGE_BYTES = 60_000

Molecule = tuple[Sequence[str], Sequence[Sequence[float]]]


def complexes() -> dict[str, Molecule]:
    text = (files("oact_dagster.demo") / "structures.csv").read_text()
    rows = csv.DictReader(io.StringIO(text, newline=""))
    geometries = {row["name"]: parse_geometry(row["aligned_csd_core"]) for row in rows}
    return {name: (geometry.symbols, geometry.coordinates) for name, geometry in geometries.items()}


def several(known: dict[str, Molecule], atoms: int) -> Molecule:
    symbols: list[str] = []
    places: list[tuple[float, ...]] = []
    for number in range(-(-atoms // 48)):
        more, coordinates = known[("Tb3_phen2", "U4_acac4", "Am3_terpy")[number % 3]]
        shift = (14.0 * (number // 4), 14.0 * (number % 2), 14.0 * (number // 2 % 2))
        symbols += more
        places += [tuple(a + b for a, b in zip(row, shift, strict=True)) for row in coordinates]
    return symbols[:atoms], places[:atoms]


def small(known: dict[str, Molecule]) -> dict[str, Callable[[], str]]:
    changes = tuple(10.0 ** (1 - place / 5 + math.sin(place)) for place in range(60))
    energies = tuple(-28123.4 + 0.3 * math.exp(-place / 9) * math.cos(place) for place in range(60))
    gradients = tuple(0.1 * math.exp(-place / 9) * (1.2 + math.sin(place)) for place in range(60))
    scf = Convergence(changes, n_iterations=125)
    optimisation = Convergence((), energies, gradients, 0, 60)
    return {
        "convergence, SCF, 60 points": partial(convergence_picture, scf),
        "convergence, optimisation, 60 cycles": partial(convergence_picture, optimisation),
        "geometry, 7 atoms": partial(geometry_picture, *known["U4_Cl6"]),
        "geometry, 57 atoms": partial(geometry_picture, *known["U4_acac4"]),
        "geometry, 120 atoms": partial(geometry_picture, *several(known, 120)),
        "geometry, 300 atoms": partial(geometry_picture, *several(known, 300)),
    }


def large() -> dict[str, Callable[[], str]]:
    source = np.random.default_rng(1)
    values = source.normal(-25, 4, 100_000).tolist()
    functions = source.integers(100, 3000, 100_000).tolist()
    seconds = (10 ** source.normal(3, 0.5, 100_000)).tolist()
    begin = 1_767_268_800
    series = {
        name: [(begin + 60 * minute, minute * factor) for minute in range(10_000)]
        for name, factor in (("completed", 3), ("failed", 1), ("running", 2), ("to_run", 5))
    }
    hosts = [(f"node{number:04d}", 1000 / (1 + number)) for number in range(1000)]
    counts = {"completed": 81_234, "running": 500, "to_run": 17_000, "failed": 1200, "timeout": 66}
    return {
        "histogram of 100,000": lambda: histogram(values, "energy per atom, Eh", title="Energy"),
        "lines, 4 of 10,000 points": lambda: lines(
            series, "time (UTC)", "structures", times=True, integer_y=True
        ),
        "bars of 1,000": lambda: bars(hosts, "core-hours"),
        "scatter of 100,000": lambda: scatter(
            functions, seconds, "basis functions", "wall time, s", log_y=True
        ),
        "status bar": lambda: status_bar(counts),
    }


def verdict(met: bool, text: str) -> str:
    return f"{text}: {'met' if met else 'NOT MET'}"


def main() -> None:
    """Measure and print the table."""
    print("| picture | bytes | bytes in markdown | ms of CPU | target |")
    print("|---|---|---|---|---|")
    for name, draw in small(complexes()).items():
        svg, took = draw(), cpu_ms(draw, 101)
        inside = len(as_markdown(svg, "")) - len("![]()")
        target = verdict(
            inside <= SMALL_BYTES and took <= SMALL_MS, f"{SMALL_BYTES:,} bytes, {SMALL_MS:g} ms"
        )
        print(f"| {name} | {len(svg.encode()):,} | {inside:,} | {took:.2f} | {target} |")
    for name, draw in large().items():
        svg, took = draw(), cpu_ms(draw, 5)
        target = verdict(len(svg.encode()) <= LARGE_BYTES, f"{LARGE_BYTES:,} bytes")
        print(f"| {name} | {len(svg.encode()):,} | - | {took:.2f} | {target} |")


if __name__ == "__main__":
    main()

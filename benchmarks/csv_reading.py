"""How fast and in how much memory a campaign's CSV is read, beside the csv module alone on the same file.

Run ``python benchmarks/csv_reading.py``. Two CSVs are made in a temporary folder: many rows of one geometry each, and
a column of quoted JSON, in which each quote is written twice. Each reading has a process of its own, and the best of
three counts. The last table is the intake of the geometries, which reads the file twice.
"""

import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from ledger import CSV_ROWS, atoms, electrons, ingest
from measure import peak_mb

from oact_dagster.intake.csv_rows import CsvFile

JSON_ROWS: Final = 6_000


def write_geometries(path: Path) -> None:
    chance = random.Random(1)
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["aligned_csd_core", "charge", "uhf"])
        for _ in range(CSV_ROWS):
            geometry = atoms(chance, chance.randint(30, 90))
            table.writerow([geometry, 0, electrons(geometry) % 2])


def write_json(path: Path) -> None:
    chance = random.Random(2)
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["name", "metadata", "charge"])
        for number in range(JSON_ROWS):
            bonds = {f"M-L{bond}": {"order": "single", "length": chance.random()} for bond in range(155)}
            table.writerow([f"complex_{number}", json.dumps(bonds), 0])


def read(reader: str, path: Path) -> int:
    """Read a CSV with one of the readers; the number of rows."""
    if reader == "CsvFile":
        with CsvFile(path) as file:
            return sum(1 for _ in file.rows())
    with path.open(encoding="utf-8", newline="") as stream:
        csv.field_size_limit(1 << 30)
        return sum(1 for _ in csv.reader(stream, strict=True)) - 1


def measure(reader: str, path: Path) -> tuple[float, float]:
    """CPU seconds and peak memory, MB, of one reading in a process of its own."""
    found = subprocess.run(
        [sys.executable, __file__, reader, str(path)], check=True, capture_output=True, text=True
    )
    seconds, memory = map(float, found.stdout.split())
    return seconds, memory


def measured(reader: str, path: str) -> None:
    """Print CPU seconds and peak memory, MB, of a reading in this process."""
    start = time.process_time()
    read(reader, Path(path))
    took = time.process_time() - start
    print(took, peak_mb())


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        shapes = {"geometries": write_geometries, "quoted JSON": write_json}
        print(
            "| column | rows | MB | reader | CPU s | ratio to csv | peak memory, MB |\n|---|---|---|---|---|---|---|"
        )
        for shape, write in shapes.items():
            path = Path(name) / f"{shape}.csv"
            write(path)
            rows, size = read("csv", path), path.stat().st_size / 1e6
            alone = 0.0
            for reader in ("csv", "CsvFile"):
                took, memory = min(measure(reader, path) for _ in range(3))
                alone = alone or took
                print(
                    f"| {shape} | {rows:,} | {size:.0f} | {reader} | {took:.2f} | {took / alone:.2f} | {memory:.0f} |",
                    flush=True,
                )
        print()
        ingest(Path(name))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measured(*sys.argv[1:])
    else:
        main()

"""Speed of the ledger: intake of a CSV, and queries and changes of a ledger with a million structures.

Run ``python benchmarks/ledger.py``. The CSV and the ledger (3.5 GB) are made in a temporary folder (``--folder`` names
its parent). Intake is measured in CPU time of one process. The rest is wall time with a warm file cache, the best of
three; changes are applied to different structures each time.
"""

import argparse
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from measure import peak_mb

from oact_dagster.intake.intake import take_in
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.states import Claim, Ending, Outcome, Result, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import load_campaign

CSV_ROWS: Final = 20_000
MEMORY_MB: Final = 200
BATCH: Final = 1000

_LIGANDS: Final = ("C", "H", "N", "O", "F", "P", "S", "Cl")


def atoms(chance: random.Random, number: int) -> str:
    """Return coordinates that pass all checks: no two atoms are close, and they are not along an axis."""
    symbols = ["U", *chance.choices(_LIGANDS, k=number - 1)]
    lines = []
    for place, symbol in enumerate(symbols):
        x, y, z = (2.2 * (place // 5**axis % 5) + chance.uniform(-0.3, 0.3) for axis in range(3))
        for one, other in ((0.8, 0.6), (0.6, -0.8)):
            x, y, z = one * x - other * y, other * x + one * y, z
            x, y, z = y, z, x
        lines.append(f"{symbol} {x:.6f} {y:.6f} {z:.6f}")
    return "\n".join(lines)


def electrons(geometry: str) -> int:
    numbers = {"U": 92, "C": 6, "H": 1, "N": 7, "O": 8, "F": 9, "P": 15, "S": 16, "Cl": 17}
    return sum(numbers[line.split()[0]] for line in geometry.splitlines())


def ingest(folder: Path) -> None:
    """Take in a CSV of complexes with 30 to 90 atoms, first as new rows and then as known ones."""
    chance = random.Random(1)
    with (folder / "complexes.csv").open("w", encoding="utf-8") as csv:
        csv.write("aligned_csd_core,charge,uhf\n")
        for _ in range(CSV_ROWS):
            geometry = atoms(chance, chance.randint(30, 90))
            csv.write(f'"{geometry}",0,{electrons(geometry) % 2}\n')
    (folder / "campaign.yaml").write_text(
        "name: bench\ncsv: complexes.csv\norca: {command: orca}\n", encoding="utf-8"
    )
    campaign = load_campaign(folder)
    with Ledger(campaign.ledger, create=True) as ledger:
        start = time.process_time()
        report = take_in(campaign, ledger)
        took = time.process_time() - start
        if (report.taken, report.rejected) != (CSV_ROWS, 0):
            sys.exit(f"only {report.taken} of {CSV_ROWS} rows were taken in: {report.first_rejections[:1]}")
        start = time.process_time()
        take_in(campaign, ledger)
        again = time.process_time() - start
    print(f"| intake of {CSV_ROWS:,} rows | CPU s | target |")
    print("|---|---|---|")
    print(f"| new, with all checks | {took:.2f} | {verdict(took <= 2.5, '2.5 s')} |")
    print(f"| known, compared | {again:.2f} | - |", flush=True)


def verdict(met: bool, text: str) -> str:
    return f"{text}: {'met' if met else 'NOT MET'}"


def make_ledger(path: Path, rows: int) -> float:
    """Write a ledger with rows of 2 kB in bulk: 90 % completed, 2 % failed, 0.1 % running, the rest to run."""
    start = time.perf_counter()
    with Ledger(path, create=True):
        pass
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -64000")
        indexes = db.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall()
        for name, _ in indexes:
            db.execute(f"DROP INDEX {name}")
        geometry = atoms(random.Random(2), 60)[:1800].ljust(1800)
        elements = ";".join(line.split()[0] for line in geometry.splitlines() if line.strip())
        db.execute("BEGIN")
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?),"
            # Scattered over the file, as in a real campaign.
            " r(i, c, u) AS (SELECT i, (i * 7919) % 1000, (i * 2654435761 % 1000003) / 1000003.0 FROM n)"
            " INSERT INTO structures (orig_index, elements, natoms, status, charge, spin, geometry, job_dir,"
            " max_forces, scf_steps, final_energy, error_message, fail_count, wall_time, n_cores)"
            " SELECT i, ?, 60, CASE WHEN c < 900 THEN 'completed' WHEN c < 920 THEN 'failed'"
            " WHEN c < 921 THEN 'running' ELSE 'to_run' END, 0, 1, ?,"
            " CASE WHEN c < 921 THEN '/scratch/campaign/jobs/job_' || i END,"
            " CASE WHEN c < 900 THEN u * 0.005 END, CASE WHEN c < 900 THEN 5 + i % 40 END,"
            " CASE WHEN c < 900 THEN -1000.0 - u END, CASE WHEN c BETWEEN 900 AND 919 THEN 'SCF did not converge' END,"
            " CASE WHEN c BETWEEN 900 AND 919 THEN 2 ELSE 0 END, CASE WHEN c < 900 THEN 60 + u * 900 END,"
            " CASE WHEN c < 900 THEN 4 END FROM r",
            (rows, elements, geometry),
        )
        db.execute(
            "INSERT INTO structure_state (structure_id, row_hash, calculation_hash) SELECT id,"
            " printf('%016x', id), printf('%016x', id) FROM structures"
        )
        result = '{"final_energy": -1000.5, "engine": "ORCA", "engine_version": "6.1.0"' + " " * 300 + "}"
        attempt = (
            "INSERT INTO attempts (structure_id, number, token, state, batch_id, launcher, scheduler_job_id, host,"
            " job_dir, input_hash, settings_hash, outcome, failure_class, counted, claimed_at, ended_at, elapsed,"
            " n_cores, engine, result) SELECT id, {number}, printf('%016x', id * 4 + {number}), {state}, 'batch',"
            " 'slurm', id, 'node17', job_dir, printf('%016x', id), 'settings', {outcome},"
            " CASE {outcome} WHEN 'failed' THEN CASE id % 3 WHEN 0 THEN 'memory' ELSE 'scf_not_converged' END END,"
            " {outcome} IS 'failed', 1000.0, 2000.0, 600.0, 4, {engine}, {result} FROM structures"
            " WHERE status = {status}"
        )
        for number, state, outcome, engine, kept, status in (
            (1, "'closed'", "'completed'", "'ORCA'", f"'{result}'", "'completed'"),
            (1, "'closed'", "'failed'", "NULL", "NULL", "'failed'"),
            (2, "'closed'", "'failed'", "NULL", "NULL", "'failed'"),
            (1, "'running'", "NULL", "NULL", "NULL", "'running'"),
        ):
            db.execute(
                attempt.format(
                    number=number, state=state, outcome=outcome, engine=engine, result=kept, status=status
                )
            )
        for _, statement in indexes:
            db.execute(statement)
        db.execute("COMMIT")
    db.close()
    return time.perf_counter() - start


def best(work: Callable[[], object], repetitions: int = 3) -> float:
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def million(path: Path) -> None:
    """Query and change the large ledger, and print the peak memory."""
    with open_reader(path) as reader:
        for name, ask, limit in (
            ("dashboard: counts by status", reader.figures.count_by_status, 0.2),
            ("dashboard: metrics with exact medians", reader.figures.metrics, 2.0),
            ("failures by message", reader.figures.failures_by_message, None),
            ("set aside, by class", lambda: reader.figures.set_aside_by_class(3, 3), None),
            ("set aside", lambda: reader.figures.count_set_aside(3, 3), None),
            ("held", reader.figures.count_held, None),
            ("running that have started", reader.figures.count_running_started, None),
            ("core-hours by outcome", reader.figures.cores_spent, None),
            ("results by engine", reader.figures.count_by_engine, None),
            ("results by settings", reader.figures.count_results_by_settings, None),
            ("select 1,000 to run", lambda: reader.queue.select([Status.TO_RUN], 1000), None),
            ("select all to run", lambda: reader.queue.select([Status.TO_RUN]), None),
        ):
            show(name, best(ask), limit)
    with Ledger(path) as ledger:
        ledger.open_batch("bench", Owner.this_process())
        wanted = ledger.queue.select([Status.TO_RUN], 3 * BATCH)
        random.Random(3).shuffle(wanted)
        batches = [wanted[start : start + BATCH] for start in range(0, 3 * BATCH, BATCH)]
        claimed: list[list[Claim]] = []
        left = iter(batches)
        show(
            "claim of 1,000 with their attempts", best(lambda: claimed.append(claim(ledger, next(left)))), 0.1
        )
        to_start = iter(claimed)
        show("handing 1,000 over, and their start", best(lambda: start_all(ledger, next(to_start))), None)
        to_record = outcomes(claimed)
        show("recording 1,000 outcomes", best(lambda: ledger.record(next(to_record))), 0.1)
        show("reset of the 20,000 failed", best(lambda: ledger.reset([Status.FAILED]), 1), None)
        ledger.close_batch("bench")
    peak = peak_mb()
    print(
        f"| peak memory of all the above, Python included | {peak:.0f} MB | {verdict(peak < MEMORY_MB, '200 MB')} |"
    )


def show(name: str, seconds: float, limit: float | None) -> None:
    target = "-" if limit is None else verdict(seconds <= limit, f"{limit * 1000:g} ms")
    print(f"| {name} | {seconds * 1000:.0f} ms | {target} |", flush=True)


def claim(ledger: Ledger, indices: list[int]) -> list[Claim]:
    claims = ledger.claim(
        "bench",
        indices,
        statuses=(Status.TO_RUN, Status.FAILED),
        launcher="slurm",
        n_cores=4,
        max_failures=3,
        max_losses=3,
    )
    if len(claims) != BATCH:
        sys.exit(f"{len(claims)} of {BATCH} structures were claimed")
    return claims


def start_all(ledger: Ledger, claims: list[Claim]) -> None:
    ledger.mark_submitted({one.token: "4711" for one in claims})
    ledger.mark_running([one.token for one in claims])


def outcomes(claimed: list[list[Claim]]) -> Iterator[list[Ending]]:
    result = Result(-1000.5, 0.001, 0.002, 15, 600.0, 4, "ORCA", "6.1.0", "orca.out")
    for claims in claimed:
        yield [
            Ending(one.token, Outcome.COMPLETED, 3000.0, result=result, host="node17", elapsed=600.0)
            if place % 10
            else Ending(one.token, Outcome.FAILED, 3000.0, "scf_not_converged", "SCF did not converge")
            for place, one in enumerate(claims)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000, help="structures in the large ledger")
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder")
    parser.add_argument("--large", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.large:
        million(arguments.large)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        ingest(Path(name))
        path = Path(name) / "large" / "workflow.db"
        took = make_ledger(path, arguments.rows)
        size = path.stat().st_size / 1e9
        print(
            f"\n| ledger of {arguments.rows:,} structures ({size:.1f} GB, made in {took:.0f} s) | | target |"
        )
        print("|---|---|---|", flush=True)
        subprocess.run([sys.executable, __file__, "--large", str(path)], check=True)


if __name__ == "__main__":
    main()

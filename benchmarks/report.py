"""Cost of a report of a whole campaign: its figures, its writing, its size, and the time until a browser can use it.

Run ``python benchmarks/report.py``. A ledger of 100,000 structures (``--structures``) is made in a temporary folder
(``--folder`` names one that is kept and reused): complexes of 20 to 110 atoms with seven metals, nearly all with
different formulas; 90 % completed, 5 % failed or timed out, the others running or to be run; about 120,000 attempts on
200 hosts. Each thing is measured in its own process. If Chromium and its driver are installed, headless Chromium opens
the report, and the time until its first table can be used is measured.
"""

import argparse
import json
import math
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

from measure import peak_mb

from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import load_campaign

METALS: Final = ("U", "Th", "Np", "Pu", "Am", "La", "Eu")
HOSTS: Final = 200
DAYS: Final = 10.0
LIMIT_S: Final = 30
LIMIT_MB: Final = 10
CLASSES: Final = (
    ("scf_not_converged", "SCF NOT CONVERGED AFTER {n} CYCLES: ORCA finished by error termination in SCF"),
    ("memory", "Please increase MaxCore to more than: {n} MB"),
    (
        "aborted",
        "ORCA finished by error termination in SCF gradient: file orca_tools/qcmsg.cpp, line {n}: aborting",
    ),
    ("disk_full", "No space left on device: orca.gbw, {n} bytes were to be written"),
    ("timeout", "no output for {n} s"),
)
_STRUCTURE: Final = (
    "INSERT INTO structures (id, orig_index, elements, natoms, status, charge, spin, geometry, job_dir, max_forces,"
    " scf_steps, final_energy, error_message, fail_count, wall_time, n_cores)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ATTEMPT: Final = (
    "INSERT INTO attempts (structure_id, number, token, state, batch_id, launcher, scheduler_job_id, host, job_dir,"
    " settings_hash, remedy, outcome, failure_class, message, counted, engine, claimed_at, started_at, ended_at,"
    " elapsed, n_cores, result) VALUES (?, ?, ?, ?, 'batch', 'slurm', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_RESULT: Final = json.dumps(
    {"engine": "ORCA", "engine_version": "6.1.0", "output_file": "orca.out", "s2": 0.75}
)


def rows(structures: int, now: float) -> Iterator[tuple[tuple[Any, ...], list[tuple[Any, ...]]]]:
    """Yield structures with their attempts, the same at each call except for the time ``now``."""
    chance = Random(7)
    pool = [" ".join(f"{chance.uniform(-9, 9):.6f}" for _ in range(3)) for _ in range(2000)]
    begin = now - DAYS * 86400
    for index in range(structures):
        metal = chance.choices(METALS, (50, 20, 10, 8, 6, 4, 2))[0]
        ligands = {"C": chance.randint(6, 45), "H": chance.randint(8, 50), "N": chance.randint(0, 6)}
        ligands |= {"O": chance.randint(1, 8), "Cl": chance.randint(0, 2), "P": chance.randint(0, 1)}
        symbols = [metal, *(one for symbol, count in ligands.items() for one in [symbol] * count)]
        start = chance.randrange(len(pool) - 120)
        geometry = "\n".join(f"{one} {pool[start + place]}" for place, one in enumerate(symbols))
        multiplicity = chance.choice((1, 1, 2, 3, 4))
        folder = f"/p/lustre/campaign/jobs/{index // 1000:03d}/job_{index}"
        where = index / structures
        status = chance.choices(("completed", "failed", "timeout", "running"), (900, 45, 5, 3))[0]
        status = "to_run" if where > 0.95 and status != "running" else status
        wall = 40.0 * (len(symbols) / 20) ** 2.6 * math.exp(chance.gauss(0, 0.35))
        failures = chance.choices((0, 1, 2), (88, 10, 2))[0] if status == "completed" else 3
        failures = {"to_run": 0, "running": 0}.get(status, failures)
        attempts, ended, message = [], begin + where * DAYS * 86400 * 0.95, None
        for number in range(1, failures + 2):
            good = number > failures
            if good and status not in ("completed", "running"):
                break
            host = f"node{chance.randrange(HOSTS):03d}" if good or chance.random() > 0.3 else "node013"
            kind, text = CLASSES[4] if status == "timeout" and not good else chance.choice(CLASSES[:4])
            message = text.format(n=chance.randint(100, 99999))
            open_ = good and status == "running"
            outcome = None if open_ else "completed" if good else "timeout" if kind == "timeout" else "failed"
            elapsed = None if open_ else wall * (1.02 if good else chance.uniform(0.05, 1.5))
            begun = min(ended + chance.uniform(30, 9000), now - 2000 - (elapsed or 0))
            ended = begun + (elapsed or 0)
            attempts.append(
                (index + 1, number, f"{index:x}-{number}", "running" if open_ else "closed", str(900000 + index),
                 host, folder, "settings1" if where < 0.9 else "settings2", "slow_conv" if number > 1 else None,
                 outcome, None if good else kind, None if good else message, not good,
                 "ORCA" if good and not open_ else None, begun - 20, begun, None if open_ else ended, elapsed, 4,
                 _RESULT if good and not open_ else None)
            )  # fmt: skip
        done = status == "completed"
        energy = -480.0 - sum({"C": 38.0, "N": 54.6, "O": 75.1, "H": 0.5}.get(one, 400.0) for one in symbols)
        yield (
            (index + 1, index, ";".join(symbols), len(symbols), status, chance.randint(-2, 3), multiplicity, geometry,
             folder if attempts else None, abs(chance.gauss(0, 0.01)) + 1e-5 if done else None,
             chance.randint(9, 60) if done else None, energy + chance.gauss(0, 0.3) if done else None,
             message if status in ("failed", "timeout") else None, failures, wall if done else None,
             4 if done else None),
            attempts,
        )  # fmt: skip


def make(folder: Path, structures: int) -> None:
    """Write ``campaign.yaml`` and the ledger, unless they exist."""
    if (folder / "workflow.db").exists():
        return
    (folder / "campaign.yaml").write_text(
        "name: bench\ncsv: complexes.csv\norca: {command: /opt/orca_6_1_0/orca}\n", encoding="utf-8"
    )
    part = folder / "part.db"
    with Ledger(part, create=True):
        pass
    with sqlite3.connect(part, isolation_level=None) as db:
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        for structure, attempts in rows(structures, time.time()):
            db.execute(_STRUCTURE, structure)
            db.executemany(_ATTEMPT, attempts)
        db.execute("INSERT INTO structure_state (structure_id) SELECT id FROM structures")
        db.execute("COMMIT")
    db.close()
    part.rename(folder / "workflow.db")


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def figures(folder: Path) -> None:
    from oact_dagster.status.figures import campaign_figures

    campaign = load_campaign(folder)
    before, start, cpu = peak_mb(), time.perf_counter(), cpu_s()
    with open_reader(campaign.ledger) as ledger:
        found = campaign_figures(campaign, ledger)
    took, cpu = time.perf_counter() - start, cpu_s() - cpu
    if found.overview.total == 0 or found.basis_functions.size == 0:
        sys.exit("there is nothing in the ledger")
    show("figures of the campaign", took, cpu, f"{peak_mb():.0f} MB ({before:.0f} MB before)")


def report(folder: Path) -> None:
    from oact_dagster.report.writer import write_report

    campaign = load_campaign(folder)
    before, start, cpu = peak_mb(), time.perf_counter(), cpu_s()
    with open_reader(campaign.ledger) as ledger:
        written = write_report(campaign, ledger, folder / "report.html")
    took, cpu = time.perf_counter() - start, cpu_s() - cpu
    size = f"{written.size / 1e6:.2f} MB; {peak_mb():.0f} MB of memory ({before:.0f} MB before)"
    show(
        "report written", took, cpu, f"{size}; {verdict(took <= LIMIT_S and written.size <= LIMIT_MB * 1e6)}"
    )


def browser(folder: Path) -> None:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        print("| opened in Chromium | - | - | Chromium or its driver is not installed |")
        return
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"):
        options.add_argument(flag)
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")
    page = webdriver.Chrome(options=options, service=Service(driver))
    try:
        times = []
        for _ in range(3):
            page.get((folder / "report.html").absolute().as_uri())
            while not (ready := page.execute_script("return document.documentElement.dataset.ready")):
                time.sleep(0.02)
            times.append(float(ready) / 1000)
        rows = page.execute_script("return document.querySelectorAll('tbody tr').length")
        show("tables usable in Chromium (best of 3)", min(times), math.nan, f"{rows} rows in the page")
        show("sorted by energy", page.execute_script(SORT) / 1000, math.nan, "")
    finally:
        page.quit()


SORT: Final = """
const heads = [...document.querySelectorAll('[data-table=structures] th button')];
const head = heads.find(button => button.textContent === 'energy, Eh');
const start = performance.now();
head.click();
return performance.now() - start;
"""


def verdict(met: bool) -> str:
    return f"{LIMIT_S} s, {LIMIT_MB} MB: {'met' if met else 'NOT MET'}"


def show(name: str, seconds: float, cpu: float, rest: str) -> None:
    told = "-" if math.isnan(cpu) else f"{cpu:.1f}"
    print(f"| {name} | {seconds:.2f} | {told} | {rest} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--structures", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="folder where the campaign is made and kept")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        PARTS[arguments.part](arguments.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        make(folder, arguments.structures)
        print(f"| {arguments.structures:,} structures | s | CPU s | |")
        print("|---|---|---|---|", flush=True)
        for part in PARTS:
            subprocess.run([sys.executable, __file__, "--part", part, "--folder", str(folder)], check=True)


PARTS: Final = {"figures": figures, "report": report, "browser": browser}


if __name__ == "__main__":
    main()

"""Speed of judging the quality of all results, and cost of measuring one.

Run ``python benchmarks/quality.py``. A ledger of 100,000 completed structures with different energies is made in a
temporary folder (``--folder`` names its parent). Each line is measured in its own process, with its own peak memory;
wall time is with a warm file cache.
"""

import argparse
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from measure import peak_mb

from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.states import Result
from oact_dagster.ledger.store import Ledger
from oact_dagster.orca.elements import ATOMIC_NUMBERS
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.quality.bonds import bond_change
from oact_dagster.settings.campaign import Campaign, load_campaign
from oact_dagster.status.quality import energy_model, evaluate, judge_one

MEMORY_MB: Final = 300
SECONDS: Final = 5.0
WRONG: Final = 1000
"""Each so-manieth energy is wrong."""

_ENERGIES: Final = {
    "U": -475.2, "Th": -408.1, "Am": -551.3, "Np": -499.9, "Pu": -525.1, "C": -38.0, "H": -0.6, "N": -54.7,
    "O": -75.2, "F": -99.8, "P": -341.3, "S": -398.1, "Cl": -460.2,
}  # fmt: skip
_METALS: Final = ("U", "U", "U", "Th", "Am", "Np", "Pu")
_LIGANDS: Final = ("C", "H", "N", "O", "F", "P", "S", "Cl")


def rows(count: int) -> Iterator[tuple[int, str, int, int, int, str, float, float, str]]:
    """Yield structures of 30 to 90 atoms with the ledger's columns of their results."""
    chance = random.Random(1)
    geometry = "C 1.234567 2.345678 3.456789\n" * 60
    for index in range(count):
        symbols = [
            chance.choice(_METALS),
            *chance.choices(_LIGANDS, (10, 14, 3, 4, 1, 1, 1, 1), k=chance.randint(29, 89)),
        ]
        charge = chance.choice((-2, -1, 0, 0, 0, 1, 2))
        spin = 1 + (sum(ATOMIC_NUMBERS[symbol] for symbol in symbols) - charge) % 2
        energy = sum(_ENERGIES[symbol] for symbol in symbols) + 0.3 * charge + 0.1 * charge**2
        energy += chance.gauss(0, 0.004) * len(symbols) + 9.0 * (index % WRONG == WRONG // 2)
        force = chance.uniform(0, 0.05)
        result = Result(
            energy, force, force, 15, 600.0, 4, "ORCA", "6.1.0", f"/scratch/campaign/jobs/job_{index}/orca.out",
            s2=0.75, opt_cycles=0, n_atoms=len(symbols), terminated_normally=True, scf_converged=True, charge=charge,
            mult=spin, bonds_before=9, bond_stretch=1.0, stretched_bond="U1-O2", metals_alone=0,
            convergence={"scf": [round(chance.uniform(-9, 0), 2) for _ in range(60)]},
        )  # fmt: skip
        yield (
            index, ";".join(symbols), len(symbols), charge, spin, geometry, energy, force, json.dumps(asdict(result)),
        )  # fmt: skip


def make_ledger(campaign: Campaign, count: int) -> None:
    """Write the ledger in bulk."""
    with Ledger(campaign.ledger, create=True):
        pass
    settings = campaign.settings_hash()
    with sqlite3.connect(campaign.ledger, isolation_level=None) as db:
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        for row in rows(count):
            index, *_, energy, force, result = row
            db.execute(
                "INSERT INTO structures (orig_index, elements, natoms, status, charge, spin, geometry, final_energy,"
                " max_forces) VALUES (?, ?, ?, 'completed', ?, ?, ?, ?, ?)",
                (*row[:6], energy, force),
            )
            db.execute(
                "INSERT INTO attempts (structure_id, number, token, state, batch_id, launcher, settings_hash, outcome,"
                " engine, claimed_at, result) VALUES (?, 1, ?, 'closed', 'b', 'slurm', ?, 'completed', 'ORCA', 1, ?)",
                (index + 1, f"{index:016x}", settings, result),
            )
        db.execute("COMMIT")
    db.close()


def judged(campaign: Campaign, *, store: bool) -> int:
    if store:
        with Ledger(campaign.ledger) as ledger:
            quality = evaluate(campaign, ledger, store=True)
    else:
        with open_reader(campaign.ledger) as reader:
            quality = evaluate(campaign, reader)
    wrong = [index for index, rules in quality.failed.items() if "energy_in_range" in rules]
    if wrong != list(range(WRONG // 2, quality.judged, WRONG)):
        sys.exit(f"{len(wrong)} energies were found to be wrong, and each {WRONG}th is: {wrong[:9]}")
    return quality.judged


def one_by_one(campaign: Campaign) -> int:
    with open_reader(campaign.ledger) as ledger:
        model = energy_model(ledger, "ORCA")
        indices = range(1000)
        attempts = ledger.history.good_attempts(indices)
        for index, structure in ledger.structures.of(indices).items():
            judge_one(campaign, structure, attempts[index].result, model)
    return len(attempts)


def count(campaign: Campaign) -> int:
    with open_reader(campaign.ledger) as ledger:
        return ledger.quality.counts().judged


def bonds(_: Campaign) -> int:
    """Measure the bonds of a metal among 60 atoms, as when an attempt is recorded."""
    chance = random.Random(2)
    text = "U 0.0 0.0 0.0\n" + "".join(
        f"C {2.2 * (1 + place // 16)} {2.2 * (place // 4 % 4)} {2.2 * (place % 4) + chance.uniform(-0.1, 0.1)}\n"
        for place in range(59)
    )
    for _unused in range(1000):
        geometry = parse_geometry(text)
        if bond_change(geometry.symbols, geometry.coordinates, geometry.coordinates) is None:
            sys.exit("no bonds were found")
    return 1000


WORK: Final[dict[str, tuple[Callable[[Campaign], int], str]]] = {
    "read": (lambda campaign: judged(campaign, store=False), "all judged, read only"),
    "first": (lambda campaign: judged(campaign, store=True), "all judged and kept for the first time"),
    "again": (lambda campaign: judged(campaign, store=True), "again, nothing differs"),
    "count": (count, "count for the dashboard"),
    "one": (one_by_one, "judged one by one with the kept energies"),
    "bonds": (bonds, "bonds of a metal among 60 atoms measured"),
}


def work(name: str, campaign: Campaign) -> None:
    """Do one task and print its cost."""
    start, before = time.perf_counter(), time.process_time()
    done = WORK[name][0](campaign)
    took, cpu = time.perf_counter() - start, time.process_time() - before
    peak = peak_mb()
    target = "-"
    if name in ("read", "first", "again"):
        met = took <= SECONDS and peak < MEMORY_MB
        target = f"{SECONDS:g} s, {MEMORY_MB} MB: {'met' if met else 'NOT MET'}"
    print(f"| {WORK[name][1]} | {done:,} | {took:.2f} | {cpu:.2f} | {peak:.0f} | {target} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=100_000, help="completed structures")
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    arguments: Any = parser.parse_args()
    if arguments.work:
        work(arguments.work[0], load_campaign(arguments.work[1]))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        (folder / "campaign.yaml").write_text(
            "name: bench\ncsv: null\norca: {command: orca}\n", encoding="utf-8"
        )
        campaign = load_campaign(folder)
        make_ledger(campaign, arguments.rows)
        size = campaign.ledger.stat().st_size / 1e6
        print(
            f"| ledger of {arguments.rows:,} results, {size:.0f} MB | results | s | CPU s | peak MB | target |"
        )
        print("|---|---|---|---|---|---|", flush=True)
        for one in WORK:
            subprocess.run([sys.executable, __file__, "--work", one, str(folder)], check=True)


if __name__ == "__main__":
    main()

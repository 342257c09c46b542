"""CPU time of writing a campaign's inputs, including their job folders.

Run ``python benchmarks/inputs.py``. CPU times are of this process. The folders are written into memory (``/dev/shm``)
if possible, so that the program is measured and not the disk; ``--folder`` names a disk. On a disk the system's share
depends on what happened before: ext4 does not reuse the inodes of removed files for some minutes, and searches all of
them for each new file. That took 1 to 2 s after a quiet time, and 15 s after removing 30,000 files.
The structures are synthetic: an actinide surrounded by ligand atoms, no two closer than 1.2 Å.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import yaml

from oact_dagster.attempts.engine import Engine
from oact_dagster.attempts.input_text import input_text
from oact_dagster.attempts.job_folder import FolderWriter
from oact_dagster.attempts.job_layout import SHARDED_FROM, JobLayout
from oact_dagster.attempts.next_attempt import NextAttempt, plan_next
from oact_dagster.ledger.states import Claim, Status, StructureRecord
from oact_dagster.settings.campaign import Campaign, load_campaign

LIGANDS = ("C", "H", "H", "O", "N", "H", "C", "Cl", "H", "P")
ACTINIDES = ("Th", "U", "Np", "Pu", "Am", "Cm")
SPACING = 1.3
"""Å between neighbours of the grid on which the atoms are put."""


def structure(number: int, atoms: int) -> StructureRecord:
    """Return a different structure for each number, with 0 or 1 unpaired electrons, as its electrons require."""
    metal = ACTINIDES[number % len(ACTINIDES)]
    symbols = [metal, *(LIGANDS[(number + place) % len(LIGANDS)] for place in range(atoms - 1))]
    side = round(atoms ** (1 / 3) + 0.5)
    lines = []
    for place, symbol in enumerate(symbols):
        x, y, z = place % side, place // side % side, place // side**2
        # Rotated, since no real complex has its atoms in planes along an axis.
        u, v = 0.8 * x - 0.6 * y, 0.6 * x + 0.8 * y
        v, w = 0.8 * v - 0.6 * z, 0.6 * v + 0.8 * z
        shift = (number * 7919 % 1000) / 10_000
        lines.append(f"{symbol} {u * SPACING + shift:.6f} {v * SPACING - shift:.6f} {w * SPACING:.6f}")
    electrons = sum(_Z[symbol] for symbol in symbols)
    return StructureRecord(
        id=number + 1,
        orig_index=number,
        elements=";".join(symbols),
        natoms=atoms,
        status=Status.TO_RUN,
        charge=0,
        multiplicity=electrons % 2 + 1,
        geometry="\n".join(lines),
        job_dir=None,
        fail_count=0,
        error_message=None,
        loss_count=0,
        held=False,
        row_hash="",
        annotations={"name": f"complex {number}"},
    )


_Z = {"H": 1, "C": 6, "N": 7, "O": 8, "P": 15, "Cl": 17}
_Z |= dict(zip(ACTINIDES, (90, 92, 93, 94, 95, 96), strict=True))


def campaign_in(folder: Path) -> Campaign:
    """Return a campaign with default settings."""
    (folder / "structures.csv").write_text("aligned_csd_core,charge,uhf\n")
    settings = {"name": "benchmark", "csv": "structures.csv", "orca": {"command": "/opt/orca/orca"}}
    (folder / "campaign.yaml").write_text(yaml.safe_dump(settings))
    return load_campaign(folder)


def cpu() -> tuple[float, float]:
    """Return this process's user and system CPU time, s."""
    times = os.times()
    return times.user, times.system


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--structures", type=int, default=SHARDED_FROM)
    parser.add_argument("--atoms", type=int, default=60)
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    parser.add_argument("--folder", type=Path, default=place, help="folder for the job folders")
    wanted = parser.parse_args()
    records = [structure(number, wanted.atoms) for number in range(wanted.structures)]
    with tempfile.TemporaryDirectory(prefix="oact-inputs-", dir=wanted.folder) as name:
        campaign = campaign_in(Path(name))
        layout = JobLayout(campaign.jobs_dir, campaign.job_dir_pattern, sharded=True)
        writer = FolderWriter(campaign, layout)
        engine = Engine(["/opt/orca/orca"], "ORCA")
        begin, clock = cpu(), time.perf_counter()
        for record in records:
            input_text(campaign, record, "0123456789abcdef")
        middle = cpu()
        settings_hash = campaign.settings_hash()
        for record in records:
            coming = plan_next(campaign, record, [], settings_hash=settings_hash)
            assert isinstance(coming, NextAttempt)
            writer.attempt(Claim(record, 1, f"{record.orig_index:016x}"), coming, engine, {})
        end = cpu()
        wall_s = time.perf_counter() - clock
        files = sum(1 for path in campaign.jobs_dir.rglob("*") if path.is_file())
    print(f"{wanted.structures} structures of {wanted.atoms} atoms, {files} files in {wanted.folder}")
    print(f"{'':<32} {'CPU, s':>8} {'own':>8} {'system':>8} {'ms each':>8}")
    for what, before, after in (
        ("text of the input alone", begin, middle),
        ("plan, text, files and folder", middle, end),
    ):
        own, system = after[0] - before[0], after[1] - before[1]
        each = 1000 * (own + system) / wanted.structures
        print(f"{what:<32} {own + system:>8.2f} {own:>8.2f} {system:>8.2f} {each:>8.3f}")
    print(f"wall time of both {wall_s:.1f} s; largest memory {_largest_mb():.0f} MB")


def _largest_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

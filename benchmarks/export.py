"""Cost of writing a training set: wall time, CPU, size and memory of each format.

Run ``python benchmarks/export.py``. The structures have 60 atoms each and synthetic outputs in ORCA's format, as short
as the stand-in engine's (``--kb`` makes them as long as ORCA's). Each format is written by its own process; its peak
memory includes Python and the imports. The file cache is warm.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import peak_mb

from oact_dagster.launchers.attempt_files import ATTEMPT_FILE, TOKEN_COMMENT, AttemptSpec, spec_text
from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.states import Ending, NewStructure, Outcome, Preparation, Result, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import load_campaign

ATOMS = 60
ENERGY = -1234.567890123456
RULE = "=" * 80
SYMBOLS = ("U", *("O", "N", "C", "H", "H") * 12)[:ATOMS]
MADE_AT_ONCE = 500


def made_output(token: str, kilobytes: int, steps: int) -> str:
    """Return an output with numbers that depend on the token; more than one step makes it an optimisation."""
    numbers = random.Random(token)
    parts = [
        f"{'*' * 17:>50}\n{'* O   R   C   A *':>50}\n{'*' * 17:>50}\n\n",
        "                         Program Version 6.1.0  -   RELEASE   -\n\n",
        f"{RULE}\n{'INPUT FILE':>49}\n{RULE}\nNAME = orca.inp\n",
        f"|  1> # {TOKEN_COMMENT}: {token}\n|  2> ! wB97M-V def2-TZVPD{' Opt' if steps > 1 else ''} EnGrad\n",
        f"|  3>                          ****END OF INPUT****\n{RULE}\n\n",
    ]
    for step in range(steps):
        if steps > 1:
            stars = "*" * 61
            parts.append(
                f"{stars:>70}\n         *{f'GEOMETRY OPTIMIZATION CYCLE {step + 1:3d}':>43}{'*':>17}\n"
            )
        rows = "".join(
            f"  {symbol:<3}" + "".join(f"{numbers.uniform(-9, 9):14.6f}" for _ in range(3)) + "\n"
            for symbol in SYMBOLS
        )
        parts.append(f"{'-' * 33}\nCARTESIAN COORDINATES (ANGSTROEM)\n{'-' * 33}\n{rows}\n")
        parts.append("               *           SCF CONVERGED AFTER  12 CYCLES          *\n\n")
        parts.append(f"FINAL SINGLE POINT ENERGY     {ENERGY + step * 1e-3:.12f}\n\n")
        filling = "  0  0  1.0000000   -19.123456 a line of populations as ORCA prints thousands of them\n"
        parts.append(filling * (kilobytes * 1000 // len(filling) // steps))
        rows = "".join(
            f"{n:4d}{symbol:>4}   : "
            + "".join(f"{numbers.uniform(-0.01, 0.01):15.9f}" for _ in range(3))
            + "\n"
            for n, symbol in enumerate(SYMBOLS, start=1)
        )
        parts.append(f"{'-' * 18}\nCARTESIAN GRADIENT\n{'-' * 18}\n\n{rows}\n")
    if steps > 1:
        parts.append("                    ***********************HURRAY********************\n")
        parts.append("                    ***        THE OPTIMIZATION HAS CONVERGED     ***\n\n")
    parts.append(f"{'****ORCA TERMINATED NORMALLY****':>61}\n")
    parts.append("TOTAL RUN TIME: 0 days 0 hours 0 minutes 3 seconds 600 msec\n")
    return "".join(parts)


def make_campaign(folder: Path, structures: int, kilobytes: int, steps: int) -> None:
    """Make a ledger of completed structures with their job folders."""
    (folder / "campaign.yaml").write_text("name: bench\ncsv: null\norca: {command: orca}\n")
    campaign = load_campaign(folder)
    with Ledger(campaign.ledger, create=True) as ledger:
        for first in range(0, structures, MADE_AT_ONCE):
            indices = range(first, min(first + MADE_AT_ONCE, structures))
            ledger.add_structures([_structure(index) for index in indices])
            claims = ledger.claim(
                "batch",
                indices,
                statuses=[Status.TO_RUN],
                launcher="local",
                n_cores=4,
                max_failures=None,
                max_losses=None,
                now=1000.0,
            )
            prepared, endings = [], []
            for one in claims:
                index = one.structure.orig_index
                job = campaign.jobs_dir / f"{index // 1000:03d}" / f"job_{index}"
                job.mkdir(parents=True)
                (job / "orca.out").write_text(made_output(one.token, kilobytes, steps))
                spec = AttemptSpec(one.token, 1, index, ["orca"], 4, 7200.0, 1.0)
                (job / ATTEMPT_FILE).write_text(spec_text(spec))
                plan = {"maxcore": 2000}
                prepared.append(Preparation(one.token, str(job), f"{index:016x}", 4, plan=plan))
                endings.append(_ending(one.token, steps))
            ledger.mark_prepared(prepared)
            ledger.record(endings)


def _structure(index: int) -> NewStructure:
    geometry = "\n".join(f"{symbol} 0.000000 0.000000 {n}.000000" for n, symbol in enumerate(SYMBOLS))
    return NewStructure(
        index, ";".join(SYMBOLS), ATOMS, 0, 1, geometry, f"row{index}", f"calculation{index}", {}
    )


def _ending(token: str, steps: int) -> Ending:
    energy = round(ENERGY + (steps - 1) * 1e-3, 12)
    result = Result(energy, 0.01, 0.012, 12, 3.6, 4, "ORCA", "6.1.0", "orca.out", n_atoms=ATOMS)
    return Ending(token, Outcome.COMPLETED, 2000.0, host="node7", result=result)


def one(folder: Path, format_name: str, *, all_steps: bool) -> None:
    """Write one file and print its cost."""
    from oact_dagster.export.export import default_target, export_campaign
    from oact_dagster.export.frames import FrameSelection

    campaign = load_campaign(folder)
    target = folder / default_target(campaign, format_name)
    start, cpu = time.perf_counter(), time.process_time()
    with open_reader(campaign.ledger) as ledger:
        report = export_campaign(
            campaign, ledger, target, format_name, flagged={}, wanted=FrameSelection(all_steps)
        )
    took, used = time.perf_counter() - start, time.process_time() - cpu
    found = {"s": took, "cpu": used, "frames": report.frames, "size": report.size, "peak": peak_mb()}
    print(json.dumps({**found, "left": report.structures_left_out}))


def measured(folder: Path, format_name: str, *, all_steps: bool) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", str(folder), "--format", format_name]
    command += ["--all-steps"] if all_steps else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--structures", type=int, default=1000)
    parser.add_argument("--kb", type=int, default=0, help="kB to add to each output")
    parser.add_argument("--steps", type=int, default=1, help="steps in each output; all are written")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--format", help=argparse.SUPPRESS)
    parser.add_argument("--all-steps", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one, arguments.format, all_steps=arguments.all_steps)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_campaign(folder, arguments.structures, arguments.kb, arguments.steps)
        size = len(made_output("", arguments.kb, arguments.steps)) / 1000
        print(f"{arguments.structures:,} structures of {ATOMS} atoms, outputs of {size:.0f} kB\n")
        print("| format | frames | s | CPU, s | ms of CPU a frame | MB | peak memory, MB | left out |")
        print("|---|---|---|---|---|---|---|---|")
        for format_name in ("extxyz", "parquet", "ase-db"):
            found = measured(folder, format_name, all_steps=arguments.steps > 1)
            each = found["cpu"] / max(1, found["frames"]) * 1000
            print(
                f"| {format_name} | {found['frames']:,} | {found['s']:.2f} | {found['cpu']:.2f} | {each:.2f} |"
                f" {found['size'] / 1e6:.1f} | {found['peak']:.0f} | {found['left']} |"
            )


if __name__ == "__main__":
    main()

"""Time and CPU that each launcher takes to run a batch, with an engine that returns at once.

``python benchmarks/launchers.py [--launchers local,parsl,slurm,flux] [--batches 10,100,1000]`` runs one batch for each,
in a fresh process with a fresh ledger, without Dagster, and prints one table:

- submitted: from the start of the batch until the launcher has accepted the last structure;
- recorded: until the last result is in the ledger;
- coordinator: CPU of the process that runs the batch, for each structure;
- children: CPU of the processes that it starts, for each structure: scheduler commands, and payloads if they are its
  children. Parsl's workers and their payloads are not.

Parsl needs some seconds to start, which its batches include.

Slurm and Flux are real ones, started on this machine as in the tests. ``stand-in-flux`` is the stand-in of the tests,
which runs each job as a process. For Flux another row shows what Flux alone takes: ``flux submit --cc=0-499 true`` for
a batch of 500, until it has printed all ids, and until all jobs have ended.

A second table has the share of a core that the reader of the payloads' messages takes while 1,000 calculations run
silently. For Flux a third table has the cost of polling 20 jobs in an empty instance and in one with many ended jobs,
and below it the cost of listing all jobs.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quick_campaign import cpu_s, write_quick_campaign

WORKERS = 2
OLD_JOBS = 10_000
POLLED = 20
IDLE_FILES = 1000
IDLE_S = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--launchers", default="local,parsl,slurm,flux")
    parser.add_argument("--batches", default="10,100,1000")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--poll", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.poll is not None:
        print(json.dumps(_poll(options.poll)))
        return
    if options.inside:
        print(json.dumps(_inside(Path(options.inside[0]), int(options.inside[1]))))
        return
    print("launcher        batch   submitted   recorded   a structure   coordinator      children   peak RSS")
    print("                                s          s            ms        ms CPU        ms CPU         MB")
    for kind in options.launchers.split(","):
        with _ready_for(kind) as environment:
            for size in map(int, options.batches.split(",")):
                with tempfile.TemporaryDirectory() as folder:
                    found = _measure(Path(folder), kind, size, environment)
                print(
                    f"{kind:13s} {size:7d} {found['submitted']:11.2f} {found['recorded']:10.2f}"
                    f" {found['recorded'] / size * 1e3:13.0f} {found['coordinator'] / size * 1e3:13.2f}"
                    f" {found['children'] / size * 1e3:13.2f} {found['rss']:10.0f}",
                    flush=True,
                )
                if kind == "flux":
                    print(_alone(size, environment), flush=True)
    if "flux" in options.launchers.split(","):
        with _ready_for("flux") as environment:
            print(f"\n{'poll of Flux':34s} old jobs     wall      CPU   peak RSS")
            for old in (0, OLD_JOBS):
                for line in _polls(old, environment):
                    print(line, flush=True)
    print(f"\nmessage reader, {IDLE_FILES} silent calculations: {_idle_reader():.2f} % of a core")


@contextmanager
def _ready_for(kind: str) -> Iterator[dict[str, str]]:
    """Yield the environment in which a launcher finds its scheduler."""
    if kind == "slurm":
        from oact_dagster_tests.schedulers.real_slurm import RealSlurm, missing_programs

        if missing_programs():
            raise SystemExit(f"no {', '.join(missing_programs())}; apt-get install slurm-wlm munge")
        cluster = RealSlurm()
        try:
            cluster.start()
            yield cluster.environment
        finally:
            cluster.stop()
    elif kind == "flux":
        from oact_dagster_tests.schedulers.real_flux import RealFlux, missing_program

        if missing_program():
            raise SystemExit("no flux on PATH; leave flux out of --launchers, or use stand-in-flux")
        instance = RealFlux()
        try:
            instance.start()
            yield instance.environment
        finally:
            instance.stop()
    elif kind == "stand-in-flux":
        with tempfile.TemporaryDirectory() as folder:
            command = Path(folder, "bin", "flux")
            command.parent.mkdir()
            stand_in = Path(__file__).parents[1] / "oact_dagster_tests" / "schedulers" / "stand_in_flux.py"
            command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stand_in}" "$@"\n')
            command.chmod(0o755)
            yield {"STAND_IN_FLUX": folder, "PATH": f"{command.parent}:{os.environ['PATH']}"}
    else:
        yield {}


def _alone(size: int, environment: dict[str, str]) -> str:
    """Return a row on what Flux alone takes for the same number of jobs."""
    began = time.monotonic()
    command = ["flux", "submit", f"--cc=0-{size - 1}", "-n1", "true"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    submitted = time.monotonic() - began
    idle = ["flux", "queue", "idle"]
    subprocess.run(idle, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    ended = time.monotonic() - began
    return f"  {'alone':8s} {size:7d} {submitted:11.2f} {ended:10.2f} {ended / size * 1e3:13.0f}"


def _polls(old: int, environment: dict[str, str]) -> Iterator[str]:
    """Yield rows on a poll of a few jobs and a list of all jobs, with many ended jobs in the instance."""
    run = {**os.environ, **environment, "FLUX_F58_FORCE_ASCII": "1"}
    mock = "--setattr=system.exec.test.run_duration=0.001s"
    for start in range(0, old, 500):
        command = ["flux", "submit", "--quiet", f"--cc={start}-{start + 499}", "-n1", mock, "true"]
        subprocess.run(command, check=True, env=run)
    subprocess.run(["flux", "queue", "idle"], check=True, stdout=subprocess.DEVNULL, env=run)
    command = [
        "flux",
        "submit",
        f"--cc=0-{POLLED - 1}",
        "--job-name=oact-polled-{cc}",
        "-n1",
        "sleep",
        "1000",
    ]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=run)
    for label, asked in (
        (f"{POLLED} jobs", json.dumps(answer.stdout.split())),
        ("a list of all, as before", ""),
    ):
        done = subprocess.run(
            [sys.executable, __file__, "--poll", asked], check=True, stdout=subprocess.PIPE, env=run
        )
        found = json.loads(done.stdout)
        yield f"{label:34s} {old:8d} {found['wall']:7.2f}s {found['cpu']:7.2f}s {found['rss']:7.0f} MB"
    subprocess.run(["flux", "pkill", "oact-polled"], check=True, stderr=subprocess.DEVNULL, env=run)
    subprocess.run(["flux", "queue", "idle"], check=True, stdout=subprocess.DEVNULL, env=run)


def _poll(asked: str) -> dict[str, float]:
    """Poll some jobs, or list all of them, and return the cost."""
    from oact_dagster.schedulers.command import run_command
    from oact_dagster.schedulers.flux.commands import Flux
    from oact_dagster.schedulers.protocol import JobOptions

    began = time.monotonic()
    if asked:
        ids = json.loads(asked)
        if len(Flux(JobOptions()).states(dict.fromkeys(ids, "oact-polled"))) != len(ids):
            raise SystemExit("not all jobs were found")
    else:
        json.loads(run_command(["flux", "jobs", "-a", "-c0", "--json"], 600.0).stdout)
    return {
        "wall": time.monotonic() - began,
        "cpu": cpu_s(resource.RUSAGE_CHILDREN) + cpu_s(resource.RUSAGE_SELF),
        "rss": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }


def _measure(folder: Path, kind: str, size: int, environment: dict[str, str]) -> dict[str, float]:
    launcher: dict[str, Any] = {
        "kind": kind.removeprefix("stand-in-"),
        "max_workers": WORKERS,
        "mem": "none",
        "poll_interval_s": 1.0,
    }
    write_quick_campaign(folder, size, name="launchers", batch_size=size, launcher=launcher)
    done = subprocess.run(
        [sys.executable, __file__, "--inside", str(folder), str(size)],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, **environment},
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _inside(folder: Path, size: int) -> dict[str, float]:
    from oact_dagster.attempts.batch import BatchRun
    from oact_dagster.attempts.engine import find_engine
    from oact_dagster.attempts.events import InputWritten
    from oact_dagster.attempts.selection import BatchRequest
    from oact_dagster.intake.intake import take_in
    from oact_dagster.launchers.factory import make_launcher
    from oact_dagster.ledger.states import Status
    from oact_dagster.ledger.store import Ledger
    from oact_dagster.settings.campaign import load_campaign

    campaign = load_campaign(folder)
    with Ledger(campaign.ledger, create=True) as ledger:
        take_in(campaign, ledger)
        launcher = make_launcher(campaign)
        before, began = cpu_s(resource.RUSAGE_SELF), time.monotonic()
        run = BatchRun(
            campaign, ledger, launcher, find_engine(campaign), BatchRequest(range(size)), "benchmark"
        )
        submitted = 0.0
        for event in run.run():
            # Inputs are announced after their jobs have been accepted.
            if isinstance(event, InputWritten):
                submitted = time.monotonic() - began
        recorded = time.monotonic() - began
        if ledger.figures.count_by_status() != {Status.COMPLETED: size}:
            raise SystemExit(f"not all structures completed: {ledger.figures.count_by_status()}")
    return {
        "submitted": submitted,
        "recorded": recorded,
        "coordinator": cpu_s(resource.RUSAGE_SELF) - before,
        "children": cpu_s(resource.RUSAGE_CHILDREN),
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


class _Handler:
    def handle_message(self, message: object) -> None:
        """Ignore the message; none arrives."""


def _idle_reader() -> float:
    """Return the share of a core that the reader's thread takes, in percent."""
    from oact_dagster.defs.pipes import BatchMessageReader

    with tempfile.TemporaryDirectory() as folder:
        reader = BatchMessageReader()
        with reader.read_messages(_Handler()):  # type: ignore[arg-type]
            for number in range(IDLE_FILES):
                file = Path(folder, f"job_{number}", "messages.jsonl")
                file.parent.mkdir()
                file.write_text('{"method": "opened"}\n')
                reader.follow(file)
            time.sleep(10.0)
            before = cpu_s(resource.RUSAGE_SELF)
            threading.Event().wait(IDLE_S)
            return (cpu_s(resource.RUSAGE_SELF) - before) / IDLE_S * 100


if __name__ == "__main__":
    main()

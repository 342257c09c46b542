"""CPU time that the project adds to each structure, with an engine that returns at once.

``python benchmarks/overhead.py [--batches 1,10,100,1000]`` runs all five per-structure assets and the summary over one
range of partitions, with a fresh process, ledger and Dagster instance (on SQLite) for each batch size, and prints one
table. CPU is user plus system time of the run's process and its children.

- payloads: all child processes, without the cost of the engine itself;
- coordinator: our code in the run's process: claim, folders, submit, verdict, record, metadata;
- Dagster: the rest of the run's process after start-up: events, log lines, storage;
- start-up: the process until the run begins (imports, intake), once for each run.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from quick_campaign import cpu_s, write_quick_campaign


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", default="1,10,100,1000")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(_inside(Path(options.inside[0]), int(options.inside[1]))))
        return
    print("CPU per structure, ms                                               start-up   peak RSS")
    print("   batch     total   outside Dagster = payloads + coordinator   Dagster        s         MB")
    for size in map(int, options.batches.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            found = _measure(Path(folder), size)
        outside = found["payloads"] + found["coordinator"]
        print(
            f"{size:8d} {found['total']:9.1f} {outside:17.1f} = {found['payloads']:8.1f} + {found['coordinator']:11.1f}"
            f" {found['dagster']:9.1f} {found['start_up']:9.2f} {found['rss']:10.0f}",
            flush=True,
        )


def _measure(folder: Path, size: int) -> dict[str, float]:
    write_quick_campaign(folder, size, name="overhead", launcher={"max_workers": 2})
    done = subprocess.run(
        [sys.executable, __file__, "--inside", str(folder), str(size)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        env={key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"},
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _inside(folder: Path, size: int) -> dict[str, float]:
    """Run one batch in this process and split up its cost."""
    from dagster import DagsterInstance

    from oact_dagster.definitions import for_campaign
    from oact_dagster.defs import batch_step
    from oact_dagster.defs.batch_events import BatchReport
    from oact_dagster.defs.in_process import run_intake
    from oact_dagster.defs.instance import dagster_home
    from oact_dagster.settings.campaign import load_campaign

    campaign = load_campaign(folder)
    if not run_intake(campaign).success:
        raise SystemExit("intake failed")
    before = cpu_s(resource.RUSAGE_SELF)
    ours = 0.0
    next_event, to_dagster = batch_step._next, BatchReport.dagster_events

    def timed_next(*arguments: Any) -> Any:
        nonlocal ours
        start = time.thread_time()
        try:
            return next_event(*arguments)
        finally:
            ours += time.thread_time() - start

    def timed_events(*arguments: Any) -> Any:
        nonlocal ours
        start = time.thread_time()
        events = list(to_dagster(*arguments))
        ours += time.thread_time() - start
        return iter(events)

    setattr(batch_step, "_next", timed_next)  # noqa: B010
    setattr(BatchReport, "dagster_events", timed_events)  # noqa: B010
    job = for_campaign(campaign.file).resolve_implicit_global_asset_job_def()
    with DagsterInstance.from_config(str(dagster_home(campaign))) as instance:
        result = job.execute_in_process(
            instance=instance,
            tags={
                "dagster/asset_partition_range_start": "0",
                "dagster/asset_partition_range_end": str(size - 1),
            },
        )
        if not result.success:
            raise SystemExit("the run failed")
    after, children = cpu_s(resource.RUSAGE_SELF), cpu_s(resource.RUSAGE_CHILDREN)
    engine = _engine_alone(folder, min(size, 200)) / min(size, 200)
    # Imports and definitions. What Dagster does for the range before the step begins counts as its events.
    return {
        "start_up": before,
        "payloads": (children / size - engine) * 1e3,
        "coordinator": ours / size * 1e3,
        "dagster": (after - before - ours) / size * 1e3,
        "total": ((after - before + children) / size - engine) * 1e3,
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _engine_alone(folder: Path, runs: int) -> float:
    before = cpu_s(resource.RUSAGE_CHILDREN)
    for _ in range(runs):
        subprocess.run(
            [str(folder / "engine")], cwd=folder / "jobs" / "job_0", stdout=subprocess.DEVNULL, check=True
        )
    return cpu_s(resource.RUSAGE_CHILDREN) - before


if __name__ == "__main__":
    main()

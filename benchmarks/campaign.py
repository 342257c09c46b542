"""Cost of a self-running campaign: its sensors' ticks, and a whole campaign without any calculation.

``python benchmarks/campaign.py`` prints two tables.

- Ticks (``--ticks 100000``; 0 for none): takes in a campaign of that many water molecules and sets its ledger to the
  middle of the campaign's life. Most structures are completed, 5,000 are running (half of them in a live batch, half in
  a dead one), some have failed or timed out (due, resting, set aside), some are held, the rest are to be run. All
  completed structures but 500 have a materialization of ``orca_results``, each failed or running one a planned event.
  These are real Dagster events, copied in its SQLite files. Then each sensor ticks twice, in a fresh process.
- The dry campaign (``--structures 3000``): runs sensor ticks, and the runs that they request, one after the other in
  this process until the feed says that the campaign is done. Everything is real but the scheduler. Its jobs end by a
  simulated clock, which every poll advances, and leave the files that a payload and ORCA leave. Of all attempts 6 %
  fail as ORCA fails, 1 % reach their time limit and 1 % are lost with their node. Retries are due at once.
"""

import argparse
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final

import dagster as dg
import yaml
from measure import peak_mb

from oact_dagster.definitions import for_campaign
from oact_dagster.defs import batch_step
from oact_dagster.defs.dagster_internals import plan_partitions
from oact_dagster.defs.in_process import run_intake
from oact_dagster.defs.instance import dagster_home
from oact_dagster.defs.keys import CampaignKeys
from oact_dagster.launchers.attempt_files import (
    EXIT_FILE,
    INPUT_FILE,
    OUTPUT_FILE,
    START_FILE,
    ExitRecord,
    How,
    StartRecord,
    exit_text,
)
from oact_dagster.launchers.protocol import Orphan, Submission
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.store import Ledger
from oact_dagster.schedulers.jobs import Cause, Job, JobState, Phase
from oact_dagster.settings.campaign import Campaign, load_campaign

SENSORS: Final = ("intake", "feed", "retry", "timeout", "harvest")
LIMIT_S: Final = 5.0
RUNNING: Final = 5000
UNSHOWN: Final = 500


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ticks", type=int, default=100_000, help="structures in the campaign of the ticks")
    parser.add_argument("--structures", type=int, default=3000, help="structures in the dry campaign")
    parser.add_argument("--tick", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.pop("DAGSTER_HOME", None)
    if options.tick:
        print(json.dumps(_two_ticks(Path(options.tick[0]), options.tick[1])))
        return
    if options.ticks:
        with tempfile.TemporaryDirectory() as folder:
            _ticks(Path(folder), options.ticks)
    if options.structures:
        with tempfile.TemporaryDirectory() as folder:
            _dry_campaign(Path(folder), options.structures)


def make(folder: Path, structures: int) -> Campaign:
    """Make a campaign of water molecules and take it in. Nothing ever runs it."""
    with (folder / "structures.csv").open("w") as stream:
        stream.write("aligned_csd_core,charge,uhf\n")
        for number in range(structures):
            stream.write(f'"O 0 0 {number / 1e6:.7f}\nH 0.76 0 0.59\nH -0.76 0 0.59",0,0\n')
    settings: dict[str, Any] = {
        "name": "bench",
        "csv": "structures.csv",
        # This is never started.
        "orca": {"command": "/bin/true", "n_cores": 4},
        "launcher": {"kind": "slurm", "grace_s": 0},
        "retry": {"delay_s": 0},
    }
    (folder / "campaign.yaml").write_text(yaml.safe_dump(settings))
    campaign = load_campaign(folder)
    end = run_intake(campaign)
    if not end.success:
        raise SystemExit(end.message)
    return campaign


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _size(*paths: Path) -> int:
    files = (file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]))
    return sum(file.stat().st_size for file in files if file.is_file())


def _tick(campaign: Campaign, instance: dg.DagsterInstance, name: str) -> tuple[list[dg.RunRequest], str]:
    """Run a sensor's tick as the code server does; return its run requests and its message."""
    definitions = for_campaign(campaign.file)
    sensor = next(one for one in definitions.sensors or [] if one.name == f"{name}_sensor")
    context = dg.build_sensor_context(instance, sensor_name=sensor.name, definitions=definitions, cursor=None)
    data = sensor.evaluate_tick(context)
    return list(data.run_requests or []), str(data.cursor if data.run_requests else data.skip_message)


# --- ticks ------------------------------------------------------------------------------------------------------


def _ticks(folder: Path, structures: int) -> None:
    begun, cpu = time.perf_counter(), _cpu()
    campaign = make(folder, structures)
    print(
        f"intake of {structures:,} structures: {time.perf_counter() - begun:.0f} s, {_cpu() - cpu:.0f} s of CPU"
    )
    counts = middle_of_life(campaign, structures)
    shown = ", ".join(f"{number:,} {word}" for word, number in show(campaign).items())
    sizes = _size(campaign.ledger) / 1e6, _size(dagster_home(campaign)) / 1e6
    print(f"ledger {sizes[0]:.0f} MB: {counts}; Dagster {sizes[1]:.0f} MB: {shown}")
    print("\n| sensor | first tick, s | second, s | CPU of both, s | peak MB | 5 s or less | it says |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in SENSORS:
        done = subprocess.run(
            [sys.executable, __file__, "--tick", str(folder), name],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
        met = "met" if max(found["first"], found["second"]) <= LIMIT_S else "NOT MET"
        print(
            f"| {name} | {found['first']:.2f} | {found['second']:.2f} | {found['cpu']:.2f} | {found['peak']:.0f}"
            f" | {met} | {found['said']} |",
            flush=True,
        )


def _two_ticks(folder: Path, name: str) -> dict[str, Any]:
    campaign = load_campaign(folder)
    with dg.DagsterInstance.from_config(str(dagster_home(campaign))) as instance:
        cpu, times = _cpu(), []
        for _ in range(2):
            begun = time.perf_counter()
            _, said = _tick(campaign, instance, name)
            times.append(time.perf_counter() - begun)
        return {
            "first": times[0],
            "second": times[1],
            "cpu": _cpu() - cpu,
            "peak": peak_mb(),
            "said": said,
        }


def middle_of_life(campaign: Campaign, structures: int) -> dict[str, int]:
    """Set the ledger to a plausible mixture, with the running structures in the middle of the CSV."""
    now, running = time.time(), min(RUNNING, structures // 10)
    with Ledger(campaign.ledger) as ledger:
        # This process waits while the ticks are measured, so its batch is alive.
        ours = Owner.this_process()
        ledger.open_batch("dead", replace(ours, pid_started=1.0))
        ledger.open_batch("alive", ours)
    with sqlite3.connect(campaign.ledger) as db:
        db.execute(
            "UPDATE structures SET status = CASE"
            " WHEN abs(orig_index - :half) * 2 <= :running THEN 'running'"
            " WHEN orig_index > :all * 9 / 10 THEN 'to_run'"
            " WHEN orig_index % 100 < 6 THEN 'failed' WHEN orig_index % 100 < 7 THEN 'timeout'"
            " ELSE 'completed' END",
            {"half": structures // 2, "running": running, "all": structures},
        )
        # Of the failed structures half are set aside; half of the others are resting, half are due.
        db.execute(
            "UPDATE structures SET fail_count = 1 + 2 * (orig_index / 100 % 2) WHERE status IN ('failed', 'timeout')"
        )
        db.execute(
            "UPDATE structure_state SET not_before = ? WHERE structure_id IN"
            " (SELECT id FROM structures WHERE status IN ('failed', 'timeout') AND orig_index / 200 % 2)",
            (now + 3600.0,),
        )
        db.execute(
            "UPDATE structure_state SET held = 1 WHERE structure_id IN"
            " (SELECT id FROM structures WHERE status = 'to_run' AND orig_index % 50 = 8)"
        )
        # The newest attempts are those of structures tried once.
        for number in (2, 3, 1):
            db.execute(
                "INSERT INTO attempts (structure_id, number, token, state, batch_id, launcher, host, outcome,"
                " failure_class, counted, claimed_at, ended_at, elapsed, n_cores, engine, settings_hash, result)"
                " SELECT id, :n, printf('%016x', id * 4 + :n),"
                " CASE status WHEN 'running' THEN 'running' ELSE 'closed' END,"
                " CASE WHEN status != 'running' THEN 'before' WHEN id % 2 THEN 'alive' ELSE 'dead' END, 'slurm',"
                " 'n' || id % 400, CASE status WHEN 'running' THEN NULL ELSE status END,"
                " CASE status WHEN 'failed' THEN 'scf_not_converged' WHEN 'timeout' THEN 'timeout' END,"
                " status IN ('failed', 'timeout'), :now - 600000 + id, :now - 500000 + id, 3600.0, 4, 'ORCA', 's',"
                " CASE status WHEN 'completed' THEN '{\"final_energy\": -76.0}' END FROM structures"
                " WHERE status != 'to_run' AND (fail_count >= :n OR :n = 1)",
                {"n": number, "now": now},
            )
        db.execute("UPDATE structures SET final_energy = -76.0, n_cores = 4 WHERE status = 'completed'")
        counts = dict(db.execute("SELECT status, COUNT(*) FROM structures GROUP BY status"))
        db.execute("ANALYZE")
    db.close()
    return counts


def show(campaign: Campaign) -> dict[str, int]:
    """Give structures their Dagster events: one of each kind is real, the others are copies in SQL."""
    key = CampaignKeys.of(campaign).orca_results
    with sqlite3.connect(campaign.ledger) as db:
        by_status: dict[str, list[str]] = {}
        for status, index in db.execute("SELECT status, orig_index FROM structures ORDER BY orig_index"):
            by_status.setdefault(status, []).append(str(index))
    db.close()
    completed = by_status["completed"][:-UNSHOWN]
    failed, running = by_status["failed"] + by_status["timeout"], by_status["running"]

    @dg.job
    def run_structures() -> None:
        pass

    with dg.DagsterInstance.from_config(str(dagster_home(campaign))) as instance:

        def run(status: dg.DagsterRunStatus) -> str:
            return instance.create_run_for_job(run_structures, status=status).run_id

        def plan(run_id: str, key_of_one: str) -> None:
            plan_partitions(instance, run_id, "run_structures", "run_selected", [key], [key_of_one])

        ended, broken, at_work = (
            run(status)
            for status in (
                dg.DagsterRunStatus.SUCCESS,
                dg.DagsterRunStatus.FAILURE,
                dg.DagsterRunStatus.STARTED,
            )
        )
        plan(ended, completed[0])
        instance.report_dagster_event(
            dg.DagsterEvent(
                event_type_value="ASSET_MATERIALIZATION",
                job_name="run_structures",
                event_specific_data=_materialized(key, completed[0]),
            ),
            ended,
        )
        _copy(dagster_home(campaign), ended, completed[0], completed[1:])
        plan(broken, failed[0])
        _copy(dagster_home(campaign), broken, failed[0], failed[1:])
        plan(at_work, running[0])
        _copy(dagster_home(campaign), at_work, running[0], running[1:])
    return {"materialized": len(completed), "failed": len(failed), "in progress": len(running)}


def _materialized(key: dg.AssetKey, partition: str) -> Any:
    from dagster._core.events import StepMaterializationData

    return StepMaterializationData(
        dg.AssetMaterialization(key, partition=partition, metadata={"final_energy_eh": -76.0}), []
    )


def _copy(home: Path, run_id: str, partition: str, others: Sequence[str]) -> None:
    """Copy the events of one partition in a run to other partitions, in the file that asset queries read."""
    with sqlite3.connect(home / "history" / "runs" / "index.db") as db:
        columns = "run_id, dagster_event_type, timestamp, step_key, asset_key"
        rows = db.execute(
            f"SELECT event, {columns} FROM event_logs WHERE run_id = ? AND partition = ? ORDER BY id",
            (run_id, partition),
        ).fetchall()
        if not rows:
            raise SystemExit("this benchmark does not know where this version of Dagster keeps its events")
        db.executemany(
            f"INSERT INTO event_logs (event, {columns}, partition) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (event.replace(f'"partition": "{partition}"', f'"partition": "{other}"'), *rest, other)
                for other in others
                for event, *rest in rows
            ),
        )
    db.close()


# --- a campaign without calculations ----------------------------------------------------------------------------

_OUTPUT: Final = """
                                 *****************
                                 * O   R   C   A *
                                 *****************

                         Program Version 6.1.0  -   RELEASE   -
                                       INPUT FILE
NAME = orca.inp
{echo}
                          ****END OF INPUT****
{end}"""
_GOOD: Final = """               *           SCF CONVERGED AFTER  12 CYCLES          *
FINAL SINGLE POINT ENERGY       -76.000000000000
------------------
CARTESIAN GRADIENT
------------------

   1   O   :    0.001000000    0.000000000    0.004501218

Norm of the Cartesian gradient     ...    0.0046109600
RMS gradient                       ...    0.0026621400
MAX gradient                       ...    0.0045012180

                             ****ORCA TERMINATED NORMALLY****
TOTAL RUN TIME: 0 days 1 hours 0 minutes 0 seconds 0 msec
"""
_BAD: Final = """               *        SCF NOT CONVERGED AFTER 500 CYCLES         *

ORCA finished by error termination in SCF
[file orca_tools/qcmsg.cpp, line 394]:
  .... aborting the run
"""


class Clockwork:
    """Scheduler whose jobs take minutes to hours of a simulated clock; each poll advances it by five minutes."""

    kind = "slurm"
    jobs_outlive_process = True

    def __init__(self, chance: Random, attempts: Counter[str]) -> None:
        self._chance = chance
        self._attempts = attempts
        self._now = 0.0
        self._jobs: dict[str, tuple[float, Job, str]] = {}
        self._ended: dict[str, JobState] = {}

    def submit(self, jobs: Sequence[Job]) -> Submission:
        """Accept all jobs."""
        taken = {}
        for job in jobs:
            word = self._chance.choices(("good", "bad", "limit", "lost"), (92, 6, 1, 1))[0]
            job_id = f"{len(self._jobs) + 1}"
            self._jobs[job_id] = (self._now + self._chance.uniform(600.0, 7200.0), job, word)
            self._attempts[word] += 1
            taken[job.token] = job_id
        return Submission(taken)

    def withdraw(self, tokens: Collection[str]) -> Collection[str]:
        """Do nothing: all jobs were accepted."""
        return tokens

    def closing(self) -> str:
        """Never closes."""
        return ""

    def states(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
        """End the jobs whose time has come, which then leave their files."""
        self._now += 300.0
        return {job_id: self._state(job_id) for job_id in job_ids}

    def _state(self, job_id: str) -> JobState:
        ends, job, word = self._jobs[job_id]
        if self._now < ends:
            return JobState(Phase.RUNNING)
        if job_id not in self._ended:
            self._ended[job_id] = self._end(job, word)
        return self._ended[job_id]

    def _end(self, job: Job, word: str) -> JobState:
        now = time.time()
        start = StartRecord(job.token, "n1", 1, now - 3600.0)
        (job.folder / START_FILE).write_text(
            json.dumps({name: getattr(start, name) for name in start.__slots__})
        )
        if word == "lost":
            return JobState(Phase.ENDED, "NODE_FAIL", Cause.NODE_FAILED)
        lines = (job.folder / INPUT_FILE).read_text().splitlines()
        echo = "\n".join(f"|{number:3d}> {line}" for number, line in enumerate(lines, start=1))
        end = {"good": _GOOD, "bad": _BAD, "limit": ""}[word]
        (job.folder / OUTPUT_FILE).write_text(_OUTPUT.format(echo=echo, end=end))
        how = How.TIME_LIMIT if word == "limit" else How.EXITED
        record = ExitRecord(
            job.token, how, {"good": 0, "bad": 55}.get(word), now - 3600.0, now, 3600.0, "n1", 1
        )
        (job.folder / EXIT_FILE).write_text(exit_text(record))
        return JobState(Phase.ENDED, "COMPLETED")

    def cancel(self, job_ids: Collection[str]) -> None:
        """Do nothing: nothing is ever cancelled."""

    def how_to_cancel(self, job_ids: Collection[str]) -> str:
        """Return nothing: there is no command."""
        return ""

    def adopt(self, orphans: Sequence[Orphan]) -> Mapping[str, str]:
        """Adopt nothing: no run dies."""
        return {}

    def notes(self) -> Sequence[str]:
        """Return no notes."""
        return ()

    def wait(self, seconds: float) -> bool:
        """Return at once: the clock is simulated."""
        return True

    def close(self) -> None:
        """Do nothing."""


def _dry_campaign(folder: Path, structures: int) -> None:
    campaign = make(folder, structures)
    chance, attempts = Random(8), Counter[str]()
    setattr(batch_step, "make_launcher", lambda campaign: Clockwork(chance, attempts))  # noqa: B010
    home = dagster_home(campaign)
    ticks, runs = Counter[str](), Counter[str]()
    tick_cpu, tick_s, begun, cpu = 0.0, 0.0, time.perf_counter(), _cpu()
    files_before = _size(campaign.ledger), _size(home)
    said, round_ = "", 0
    definitions = for_campaign(campaign.file)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        while "is done" not in said:
            for name in SENSORS if round_ % 5 == 0 else SENSORS[:3]:
                tick_begun, tick_began_cpu = time.perf_counter(), _cpu()
                requests, text = _tick(campaign, instance, name)
                tick_s += time.perf_counter() - tick_begun
                tick_cpu += _cpu() - tick_began_cpu
                ticks[name] += 1
                said = text if name == "feed" else said
                if "paused" in text:
                    raise SystemExit(text)
                for request in requests:
                    runs[name] += 1
                    definitions.resolve_job_def(request.job_name or "run_structures").execute_in_process(
                        run_config={**request.run_config, **quiet},
                        instance=instance,
                        tags=request.tags,
                        raise_on_error=False,
                    )
            round_ += 1
            minutes = (time.perf_counter() - begun) / 60
            print(f"{minutes:.0f} min, {runs.total()} runs: {said}", file=sys.stderr, flush=True)
    seconds, spent = time.perf_counter() - begun, _cpu() - cpu
    # Measured after closing: the last connection merges SQLite's journal into the file.
    grown = [
        after - before
        for after, before in zip((_size(campaign.ledger), _size(home)), files_before, strict=True)
    ]
    events = _events(home)
    print(f"\na dry campaign of {structures:,} structures: {said}\n")
    print("| | in all | a structure |")
    print("|---|---|---|")
    for what, counted, form in (
        ("attempts", attempts, ".2f"),
        ("ticks", ticks, ".4f"),
        ("runs", runs, ".4f"),
        ("events of Dagster", Counter({"": events}), ".1f"),
    ):
        parts = ", ".join(f"{number} {word}" for word, number in counted.items() if word)
        number = counted.total()
        print(f"| {what}{f' ({parts})' if parts else ''} | {number:,} | {number / structures:{form}} |")
    for what, value in (
        ("wall time", seconds),
        ("CPU", spent),
        ("of it ticks: wall", tick_s),
        ("of it ticks: CPU", tick_cpu),
    ):
        print(f"| {what} | {value:.1f} s | {value / structures * 1e3:.1f} ms |")
    for what, size in zip(("ledger grew by", "Dagster's storage grew by"), grown, strict=True):
        print(f"| {what} | {size / 1e6:.1f} MB | {size / structures / 1e3:.1f} kB |")
    print(f"| peak memory | {peak_mb():.0f} MB | |", flush=True)


def _events(home: Path) -> int:
    """Count all events in Dagster's storage, which has a file for each run."""
    found = 0
    for file in (home / "history" / "runs").glob("*.db"):
        if file.stem != "index":
            with sqlite3.connect(file) as db:
                found += db.execute("SELECT COUNT(*) FROM event_logs").fetchone()[0]
            db.close()
    return found


if __name__ == "__main__":
    main()

"""``oact submit``: to a real Slurm, to a stand-in for Flux, and on this node."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance

from oact_dagster.ledger.level_of_theory import fix_level_of_theory
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.campaigns import write_campaign, write_csv
from oact_dagster_tests.cli.command import assert_one_line, command, environment, oact
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.job_folders import age
from oact_dagster_tests.schedulers.real_slurm import RealSlurm
from oact_dagster_tests.waiting import until

pytestmark = pytest.mark.slow

STAND_IN = Path(__file__).parents[1] / "schedulers" / "stand_in_flux.py"


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path / "engine")


@pytest.fixture
def flux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the stand-in, whose command is on PATH."""
    folder = tmp_path / "stand-in"
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "flux"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_FLUX", str(folder))
    return folder


@pytest.fixture
def no_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH with everything but schedulers."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for place in os.environ["PATH"].split(":"):
        for program in Path(place).glob("*"):
            link = folder / program.name
            if program.name not in ("flux", "sbatch", "squeue", "scancel", "sacct") and not link.exists():
                link.symlink_to(program)
    monkeypatch.setenv("PATH", str(folder))


def ledger_of(folder: Path, structures: int) -> Path:
    done = oact("ingest", write_csv(folder / "a.csv", structures), folder / "workflow.db")
    assert done.returncode == 0, done.stderr
    return folder / "workflow.db"


def counts(db: Path) -> dict[Status, int]:
    with Ledger(db) as ledger:
        return ledger.figures.count_by_status()


def ended(jobs: Path, *indices: int) -> Callable[[], bool]:
    return lambda: all((jobs / f"job_{index}" / "exit.json").exists() for index in indices)


@pytest.mark.parametrize("jobs", ["file", "file/jobs"])
def test_a_jobs_folder_that_cannot_be_costs_no_attempt(tmp_path: Path, engine: TestEngine, jobs: str) -> None:
    db = ledger_of(tmp_path, 2)
    (tmp_path / "file").write_text("not a folder")
    options = ("--orca-path", engine.path, "--n-cores", "1")
    for more in (["--use-parsl", "--max-workers", "1", "--cores-per-worker", "1"], ["--dry-run"]):
        done = oact("submit", db, tmp_path / jobs, *options, *more)
        assert_one_line(done, f"jobs_dir: {tmp_path / jobs}: ", "is not a folder")
    with Ledger(db) as ledger:
        assert ledger.figures.count_by_status() == {Status.TO_RUN: 2}
        assert ledger.history.attempts(0) == [] and ledger.meta("level_of_theory") is None


# --- a site's profile -----------------------------------------------------------------------------------------------


@pytest.fixture
def profiles(tmp_path: Path, engine: TestEngine, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "profiles.yaml"
    file.write_text(
        f"tuolumne: {{kind: flux, queue: pbatch, allocation: dnn-sim, n_hours: 3, orca_command: '{engine.path}',"
        " resources: [{max_atoms: 9, n_cores: 7}]}\n"
    )
    monkeypatch.setenv("OACT_PROFILES", str(file))
    return file


def test_a_profile_without_a_campaign(tmp_path: Path, engine: TestEngine, flux: Path, profiles: Path) -> None:
    db, jobs = ledger_of(tmp_path, 1), tmp_path / "jobs"
    done = oact("submit", db, jobs, "--dry-run", "--profile", "tuolumne", "--queue", "pdebug")
    assert done.returncode == 0, done.stderr
    script = (jobs / "job_0" / "flux_job.flux").read_text()
    for line in ("-n 7", "-q pdebug", "-B dnn-sim", "-t 180m"):
        assert f"#flux: {line}\n" in script
    assert script.rstrip().endswith(f"-- {engine.path} orca.inp")
    assert_one_line(oact("submit", db, jobs, "--profile", "tuolumn"), f"{profiles}: no profile tuolumn")


def test_a_profile_beneath_a_campaign(tmp_path: Path, engine: TestEngine, flux: Path, profiles: Path) -> None:
    campaign = write_campaign(
        tmp_path / "campaign", 2, engine.path, settings={"launcher": {"kind": "flux", "queue": "its-own"}}
    )
    assert oact("ingest", campaign.csv_file, campaign.ledger).returncode == 0
    done = oact("submit", campaign.file, "--dry-run", "--batch-size", "1", "--profile", "tuolumne")
    assert done.returncode == 0, done.stderr
    script = (campaign.jobs_dir / "job_0" / "flux_job.flux").read_text()
    for line in ("-n 7", "-q its-own", "-B dnn-sim", "-t 180m"):
        assert f"#flux: {line}\n" in script
    # A number of cores holds for structures of all sizes, also where the sizes are the profile's.
    (campaign.jobs_dir / "job_0").rename(tmp_path / "away")
    done = oact(
        "submit", campaign.file, "--dry-run", "--batch-size", "1", "--profile", "tuolumne", "--n-cores", "2"
    )
    assert "#flux: -n 2\n" in (campaign.jobs_dir / "job_0" / "flux_job.flux").read_text(), done.stderr


# --- to a scheduler -------------------------------------------------------------------------------------------------


def test_submitting_and_recording_later(tmp_path: Path, engine: TestEngine, flux: Path) -> None:
    # What has ended already when the command looks is not among the jobs that it names.
    engine.set("wait")
    db, jobs = ledger_of(tmp_path, 5), tmp_path / "jobs"
    done = oact(
        "submit", "workflow.db", "jobs", "--scheduler", "flux", "--batch-size", "3", "--n-cores", "2",
        "--n-hours", "0.55", "--queue", "pbatch", "--allocation", "bank", "--orca-path", "engine/orca", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == "", done.stderr
    told = done.stdout.splitlines()
    assert told[:2] == ["submitted 3 of 3 structures to flux", "  structures: 0, 1, 2"]
    with Ledger(db) as ledger:
        attempts = ledger.history.attempts_of([0, 1, 2])
        ids = [attempts[index][0].scheduler_job_id for index in (0, 1, 2)]
    assert told[2] == f"  jobs: {', '.join(map(str, ids))}"
    assert told[3] == "  to record what has ended: oact dashboard workflow.db --update jobs"
    assert told[4].startswith("  to cancel them: flux pkill oact-")
    assert counts(db) == {Status.RUNNING: 3, Status.TO_RUN: 2}
    call = next(line for line in (flux / "calls").read_text().splitlines() if line.startswith("submit "))
    assert "--queue=pbatch" in call and "--bank=bank" in call and "bash" in call
    script = (jobs / "job_0" / "flux_job.flux").read_text()
    for line in ("#flux: -N 1", "#flux: -n 2", "#flux: -q pbatch", "#flux: -B bank", "#flux: -t 33m"):
        assert f"{line}\n" in script
    assert f"--token {attempts[0][0].token} -- {engine.path} orca.inp" in script
    assert "nprocs 2\n" in (jobs / "job_0" / "orca.inp").read_text()
    (engine.control / "go").touch()
    until(ended(jobs, 0, 1, 2))
    shown = oact("dashboard", db, "--update", jobs)
    assert "Updated 3 of 3 running jobs: 3 completed" in shown.stdout, shown.stdout + shown.stderr
    # The next call takes the rest; the one after it finds nothing.
    again = oact("submit", db, jobs, "--scheduler", "flux", "--orca-path", engine.path, "--n-cores", "2")
    assert "submitted 2 of 2 structures to flux\n  structures: 3, 4\n" in again.stdout, again.stderr
    until(ended(jobs, 3, 4))
    nothing = oact("submit", db, jobs, "--scheduler", "flux", "--orca-path", engine.path)
    assert (nothing.returncode, nothing.stdout) == (0, "nothing to submit: no structure is to_run\n")
    assert Counter(engine.runs) == dict.fromkeys(range(5), 1)


def test_what_was_submitted_is_followed_by_a_run(
    tmp_path: Path, engine: TestEngine, slurm: RealSlurm
) -> None:
    settings = {"launcher": {"kind": "slurm", "mem": "none", "poll_interval_s": 0.3, "grace_s": 2}}
    campaign = write_campaign(tmp_path / "c", 4, engine.path, settings=settings)
    engine.set("slow")
    # The CSV of a new campaign is taken in first, without a Dagster instance.
    done = oact("submit", campaign.file, "--batch-size", "3")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout.startswith(
        f"taking in {campaign.csv_file}\n4 structures in the ledger, 0 rejected rows\n"
    )
    assert not (campaign.folder / ".dagster").exists()
    assert "submitted 3 of 3 structures to slurm\n" in done.stdout
    assert f", or `oact run {campaign.file}` follows them\n" in done.stdout
    assert "to cancel them: scancel " in done.stdout
    with Ledger(campaign.ledger) as ledger:
        assert ledger.figures.count_by_status() == {Status.RUNNING: 3, Status.TO_RUN: 1}
        tokens = [attempts[0].token for attempts in ledger.history.attempts_of([0, 1, 2]).values()]
    # The assets find its jobs, in the queue or ended, and submit only the rest.
    followed = oact("run", campaign.file)
    assert followed.returncode == 0, followed.stdout + followed.stderr
    assert "3 structures were left by a run that is gone" in followed.stdout
    assert Counter(engine.runs) == dict.fromkeys(range(4), 1)
    with Ledger(campaign.ledger) as ledger:
        assert ledger.figures.count_by_status() == {Status.COMPLETED: 4}
        assert [a[0].token for a in ledger.history.attempts_of([0, 1, 2]).values()] == tokens
    assert oact("fsck", campaign.file).returncode == 0
    with DagsterInstance.from_config(str(campaign.folder / ".dagster")) as instance:
        assert instance.get_materialized_partitions(AssetKey("orca_results")) == {"0", "1", "2", "3"}


def test_a_new_campaign(tmp_path: Path, engine: TestEngine, flux: Path) -> None:
    settings = {"launcher": {"kind": "flux", "poll_interval_s": 0.3, "grace_s": 2}}
    campaign = write_campaign(tmp_path / "c", 4, engine.path, settings=settings, broken=(2,))
    done = oact("submit", campaign.file, "--batch-size", "2", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "3 structures in the ledger, 1 rejected row\n  row 2 (line 8) rejected: " in done.stdout
    assert "submitted 2 of 2 structures to flux\n  structures: 0, 1\n" in done.stdout
    assert not (campaign.folder / ".dagster").exists()
    until(ended(campaign.jobs_dir, 0, 1))
    # Dagster has its partition keys from the next intake, which computes nothing again.
    followed = oact("run", campaign.file)
    assert followed.returncode == 0, followed.stdout + followed.stderr
    assert Counter(engine.runs) == dict.fromkeys((0, 1, 3), 1)
    with DagsterInstance.from_config(str(campaign.folder / ".dagster")) as instance:
        assert instance.get_materialized_partitions(AssetKey("orca_results")) == {"0", "1", "3"}
    # One that is known is not taken in again.
    again = oact("submit", campaign.file)
    assert (again.returncode, again.stdout) == (0, "nothing to submit: no structure is to_run\n")


def test_ctrl_c_while_a_submit_is_under_way(tmp_path: Path, engine: TestEngine, slurm: RealSlurm) -> None:
    db, jobs = ledger_of(tmp_path, 3), tmp_path / "jobs"
    slurm.put_fault("sbatch", 'touch "$0.seen"; sleep 2; exec "$REAL" "$@"')
    flags = ("--scheduler", "slurm", "--orca-path", engine.path, "--n-cores", "1", "--mem", "none")
    process = subprocess.Popen(
        command("submit", db, jobs, *flags),
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    until(lambda: bool(list(slurm.folder.rglob("sbatch.seen"))))
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err, err
    # What Slurm has taken is known, and goes on.
    assert "submitted 3 of 3 structures to slurm" in out
    assert "oact: interrupted; submitted jobs stay in the queue\n" in err
    slurm.mend()
    assert oact("submit", db, jobs, *flags).stdout.startswith("nothing to submit")
    until(ended(jobs, 0, 1, 2))
    assert sorted(engine.runs) == [0, 1, 2]


def test_killed_while_a_submit_is_under_way(tmp_path: Path, engine: TestEngine, slurm: RealSlurm) -> None:
    settings = {"launcher": {"kind": "slurm", "mem": "none", "poll_interval_s": 0.3, "grace_s": 2}}
    campaign = write_campaign(tmp_path / "c", 3, engine.path, settings=settings)
    assert oact("ingest", campaign.csv_file, campaign.ledger).returncode == 0
    slurm.put_fault("sbatch", 'touch "$0.seen"; sleep 1; exec "$REAL" "$@"')
    process = subprocess.Popen(
        command("submit", campaign.file), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )  # fmt: skip
    until(lambda: bool(list(slurm.folder.rglob("sbatch.seen"))))
    process.kill()
    process.wait()
    assert counts(campaign.ledger) == {Status.RUNNING: 3}
    # sbatch goes on without us: its jobs are nobody's, and are found by their token.
    until(ended(campaign.jobs_dir, 0, 1, 2))
    slurm.mend()
    assert oact("run", campaign.file).returncode == 0
    assert sorted(engine.runs) == [0, 1, 2] and counts(campaign.ledger) == {Status.COMPLETED: 3}


def test_a_scheduler_that_is_full_takes_some(tmp_path: Path, engine: TestEngine, flux: Path) -> None:
    db, jobs = ledger_of(tmp_path, 5), tmp_path / "jobs"
    engine.set("hang")
    (flux / "fault").write_text("limit 2")
    done = oact("submit", db, jobs, "--scheduler", "flux", "--orca-path", engine.path, "--n-cores", "1")
    assert done.returncode == 1 and "submitted 2 of 5 structures to flux\n" in done.stdout, done.stderr
    assert "oact: 3 not run: flux accepts no more jobs now\n" in done.stderr
    assert counts(db) == {Status.RUNNING: 2, Status.TO_RUN: 3}
    with Ledger(db) as ledger:
        ids = [str(one.scheduler_job_id) for one in ledger.history.open_attempts([0, 1]).values()]
    subprocess.run(["flux", "cancel", *ids], check=True)


def test_a_scheduler_that_refuses(tmp_path: Path, engine: TestEngine, flux: Path) -> None:
    db, jobs = ledger_of(tmp_path, 3), tmp_path / "jobs"
    (flux / "fault").write_text("refuse")
    flags = ("--scheduler", "flux", "--queue", "nope", "--orca-path", engine.path, "--n-cores", "1")
    done = oact("submit", db, jobs, *flags)
    assert_one_line(done, "flux refused its job", "Invalid queue", "nope")
    assert done.stdout == "submitted 0 of 3 structures to flux\n"
    assert counts(db) == {Status.TO_RUN: 3} and engine.runs == []


def test_two_submit_at_once(tmp_path: Path, engine: TestEngine, flux: Path) -> None:
    db, jobs = ledger_of(tmp_path, 40), tmp_path / "jobs"
    flags = ("--scheduler", "flux", "--orca-path", engine.path, "--n-cores", "1", "--batch-size", "25")
    both = []
    for _ in range(2):
        process = subprocess.Popen(
            command("submit", db, jobs, *flags), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        both.append(process)
    for process in both:
        _, err = process.communicate(timeout=120)
        assert process.returncode in (0, 1) and "Traceback" not in err, err
    taken = 40 - counts(db).get(Status.TO_RUN, 0)
    assert 25 <= taken <= 40
    # What one of them found taken it leaves; the next call takes the rest.
    oact("submit", db, jobs, *flags)
    assert Status.TO_RUN not in counts(db)
    until(lambda: len(engine.runs) == 40)
    assert sorted(engine.runs) == list(range(40))


def test_no_more_than_max_in_flight(tmp_path: Path, engine: TestEngine, flux: Path) -> None:
    db, jobs = ledger_of(tmp_path, 6), tmp_path / "jobs"
    engine.set("wait")
    flags = ("--scheduler", "flux", "--orca-path", engine.path, "--n-cores", "1")
    limited = (*flags, "--max-in-flight", "3")
    assert "submitted 2 of 2" in oact("submit", db, jobs, *flags, "--batch-size", "2").stdout
    assert "submitted 1 of 1" in oact("submit", db, jobs, *limited).stdout
    full = oact("submit", db, jobs, *limited)
    assert full.returncode == 0
    assert full.stdout == "nothing to submit: 3 run or wait already, and max_in_flight is 3\n"
    (engine.control / "go").touch()
    until(ended(jobs, 0, 1, 2))
    assert "3 completed" in oact("dashboard", db, "--update", jobs).stdout
    assert "submitted 3 of 3" in oact("submit", db, jobs, *limited).stdout
    until(ended(jobs, 3, 4, 5))


def test_the_typical_workflow_of_the_document(tmp_path: Path, engine: TestEngine, slurm: RealSlurm) -> None:
    """Its commands as they stand there, in its order, until nothing is left to be tried."""
    ledger_of(tmp_path, 4)
    engine.set("scf_not_converged", 1)
    engine.set("hang", 2)

    def old(module: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", f"oact_dagster.workflows.{module}", "workflow.db", *arguments],
            cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    flags = (
        "jobs/", "--batch-size", "500", "--scheduler", "slurm", "--n-cores", "1", "--mem", "none", "--queue", "main",
        "--orca-path", str(engine.path),
    )  # fmt: skip
    jobs = tmp_path / "jobs"
    assert old("submit_jobs", *flags).startswith("submitted 4 of 4 structures to slurm\n")
    until(ended(jobs, 0, 1, 3))
    hanging = jobs / "job_2" / "orca.out"
    # Its last line before it hangs: what is written after that would make it young again.
    until(lambda: hanging.exists() and "Multiplicity" in hanging.read_text())
    age(hanging, 7)
    assert "Updated 4 of 4 running jobs: 2 completed, 1 failed, 1 timeout" in old(
        "dashboard", "--update", "jobs/"
    )
    assert "scf_not_converged" in old("dashboard", "--show-failed")
    assert "has not changed for 7.0 h" in old("dashboard", "--show-timeout")
    engine.set("normal", 2)
    assert old("dashboard", "--reset-timeout").startswith("Reset 1 timed-out job to to_run\n")
    for attempts in (2, 3):
        reset = old("dashboard", "--reset-failed", "--include-timeout-in-reset", "--max-retries", "3")
        assert reset.startswith("Reset 1 failed and timed-out job to to_run\n")
        assert old("submit_jobs", *flags, "--max-fail-count", "3").startswith("submitted ")
        until(ended(jobs, 1, 2))
        old("dashboard", "--update", "jobs/")
        assert Counter(engine.runs)[1] == attempts
    assert old("dashboard", "--reset-failed", "--max-retries", "3").startswith(
        "Reset 0 failed jobs to to_run\n"
    )
    assert old("submit_jobs", *flags, "--max-fail-count", "3").startswith(
        "nothing to submit: no structure is to_run\n"
    )
    assert re.search(r"^ +2 +1 failed +3 +3 ", old("dashboard", "--show-chronic-failures", "3"), re.MULTILINE)
    assert counts(tmp_path / "workflow.db") == {Status.COMPLETED: 3, Status.FAILED: 1}
    assert Counter(engine.runs) == {0: 1, 1: 3, 2: 2, 3: 1}


def test_what_the_user_cancels_is_held(tmp_path: Path, engine: TestEngine, slurm: RealSlurm) -> None:
    db, jobs = ledger_of(tmp_path, 2), tmp_path / "jobs"
    engine.set("hang")
    flags = ("--scheduler", "slurm", "--orca-path", engine.path, "--n-cores", "1", "--mem", "none")
    assert oact("submit", db, jobs, *flags).returncode == 0
    until(lambda: len(engine.runs) == 2)
    assert "running 2 (2 queued)" in oact("dashboard", db).stdout
    assert "running 2 (0 queued)" in oact("dashboard", db, "--update", jobs).stdout
    with Ledger(db) as ledger:
        job_id = ledger.history.attempts(0)[0].scheduler_job_id
    slurm.run("scancel", str(job_id))
    until(ended(jobs, 0))
    until(lambda: slurm.jobs("%K %T", job_id)[0] == "0 CANCELLED")
    shown = oact("dashboard", db, "--update", jobs).stdout
    assert shown.startswith("Updated 1 of 2 running jobs: 1 to_run\n")
    assert "its job was cancelled: it is held until `oact release`" in shown
    assert oact("submit", db, jobs, *flags).stdout.startswith("nothing to submit: 1 is to_run, but is held")
    with Ledger(db) as ledger:
        structure = ledger.structures.of([0])[0]
        assert (structure.held, structure.fail_count, structure.loss_count) == (True, 0, 0)
        assert ledger.history.attempts(0)[0].outcome is Outcome.CANCELLED
    engine.set("normal")
    assert oact("release", db).stdout == "1 structure released\n"
    assert oact("submit", db, jobs, *flags).stdout.startswith("submitted 1 of 1 structure to slurm\n")
    until(ended(jobs, 0))


def test_another_host_has_the_ledger(tmp_path: Path, engine: TestEngine, flux: Path) -> None:
    db, jobs = ledger_of(tmp_path, 1), tmp_path / "jobs"
    other = Owner("login2", "another-boot", 1, 1.0)
    with Ledger(db) as ledger:
        ledger.take_writer(other, now=time.time() - 1000)
        ledger.open_batch("theirs", other, time.time() - 1000)
    flags = ("--scheduler", "flux", "--orca-path", engine.path, "--n-cores", "1")
    assert_one_line(oact("submit", db, jobs, *flags), "login2", "--take-over")
    assert engine.runs == []
    assert oact("submit", db, jobs, *flags, "--take-over").returncode == 0
    until(ended(jobs, 0))


# --- what is asked for ------------------------------------------------------------------------------------------------


def test_every_flag_arrives(tmp_path: Path, engine: TestEngine, no_scheduler: None) -> None:
    db, jobs = ledger_of(tmp_path, 2), tmp_path / "jobs"
    done = oact(
        "submit", db, jobs, "--dry-run", "--scheduler", "slurm", "--batch-size", "1", "--n-cores", "8",
        "--n-hours", "1.5", "--queue", "main", "--allocation", "account", "--qos", "long", "--mem", "90000",
        "--constraint", "avx2&ib", "--extra-directive=--exclusive", "--extra-directive", "--gres=gpu:1",
        "--module", "openmpi/4.1.6", "--module", "nbo", "--conda-env", "my env", "--conda-base", "/opt/conda",
        "--setup-line", "ulimit -s unlimited", "--setup-line", "export A='b c'", "--scratch-dir", "/scratch/$USER",
        "--poll-interval", "5", "--command-timeout", "7.5", "--job-dir-pattern", "s{id}", "--max-fail-count", "3",
        "--functional", "PBE0", "--simple-input", "x2c", "--actinide-basis", "SARC-DKH-TZVP",
        "--non-actinide-basis", "X2C-TZVPall", "--scf-maxiter", "77", "--nbo", "--opt", "--orca-path", engine.path,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout.startswith("1 folder written in ")
    assert [entry.name for entry in jobs.iterdir()] == ["s1"]
    script = (jobs / "s1" / "slurm_job.sh").read_text()
    for line in (
        "#SBATCH -N 1", "#SBATCH --ntasks-per-node 8", "#SBATCH -t 1:30:00", "#SBATCH --partition main",
        "#SBATCH --account account", "#SBATCH --qos long", "#SBATCH --mem 90000M",
        '#SBATCH --constraint "avx2&ib"', "#SBATCH --exclusive", '#SBATCH "--gres=gpu:1"',
        "module load openmpi/4.1.6 nbo || exit 5", ". /opt/conda/etc/profile.d/conda.sh || exit 5",
        "conda activate 'my env' || exit 5", "ulimit -s unlimited", "export A='b c'",
    ):  # fmt: skip
        assert f"{line}\n" in script, line
    subprocess.run(["bash", "-n", str(jobs / "s1" / "slurm_job.sh")], check=True)
    text = (jobs / "s1" / "orca.inp").read_text()
    for word in ("PBE0", "X2C", "X2C-TZVPall", "OPT", "NBO", "nprocs 8", "MaxIter 77"):
        assert word.upper() in text.upper(), word


def test_a_dry_run_changes_no_status_and_needs_no_scheduler(
    tmp_path: Path, engine: TestEngine, no_scheduler: None
) -> None:
    db, jobs = ledger_of(tmp_path, 3), tmp_path / "jobs"
    before = db.read_bytes()
    # Without --scheduler, and without an ORCA here: both may be on the cluster only.
    done = oact("submit", db, jobs, "--dry-run", "--batch-size", "2", "--orca-path", "/on/the/cluster/orca")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout == f"2 folders written in {jobs}; nothing was submitted, and no status changed\n"
    assert db.read_bytes() == before and engine.runs == []
    assert {entry.name for entry in (jobs / "job_1").iterdir()} == {"orca.inp", "flux_job.flux"}
    script = (jobs / "job_1" / "flux_job.flux").read_text()
    assert script.endswith(" -- /on/the/cluster/orca orca.inp\n") and "#flux: -t 120m\n" in script
    # What was only looked at leaves nothing behind.
    assert (
        oact(
            "submit",
            db,
            jobs,
            "--use-parsl",
            "--max-workers",
            "1",
            "--n-cores",
            "1",
            "--orca-path",
            engine.path,
        ).returncode
        == 0
    )
    assert sorted(entry.name for entry in jobs.iterdir() if not entry.name.startswith(".")) == [
        "job_0", "job_1", "job_2",
    ]  # fmt: skip


def test_a_dry_run_names_what_it_does_not_write(tmp_path: Path, no_scheduler: None) -> None:
    db, jobs = ledger_of(tmp_path, 2), tmp_path / "jobs"
    done = oact("submit", db, jobs, "--dry-run", "--simple-input", "x2c", "--actinide-ecp", "def-ECP")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stdout == f"0 folders written in {jobs}; nothing was submitted, and no status changed\n"
    assert done.stderr.startswith("oact: 2 not written (structures 0, 1): actinide_ecp def-ECP is")


def test_a_dry_run_shows_the_remedy_of_the_next_attempt(tmp_path: Path, engine: TestEngine) -> None:
    db, jobs = ledger_of(tmp_path, 1), tmp_path / "jobs"
    engine.set("scf_not_converged")
    here = ("--use-parsl", "--max-workers", "1", "--n-cores", "1", "--orca-path", engine.path)
    assert oact("submit", db, jobs, *here).returncode == 1
    told = oact("submit", db, jobs, *here)
    assert told.stdout.startswith(
        "nothing to submit: no structure is to_run\n1 has failed or timed out: `oact dash"
    )
    oact("dashboard", db, "--reset-failed")
    done = oact(
        "submit", db, jobs, "--dry-run", "--scheduler", "slurm", "--n-cores", "1", "--orca-path", engine.path
    )
    assert done.returncode == 0, done.stderr
    assert "# remedy: " in (jobs / "job_0" / "orca.inp").read_text()
    assert (jobs / "job_0.attempt-1" / "orca.out").is_file()


def test_a_script_of_a_dry_run_runs_once(tmp_path: Path, engine: TestEngine) -> None:
    db, jobs = ledger_of(tmp_path, 1), tmp_path / "jobs"
    engine.set("slow")
    done = oact(
        "submit", db, jobs, "--dry-run", "--scheduler", "slurm", "--n-cores", "1", "--orca-path", engine.path
    )
    assert done.returncode == 0, done.stderr
    script = str(jobs / "job_0" / "slurm_job.sh")
    first = subprocess.Popen([script])
    until(lambda: engine.runs == [0])
    second = subprocess.run([script], capture_output=True, text=True, timeout=60)
    assert second.returncode == 3 and "another job runs in this folder" in second.stderr
    assert first.wait(60) == 0 and engine.runs == [0]
    assert (jobs / "job_0" / "exit.json").is_file()


def test_the_campaign_beside_the_ledger_says_the_rest(
    tmp_path: Path, engine: TestEngine, no_scheduler: None
) -> None:
    settings = {
        "orca": {"functional": "PBE0", "n_cores": 6},
        "launcher": {
            "kind": "slurm", "queue": "main", "qos": "long", "mem": "none", "n_hours": 5, "modules": ["openmpi"],
            "resources": [{"max_atoms": 3, "n_cores": 2, "n_hours": 1}],
        },
        "job_dir_pattern": "s_{orig_index}",
    }  # fmt: skip
    campaign = write_campaign(tmp_path / "c", 4, engine.path, settings=settings)
    assert oact("ingest", campaign.csv_file, campaign.ledger).returncode == 0
    assert oact("submit", campaign.ledger, "--dry-run", "--batch-size", "1").returncode == 0
    folder = campaign.jobs_dir / "s_0"
    script, text = (folder / "slurm_job.sh").read_text(), (folder / "orca.inp").read_text()
    for line in (
        "#SBATCH --partition main", "#SBATCH --qos long", "#SBATCH -t 1:00:00", "#SBATCH --ntasks-per-node 2",
        "module load openmpi || exit 5",
    ):  # fmt: skip
        assert f"{line}\n" in script, line
    assert "PBE0" in text and "nprocs 2" in text and f" -- {engine.path} orca.inp\n" in script
    # What is said holds for all sizes.
    said = oact(
        "submit", campaign.folder, "--dry-run", "--batch-size", "1", "--queue", "other", "--n-cores", "3",
        "--n-hours", "2", "--mem", "auto",
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    script = (folder / "slurm_job.sh").read_text()
    for line in (
        "#SBATCH --partition other", "#SBATCH --qos long", "#SBATCH -t 2:00:00", "#SBATCH --ntasks-per-node 3",
    ):  # fmt: skip
        assert f"{line}\n" in script, line
    assert "#SBATCH --mem " in script
    # A level of theory of its own would not be the campaign's.
    with Ledger(campaign.ledger) as ledger:
        fix_level_of_theory(ledger, campaign.level_of_theory())


def test_a_campaign_of_pilots_runs_here_all_the_same(tmp_path: Path, engine: TestEngine) -> None:
    settings = {"launcher": {"kind": "slurm", "per_job": "parsl", "n_hours": 12, "mem": "none"}}
    campaign = write_campaign(tmp_path / "c", 1, engine.path, settings=settings)
    assert oact("ingest", campaign.csv_file, campaign.ledger).returncode == 0
    done = oact("submit", campaign.file, "--use-parsl", "--max-workers", "1")
    assert done.returncode == 0, done.stderr
    assert counts(campaign.ledger) == {Status.COMPLETED: 1}


# --- on this node -----------------------------------------------------------------------------------------------------


@pytest.mark.parsl
def test_running_here(tmp_path: Path, engine: TestEngine) -> None:
    db, jobs = ledger_of(tmp_path, 4), tmp_path / "jobs"
    engine.set("scf_not_converged", 1)
    engine.set("hang", 2)
    flags = (
        "--use-parsl", "--max-workers", "3", "--cores-per-worker", "1", "--n-cores", "1", "--job-timeout", "1.5",
        "--oversubscribe",
        "--orca-path", engine.path,
    )  # fmt: skip
    done = oact("submit", db, jobs, *flags, "--batch-size", "3")
    assert done.returncode == 1, done.stderr
    assert "3/3 done: 1 computed, 2 failed, 0 running\n" in done.stdout
    assert "oact: 1 failed, scf_not_converged (structure 1): " in done.stderr
    assert counts(db) == {Status.COMPLETED: 1, Status.FAILED: 1, Status.TIMEOUT: 1, Status.TO_RUN: 1}
    assert oact("submit", db, jobs, *flags).returncode == 0
    assert counts(db)[Status.COMPLETED] == 2
    # Chronic failures are left out, whoever counted them.
    assert "Reset 2 " in oact("dashboard", db, "--reset-failed", "--include-timeout-in-reset").stdout
    left = oact("submit", db, jobs, *flags, "--max-fail-count", "1")
    assert left.returncode == 0 and left.stdout.startswith("nothing to submit: 2 are to_run, but are held")


@pytest.mark.parsl
def test_ctrl_c_ends_what_runs_here(tmp_path: Path, engine: TestEngine) -> None:
    db, jobs = ledger_of(tmp_path, 4), tmp_path / "jobs"
    engine.set("hang")
    process = subprocess.Popen(
        command("submit", db, jobs, "--use-parsl", "--max-workers", "2", "--n-cores", "1", "--oversubscribe",
                "--orca-path", engine.path),
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    until(lambda: len(engine.runs) == 2)
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout is not None
    while "stopping: " not in process.stdout.readline():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err, (out, err)
    assert "oact: interrupted; the same command continues where it stopped\n" in err
    assert counts(db) == {Status.TO_RUN: 4}
    with Ledger(db) as ledger:
        ended_attempts = [one for found in ledger.history.attempts_of(range(4)).values() for one in found]
        assert {one.outcome for one in ended_attempts} == {Outcome.CANCELLED}
        assert [one.fail_count for one in ledger.structures.of(range(4)).values()] == [0] * 4


@pytest.mark.parsl
def test_the_command_of_old(tmp_path: Path, engine: TestEngine) -> None:
    db = ledger_of(tmp_path, 1)
    done = subprocess.run(
        [
            sys.executable, "-m", "oact_dagster.workflows.submit_jobs", str(db), str(tmp_path / "jobs"), "--use-parsl",
            "--batch-size", "100", "--max-workers", "1", "--cores-per-worker", "1", "--n-cores", "16",
            "--job-timeout", "7200", "--functional", "wB97M-V", "--orca-path", str(engine.path),
        ],
        env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "oact: warning: --n-cores 16 is overridden by --cores-per-worker 1\n" in done.stderr
    assert counts(db) == {Status.COMPLETED: 1}


# --- what cannot be ---------------------------------------------------------------------------------------------------


def test_what_cannot_be_submitted(tmp_path: Path, engine: TestEngine, no_scheduler: None) -> None:
    db, jobs = ledger_of(tmp_path, 1), tmp_path / "jobs"
    there = ("--orca-path", engine.path)
    assert_one_line(
        oact("submit", db, jobs, *there), "flux: no such program on PATH", "--use-parsl", "--dry-run"
    )
    assert_one_line(
        oact("submit", db, jobs, "--scheduler", "slurm", *there), "sbatch: no such program on PATH"
    )
    assert_one_line(oact("submit", db, jobs, "--use-parsl"), "orca: no such program on PATH", "--orca-path")
    assert_one_line(oact("submit", db, jobs, *there, "--mem", "lots"), "launcher.mem", "a number of MB")
    assert_one_line(oact("submit", db, jobs, *there, "--n-hours", "nan"), "n_hours", "finite")
    assert_one_line(oact("submit", db, jobs, *there, "--queue", "a\nb"), "launcher.queue", "one line")
    assert_one_line(oact("submit", db, jobs, *there, "--job-dir-pattern", "../x"), "job_dir_pattern")
    assert_one_line(oact("submit", tmp_path / "none.db", jobs), "no such ledger")
    assert_one_line(oact("submit", tmp_path / "a.csv", jobs, *there), "a.csv")
    for bad in (
        ["--scheduler", "pbs"], ["--n-cores", "0"], ["--n-hours", "-1"], ["--batch-size", "many"],
        ["--job-timeout", "0"], ["--simple-input", "dft"], ["--nonsense"],
    ):  # fmt: skip
        done = oact("submit", db, jobs, *there, *bad)
        assert done.returncode == 2 and "Error: " in done.stderr and "Traceback" not in done.stderr
    unnamed = oact("submit", db, *there)
    assert unnamed.returncode == 2 and "name the JOBS_DIR" in unnamed.stderr
    assert counts(db) == {Status.TO_RUN: 1} and not jobs.exists()


def test_more_cores_than_there_are(tmp_path: Path, engine: TestEngine) -> None:
    db, jobs = ledger_of(tmp_path, 1), tmp_path / "jobs"
    done = oact("submit", db, jobs, "--use-parsl", "--cores-per-worker", "100000", "--orca-path", engine.path)
    assert_one_line(done, "launcher.max_workers 4 times launcher.cores_per_worker 100000 is 400000 cores")
    assert counts(db) == {Status.TO_RUN: 1} and engine.runs == []


def test_flags_without_effect_are_named(tmp_path: Path, engine: TestEngine) -> None:
    db, jobs = ledger_of(tmp_path, 1), tmp_path / "jobs"
    done = oact(
        "submit",
        db,
        jobs,
        "--use-parsl",
        "--max-workers",
        "1",
        "--n-cores",
        "1",
        "--orca-path",
        engine.path,
        "--queue",
        "pbatch",
    )
    assert done.returncode == 0 and done.stderr == "oact: warning: --queue has no effect with --use-parsl\n"
    dry = oact("submit", db, jobs, "--dry-run", "--orca-path", engine.path, "--max-workers", "3")
    assert dry.returncode == 0
    assert dry.stderr == "oact: warning: --max-workers has no effect without --use-parsl\n"


def test_a_campaign_that_runs_elsewhere_is_told(tmp_path: Path, engine: TestEngine, flux: Path) -> None:
    campaign = write_campaign(tmp_path / "c", 1, engine.path)
    assert oact("ingest", campaign.csv_file, campaign.ledger).returncode == 0
    done = oact("submit", campaign.file, tmp_path / "other", "--scheduler", "flux")
    assert done.returncode == 0, done.stderr
    assert "launcher.kind is local: `oact run` follows these jobs only once it is flux\n" in done.stderr
    assert f"jobs_dir is {campaign.jobs_dir}, but these jobs run in {tmp_path / 'other'}\n" in done.stderr
    until(ended(tmp_path / "other", 0))

"""The calls that write job scripts and submit jobs."""

import builtins
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.errors import EngineError
from oact_dagster.launchers.attempt_files import ATTEMPT_FILE
from oact_dagster.ledger.states import Outcome
from oact_dagster.workflows import (
    ArchitectorWorkflow,
    JobRecord,
    JobStatus,
    OrcaConfig,
    build_parsl_config_flux,
    create_workflow_db,
    submit_batch,
    submit_batch_parsl,
    write_flux_job_file,
    write_flux_no_template,
    write_slurm_job_file,
)
from oact_dagster.workflows import submit_jobs as old_place
from oact_dagster_tests.campaigns import write_csv
from oact_dagster_tests.cli.command import oact
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.job_folders import age, made_job
from oact_dagster_tests.schedulers.real_slurm import RealSlurm
from oact_dagster_tests.waiting import until


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path / "engine")


def config(engine: TestEngine, **more: Any) -> OrcaConfig:
    return {"orca_path": str(engine.path), **more}  # type: ignore[typeddict-item]


def workflow_of(tmp_path: Path, structures: int) -> ArchitectorWorkflow:
    return ArchitectorWorkflow(
        create_workflow_db(write_csv(tmp_path / "a.csv", structures), tmp_path / "workflow.db")
    )


def test_the_old_places(tmp_path: Path) -> None:
    assert old_place.submit_batch is submit_batch and old_place.OrcaConfig is OrcaConfig
    assert old_place.submit_batch_parsl is submit_batch_parsl


# --- scripts ----------------------------------------------------------------------------------------------------------


def test_a_flux_script(tmp_path: Path) -> None:
    (tmp_path / "job_0").mkdir()
    made = write_flux_job_file(
        tmp_path / "job_0", 8, 1.5, "pbatch", "bank", "/opt/orca", "env", "orca.inp", "/opt/lib"
    )
    lines = made.read_text().splitlines()
    assert made == tmp_path / "job_0" / "flux_job.flux" and os.access(made, os.X_OK)
    for line in ("#flux: -N 1", "#flux: -n 8", "#flux: -q pbatch", "#flux: -B bank", "#flux: -t 90m"):
        assert line in lines
    assert f"cd -- {tmp_path / 'job_0'} || exit 4" in lines and "conda activate env || exit 5" in lines
    assert "export LD_LIBRARY_PATH=/opt/lib" in made.read_text()
    assert lines[-1].startswith("exec ") and lines[-1].endswith(" -- /opt/orca orca.inp")
    subprocess.run(["bash", "-n", str(made)], check=True)


def test_a_slurm_script(tmp_path: Path) -> None:
    made = write_slurm_job_file(tmp_path, queue="pbatch", allocation="bank", orca_path="/opt/orca")
    lines = made.read_text().splitlines()
    assert made.name == "slurm_job.sh" and os.access(made, os.X_OK)
    for line in (
        "#SBATCH -N 1", "#SBATCH --ntasks-per-node 4", "#SBATCH --partition pbatch", "#SBATCH --account bank",
        "#SBATCH -t 2:00:00",
    ):  # fmt: skip
        assert line in lines
    assert any(line.startswith("#SBATCH -o ") and str(tmp_path) in line for line in lines)
    assert any(line.startswith("#SBATCH -e ") for line in lines)
    assert lines[-1].endswith(" -- /opt/orca orca.inp")
    # A directive without a value is left out.
    plain = write_slurm_job_file(tmp_path).read_text()
    assert "--partition" not in plain and "--account" not in plain and "conda" not in plain
    assert plain.endswith(" -- orca orca.inp\n")
    with pytest.raises(ValueError, match="must be one line"):
        write_slurm_job_file(tmp_path, queue="a\n#SBATCH --wrap x")
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(ValueError, match="must be one line"):
        write_slurm_job_file(bare, orca_path="orca\nrm -rf /")
    assert list(bare.iterdir()) == []
    with pytest.raises(ValueError, match="n_hours"):
        write_slurm_job_file(tmp_path, n_hours=0)
    with pytest.raises(
        FileNotFoundError, match=r"no such job folder; prepare_job_directory makes one: .*/nodir'$"
    ):
        write_slurm_job_file(tmp_path / "nodir")


def test_a_script_runs_orca_and_leaves_a_record(tmp_path: Path, engine: TestEngine) -> None:
    folder = made_job(tmp_path / "job_3", engine, 3)
    (folder / "orca.out").unlink()
    script = write_slurm_job_file(folder, orca_path=str(engine.path))
    subprocess.run([str(script)], check=True, cwd="/", timeout=60)
    assert "FINAL SINGLE POINT ENERGY" in (folder / "orca.out").read_text()
    assert (folder / "exit.json").is_file()


def test_a_script_for_each_job_folder(tmp_path: Path, engine: TestEngine) -> None:
    for index in (0, 1):
        made_job(tmp_path / "jobs" / f"job_{index}", engine, index)
    (tmp_path / "jobs" / "notes").mkdir()
    assert write_flux_no_template(tmp_path / "jobs", 4, 2, "pbatch", "bank") == [
        tmp_path / "jobs" / f"job_{index}" / "flux_job.flux" for index in (0, 1)
    ]
    with pytest.raises(FileNotFoundError):
        write_flux_no_template(tmp_path / "none", 4, 2)


# --- Parsl ------------------------------------------------------------------------------------------------------------


def test_a_parsl_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("parsl") is None:
        pytest.skip("Parsl is not installed")
    found = build_parsl_config_flux(2, 8, "my env", "/opt/conda", "/opt/lib")
    [executor] = found.executors
    assert (executor.label, executor.cores_per_worker, executor.max_workers_per_node) == ("flux_htex", 8, 2)
    assert executor.provider.worker_init.splitlines() == [
        ". /opt/conda/etc/profile.d/conda.sh",
        "conda activate 'my env'",
        "export LD_LIBRARY_PATH=/opt/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}",
        "export OMP_NUM_THREADS=1",
        "export JAX_PLATFORMS=cpu",
    ]
    with pytest.raises(ValueError, match="1 or more"):
        build_parsl_config_flux(0)


def test_without_parsl_it_is_said() -> None:
    code = (
        "import sys; sys.modules['parsl'] = None\nimport importlib.util\n"
        "from oact_dagster.workflows import build_parsl_config_flux\n"
        "importlib.util.find_spec = lambda name: None\n"
        "try:\n    build_parsl_config_flux()\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "Parsl is not installed: pip install 'parsl>=2025.1.13,<2026.11'\n", done.stderr
    assert builtins.__import__ is not None


@pytest.mark.parsl
def test_running_jobs_on_this_node(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("scf_not_converged", 1)
    engine.set("hang", 2)
    seen: list[int | None] = []

    def add_notes(job_dir: Path, job_record: JobRecord) -> None:
        seen.append(job_record.orig_index)
        (job_dir / "notes.txt").write_text("mine")

    with workflow_of(tmp_path, 4) as workflow:
        with pytest.warns(UserWarning, match="n_cores 16 is not cores_per_worker 1"):
            done = submit_batch_parsl(
                workflow, tmp_path / "jobs", 3, max_workers=1, cores_per_worker=1, orca_config=config(engine),
                setup_func=add_notes, timeout_seconds=1, randomize=False,
            )  # fmt: skip
        assert done == [1, 2, 3] and sorted(engine.runs) == [0, 1, 2] and seen == [0, 1, 2]
        assert workflow.count_by_status() == {"completed": 1, "failed": 1, "timeout": 1, "to_run": 1}
        first, second, third, _ = workflow.get_jobs_by_status()
        assert first.final_energy == -76.0 and first.job_dir == str(tmp_path / "jobs" / "job_0")
        assert (second.fail_count, third.fail_count) == (1, 1)
        assert (tmp_path / "jobs" / "job_0" / "notes.txt").read_text() == "mine"
        assert "nprocs 1" in (tmp_path / "jobs" / "job_0" / "orca.inp").read_text().replace("\n", " ")
        # The next call takes the rest.
        assert submit_batch_parsl(
            workflow,
            tmp_path / "jobs",
            9,
            max_workers=1,
            cores_per_worker=1,
            n_cores=1,
            orca_config=config(engine),
        ) == [4]
        assert workflow.count_by_status()[JobStatus.COMPLETED] == 2


@pytest.mark.parsl
def test_chronic_failures_are_left_out(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("scf_not_converged", 0)
    attempts = 0
    with workflow_of(tmp_path, 1) as workflow:
        for _ in range(5):
            done = submit_batch_parsl(
                workflow, tmp_path / "jobs", 5, max_workers=1, cores_per_worker=1, n_cores=1,
                orca_config=config(engine), max_fail_count=3,
            )  # fmt: skip
            attempts += len(done)
            workflow.reset_failed_jobs()
        assert attempts == 3 == len(engine.runs)
        assert [job.fail_count for job in workflow.get_jobs_by_fail_count(3)] == [3]


def test_a_dry_run_writes_folders_only(tmp_path: Path, engine: TestEngine) -> None:
    with workflow_of(tmp_path, 3) as workflow:
        done = submit_batch_parsl(
            workflow,
            tmp_path / "jobs",
            2,
            max_workers=1,
            cores_per_worker=1,
            n_cores=1,
            orca_config=config(engine),
            dry_run=True,
        )
        assert len(done) == 2 and workflow.count_by_status() == {"to_run": 3} and engine.runs == []
        for scheduler, script in (("flux", "flux_job.flux"), ("slurm", "slurm_job.sh")):
            done = submit_batch(
                workflow, tmp_path / scheduler, 2, scheduler, orca_config=config(engine), queue="pbatch",
                dry_run=True, randomize=False,
            )  # fmt: skip
            assert done == [1, 2]
            text = (tmp_path / scheduler / "job_0" / script).read_text()
            assert "pbatch" in text and str(engine.path) in text
            assert {entry.name for entry in (tmp_path / scheduler / "job_0").iterdir()} == {
                script,
                "orca.inp",
            }
        assert workflow.count_by_status() == {"to_run": 3}


def test_what_cannot_be_submitted(tmp_path: Path) -> None:
    with workflow_of(tmp_path, 1) as workflow:
        with pytest.raises(ValueError, match="it must be one of flux, slurm"):
            submit_batch(workflow, tmp_path / "jobs", scheduler="pbs")
        with pytest.raises(EngineError, match="no such file"):
            submit_batch_parsl(
                workflow,
                tmp_path / "jobs",
                1,
                max_workers=1,
                cores_per_worker=1,
                n_cores=1,
                orca_config={"orca_path": "/no/orca"},
            )
        with pytest.raises(ValueError, match="functional"):
            submit_batch(workflow, tmp_path / "jobs", orca_config={"functional": 7})  # type: ignore[typeddict-item]
        assert workflow.count_by_status() == {"to_run": 1}
        assert not (tmp_path / "jobs").exists()


def test_submitting_to_slurm_and_looking_later(tmp_path: Path, engine: TestEngine, slurm: RealSlurm) -> None:
    (tmp_path / "campaign.yaml").write_text(
        f"name: a\ncsv: null\norca: {{command: {engine.path}}}\n"
        "launcher: {kind: slurm, mem: none, poll_interval_s: 0.3, grace_s: 2}\n"
    )
    with workflow_of(tmp_path, 3) as workflow:
        done = submit_batch(
            workflow, tmp_path / "jobs", 2, "slurm", orca_config=config(engine), n_cores=1, n_hours=0.2,
            randomize=False,
        )  # fmt: skip
        assert done == [1, 2]
        assert workflow.count_by_status() == {"running": 2, "to_run": 1}
        script = (tmp_path / "jobs" / "job_0" / "slurm_job.sh").read_text()
        [attempt] = workflow.ledger.history.attempts(0)
        assert f"--token {attempt.token}" in script and attempt.scheduler_job_id is not None
    until(lambda: all((tmp_path / "jobs" / f"job_{n}" / "exit.json").exists() for n in (0, 1)))
    # By hand it is the same attempt, which has begun.
    again = subprocess.run(
        [str(tmp_path / "jobs" / "job_0" / "slurm_job.sh")], capture_output=True, text=True, timeout=60
    )
    assert again.returncode != 0 and sorted(engine.runs) == [0, 1]
    shown = oact("dashboard", tmp_path / "workflow.db", "--update", tmp_path / "jobs")
    assert "Updated 2 of 2 running jobs: 2 completed" in shown.stdout, shown.stderr
    with ArchitectorWorkflow(tmp_path / "workflow.db") as workflow:
        assert workflow.ledger.history.attempts(0)[0].outcome is Outcome.COMPLETED
    assert (tmp_path / "jobs" / "job_1" / ATTEMPT_FILE).is_file()


def test_a_silent_job_in_slurm_is_cancelled_and_then_marked(
    tmp_path: Path, engine: TestEngine, slurm: RealSlurm
) -> None:
    engine.set("hang")
    settings = tmp_path / "campaign.yaml"
    settings.write_text(
        f"name: a\ncsv: null\norca: {{command: {engine.path}}}\nlauncher: {{kind: slurm, mem: none, stop_grace_s: 1}}\n"
    )
    with workflow_of(tmp_path, 1) as workflow:
        submit_batch(workflow, tmp_path / "jobs", 1, "slurm", n_cores=1, n_hours=0.5)
        [attempt] = workflow.ledger.history.attempts(0)
    output = tmp_path / "jobs" / "job_0" / "orca.out"
    until(lambda: output.exists() and output.stat().st_size > 0)
    # The settings are not needed to ask a scheduler that is on PATH.
    settings.unlink()
    fresh = oact("dashboard", tmp_path / "workflow.db", "--update", tmp_path / "jobs")
    assert "Updated 0 of 1 running job" in fresh.stdout, fresh.stderr
    age(output, 7)
    shown = oact("dashboard", tmp_path / "workflow.db", "--update", tmp_path / "jobs")
    assert "Updated 1 of 1 running job: 1 timeout" in shown.stdout, shown.stdout + shown.stderr
    assert slurm.jobs("%T", str(attempt.scheduler_job_id)) != ["RUNNING"]
    with ArchitectorWorkflow(tmp_path / "workflow.db") as workflow:
        [job] = workflow.get_jobs_by_status(JobStatus.TIMEOUT)
    assert job.error_message is not None and job.error_message.endswith("; it was ended")
    assert job.fail_count == 1


def test_a_scheduler_that_does_not_answer_is_told(
    tmp_path: Path, engine: TestEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sbatch", "squeue", "scancel", "sacct", "scontrol"):
        program = programs / name
        program.write_text(
            f"#!/bin/sh\necho '{name}: error: Unable to contact slurm controller (connect failure)' >&2\nexit 1\n"
        )
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with workflow_of(tmp_path, 2) as workflow:
        with pytest.warns(UserWarning) as told:
            begun = submit_batch(
                workflow, tmp_path / "jobs", scheduler="slurm", orca_config=config(engine), n_cores=1
            )
        assert begun == []
        assert len(workflow.get_jobs_by_status(JobStatus.TO_RUN)) == 2
    words = " ".join(str(one.message) for one in told)
    assert "Unable to contact slurm controller" in words and "2 jobs were not submitted: " in words

"""The document's own session from start to end, on this node, with the test engine in place of ORCA."""

import subprocess
import sys
from pathlib import Path

import pytest

from oact_dagster.workflows import (
    ArchitectorWorkflow,
    JobStatus,
    OrcaConfig,
    create_workflow_db,
    submit_batch,
    submit_batch_parsl,
    update_job_status,
)
from oact_dagster_tests.campaigns import write_csv
from oact_dagster_tests.cli.command import environment, oact
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.job_folders import made_job

pytestmark = pytest.mark.slow


def dashboard(db: Path, *flags: str | Path) -> str:
    """The command as the document has it, after a change of its package."""
    done = subprocess.run(
        [sys.executable, "-m", "oact_dagster.workflows.dashboard", str(db), *map(str, flags)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


def test_the_documents_session(tmp_path: Path) -> None:
    engine = TestEngine(tmp_path / "engine")
    jobs = tmp_path / "jobs"

    # 1. Initialize the workflow.
    db = create_workflow_db(
        csv_path=str(write_csv(tmp_path / "architector_output.csv", 10)),
        db_path=str(tmp_path / "workflow.db"),
        geometry_column="aligned_csd_core",
        charge_column="charge",
        spin_column="uhf",
    )
    assert "to_run             10     100.0%" in dashboard(db)

    # 2. Look at what a submission would be.
    orca_config: OrcaConfig = {
        "functional": "wB97M-V",
        "simple_input": "omol",
        "actinide_basis": "ma-def-TZVP",
        "opt": False,
        "orca_path": str(engine.path),
    }
    with ArchitectorWorkflow(str(db)) as workflow:
        ready = workflow.get_jobs_by_status(JobStatus.READY)
        assert len(ready) == 10
        submit_batch(
            workflow=workflow, root_dir=str(tmp_path / "dry"), batch_size=100, scheduler="flux",
            orca_config=orca_config, n_cores=8, n_hours=4, conda_env="py10mpi", dry_run=True,
        )  # fmt: skip
        text = (tmp_path / "dry" / "job_0" / "flux_job.flux").read_text()
        assert "#flux: -n 8\n" in text and "#flux: -t 240m\n" in text and "conda activate py10mpi" in text
        assert workflow.count_by_status() == {"to_run": 10}

    # 3. Jobs that were submitted otherwise, and are marked by hand.
    with ArchitectorWorkflow(db) as workflow:
        workflow.update_status_bulk([1, 2, 3], JobStatus.RUNNING)
        assert workflow.count_by_status() == {"to_run": 7, "running": 3}
    made_job(jobs / "job_0", engine, 0)
    made_job(jobs / "job_1", engine, 1, "scf_not_converged")
    made_job(jobs / "job_2", engine, 2, "half", silent_h=6.5)
    shown = dashboard(db, "--update", jobs)
    assert "Updated 3 of 3 running jobs: 1 completed, 1 failed, 1 timeout" in shown
    assert "completed           1      10.0%" in shown

    # 4. Submit more, in parallel on this node.
    engine.set("scf_not_converged", 4)
    with ArchitectorWorkflow(db) as workflow:
        submitted = submit_batch_parsl(
            workflow=workflow, root_dir=jobs, num_jobs=100, max_workers=1, cores_per_worker=1,
            orca_config=orca_config, n_cores=1, conda_env=None, dry_run=False, max_fail_count=3,
            timeout_seconds=60,
        )  # fmt: skip
        assert sorted(submitted) == [4, 5, 6, 7, 8, 9, 10]
        assert len(workflow.get_jobs_by_status(JobStatus.COMPLETED)) == 7
        assert [job.id for job in workflow.get_jobs_by_status(JobStatus.FAILED)] == [2, 5]

    # 5. Monitor.
    shown = dashboard(db, "--show-metrics")
    assert "Total jobs with metrics: 7\n" in shown and "Jobs with timing data: 7\n" in shown
    assert "  Total:  25.2 (0.007 hours)\n" in shown
    assert "Failures by class: failed 1, scf_not_converged 1, timeout 1" in shown
    assert "scf_not_converged" in dashboard(db, "--show-failed")
    assert "has not changed for 6.5 h" in dashboard(db, "--show-timeout")

    # 6. Failures and timeouts.
    assert dashboard(db, "--reset-timeout").startswith("Reset 1 timed-out job to to_run\n")
    assert dashboard(db, "--reset-failed", "--max-retries", "3").startswith("Reset 2 failed jobs to to_run\n")
    assert dashboard(db, "--reset-failed", "--include-timeout-in-reset").startswith("Reset 0 ")
    for index in (1, 2, 4):
        engine.set("normal", index)
    with ArchitectorWorkflow(db) as workflow:
        assert [(job.id, job.fail_count) for job in workflow.get_jobs_by_fail_count()] == [
            (2, 1),
            (3, 1),
            (5, 1),
        ]
        submit_batch_parsl(
            workflow, jobs, 100, max_workers=1, cores_per_worker=1, orca_config=orca_config, n_cores=1,
            max_fail_count=3,
        )  # fmt: skip
        assert workflow.count_by_status() == {"completed": 10}
        assert workflow.get_jobs_by_fail_count(min_fail_count=3) == []
    assert "None\n" in dashboard(db, "--show-chronic-failures", "3")

    # 7. Metrics by hand, and from a folder.
    with ArchitectorWorkflow(db) as workflow:
        assert update_job_status(workflow=workflow, job_dir=jobs / "job_7", job_id=8) == JobStatus.COMPLETED
        workflow.update_job_metrics(
            job_id=8, job_dir="/path/to/job_7", max_forces=0.00123, scf_steps=15, final_energy=-1234.56
        )
        [job] = [job for job in workflow.get_jobs_by_status("completed") if job.id == 8]
        assert (job.final_energy, job.scf_steps) == (-1234.56, 15)
        workflow.update_job_metrics(job_id=8, job_dir=jobs / "job_7", final_energy=-76.0007, scf_steps=12)
        assert list(workflow.get_summary()["percent"]) == [100.0]

    # Ledger and folders agree at the end, and what is not needed any more can go.
    done = oact("fsck", db, jobs)
    assert done.returncode == 0, done.stdout
    assert oact("clean", db, jobs).returncode == 0

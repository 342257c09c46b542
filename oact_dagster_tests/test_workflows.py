"""The programmatic API, call by call."""

import gzip
import inspect
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oact_dagster.workflows as api
from oact_dagster.errors import SetupError
from oact_dagster.workflows import (
    DEFAULT_ORCA_CONFIG,
    ArchitectorWorkflow,
    JobRecord,
    JobStatus,
    check_job_termination,
    create_workflow,
    create_workflow_db,
    parse_job_metrics,
    prepare_job_directory,
    update_job_status,
)
from oact_dagster_tests.campaigns import WATER, write_csv
from oact_dagster_tests.cli.command import environment
from oact_dagster_tests.engines import GRADIENT, TestEngine
from oact_dagster_tests.job_folders import age, made_job
from oact_dagster_tests.ledger.old_files import old_file


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[ArchitectorWorkflow]:
    """An old file with ids 1 to 8: two to run, ready, running, completed, failed twice, timed out."""
    rows: list[dict[str, Any]] = [
        {"status": "to_run"},
        {"status": "to_run"},
        {"status": "ready"},
        {"status": "running"},
        {"status": "completed", "final_energy": -1.5},
        {"status": "failed", "error_message": "no", "fail_count": 1},
        {"status": "failed", "error_message": "no", "fail_count": 3},
        {"status": "timeout", "error_message": "silent", "fail_count": 0},
    ]
    with ArchitectorWorkflow(old_file(tmp_path / "workflow.db", rows)) as opened:
        yield opened


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path / "engine")


def ids(jobs: list[JobRecord]) -> list[int]:
    return [job.id for job in jobs]


def job(workflow: ArchitectorWorkflow, job_id: int) -> JobRecord:
    return next(one for one in workflow.get_jobs_by_status() if one.id == job_id)


def test_importing_it_is_light() -> None:
    code = (
        "import sys, oact_dagster.workflows\n"
        "print([name for name in ('dagster', 'pandas', 'parsl', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    ("call", "parameters"),
    [
        (
            create_workflow_db,
            {
                "csv_path": ..., "db_path": ..., "geometry_column": "aligned_csd_core", "charge_column": "charge",
                "spin_column": "uhf", "batch_size": 10000, "debug": False,
            },
        ),
        (
            create_workflow,
            {
                "csv_path": ..., "db_path": ..., "geometry_column": "aligned_csd_core", "charge_column": "charge",
                "spin_column": "uhf", "batch_size": 10000,
            },
        ),
        (ArchitectorWorkflow, {"db_path": ..., "timeout": 30.0}),
        (ArchitectorWorkflow.get_jobs_by_status, {"self": ..., "status": None}),
        (
            ArchitectorWorkflow.update_status,
            {
                "self": ..., "job_id": ..., "new_status": ..., "error_message": None,
                "increment_fail_count": False,
            },
        ),
        (
            ArchitectorWorkflow.update_job_metrics,
            {
                "self": ..., "job_id": ..., "job_dir": None, "max_forces": None, "scf_steps": None,
                "final_energy": None, "error_message": None, "wall_time": None, "n_cores": None,
            },
        ),
        (ArchitectorWorkflow.update_status_bulk, {"self": ..., "job_ids": ..., "new_status": ...}),
        (ArchitectorWorkflow.mark_jobs_as_running, {"self": ..., "job_ids": ...}),
        (
            ArchitectorWorkflow.reset_failed_jobs,
            {"self": ..., "max_fail_count": None, "include_timeout": False},
        ),
        (ArchitectorWorkflow.reset_timeout_jobs, {"self": ..., "max_fail_count": None}),
        (ArchitectorWorkflow.get_jobs_by_fail_count, {"self": ..., "min_fail_count": 1}),
        (
            update_job_status,
            {"workflow": ..., "job_dir": ..., "job_id": ..., "extract_metrics": True, "unzip": False},
        ),
        (
            prepare_job_directory,
            {
                "job_record": ..., "root_dir": ..., "job_dir_pattern": "job_{orig_index}", "orca_config": None,
                "n_cores": 4, "setup_func": None,
            },
        ),
        (parse_job_metrics, {"job_dir": ..., "unzip": False}),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)  # fmt: skip
def test_the_parameters_and_their_defaults(call: Any, parameters: dict[str, Any]) -> None:
    found = {
        name: ... if one.default is inspect.Parameter.empty else one.default
        for name, one in inspect.signature(call).parameters.items()
    }
    assert found == parameters and list(found) == list(parameters)


# --- create_workflow_db, create_workflow ------------------------------------------------------------------------------


def test_a_database_from_a_csv(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", 4, broken=(2,))
    made = create_workflow_db(str(tmp_path / "a.csv"), str(tmp_path / "new" / "workflow.db"))
    assert made == tmp_path / "new" / "workflow.db"
    with ArchitectorWorkflow(made) as workflow:
        assert workflow.count_by_status() == {"to_run": 3}
        first = job(workflow, 1)
    assert (first.orig_index, first.natoms, first.charge, first.spin) == (0, 3, 0, 1)
    assert first.elements == "O;H;H" and first.status is JobStatus.TO_RUN and first.job_dir is None
    # Called again with a CSV that has grown, it takes in the rest.
    write_csv(tmp_path / "a.csv", 2, first=4)
    with ArchitectorWorkflow(create_workflow_db(tmp_path / "a.csv", made)) as workflow:
        assert workflow.count_by_status() == {"to_run": 5}


def test_columns_that_are_none_and_debug(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text(f'geo\n"{WATER.format(z=0)}"\n')
    create_workflow_db(
        tmp_path / "a.csv", tmp_path / "workflow.db", "geo", None, None, batch_size=1, debug=True
    )
    assert "1 row, 1 taken in" in capsys.readouterr().out


def test_a_csv_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", 1)
    with pytest.raises(FileNotFoundError, match="no such CSV"):
        create_workflow_db(tmp_path / "none.csv", tmp_path / "workflow.db")
    with pytest.raises(ValueError, match="no column 'geo'"):
        create_workflow_db(tmp_path / "a.csv", tmp_path / "workflow.db", geometry_column="geo")
    with pytest.raises(ValueError, match="batch_size"):
        create_workflow_db(tmp_path / "a.csv", tmp_path / "workflow.db", batch_size=0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


def test_create_workflow_opens_it(tmp_path: Path) -> None:
    path, workflow = create_workflow(write_csv(tmp_path / "a.csv", 2), tmp_path / "workflow.db")
    with workflow:
        assert path == tmp_path / "workflow.db" and len(workflow.get_jobs_by_status("to_run")) == 2


# --- ArchitectorWorkflow ----------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="create_workflow_db"):
        ArchitectorWorkflow(tmp_path / "workflow.db")
    assert not list(tmp_path.iterdir())


def test_the_names_of_statuses_and_of_a_records_fields() -> None:
    assert {one.name: str(one) for one in JobStatus} == {
        name.upper(): name for name in ("to_run", "ready", "running", "completed", "failed", "timeout")
    }
    assert [one.name for one in fields(JobRecord)] == [
        "id", "orig_index", "elements", "natoms", "status", "charge", "spin", "geometry", "job_dir", "max_forces",
        "scf_steps", "final_energy", "error_message", "fail_count", "wall_time", "n_cores",
    ]  # fmt: skip


def test_get_jobs_by_status(workflow: ArchitectorWorkflow) -> None:
    assert ids(workflow.get_jobs_by_status()) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert ids(workflow.get_jobs_by_status(JobStatus.READY)) == [1, 2, 3]
    assert ids(workflow.get_jobs_by_status(JobStatus.TO_RUN)) == [1, 2]
    assert ids(workflow.get_jobs_by_status([JobStatus.FAILED, JobStatus.TIMEOUT])) == [6, 7, 8]
    assert ids(workflow.get_jobs_by_status("completed")) == [5]
    assert workflow.get_jobs_by_status([]) == []
    assert job(workflow, 3).status is JobStatus.READY
    with pytest.raises(ValueError, match="no such status 'done'; there are to_run"):
        workflow.get_jobs_by_status("done")


def test_counts_are_by_the_stored_status(workflow: ArchitectorWorkflow) -> None:
    counts = workflow.count_by_status()
    assert counts == {"to_run": 2, "ready": 1, "running": 1, "completed": 1, "failed": 2, "timeout": 1}
    assert counts[JobStatus.TO_RUN] == counts["to_run"] == 2  # type: ignore[index]


def test_get_summary(workflow: ArchitectorWorkflow) -> None:
    table = workflow.get_summary()
    assert list(table.columns) == ["status", "count", "percent"] and len(table) == 6
    assert table.set_index("status").loc["failed"].to_dict() == {"count": 2, "percent": 25.0}
    assert table["percent"].sum() == pytest.approx(100)


def test_update_status(workflow: ArchitectorWorkflow) -> None:
    workflow.update_status(job_id=1, new_status=JobStatus.FAILED, error_message='it\'s "quoted"\nÅ')
    assert (job(workflow, 1).error_message, job(workflow, 1).fail_count) == ('it\'s "quoted"\nÅ', 0)
    workflow.update_status(2, JobStatus.FAILED, increment_fail_count=True)
    assert job(workflow, 2).fail_count == 1
    workflow.update_status(np.int64(1), "to_run")  # type: ignore[arg-type]
    assert (job(workflow, 1).status, job(workflow, 1).error_message) == (JobStatus.TO_RUN, None)
    # Old files keep `ready`; nothing writes it.
    workflow.update_status(8, JobStatus.READY)
    assert job(workflow, 8).status is JobStatus.TO_RUN
    with pytest.raises(ValueError, match="no job with the id 99"):
        workflow.update_status(99, JobStatus.FAILED)
    with pytest.raises(ValueError, match="no such status"):
        workflow.update_status(1, "done")


def test_update_status_bulk_and_mark_jobs_as_running(workflow: ArchitectorWorkflow) -> None:
    workflow.update_status_bulk([1, 2, 3], JobStatus.RUNNING)
    assert workflow.count_by_status()[JobStatus.RUNNING] == 4
    workflow.mark_jobs_as_running(one for one in (6, 7))
    assert ids(workflow.get_jobs_by_status(JobStatus.RUNNING)) == [1, 2, 3, 4, 6, 7]
    with pytest.raises(ValueError, match="no job with the id 77"):
        workflow.update_status_bulk([8, 77], JobStatus.COMPLETED)
    assert job(workflow, 8).status is JobStatus.TIMEOUT


def test_update_job_metrics(workflow: ArchitectorWorkflow) -> None:
    workflow.update_job_metrics(
        job_id=4, job_dir=Path("/path/to/job_3"), max_forces=0.00123, scf_steps=15, final_energy=-1234.56
    )
    workflow.update_job_metrics(4, wall_time=12, n_cores=np.int32(4))  # type: ignore[arg-type]
    found = job(workflow, 4)
    assert (found.job_dir, found.max_forces, found.scf_steps) == ("/path/to/job_3", 0.00123, 15)
    assert (found.final_energy, found.wall_time, found.n_cores) == (-1234.56, 12.0, 4)
    workflow.update_status(4, JobStatus.COMPLETED)
    assert job(workflow, 4).final_energy == -1234.56
    with pytest.raises(ValueError, match="no job with the id 99"):
        workflow.update_job_metrics(99, scf_steps=1)


def test_resets(workflow: ArchitectorWorkflow) -> None:
    workflow.reset_failed_jobs(max_fail_count=3)
    # Both failures of the old file are counted by the reset; the second had used up three before.
    assert [(one.id, one.fail_count) for one in workflow.get_jobs_by_fail_count(1)] == [(7, 4), (6, 2)]
    assert (job(workflow, 6).status, job(workflow, 6).error_message) == (JobStatus.TO_RUN, None)
    assert job(workflow, 7).status is JobStatus.FAILED and job(workflow, 8).status is JobStatus.TIMEOUT
    workflow.reset_timeout_jobs()
    assert (job(workflow, 8).status, job(workflow, 8).fail_count) == (JobStatus.TO_RUN, 1)
    workflow.update_status(8, JobStatus.TIMEOUT)
    workflow.reset_failed_jobs(include_timeout=True)
    assert workflow.count_by_status().get(JobStatus.FAILED) is None
    assert [one.id for one in workflow.get_jobs_by_fail_count(min_fail_count=4)] == [7]


# --- how jobs ended ---------------------------------------------------------------------------------------------------


def test_check_job_termination(tmp_path: Path, engine: TestEngine) -> None:
    good = made_job(tmp_path / "good", engine, 0)
    assert check_job_termination(good) == check_job_termination(str(good / "orca.out")) == 1
    assert check_job_termination(made_job(tmp_path / "bad", engine, 1, "scf_not_converged")) == -1
    assert check_job_termination(made_job(tmp_path / "running", engine, 2, "half")) == 0
    assert check_job_termination(made_job(tmp_path / "silent", engine, 3, "half", silent_h=6.1)) == -2
    # An end that is written counts, however long ago.
    assert check_job_termination(made_job(tmp_path / "old", engine, 4, silent_h=600)) == 1
    (tmp_path / "empty").mkdir()
    assert check_job_termination(tmp_path / "empty") == check_job_termination(tmp_path / "none") == 0
    with (good / "orca.out").open("rb") as plain, gzip.open(tmp_path / "orca.out.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    assert check_job_termination(tmp_path / "orca.out.gz") == 1


def test_parse_job_metrics(tmp_path: Path, engine: TestEngine) -> None:
    found = parse_job_metrics(made_job(tmp_path / "good", engine, 7))
    assert found == {
        "max_forces": GRADIENT, "scf_steps": 12, "final_energy": pytest.approx(-76.0007), "success": True,
    }  # fmt: skip
    found = parse_job_metrics(made_job(tmp_path / "bad", engine, 8, "scf_not_converged"))
    assert found["success"] is False and found["error"].startswith("scf_not_converged: ")
    found = parse_job_metrics(tmp_path / "none")
    assert (found["max_forces"], found["scf_steps"], found["final_energy"], found["success"]) == (
        None, None, None, False,
    )  # fmt: skip


def test_parse_job_metrics_of_real_files(orca_outputs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "quacc"
    folder.mkdir()
    shutil.copyfile(orca_outputs / "oact__NpF3_quacc_orca.out.gz", folder / "orca.out.gz")
    shutil.copyfile(orca_outputs / "oact__NpF3_quacc_orca.engrad.gz", folder / "orca.engrad.gz")
    for unzip in (False, True):
        found = parse_job_metrics(folder, unzip=unzip)
        assert found["success"] is True and found["final_energy"] < -1 and found["scf_steps"] > 0
        assert 0 < found["max_forces"] < 1


def test_update_job_status(workflow: ArchitectorWorkflow, tmp_path: Path, engine: TestEngine) -> None:
    jobs = tmp_path / "jobs"
    assert update_job_status(workflow, made_job(jobs / "job_0", engine, 0), 1) is JobStatus.COMPLETED
    found = job(workflow, 1)
    assert (found.final_energy, found.max_forces, found.scf_steps) == (-76.0, GRADIENT, 12)
    assert (found.wall_time, found.n_cores, found.job_dir) == (3.6, 4, str(jobs / "job_0"))
    assert (
        update_job_status(workflow, made_job(jobs / "job_1", engine, 1), 2, extract_metrics=False)
        == "completed"
    )
    assert job(workflow, 2).final_energy is None
    assert update_job_status(workflow, made_job(jobs / "job_2", engine, 2, "memory"), 3) is JobStatus.FAILED
    assert job(workflow, 3).error_message is not None
    running = made_job(jobs / "job_3", engine, 3, "half")
    assert update_job_status(workflow, running, 4) is JobStatus.RUNNING
    age(running / "orca.out", 7)
    assert update_job_status(workflow, str(running), 4, unzip=True) is JobStatus.TIMEOUT
    (jobs / "job_5").mkdir()
    assert update_job_status(workflow, jobs / "job_5", 6) is JobStatus.FAILED
    assert update_job_status(workflow, jobs / "none", 8) is JobStatus.FAILED
    assert job(workflow, 8).error_message == "Job directory not found"
    with pytest.raises(ValueError, match="no job with the id 99"):
        update_job_status(workflow, jobs, 99)


# --- what ORCA computes -----------------------------------------------------------------------------------------------


def record(**changes: Any) -> JobRecord:
    values: dict[str, Any] = {
        "id": 8, "orig_index": 7, "elements": "O;H;H", "natoms": 3, "status": JobStatus.TO_RUN, "charge": 0,
        "spin": 1, "geometry": WATER.format(z=0),
    }  # fmt: skip
    return JobRecord(**(values | changes))


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert DEFAULT_ORCA_CONFIG == {
        "functional": "wB97M-V", "simple_input": "omol", "actinide_basis": "ma-def-TZVP",
        "actinide_ecp": "def-ECP", "non_actinide_basis": "def2-TZVPD", "scf_MaxIter": None, "nbo": False,
        "opt": False,
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OACT_CAMPAIGN", raising=False)
    assert api.DEFAULT_ORCA_PATHS == {"flux": "orca", "slurm": "orca"}
    (tmp_path / "campaign.yaml").write_text("name: a\ncsv: null\norca: {command: /opt/orca/orca}\n")
    assert api.DEFAULT_ORCA_PATHS == {"flux": "/opt/orca/orca", "slurm": "/opt/orca/orca"}
    with pytest.raises(AttributeError, match="NO_SUCH"):
        _ = api.NO_SUCH


def test_prepare_job_directory(tmp_path: Path) -> None:
    made = prepare_job_directory(record(), tmp_path / "jobs")
    text = (made / "orca.inp").read_text()
    assert made == tmp_path / "jobs" / "job_7" and [entry.name for entry in made.iterdir()] == ["orca.inp"]
    assert "! wB97M-V def2-TZVPD EnGrad" in text and "nprocs 4" in text and "* xyz 0 1" in text
    made = prepare_job_directory(
        record(),
        str(tmp_path / "jobs"),
        "calc_{id}",
        {**DEFAULT_ORCA_CONFIG, "opt": True, "scf_MaxIter": 77},
        8,
    )
    text = (made / "orca.inp").read_text()
    assert made.name == "calc_8" and " Opt" in text and "maxiter 77" in text.lower() and "nprocs 8" in text


def test_prepare_calls_the_setup_func_and_can_be_repeated(tmp_path: Path) -> None:
    seen = []

    def add_notes(job_dir: Path, job_record: JobRecord) -> None:
        seen.append((job_dir / "orca.inp").exists())
        (job_dir / "notes.txt").write_text(f"structure {job_record.orig_index}")

    for _ in range(2):
        made = prepare_job_directory(record(), tmp_path, setup_func=add_notes)
        assert (made / "notes.txt").read_text() == "structure 7"
    assert seen == [True, True] and [entry.name for entry in tmp_path.iterdir()] == ["job_7"]
    # What has run is never overwritten.
    (made / "orca.out").write_text("computed")
    prepare_job_directory(record(), tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["job_7", "job_7.attempt-0"]
    assert (tmp_path / "job_7.attempt-0" / "orca.out").read_text() == "computed"

    def breaks(job_dir: Path, job_record: JobRecord) -> None:
        raise RuntimeError("disk on fire")

    with pytest.raises(SetupError, match="disk on fire"):
        prepare_job_directory(record(orig_index=9), tmp_path, setup_func=breaks)
    assert not (tmp_path / "job_9").exists()


def test_prepare_without_a_geometry(tmp_path: Path) -> None:
    made = prepare_job_directory(record(geometry=None), tmp_path)
    assert made.is_dir() and not list(made.iterdir())


def test_what_cannot_be_computed_is_refused(tmp_path: Path) -> None:
    uranium = record(geometry="U 0 0 0\nO 0 0 1.8\nO 0 0 -1.8", charge=2)
    # The old documentation's own example: a basis with a core potential, and a template that treats all electrons.
    with pytest.raises(ValueError, match="for actinide_basis use SARC-DKH-TZVP"):
        prepare_job_directory(
            uranium, tmp_path, orca_config={"simple_input": "x2c", "actinide_basis": "ma-def-TZVP"}
        )
    with pytest.raises(ValueError, match=r"orca_config: no such key basis; there are functional"):
        prepare_job_directory(record(), tmp_path, orca_config={"basis": "x"})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(ValueError, match="no orig_index"):
        prepare_job_directory(record(orig_index=None), tmp_path)
    with pytest.raises(ValueError, match=r"^job_dir_pattern: must stay inside jobs_dir"):
        prepare_job_directory(record(), tmp_path, "../{id}")
    assert not list(tmp_path.iterdir())

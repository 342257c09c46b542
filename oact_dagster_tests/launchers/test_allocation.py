"""What an allocation offers, and when it ends: variables, schedulers' commands, and cgroups as they are found."""

import os
import time
from pathlib import Path

import pytest

from oact_dagster.launchers.allocation import (
    Cores,
    cores_here,
    cores_missing,
    find_allocation_end,
    nodes_here,
)


def command(folder: Path, name: str, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_slurm_says_when_a_job_ends() -> None:
    end = find_allocation_end({"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": "1900000000"})
    assert end is not None and end.at == 1900000000.0
    assert "2030" in str(end) and "SLURM_JOB_END_TIME" in str(end)


@pytest.mark.parametrize(
    ("left", "seconds"),
    [("1-02:03:04", 93784), ("02:03:04", 7384), ("03:04", 184), ("0:00", 0), ("UNLIMITED", None), ("", None)],
)
def test_an_older_slurm_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str, seconds: int | None
) -> None:
    command(tmp_path, "squeue", f"[ \"$*\" = '-h -j 7 -o %L' ] && echo '{left}'", monkeypatch)
    end = find_allocation_end({"SLURM_JOB_ID": "7"})
    if seconds is None:
        assert end is None
    else:
        assert end is not None and end.at - time.time() == pytest.approx(seconds, abs=5)


@pytest.mark.parametrize(
    ("answer", "seconds"), [("echo 5400.5", 5400.5), ("echo inf", None), ("exit 1", None)]
)
def test_flux_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, seconds: float | None
) -> None:
    command(tmp_path, "flux", f"[ \"$*\" = 'job timeleft' ] && {answer}", monkeypatch)
    end = find_allocation_end({"FLUX_ENCLOSING_ID": "f1"})
    if seconds is None:
        assert end is None
    else:
        assert end is not None and end.at - time.time() == pytest.approx(seconds, abs=5)


def test_a_frozen_flux_costs_its_time_limit_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path, "flux", "exec sleep 100", monkeypatch)
    assert find_allocation_end({"FLUX_JOB_ID": "f1"}, timeout_s=0.2) is None


def test_outside_of_an_allocation_there_is_no_end() -> None:
    assert find_allocation_end({}) is None


# --- cores ---------------------------------------------------------------------------------------------------------


def sources(limits: list[Cores]) -> dict[str, int]:
    return {limit.source: limit.count for limit in limits}


def test_the_affinity_mask_is_a_limit(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    one = min(before)
    os.sched_setaffinity(0, {one})
    try:
        assert sources(cores_here({}, tmp_path)) == {"the affinity mask": 1}
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SLURM_CPUS_ON_NODE": "64", "SLURM_JOB_CPUS_PER_NODE": "8(x2),4"}, {"SLURM_CPUS_ON_NODE": 64}),
        ({"SLURM_JOB_CPUS_PER_NODE": "8(x2),4"}, {"SLURM_JOB_CPUS_PER_NODE": 4}),
        ({"SLURM_JOB_CPUS_PER_NODE": "128"}, {"SLURM_JOB_CPUS_PER_NODE": 128}),
        ({}, {}),
    ],
)
def test_slurm_says_what_a_job_has(
    tmp_path: Path, variables: dict[str, str], expected: dict[str, int]
) -> None:
    found = sources(cores_here({"SLURM_JOB_ID": "1", **variables}, tmp_path))
    del found["the affinity mask"]
    assert found == expected
    without_job = sources(cores_here(variables, tmp_path))
    assert list(without_job) == ["the affinity mask"], "variables of a job that is over"


def test_flux_is_asked_what_an_allocation_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(tmp_path, "flux", "echo 3 96", monkeypatch)
    environ = {"FLUX_ENCLOSING_ID": "f1"}
    assert sources(cores_here(environ, tmp_path))["flux resource list"] == 32
    assert nodes_here(environ) == 3
    assert nodes_here({}) == 1
    assert nodes_here({"SLURM_JOB_ID": "1", "SLURM_JOB_NUM_NODES": "4"}) == 4


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, None),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/cpu.max": "250000 100000"}, 2),
        (
            {
                "proc/self/cgroup": "0::/a/b",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000",
                "sys/fs/cgroup/a/cpu.max": "400000 100000",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/job\n1:name=systemd:/",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "300000",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/job",
                "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        ({"proc/self/cgroup": "nonsense"}, None),
    ],
)
def test_cgroups_limit_cores_by_their_quota(tmp_path: Path, files: dict[str, str], cores: int | None) -> None:
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").touch()
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert sources(cores_here({}, tmp_path)).get("the cgroup's CPU quota") == cores


def test_workers_that_do_not_fit_are_told_with_all_numbers() -> None:
    limits = [Cores(32, "SLURM_CPUS_ON_NODE"), Cores(64, "the affinity mask")]
    assert cores_missing(2, 16, limits) == ""
    assert cores_missing(4, 16, limits) == (
        "launcher.max_workers 4 times launcher.cores_per_worker 16 is 64 cores, but this node offers 32 (32 by"
        " SLURM_CPUS_ON_NODE, 64 by the affinity mask); lower one of them, or set launcher.oversubscribe: true"
    )

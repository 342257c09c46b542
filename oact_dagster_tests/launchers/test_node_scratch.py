"""Calculations on a disk of the node, with real payloads: what goes there, what comes back, and what is told."""

from dataclasses import replace
from pathlib import Path

import pytest

from oact_dagster.launchers.attempt_files import ATTEMPT_FILE, How, read_exit, read_spec, spec_text
from oact_dagster.launchers.local import LocalLauncher
from oact_dagster.schedulers.jobs import Job
from oact_dagster_tests.launchers.test_local import finish, job
from oact_dagster_tests.mounts import small_disk
from oact_dagster_tests.waiting import until

ENGINE = """
[ "$PWD" != '{folder}' ] || exit 9
cat orca.inp more/notes.txt restart.gbw
pwd
printf engrad > orca.engrad
head -c 3000 /dev/zero > orca.gbw
head -c 5000 /dev/zero > orca.densities
printf tmp > orca.P0.tmp
mkdir sub; printf new > sub/new.txt
{more}
"""


def scratch_job(
    tmp_path: Path, token: str, more: str = "", *, save_mb: float = 1.0, **changes: object
) -> Job:
    one = job(tmp_path, token, ENGINE.format(folder=tmp_path / f"job_{token}", more=more), grace_s=0.3)
    (one.folder / "restart.gbw").write_text("orbitals\n")
    (one.folder / "more").mkdir()
    (one.folder / "more" / "notes.txt").write_text("notes\n")
    spec = read_spec(one.folder)
    assert spec is not None
    (tmp_path / "node").mkdir(exist_ok=True)
    asked = {"scratch_dir": str(tmp_path / "node"), "scratch_save_mb": save_mb, **changes}
    (one.folder / ATTEMPT_FILE).write_text(spec_text(replace(spec, **asked)))  # type: ignore[arg-type]
    return one


def run(one: Job) -> None:
    launcher = LocalLauncher(1)
    launcher.submit([one])
    finish(launcher, [one.token])
    launcher.close()


def test_a_calculation_runs_on_the_node_and_comes_back_whole(tmp_path: Path) -> None:
    one = scratch_job(tmp_path, "s")
    run(one)
    record = read_exit(one.folder, "s")
    assert record is not None and (record.how, record.returncode) == (How.EXITED, 0)
    lines = (one.folder / "orca.out").read_text().splitlines()
    assert lines[:3] == ["! input", "notes", "orbitals"]
    assert lines[3].startswith(str(tmp_path / "node"))
    assert (one.folder / "orca.engrad").read_text() == "engrad"
    assert (one.folder / "orca.gbw").stat().st_size == 3000
    assert (one.folder / "sub" / "new.txt").read_text() == "new"
    names = {path.name for path in one.folder.rglob("*")}
    assert "orca.P0.tmp" not in names and not any(name.endswith(".part") for name in names)
    assert list((tmp_path / "node").iterdir()) == [], "nothing is left on the node"


def test_the_output_grows_in_the_job_folder_while_it_runs(tmp_path: Path) -> None:
    one = scratch_job(tmp_path, "grows", f"while [ ! -e '{tmp_path}/go' ]; do sleep 0.05; done")
    launcher = LocalLauncher(1)
    launcher.submit([one])
    until(
        lambda: (
            "notes" in (one.folder / "orca.out").read_text() if (one.folder / "orca.out").exists() else False
        )
    )
    assert not (one.folder / "orca.gbw").exists()
    (tmp_path / "go").touch()
    finish(launcher, ["grows"])
    launcher.close()
    assert (one.folder / "orca.gbw").exists()


def test_at_its_limit_it_saves_what_the_next_attempt_needs(tmp_path: Path) -> None:
    one = scratch_job(tmp_path, "limit", "sleep 100", time_limit_s=1.0)
    run(one)
    record = read_exit(one.folder, "limit")
    assert record is not None and record.how is How.TIME_LIMIT
    assert (one.folder / "orca.gbw").stat().st_size == 3000


def test_what_is_over_the_limit_stays_out_and_is_named(tmp_path: Path) -> None:
    one = scratch_job(tmp_path, "small", save_mb=0.0045)
    run(one)
    assert (one.folder / "orca.engrad").exists() and (one.folder / "orca.gbw").exists()
    assert not (one.folder / "orca.densities").exists()
    told = (one.folder / "payload.log").read_text()
    assert "not copied back" in told and "orca.densities (5000 bytes are over the limit)" in told


def test_a_folder_that_was_renamed_gets_its_own_results(tmp_path: Path) -> None:
    one = scratch_job(tmp_path, "old", f"while [ ! -e '{tmp_path}/go' ]; do sleep 0.05; done")
    launcher = LocalLauncher(1)
    launcher.submit([one])
    until(lambda: (one.folder / "orca.out").exists())
    aside = one.folder.rename(tmp_path / "job_old.attempt-1")
    one.folder.mkdir()
    (tmp_path / "go").touch()
    finish(launcher, ["old"])
    launcher.close()
    assert list(one.folder.iterdir()) == []
    assert (aside / "orca.gbw").exists()


@pytest.mark.parametrize("where", ["$OACT_NO_SUCH_VARIABLE/x", "$OACT_NO_SUCH_VARIABLE"])
def test_a_variable_that_the_node_does_not_have_is_told(tmp_path: Path, where: str) -> None:
    one = scratch_job(tmp_path, "variable", scratch_dir=where)
    run(one)
    record = read_exit(one.folder, "variable")
    assert record is not None and record.how is How.NOT_STARTED
    assert where in record.reason and "uses a variable that is not set there" in record.reason
    assert not (one.folder / "$OACT_NO_SUCH_VARIABLE").exists()


def test_a_full_disk_of_the_node_is_no_fault_of_other_nodes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "node", "64k"):
        one = scratch_job(tmp_path, "full")
        (one.folder / "restart.gbw").write_bytes(b"x" * 1_000_000)
        run(one)
    record = read_exit(one.folder, "full")
    assert record is not None and record.how is How.STOPPED, "lost, and tried elsewhere"
    assert "No space left on device" in record.reason

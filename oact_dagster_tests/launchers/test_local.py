"""The local launcher and the payload, with real processes: engines that end, hang, crash, and refuse to die."""

import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from oact_dagster.launchers import payload
from oact_dagster.launchers.attempt_files import (
    ATTEMPT_FILE,
    EXIT_FILE,
    START_FILE,
    AttemptSpec,
    ExitRecord,
    How,
    read_exit,
    read_spec,
    spec_text,
)
from oact_dagster.launchers.leftovers import end_leftovers
from oact_dagster.launchers.local import LocalLauncher
from oact_dagster.launchers.payload import EXIT_NOT_MINE, run_engine
from oact_dagster.schedulers.jobs import WITHDRAWN, Job, JobState, Phase, ended_with
from oact_dagster_tests.waiting import until


def script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def job(tmp_path: Path, token: str, body: str, *, time_limit_s: float = 60.0, grace_s: float = 0.3) -> Job:
    folder = tmp_path / f"job_{token}"
    folder.mkdir()
    (folder / "orca.inp").write_text("! input\n")
    command = script(tmp_path / f"engine_{token}", body)
    spec = AttemptSpec(token, 1, 0, [command], 1, time_limit_s, grace_s, {"EXTRA": "a b;c"})
    (folder / ATTEMPT_FILE).write_text(spec_text(spec))
    return Job(token, folder, 1)


def finish(launcher: LocalLauncher, tokens: list[str], seconds: float = 30.0) -> dict[str, JobState]:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        states = launcher.states(tokens)
        if all(state.phase is Phase.ENDED for state in states.values()):
            return dict(states)
        launcher.wait(0.5)
    raise AssertionError(f"not ended: {launcher.states(tokens)}")


def processes_of(token: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("OACT_ATTEMPT") == token and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def record_of(one: Job) -> ExitRecord:
    record = read_exit(one.folder, one.token)
    assert record is not None
    return record


def test_a_payload_shows_that_it_lives_however_silent_its_engine_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    started = tmp_path / START_FILE
    started.touch()
    os.utime(started, (1.0, 1.0))
    spec = AttemptSpec("token", 1, 0, ["sleep"], 1, 60.0, 1.0, sign_of_life_s=0.1)
    record = run_engine(spec, None, payload.Messages(), "1")
    assert (record.how, record.returncode) == (How.EXITED, 0)
    assert started.stat().st_mtime > 1.0


def test_an_engine_that_ends_leaves_its_record(tmp_path: Path) -> None:
    one = job(tmp_path, "t1", "cat orca.inp; exit 7")
    launcher = LocalLauncher(2)
    launcher.submit([one])
    states = finish(launcher, ["t1"])
    launcher.close()
    assert states["t1"] == ended_with(0), "the payload ends well, whatever the engine did"
    record = record_of(one)
    assert (record.how, record.returncode, record.token) == (How.EXITED, 7, "t1")
    assert record.elapsed_s >= 0
    assert record.ended_at >= record.started_at
    assert (one.folder / "orca.out").read_text() == "! input\n"


def test_at_most_max_workers_run_at_once_and_each_runs_once(tmp_path: Path) -> None:
    body = f"echo run >> '{tmp_path}/started'; sleep 0.4"
    jobs = [job(tmp_path, f"w{n}", body) for n in range(5)]
    launcher = LocalLauncher(2)
    launcher.submit(jobs)
    tokens = [one.token for one in jobs]
    most = 0
    phases = [Phase.QUEUED]
    while any(phase is not Phase.ENDED for phase in phases):
        phases = [state.phase for state in launcher.states(tokens).values()]
        most = max(most, phases.count(Phase.RUNNING))
        launcher.wait(0.1)
    launcher.close()
    assert most == 2
    assert (tmp_path / "started").read_text().count("run") == 5


SHARING = """
import sys
from pathlib import Path
from oact_dagster.launchers.local import LocalLauncher
from oact_dagster.schedulers.jobs import Job, Phase
launcher = LocalLauncher(2, jobs_dir=Path(sys.argv[1]))
jobs = [Job(token, Path(sys.argv[1]) / f"job_{token}", 1) for token in sys.argv[2:]]
launcher.submit(jobs)
while any(state.phase is not Phase.ENDED for state in launcher.states([job.token for job in jobs]).values()):
    launcher.wait(0.05)
launcher.close()
"""


def test_runs_of_one_jobs_folder_share_its_workers_also_after_one_was_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    body = f"echo + >> '{log}'; sleep 0.2; echo - >> '{log}'"
    tokens = [[job(tmp_path, f"{run}{n}", body).token for n in range(4)] for run in "abc"]
    hung = job(tmp_path, "hung", f"echo h >> '{log}'; sleep 100").token
    killed = subprocess.Popen([sys.executable, "-c", SHARING, str(tmp_path), hung])
    until(lambda: log.exists())
    runs = [subprocess.Popen([sys.executable, "-c", SHARING, str(tmp_path), *some]) for some in tokens]
    until(lambda: "-" in log.read_text())
    killed.kill()
    killed.wait()
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    lines = log.read_text().split()
    assert lines.count("+") == lines.count("-") == 12, "each has run once"
    assert lines[: lines.index("-")].count("+") == 1, "the one that hangs has the other place"
    at_once = list(itertools.accumulate({"+": 1, "-": -1, "h": 0}[line] for line in lines))
    assert max(at_once) == 2
    until(lambda: not processes_of(hung))


def test_where_there_are_no_locks_each_run_has_its_own_workers_and_says_so(tmp_path: Path) -> None:
    (tmp_path / ".workers").write_text("a file where a folder should be")
    launcher = LocalLauncher(1, jobs_dir=tmp_path)
    one = job(tmp_path, "alone", "exit 0")
    launcher.submit([one])
    finish(launcher, ["alone"])
    launcher.close()
    assert record_of(one).returncode == 0
    (note,) = launcher.notes()
    assert note.startswith("launcher.max_workers applies to each run separately: files cannot be locked: ")
    assert str(tmp_path / ".workers") in note and launcher.notes() == ()


def test_the_time_limit_ends_an_engine_that_ignores_sigterm_with_its_children(tmp_path: Path) -> None:
    body = "trap '' TERM; (trap '' TERM; sleep 100) & while :; do sleep 100; done"
    one = job(tmp_path, "limit", body, time_limit_s=2.0)
    launcher = LocalLauncher(1)
    launcher.submit([one])
    finish(launcher, ["limit"])
    launcher.close()
    record = record_of(one)
    assert record.how is How.TIME_LIMIT
    assert record.returncode == -signal.SIGKILL
    assert processes_of("limit") == []


def test_children_that_outlive_their_engine_are_ended(tmp_path: Path) -> None:
    one = job(tmp_path, "orphan", "sleep 100 & exit 0")
    launcher = LocalLauncher(1)
    launcher.submit([one])
    finish(launcher, ["orphan"])
    launcher.close()
    assert record_of(one).how is How.EXITED
    assert processes_of("orphan") == []


def test_an_engine_that_crashes_is_told_by_its_signal(tmp_path: Path) -> None:
    one = job(tmp_path, "crash", "kill -SEGV $$")
    launcher = LocalLauncher(1)
    launcher.submit([one])
    finish(launcher, ["crash"])
    launcher.close()
    assert record_of(one).returncode == -signal.SIGSEGV


@pytest.mark.parametrize(
    ("number", "how"),
    [
        (signal.SIGTERM, How.STOPPED),
        (signal.SIGUSR1, How.TIME_LIMIT),  # asked of Slurm, before the job's time limit
        (signal.SIGALRM, How.TIME_LIMIT),  # Flux's, at the limit
    ],
)
def test_a_signal_to_the_payload_ends_the_engine_and_says_why(
    tmp_path: Path, number: signal.Signals, how: How
) -> None:
    one = job(tmp_path, "told", "sleep 100")
    launcher = LocalLauncher(1)
    launcher.submit([one])
    until(lambda: any("sleep" in process.name() for process in processes_of("told")))
    os.kill(json.loads((one.folder / "started.json").read_text())["pid"], number)
    finish(launcher, ["told"])
    launcher.close()
    assert record_of(one).how is how
    assert processes_of("told") == []


def test_an_engine_that_is_ended_before_its_payload_did_not_end_by_itself(tmp_path: Path) -> None:
    one = job(tmp_path, "both", "kill -TERM $$")
    launcher = LocalLauncher(1)
    launcher.submit([one])
    until(lambda: (one.folder / "orca.out").exists())
    launcher.cancel(["both"])
    finish(launcher, ["both"])
    launcher.close()
    assert record_of(one).how is How.STOPPED, "a scheduler ends both at once"


def test_a_second_payload_of_an_attempt_runs_nothing(tmp_path: Path) -> None:
    one = job(tmp_path, "twice", f"echo run >> '{tmp_path}/started'")
    command = [sys.executable, "-P", "-m", "oact_dagster.launchers.payload", "--token", "twice"]
    codes = [
        subprocess.run(command, cwd=one.folder, capture_output=True, check=False).returncode for _ in range(2)
    ]
    assert codes == [0, EXIT_NOT_MINE]
    assert (tmp_path / "started").read_text() == "run\n"


def test_a_scratch_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    one = job(tmp_path, "scratch", "true")
    (tmp_path / "file").touch()
    spec = read_spec(one.folder)
    assert spec is not None
    (one.folder / ATTEMPT_FILE).write_text(spec_text(replace(spec, scratch_dir=str(tmp_path / "file" / "x"))))
    launcher = LocalLauncher(1)
    launcher.submit([one])
    finish(launcher, ["scratch"])
    launcher.close()
    record = record_of(one)
    assert record.how is How.NOT_STARTED and "folder for temporary files" in record.reason


def test_an_engine_that_is_not_there_is_not_started(tmp_path: Path) -> None:
    one = job(tmp_path, "none", "true")
    (tmp_path / "engine_none").unlink()
    launcher = LocalLauncher(1)
    launcher.submit([one])
    finish(launcher, ["none"])
    launcher.close()
    record = record_of(one)
    assert record.how is How.NOT_STARTED
    assert "No such file" in record.reason


def test_an_engine_that_fills_its_stderr_does_not_hang(tmp_path: Path) -> None:
    one = job(tmp_path, "stderr", "head -c 3000000 /dev/zero >&2")
    launcher = LocalLauncher(1)
    launcher.submit([one])
    finish(launcher, ["stderr"])
    launcher.close()
    assert (one.folder / "orca.err").stat().st_size == 3_000_000


def test_the_engine_sees_no_scheduler_and_a_tmpdir_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "PMI_RANK", "PMIX_RANK", "OMPI_MCA_x", "FLUX_URI"):
        monkeypatch.setenv(name, "1")
    jobs = [job(tmp_path, token, "env; test -d $TMPDIR && echo there") for token in ("e1", "e2")]
    launcher = LocalLauncher(1)
    launcher.submit(jobs)
    finish(launcher, ["e1", "e2"])
    launcher.close()
    seen = []
    for one in jobs:
        lines = (one.folder / "orca.out").read_text().splitlines()
        values = dict(line.split("=", 1) for line in lines if "=" in line)
        assert not [name for name in values if name.startswith(("SLURM_", "PMI", "OMPI_", "FLUX_"))]
        assert values["OMP_NUM_THREADS"] == "1"
        assert values["EXTRA"] == "a b;c"
        assert lines[-1] == "there"
        seen.append(values["TMPDIR"])
    assert seen[0] != seen[1]
    assert not any(Path(folder).exists() for folder in seen)


def test_cancelled_while_queued_never_starts(tmp_path: Path) -> None:
    first, second = job(tmp_path, "c1", "sleep 100"), job(tmp_path, "c2", "echo no")
    launcher = LocalLauncher(1)
    launcher.submit([first, second])
    launcher.cancel(["c2"])
    assert launcher.states(["c2"])["c2"] == WITHDRAWN
    until(lambda: (first.folder / "orca.out").exists())
    launcher.cancel(["c1"])
    finish(launcher, ["c1"])
    launcher.close()
    assert record_of(first).how is How.STOPPED
    assert not (second.folder / "orca.out").exists()


def test_close_ends_everything(tmp_path: Path) -> None:
    jobs = [job(tmp_path, f"x{n}", "trap '' TERM; while :; do sleep 100; done") for n in range(3)]
    launcher = LocalLauncher(2, stop_grace_s=0.3)
    launcher.submit(jobs)
    until(lambda: len(processes_of("x0")) >= 2 and len(processes_of("x1")) >= 2)
    launcher.close()
    assert [processes_of(one.token) for one in jobs] == [[], [], []]
    assert [record_of(one).how for one in jobs[:2]] == [How.STOPPED] * 2
    assert not (jobs[2].folder / EXIT_FILE).exists()


def test_a_payload_killed_with_9_leaves_no_engine_behind(tmp_path: Path) -> None:
    one = job(tmp_path, "killed", "sleep 100")
    launcher = LocalLauncher(1)
    launcher.submit([one])
    until(lambda: any("sleep" in process.name() for process in processes_of("killed")))
    payload = next(p for p in processes_of("killed") if "payload" in " ".join(p.cmdline()))
    payload.kill()
    states = finish(launcher, ["killed"])
    launcher.close()
    assert states["killed"].final == "signal 9"
    assert read_exit(one.folder, "killed") is None
    assert processes_of("killed") == []


PARENT = """
import sys, time
from pathlib import Path
from oact_dagster.launchers.local import LocalLauncher
from oact_dagster.schedulers.jobs import Job
launcher = LocalLauncher(1)
launcher.submit([Job(sys.argv[2], Path(sys.argv[1]), 1)])
time.sleep(100)
"""


def test_calculations_die_with_a_parent_that_is_killed_with_9(tmp_path: Path) -> None:
    one = job(tmp_path, "parent", "sleep 100")
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(one.folder), "parent"])
    until(lambda: any("sleep" in process.name() for process in processes_of("parent")))
    parent.kill()
    parent.wait()
    until(lambda: processes_of("parent") == [])
    record = record_of(one)
    assert record.how is How.STOPPED
    assert "has died" in record.reason


def test_leftovers_are_found_by_their_token_alone() -> None:
    left, right = secrets.token_hex(8), secrets.token_hex(8)
    ours, other = (
        subprocess.Popen(["sleep", "100"], env={**os.environ, "OACT_ATTEMPT": token}, start_new_session=True)
        for token in (left, right)
    )
    try:
        until(lambda: len(processes_of(left)) == 1 and len(processes_of(right)) == 1)
        assert end_leftovers([left]) == 1
        assert processes_of(left) == []
        assert ours.poll() is not None
        assert other.poll() is None
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()


def test_a_payload_in_another_attempts_folder_writes_nothing(tmp_path: Path) -> None:
    one = job(tmp_path, "mine", "echo ran")
    before = {path.name for path in one.folder.iterdir()}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "oact_dagster.launchers.payload", "--token", "other"],
        cwd=one.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == EXIT_NOT_MINE
    assert "another attempt" in done.stderr
    assert {path.name for path in one.folder.iterdir()} == before


def test_a_payload_whose_folder_is_renamed_writes_into_the_renamed_one(tmp_path: Path) -> None:
    one = job(tmp_path, "old", f"while [ ! -e '{tmp_path}/go' ]; do sleep 0.05; done; echo late")
    launcher = LocalLauncher(1)
    launcher.submit([one])
    until(lambda: (one.folder / "orca.out").exists())
    aside = one.folder.rename(tmp_path / "job_old.attempt-1")
    one.folder.mkdir()
    (tmp_path / "go").touch()
    finish(launcher, ["old"])
    launcher.close()
    assert list(one.folder.iterdir()) == []
    assert (aside / "orca.out").read_text() == "late\n"
    assert read_exit(aside, "old") is not None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"token": "t"}', b'{"token": 3, "x": 1}']
)
def test_a_record_that_is_not_whole_is_no_record(tmp_path: Path, content: bytes) -> None:
    (tmp_path / EXIT_FILE).write_bytes(content)
    (tmp_path / ATTEMPT_FILE).write_bytes(content)
    assert read_exit(tmp_path, "t") is None
    assert read_spec(tmp_path) is None


def test_a_record_of_another_attempt_is_no_record(tmp_path: Path) -> None:
    one = job(tmp_path, "first", "true")
    launcher = LocalLauncher(1)
    launcher.submit([one])
    finish(launcher, ["first"])
    launcher.close()
    assert read_exit(one.folder, "second") is None


def test_the_payload_imports_no_dagster_and_nothing_heavy() -> None:
    code = (
        "import sys, oact_dagster.launchers.payload, oact_dagster.orca.outputs.reader;"
        "print([m for m in ('dagster', 'pydantic', 'numpy', 'pandas', 'psutil', 'yaml', 'dagster_pipes')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

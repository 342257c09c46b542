"""Ctrl+C on ``oact run``: real signals to a real process, in a pipe and in a terminal."""

import contextlib
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from dagster import DagsterInstance, DagsterRunStatus

from oact_dagster.launchers.attempt_files import TOKEN_VARIABLE
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.cli.command import command, environment, oact
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.waiting import until

pytestmark = pytest.mark.slow


@contextmanager
def started(campaign: Campaign, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """``oact run`` in a process group of its own."""
    process = subprocess.Popen(
        command("run", campaign.file, *arguments),
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def ctrl_c(process: "subprocess.Popen[str]") -> None:
    """As a terminal does: to every process of the group."""
    os.killpg(process.pid, signal.SIGINT)


def left_behind(campaign: Campaign) -> list[psutil.Process]:
    """Processes of attempts of this campaign, and those that run in one of its folders."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            here = Path(process.cwd()).is_relative_to(campaign.folder)
            if here or (
                TOKEN_VARIABLE in process.environ() and str(campaign.folder) in " ".join(process.cmdline())
            ):
                found.append(process)
    return found


def assert_stopped(campaign: Campaign, process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "oact: interrupted; the same command continues where it stopped" in err
    assert "Traceback" not in out + err
    assert left_behind(campaign) == []
    with Ledger(campaign.ledger) as ledger:
        assert ledger.figures.count_by_status().get(Status.RUNNING, 0) == 0
        assert ledger.figures.count_held() == 0
    with DagsterInstance.from_config(str(campaign.folder / ".dagster")) as instance:
        run = next(iter(instance.get_runs(limit=1)))
        assert (run.job_name, run.status) == ("run_structures", DagsterRunStatus.CANCELED)
    return out + err


def test_the_first_ctrl_c_lets_running_calculations_end(tmp_path: Path) -> None:
    engine = TestEngine(tmp_path / "engine", "slow")
    campaign = write_campaign(tmp_path / "c", 8, engine.path, settings={"launcher": {"stop_grace_s": 30}})
    with started(campaign) as process:
        until(lambda: len(engine.runs) >= 2)
        ctrl_c(process)
        told = assert_stopped(campaign, process)
    assert "stopping: " in told and "get 30 s to end" in told
    # What had begun is completed, nothing else was begun, and the rest can be run.
    with Ledger(campaign.ledger) as ledger:
        found = ledger.figures.count_by_status()
        assert found == {Status.COMPLETED: len(engine.runs), Status.TO_RUN: 8 - len(engine.runs)}
    assert len(engine.runs) < 8
    engine.set("normal")
    assert oact("run", campaign.file).returncode == 0
    assert sorted(engine.runs) == list(range(8))


def test_running_calculations_are_ended_after_the_grace_time(tmp_path: Path) -> None:
    engine = TestEngine(tmp_path / "engine", "hang")
    campaign = write_campaign(tmp_path / "c", 4, engine.path, settings={"launcher": {"stop_grace_s": 0.5}})
    with started(campaign) as process:
        until(lambda: len(engine.runs) == 2)
        # The dashboard reads what the run is writing.
        assert "running 4 (2 queued)" in oact("dashboard", campaign.file).stdout
        ctrl_c(process)
        assert_stopped(campaign, process)
    with Ledger(campaign.ledger) as ledger:
        assert ledger.figures.count_by_status() == {Status.TO_RUN: 4}
        # What the user stops counts against no budget.
        ended = [ledger.structures.of([index])[index] for index in engine.runs]
        assert [(one.fail_count, one.loss_count) for one in ended] == [(0, 0), (0, 0)]
        assert [ledger.history.attempts(index)[0].outcome for index in engine.runs] == [Outcome.CANCELLED] * 2


def test_the_second_ctrl_c_ends_now(tmp_path: Path) -> None:
    engine = TestEngine(tmp_path / "engine", "hang")
    campaign = write_campaign(tmp_path / "c", 4, engine.path, settings={"launcher": {"stop_grace_s": 600}})
    with started(campaign) as process:
        until(lambda: len(engine.runs) == 2)
        ctrl_c(process)
        assert process.stdout is not None
        while "stopping: " not in process.stdout.readline():
            assert process.poll() is None
        ctrl_c(process)
        assert_stopped(campaign, process)
    assert len(engine.runs) == 2


def test_ctrl_c_again_and_again_at_any_moment(tmp_path: Path) -> None:
    # Most of the time of such a run goes into Dagster's events: signals come between those of the batch, too.
    engine = TestEngine(tmp_path / "engine", "normal")
    campaign = write_campaign(tmp_path / "c", 30, engine.path)
    for _ in range(2):
        before = len(engine.runs)
        with started(campaign) as process:
            until(lambda before=before: len(engine.runs) > before + 2)  # type: ignore[misc]
            ctrl_c(process)
            assert_stopped(campaign, process)
    assert len(engine.runs) == len(set(engine.runs)) < 30
    done = oact("run", campaign.file)
    assert done.returncode == 0, done.stderr
    assert sorted(engine.runs) == list(range(30))


def test_sigterm_is_as_the_first_ctrl_c(tmp_path: Path) -> None:
    engine = TestEngine(tmp_path / "engine", "hang")
    campaign = write_campaign(tmp_path / "c", 3, engine.path)
    with started(campaign) as process:
        until(lambda: len(engine.runs) == 2)
        process.terminate()
        assert_stopped(campaign, process)


def test_killed_outright_leaves_no_process_and_is_taken_up_again(tmp_path: Path) -> None:
    engine = TestEngine(tmp_path / "engine", "hang")
    campaign = write_campaign(tmp_path / "c", 3, engine.path)
    with started(campaign) as process:
        until(lambda: len(engine.runs) == 2)
        process.kill()
        process.wait()
    until(lambda: left_behind(campaign) == [])
    engine.set("normal")
    done = oact("run", campaign.file)
    assert done.returncode == 0, done.stderr
    assert "3 structures were left by a run that is gone" in done.stdout


def test_the_bar_in_a_terminal_and_its_ctrl_c(tmp_path: Path) -> None:
    engine = TestEngine(tmp_path / "engine", "normal")
    engine.set("hang", 2)
    campaign = write_campaign(tmp_path / "c", 3, engine.path)
    pid, terminal = pty.fork()
    if pid == 0:
        words = command("run", campaign.file)
        os.execve(words[0], words, environment(TERM="xterm-256color", COLUMNS="120"))
    shown = b""
    asked = False
    while True:
        try:
            shown += os.read(terminal, 65536)
        except OSError:
            break
        if not asked and b"2 computed, 0 failed, 1 running" in shown:
            asked = True
            os.write(terminal, b"\x03")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert asked and b"2/3" in shown and b"interrupted" in shown
    assert b"STEP_START" not in shown and b"Traceback" not in shown
    assert left_behind(campaign) == []
    with Ledger(campaign.ledger) as ledger:
        assert ledger.figures.count_by_status() == {Status.COMPLETED: 2, Status.TO_RUN: 1}


def test_marking_the_run_as_cancelled_in_the_web_page_ends_and_holds_its_structures(tmp_path: Path) -> None:
    """The page cannot signal a run that it has not started; the run sees its own status."""
    engine = TestEngine(tmp_path / "engine", "hang")
    campaign = write_campaign(tmp_path / "c", 4, engine.path)
    with started(campaign) as process:
        until(lambda: len(engine.runs) == 2)
        with DagsterInstance.from_config(str(campaign.folder / ".dagster")) as instance:
            instance.report_run_canceled(instance.get_runs(limit=1)[0])
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert left_behind(campaign) == []
    with Ledger(campaign.ledger) as ledger:
        assert ledger.figures.count_by_status() == {Status.TO_RUN: 4}
        assert ledger.figures.count_held() == 4
    assert len(engine.runs) == 2

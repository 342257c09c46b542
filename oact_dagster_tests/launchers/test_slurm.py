"""Slurm's launcher on a real Slurm: submitting, following, stopping, and what users write into settings."""

import os
import re
import shutil
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest

from oact_dagster.attempts.batch import BatchRun
from oact_dagster.attempts.engine import find_engine
from oact_dagster.attempts.events import Completed, Failed, Note, NotRun, Running
from oact_dagster.attempts.monitor import STILLBORN_JOBS
from oact_dagster.attempts.selection import Selection, resolve
from oact_dagster.attempts.stop_request import StopLevel, StopRequest
from oact_dagster.errors import LauncherError
from oact_dagster.feed.decisions import decide_feed
from oact_dagster.feed.state import pause
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.launchers.protocol import Orphan
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.orca.outputs.reader import read_output
from oact_dagster.schedulers.job_array import ResourceRequest, split
from oact_dagster.schedulers.job_files import job_file_text
from oact_dagster.schedulers.job_script import JobEnvironment, write_script
from oact_dagster.schedulers.jobs import Job, Phase
from oact_dagster.schedulers.protocol import JobOptions
from oact_dagster.schedulers.slurm.commands import Slurm, task_ranges
from oact_dagster.status.feed_status import feed_overview
from oact_dagster_tests.batches import batch, settled
from oact_dagster_tests.cli.command import command, environment, oact
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.launchers.running import prepared, worker
from oact_dagster_tests.schedulers.real_slurm import RealSlurm
from oact_dagster_tests.waiting import until

pytestmark = pytest.mark.slurm

NASTY = 'it\'s; $(touch pwned) "x" `id` 100% é'


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path)


def test_200_structures_are_recorded_once_each(tmp_path: Path, slurm: RealSlurm, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 200, "slurm")
    words = settled(list(batch(campaign, ledger, list(range(200)))))
    assert Counter(type(word) for word in words.values()) == {Completed: 200}
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 200}
    assert Counter(engine.runs) == dict.fromkeys(range(200), 1)
    assert len(slurm.calls_of("sbatch")) == 1, "one array for one resource request"
    attempts = ledger.history.attempts_of(range(200))
    assert all(len(found) == 1 for found in attempts.values())
    assert len({found[0].scheduler_job_id for found in attempts.values()}) == 200
    assert {found[0].outcome for found in attempts.values()} == {Outcome.COMPLETED}
    script = (campaign.jobs_dir / "job_7" / "slurm_job.sh").read_text()
    assert f"--token {attempts[7][0].token} -- {engine.path} orca.inp" in script
    array = next((campaign.jobs_dir / ".batches").iterdir())
    assert not list(array.glob("*.out")), "logs in which nothing stands are removed"


def test_jobs_ask_for_what_the_settings_say(tmp_path: Path, slurm: RealSlurm, engine: TestEngine) -> None:
    engine.set("hang")
    campaign, ledger = prepared(
        tmp_path, engine, 1, "slurm", queue="main", mem=2500, signal_before_limit_s=100,
        resources=[{"max_atoms": 2, "n_cores": 1}, {"max_atoms": 3, "n_cores": 2, "n_hours": 0.5}],
    )  # fmt: skip
    stop = StopRequest()
    for event in batch(campaign, ledger, [0], stop=stop):
        if isinstance(event, Running):
            (line,) = slurm.jobs("%P|%C|%l|%m|%D|%j|%k|%i", ledger.history.attempts(0)[0].scheduler_job_id)
            partition, cores, limit, memory, nodes, name, comment, job_id = line.split("|")
            # Two processes with 2,000 MB each and what ORCA does not count are more than the settings ask for.
            assert (partition, cores, limit, memory, nodes) == ("main", "2", "30:00", "5100M", "1")
            assert name == comment and name.startswith("oact-")
            told = slurm.run("scontrol", "show", "job", job_id)
            assert "Requeue=0" in told
            assert "nprocs 2" in (campaign.jobs_dir / "job_0" / "orca.inp").read_text()
            stop.raise_to(StopLevel.NOW, hold=True)
    (call,) = slurm.calls_of("sbatch")
    assert "--open-mode=append" in call and "--signal=B:USR1@100" in call


@pytest.mark.parametrize(
    ("host", "unknown"), [("n1.cluster.example", False), ("another-name-for-it", True), ("n[1-3]", True)]
)
def test_after_a_fault_of_a_host_the_next_attempt_runs_elsewhere(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine, host: str, unknown: bool
) -> None:
    engine.set("exit3 slow")
    campaign, ledger = prepared(tmp_path, engine, 1, "slurm")
    list(batch(campaign, ledger, [0]))
    with ledger.file.transaction() as db:
        db.execute("UPDATE attempts SET failure_class = 'mpi_error', host = ?", (host,))
    told, events = "", []
    for event in batch(campaign, ledger, [0], "again"):
        events.append(event)
        if isinstance(event, Running):
            told = slurm.run("scontrol", "show", "job", str(ledger.history.attempts(0)[1].scheduler_job_id))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 1}
    assert len(slurm.calls_of("sbatch")) == 2, "a host that Slurm does not have is not asked for"
    told_of = [event.text for event in events if isinstance(event, Note)]
    left_out = [text for text in told_of if "jobs are not kept away from" in text]
    short = host.partition(".")[0]
    expected = f"slurm: jobs are not kept away from {short}: slurm has no such node for these jobs"
    assert left_out == ([expected] if unknown else [])
    assert ("--exclude=" in slurm.calls_of("sbatch")[1]) != unknown
    assert ("ExcNodeList=n1\n" in told and "NodeList=n2" in told) != unknown, told
    assert ledger.history.attempts(0)[1].plan["avoid_hosts"] == [short]


def test_arrays_are_split_by_request_and_at_the_largest_size(tmp_path: Path, slurm: RealSlurm) -> None:
    jobs = [Job(f"t{n}", tmp_path, 1 + n % 2, 3600.0 if n < 8 else 3601.0, None) for n in range(12)]
    groups = list(split(jobs, 3))
    assert [len(group) for group in groups] == [3, 1, 3, 1, 2, 2]
    assert all(len({ResourceRequest.of(job) for job in group}) == 1 for group in groups)
    assert [job.token for group in groups for job in group] != [], "none is left out"
    assert sorted(job.token for group in groups for job in group) == sorted(job.token for job in jobs)
    assert ResourceRequest.of(jobs[-1]).minutes == 61
    assert Slurm(JobOptions()).largest_array() == 1001
    assert task_ranges(["12_0", "12_1", "12_3", "7_4"]) == ["7_[4]", "12_[0-1,3]"]


def test_more_structures_than_an_array_may_have(tmp_path: Path, slurm: RealSlurm, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 7, "slurm", max_array_size=3)
    list(batch(campaign, ledger, list(range(7))))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 7}
    assert [call.split("--array=")[1].split()[0] for call in slurm.calls_of("sbatch")] == [
        "0-2",
        "0-2",
        "0-0",
    ]
    assert sorted(engine.runs) == list(range(7))


def test_a_submit_limit_is_told_and_waited_for(tmp_path: Path, slurm: RealSlurm, engine: TestEngine) -> None:
    # The limit needs Slurm's accounting, which does not run here: its recorded refusal is replayed from 5 jobs on.
    slurm.put_fault(
        "sbatch",
        'for word in "$@"; do case "$word" in --array=*) last=${word#--array=0-};; esac; done\n'
        "queued=$(squeue -h -r -t PD,R,CG -o %i | grep -c .)\n"
        "if [ $((queued + last + 1)) -gt 5 ]; then\n"
        "  echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2\n"
        "  echo 'sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit,"
        " user'\"'\"'s size and/or time limits)' >&2; exit 1\n"
        'fi; exec "$REAL" "$@"',
    )
    campaign, ledger = prepared(tmp_path, engine, 12, "slurm")
    events = list(batch(campaign, ledger, list(range(12))))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 12}
    assert Counter(engine.runs) == dict.fromkeys(range(12), 1)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert sum("takes no more jobs for now (QOSMaxSubmitJobPerUserLimit" in note for note in notes) == 1
    assert all(structure.fail_count == 0 for structure in ledger.structures.of(range(12)).values())


def test_a_run_killed_with_9_in_the_middle_loses_nothing_and_repeats_nothing(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("slow")
    campaign, ledger = prepared(tmp_path, engine, 40, "slurm")
    first = worker(campaign, "killed", "0-39")
    until(lambda: ledger.figures.count_by_status().get(Status.COMPLETED, 0) >= 5)
    first.kill()
    first.wait()
    left = ledger.figures.count_by_status().get(Status.RUNNING, 0)
    assert left > 0
    events = list(batch(campaign, ledger, list(range(40)), "next"))
    assert all(isinstance(word, Completed) for word in settled(events).values())
    assert any(isinstance(e, Note) and f"{left} with a job to follow" in e.text for e in events)
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 40}
    assert Counter(engine.runs) == dict.fromkeys(range(40), 1)
    assert len(slurm.calls_of("sbatch")) == 1


def test_a_run_killed_before_it_read_the_answer_to_its_submit(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    campaign, ledger = prepared(tmp_path, engine, 10, "slurm")
    slurm.put_fault("sbatch", '"$REAL" "$@"; kill -9 $PPID')
    first = worker(campaign, "killed", "0-9")
    assert first.wait(60) == -signal.SIGKILL
    slurm.mend()
    assert {
        a.scheduler_job_id for found in ledger.history.attempts_of(range(10)).values() for a in found
    } == {None}
    words = settled(list(batch(campaign, ledger, list(range(10)), "next")))
    assert all(isinstance(word, Completed) for word in words.values()) and len(words) == 10
    assert Counter(engine.runs) == dict.fromkeys(range(10), 1)
    assert len(slurm.calls_of("sbatch")) == 1


@pytest.mark.parametrize(
    "point",
    [
        "after claim",
        "after mark_prepared",
        "before mark_submitted",
        "after mark_submitted",
        "after mark_running",
        "before record",
        "after record",
    ],
)
def test_a_run_killed_with_9_at_any_point_loses_nothing_and_repeats_nothing(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine, point: str
) -> None:
    engine.set("slow", 3, 4)
    campaign, ledger = prepared(tmp_path, engine, 5, "slurm")
    first = worker(campaign, "killed", "0-4", killed=point)
    assert first.wait(60) == -signal.SIGKILL
    told = first.stdout.read() if first.stdout is not None else ""
    words = settled(list(batch(campaign, ledger, list(range(5)), "next")))
    assert all(isinstance(word, Completed) for word in words.values()) and len(words) == 5
    assert Counter(engine.runs) == dict.fromkeys(range(5), 1), "each was computed once"
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 5}
    assert all(len(found) == 1 for found in ledger.history.attempts_of(range(5)).values())
    assert len(slurm.calls_of("sbatch")) == 1
    assert all(s.fail_count == s.loss_count == 0 for s in ledger.structures.of(range(5)).values())
    done = {int(line.split()[1]) for line in told.splitlines() if line.startswith("Completed")}
    assert done <= set(words), "what was told is recorded"


def test_what_a_dead_run_left_stays_open_while_nobody_can_say_whether_it_runs(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    campaign, ledger = prepared(tmp_path, engine, 4, "slurm")
    slurm.put_fault("sbatch", '"$REAL" "$@"; kill -9 $PPID')
    worker(campaign, "killed", "0-3").wait(60)
    slurm.mend()
    slurm.put_fault(
        "squeue", "echo 'slurm_load_jobs error: Socket timed out on send/recv operation' >&2; exit 1"
    )
    before = [[a.token for a in ledger.history.attempts(index)] for index in range(4)]
    with pytest.raises(LauncherError, match=r"slurm does not answer .*nothing was submitted; try again"):
        list(batch(campaign, ledger, list(range(4)), "blind"))
    assert ledger.figures.count_by_status() == {Status.RUNNING: 4}
    assert [[a.token for a in ledger.history.attempts(index)] for index in range(4)] == before
    slurm.mend()
    words = settled(list(batch(campaign, ledger, list(range(4)), "next")))
    assert all(isinstance(word, Completed) for word in words.values()) and len(words) == 4
    assert Counter(engine.runs) == dict.fromkeys(range(4), 1)


def test_a_run_killed_before_its_submit_arrived(tmp_path: Path, slurm: RealSlurm, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 3, "slurm")
    slurm.put_fault("sbatch", "kill -9 $PPID")
    worker(campaign, "killed", "0-2").wait(60)
    slurm.mend()
    words = settled(list(batch(campaign, ledger, [0, 1, 2], "next")))
    assert all(isinstance(word, Completed) for word in words.values()) and len(words) == 3
    assert Counter(engine.runs) == dict.fromkeys(range(3), 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_leave_the_jobs_running(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine, number: signal.Signals
) -> None:
    engine.set("slow")
    campaign, ledger = prepared(tmp_path, engine, 30, "slurm")
    first = worker(campaign, "first", "0-29")
    until(lambda: len(engine.runs) >= 3)
    first.send_signal(number)
    told, _ = first.communicate(timeout=60)
    job = str(ledger.history.attempts(29)[0].scheduler_job_id).partition("_")[0]
    assert "jobs go on in the queue" in told and f"to end them: scancel {job}" in told
    assert ledger.figures.count_held() == 0
    running = ledger.figures.count_by_status()[Status.RUNNING]
    assert told.count("its job goes on in the queue") >= running
    words = settled(list(batch(campaign, ledger, list(range(30)), "next")))
    assert all(isinstance(word, Completed) for word in words.values()) and len(words) == 30
    assert Counter(engine.runs) == dict.fromkeys(range(30), 1)
    assert len(slurm.calls_of("sbatch")) == 1


def test_termination_cancels_the_jobs_and_waits(tmp_path: Path, slurm: RealSlurm, engine: TestEngine) -> None:
    engine.set("hang")
    # Nothing here waits for the grace period of jobs that the queue does not know.
    campaign, ledger = prepared(tmp_path, engine, 40, "slurm", grace_s=1000)
    stop = StopRequest()
    events = []
    for event in batch(campaign, ledger, list(range(40)), stop=stop):
        events.append(event)
        if isinstance(event, Running):
            until(lambda: len(engine.runs) >= 3)
            stop.raise_to(StopLevel.NOW, hold=True)
    words = settled(events)
    assert len(words) == 40 and all(isinstance(word, NotRun) for word in words.values())
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 40}
    assert ledger.figures.count_held() == 40
    assert not slurm.run("squeue", "-h", "-o", "%i").strip(), "no job is left"
    outcomes = Counter(a.outcome for found in ledger.history.attempts_of(range(40)).values() for a in found)
    assert set(outcomes) == {Outcome.CANCELLED}
    assert all(s.fail_count == s.loss_count == 0 for s in ledger.structures.of(range(40)).values())


def test_what_is_cancelled_in_the_queue_is_held(tmp_path: Path, slurm: RealSlurm, engine: TestEngine) -> None:
    engine.set("hang", 0)
    # A whole node each, of the one node of the queue: the second waits for the first.
    campaign, ledger = prepared(
        tmp_path, engine, 2, "slurm", queue="last", resources=[{"max_atoms": 9, "n_cores": 8}]
    )
    events = []
    for event in batch(campaign, ledger, [0, 1]):
        events.append(event)
        if isinstance(event, Running):
            until(lambda: engine.runs == [0])
            slurm.run("scancel", "--state=PENDING", "--user", str(os.getuid()))
            slurm.run("scancel", "--state=RUNNING", "--user", str(os.getuid()))
    words = settled(events)
    assert all(isinstance(w, NotRun) and "held until `oact release`" in w.reason for w in words.values())
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 2}
    assert ledger.figures.count_held() == 2
    assert [[a.outcome for a in ledger.history.attempts(index)] for index in (0, 1)] == [
        [Outcome.CANCELLED],
        [],
    ]


def test_one_that_is_cancelled_in_the_queue_while_others_of_its_array_go_on_is_held(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("wait")
    campaign, ledger = prepared(
        tmp_path, engine, 3, "slurm", queue="last", resources=[{"max_atoms": 9, "n_cores": 8}], grace_s=0.0
    )
    events = []
    for event in batch(campaign, ledger, [0, 1, 2]):
        events.append(event)
        if isinstance(event, Running) and not engine.control.joinpath("go").exists():
            (attempt,) = ledger.history.attempts(2)
            slurm.run("scancel", str(attempt.scheduler_job_id))
            (engine.control / "go").touch()
    words = settled(events)
    assert isinstance(words[2], NotRun) and "held until `oact release`" in words[2].reason
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 2, Status.TO_RUN: 1}
    assert ledger.figures.count_held() == 1 and ledger.history.attempts(2) == []


def test_of_a_job_whose_array_is_gone_from_the_disk_nothing_is_concluded(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    campaign, _ = prepared(tmp_path, engine, 2, "slurm", extra_directives=["--hold"])
    jobs = [Job(name, tmp_path, 1, 60.0) for name in ("a", "b")]
    taken = make_launcher(campaign).submit(jobs).taken
    shutil.rmtree(campaign.jobs_dir / ".batches")
    later = make_launcher(campaign)
    assert later.adopt([Orphan(name, tmp_path, job_id) for name, job_id in taken.items()]) == taken
    until(lambda: later.states(taken.values())[taken["a"]].reason != "", "what the queue says")
    slurm.run("scancel", taken["a"])
    until(lambda: later.states(taken.values())[taken["a"]].phase is Phase.UNKNOWN, "its end")
    assert later.states(taken.values())[taken["b"]].phase is Phase.QUEUED
    slurm.run("scancel", taken["b"])


def test_a_pause_takes_queued_jobs_back_and_lets_running_ones_end(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oact_dagster.attempts.batch.LOOK_IF_PAUSED_S", 0.0)
    engine.set("wait")
    # A whole node each, of the one node of the queue: the others wait for the first.
    campaign, ledger = prepared(
        tmp_path, engine, 6, "slurm", queue="last", resources=[{"max_atoms": 9, "n_cores": 8}]
    )
    request = resolve(campaign, ledger, Selection("feed", 6))
    events = []
    run = BatchRun(campaign, ledger, make_launcher(campaign), find_engine(campaign), request, "feed")
    for event in run.run():
        events.append(event)
        if isinstance(event, Running):
            pause(ledger, "somebody said so")
        elif isinstance(event, NotRun) and "somebody said so" in event.reason:
            (engine.control / "go").touch()
    words = settled(events)
    (done,) = [index for index, word in words.items() if isinstance(word, Completed)]
    assert engine.runs == [done] and len(words) == 6
    assert (
        ledger.figures.count_by_status() == {Status.COMPLETED: 1, Status.TO_RUN: 5}
        and ledger.figures.count_held() == 0
    )
    assert not slurm.run("squeue", "-h", "-o", "%i").strip(), "no job is left"


def test_jobs_that_end_before_they_begin_stop_the_batch(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    campaign, ledger = prepared(
        tmp_path, engine, 6, "slurm", grace_s=0.5, setup_lines=["echo no such module >&2", "exit 9"]
    )
    with pytest.raises(LauncherError, match=r"jobs end before they begin: .*NonZeroExitCode.*no such module"):
        list(batch(campaign, ledger, list(range(6))))
    assert engine.runs == []
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 6}
    # The first two that end may begin again before the third does.
    assert sum(len(ledger.history.attempts(index)) for index in range(6)) <= 6 + STILLBORN_JOBS - 1


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"queue": NASTY}, "invalid partition specified: " + NASTY),
        ({"constraint": NASTY}, "Invalid feature specification"),
    ],
)
def test_what_stands_in_settings_reaches_no_shell(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine, setting: dict[str, str], said: str
) -> None:
    campaign, ledger = prepared(tmp_path, engine, 2, "slurm", **setting)
    with pytest.raises(LauncherError) as caught:
        list(batch(campaign, ledger, [0, 1]))
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 2}
    assert not list(tmp_path.rglob("pwned"))


def test_paths_and_options_reach_no_shell(tmp_path: Path, slurm: RealSlurm, engine: TestEngine) -> None:
    campaign, ledger = prepared(
        tmp_path / NASTY, engine, 3, "slurm",
        allocation=NASTY,
        extra_directives=[f"--wckey={NASTY}"],
        setup_lines=["export OACT_SEEN='a  b'"],
    )  # fmt: skip
    list(batch(campaign, ledger, [0, 1, 2]))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 3}
    assert not list(tmp_path.rglob("pwned"))
    assert {line.rstrip() for line in slurm.jobs("%a", ledger.history.attempts(0)[0].scheduler_job_id)} == {
        NASTY.lower()
    }
    assert ledger.history.attempts(0)[0].host is not None


def test_a_job_script_that_is_submitted_by_hand(tmp_path: Path, slurm: RealSlurm, engine: TestEngine) -> None:
    folder = tmp_path / NASTY
    folder.mkdir()
    (folder / "orca.inp").write_text("# structure 0 of x\n* xyz 0 1\nO 0 0 0\n*\n")
    client = Slurm(JobOptions(queue="main", allocation=NASTY))
    environment = JobEnvironment(setup_lines=["echo set up"], ld_library_path="/opt/my lib")
    command = [str(engine.path), "orca.inp"]
    text = job_file_text(client, folder, ResourceRequest(2, 90, None), command, environment)
    file = write_script(folder / client.script_name, text)
    assert os.access(file, os.X_OK)
    for line in ("-N 1", "--ntasks-per-node 2", "--partition main", "-t 1:30:00"):
        assert f"#SBATCH {line}\n" in text
    assert "--qos" not in text and "conda" not in text
    assert text.rstrip().endswith(f"-- {engine.path} orca.inp")
    job_id = slurm.run("sbatch", "--parsable", str(file)).strip()
    until(lambda: (folder / "exit.json").exists())
    until(lambda: slurm.jobs("%T", job_id) == ["COMPLETED"])
    assert (folder / f"slurm-{job_id}.out").read_text() == "set up\n"
    assert "TERMINATED NORMALLY" in (folder / "orca.out").read_text()
    assert slurm.jobs("%a", job_id)[0].rstrip() == NASTY.lower()
    assert not list(tmp_path.rglob("pwned"))


def test_two_runs_over_the_same_structures_compute_each_once(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("slow")
    campaign, ledger = prepared(tmp_path, engine, 20, "slurm")
    runs = [worker(campaign, "a", "0-14"), worker(campaign, "b", "5-19")]
    told = [run.communicate(timeout=120)[0].splitlines() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert Counter(engine.runs) == dict.fromkeys(range(20), 1)
    done = [{int(line.split()[1]) for line in lines if line.startswith("Completed")} for lines in told]
    assert done == [set(range(15)), set(range(5, 20))]
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 20}


@pytest.mark.parametrize("beside", [False, True], ids=["in its own folder", "in that of attempt 2"])
def test_a_normal_output_of_attempt_1_is_no_result_of_attempt_2(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine, beside: bool
) -> None:
    engine.set("half normal")
    campaign, ledger = prepared(tmp_path, engine, 1, "slurm")
    (word,) = settled(list(batch(campaign, ledger, [0], "one"))).values()
    assert isinstance(word, Failed)
    # Attempt 1 goes on after its end was recorded, as on a node that was lost: its output is a good one now.
    with (campaign.jobs_dir / "job_0" / "orca.out").open("a") as output:
        output.write("                             ****ORCA TERMINATED NORMALLY****\n")
        output.write("TOTAL RUN TIME: 0 days 0 hours 0 minutes 3 seconds 600 msec\n")
    good = read_output(campaign.jobs_dir / "job_0")
    assert (good.termination, good.final_energy) == ("normal", -76.0)
    # Attempt 2 dies at once; in one case a node that kept the old folder's name writes that output beside it.
    lines = [*(["cp ../job_0.attempt-1/orca.out ."] if beside else []), "kill -9 $$"]
    other, _ = prepared(tmp_path, engine, 0, "slurm", setup_lines=lines, grace_s=0.5)
    stop = StopRequest()
    events = []
    for event in batch(other, ledger, [0], "two", stop=stop):
        events.append(event)
        if isinstance(event, Note) and "was lost" in event.text:
            stop.raise_to(StopLevel.NOW, hold=True)
    assert not any(isinstance(event, Completed) for event in events)
    first, second = ledger.history.attempts(0)[:2]
    assert (first.outcome, second.outcome) == (Outcome.FAILED, Outcome.LOST)
    folder = campaign.jobs_dir / ("job_0" if len(ledger.history.attempts(0)) == 2 else "job_0.attempt-2")
    assert (folder / "orca.out").exists() is beside
    assert ledger.structures.of([0])[0].status is Status.TO_RUN


def test_jobs_of_another_scheduler_are_left_to_it(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("slow")
    campaign, ledger = prepared(tmp_path, engine, 3, "slurm")
    first = worker(campaign, "first", "0-2")
    until(lambda: len(engine.runs) == 3)
    first.kill()
    first.wait()
    here, _ = prepared(tmp_path, engine, 0, "local")
    words = settled(list(batch(here, ledger, [0, 1, 2], "here")))
    assert all(
        isinstance(word, NotRun) and "left it to launcher.kind: slurm" in word.reason
        for word in words.values()
    )
    words = settled(list(batch(campaign, ledger, [0, 1, 2], "next")))
    assert all(isinstance(word, Completed) for word in words.values())
    assert sorted(engine.runs) == [0, 1, 2]


def test_oact_run_goes_on_after_ctrl_c(tmp_path: Path, slurm: RealSlurm, engine: TestEngine) -> None:
    engine.set("slower")
    campaign, ledger = prepared(tmp_path, engine, 40, "slurm")
    process = subprocess.Popen(
        command("run", campaign.file),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: len(engine.runs) >= 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "jobs go on in the queue" in out and "scancel" in out
    assert "Traceback" not in out + err
    assert ledger.figures.count_by_status().get(Status.RUNNING, 0) > 0 and ledger.figures.count_held() == 0
    done = oact("run", campaign.file)
    assert done.returncode == 0, done.stderr
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 40}
    assert Counter(engine.runs) == dict.fromkeys(range(40), 1)


def test_oact_run_leaves_its_jobs_when_dagsters_folder_is_removed(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("wait")
    campaign, ledger = prepared(tmp_path, engine, 30, "slurm")
    home = campaign.folder / ".dagster"
    process = subprocess.Popen(
        command("run", campaign.file),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: len(engine.runs) >= 3)
    shutil.rmtree(home.rename(tmp_path / "removed"))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, (out, err)
    array = str(ledger.history.attempts(0)[0].scheduler_job_id).partition("_")[0]
    assert f"30 jobs go on in the queue, and the next run follows them; to end them: scancel {array}\n" in out
    assert err.splitlines() == [
        "oact: 30 not run: its job goes on in the queue; the next run follows it",
        f"oact: {home}: Dagster's folder was removed while it was in use; the ledger has all results: run again"
        " to show them in Dagster",
    ]
    assert ledger.figures.count_by_status() == {Status.RUNNING: 30} and ledger.figures.count_held() == 0
    (engine.control / "go").touch()
    done = oact("run", campaign.file)
    assert done.returncode == 0, done.stderr
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 30}
    assert Counter(engine.runs) == dict.fromkeys(range(30), 1)
    assert len(slurm.calls_of("sbatch")) == 1


def test_the_controller_may_be_away_while_jobs_run(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("slow")
    campaign, ledger = prepared(tmp_path, engine, 30, "slurm", grace_s=0.2, command_timeout_s=2.0)
    events = []
    frozen = False
    told: list[tuple[str, str]] = []
    after = "nothing"
    for event in batch(campaign, ledger, list(range(30))):
        events.append(event)
        if isinstance(event, Running) and not frozen:
            frozen = True
            slurm.freeze()
            threading.Timer(6.0, slurm.thaw).start()
        if isinstance(event, Note) and "answers again" in event.text:
            # Until the batch goes on from here, the ledger has what it was while Slurm was away.
            told.append(
                ("\n".join(feed_overview(campaign, ledger).lines()), decide_feed(campaign, ledger, 0).said)
            )
        after = ledger.batches.unanswered()
    ((shown, said),) = told
    assert re.search(
        r"^NO ANSWER: slurm has not answered since [-\d]+ [:\d]+ \(.+\); its jobs go on", shown, re.M
    )
    assert re.search(r"\d+ of 30 completed, \d+ running, 0 requested, slurm has not answered since", said)
    assert after == "", "it is told no longer than it is so"
    assert all(isinstance(word, Completed) for word in settled(events).values())
    assert Counter(engine.runs) == dict.fromkeys(range(30), 1)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert sum("slurm does not answer" in note for note in notes) == 1
    assert sum("answers again" in note for note in notes) == 1

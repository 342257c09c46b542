"""What Slurm does that nobody expects, on a real Slurm."""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.attempts.events import Completed, Event, Failed, Note, NotRun, Running, Stuck
from oact_dagster.attempts.stop_request import StopLevel, StopRequest
from oact_dagster.attempts.submission import preview
from oact_dagster.errors import LauncherError, NoAnswerError
from oact_dagster.launchers.leftovers import end_leftovers
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.schedulers.job_array import JobArray
from oact_dagster.schedulers.job_script import JobEnvironment
from oact_dagster.schedulers.jobs import Cause, Job, JobCosts, JobState, Phase
from oact_dagster.schedulers.protocol import JobOptions, Reply
from oact_dagster.schedulers.slurm.commands import Slurm
from oact_dagster_tests.batches import batch, settled
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.launchers.running import prepared, worker
from oact_dagster_tests.schedulers.real_slurm import RealSlurm
from oact_dagster_tests.waiting import until

pytestmark = pytest.mark.slurm


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path)


def notes(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


def named(ids: Iterable[str], name: str = "") -> dict[str, str]:
    """Ids with the name of their array, by default of one that is not known any more."""
    return dict.fromkeys(ids, name)


# --- final states -------------------------------------------------------------------------------------------------

FOR_EVER = "while :; do sleep 1; done"
# Script, options, expected state and cause. The script takes the place of an array's.
FINAL: dict[str, tuple[str, list[str], str, Cause]] = {
    "exit 0": ("exit 0", [], "COMPLETED", Cause.ITSELF),
    "exit 7": ("exit 7", [], "FAILED (NonZeroExitCode)", Cause.ITSELF),
    "SIGSEGV": ("kill -SEGV $$", [], "FAILED", Cause.ITSELF),
    "bad log folder": ("exit 0", ["--output=/no/such/folder/x"], "FAILED (JobLaunchFailure)", Cause.ITSELF),
    "limit, TERM trapped": (f"trap 'exit 143' TERM; {FOR_EVER}", [], "TIMEOUT (TimeLimit)", Cause.TIME_LIMIT),
    "limit, trap exits 0": (f"trap 'exit 0' TERM; {FOR_EVER}", [], "TIMEOUT (TimeLimit)", Cause.TIME_LIMIT),
    "limit, TERM ignored": (f"trap '' TERM; {FOR_EVER}", [], "TIMEOUT", Cause.TIME_LIMIT),
    "cancelled, running": (FOR_EVER, [], "CANCELLED", Cause.CANCELLED),
    "cancelled, pending": ("exit 0", ["--begin=now+1hour"], "CANCELLED", Cause.CANCELLED),
    "preempted": (FOR_EVER, ["--partition=scav", "--exclusive"], "PREEMPTED", Cause.PREEMPTED),
}  # fmt: skip


def test_final_states_are_what_they_were_recorded_to_be(tmp_path: Path, slurm: RealSlurm) -> None:
    """All at once: a time limit of a minute takes Slurm up to 90 s."""
    client = Slurm(JobOptions())
    ids: dict[str, str] = {}
    seen: dict[str, JobState] = {}

    def submit(case: str) -> None:
        script, options, _, _ = FINAL[case]
        job = Job("t", tmp_path, 1, 60.0)
        array = JobArray.write(tmp_path / "arrays", [job], JobEnvironment(), "SLURM_ARRAY_TASK_ID")
        array.script.write_text(f"#!/bin/bash\n{script}\n")
        taken = Slurm(JobOptions(extra=options, signal_before_limit_s=0.0)).submit(array)
        assert taken.reply is Reply.TAKEN, (case, taken)
        ids[case] = taken.job_ids[0]

    def phase(case: str) -> Phase:
        # What has ended is soon forgotten, and stays here.
        found = client.states(named(ids.values()))
        seen.update({one: found[job_id] for one, job_id in ids.items() if job_id in found})
        return seen[case].phase

    # First what is preempted, while its node is free; another one takes that.
    submit("preempted")
    until(lambda: phase("preempted") is Phase.RUNNING)
    slurm.run("sbatch", "--partition=high", "--exclusive", "--time=1", "--output=/dev/null", "--wrap=exit 0")
    until(lambda: phase("preempted") is Phase.ENDED)
    for case in FINAL:
        if case != "preempted":
            submit(case)
    until(lambda: phase("cancelled, running") is Phase.RUNNING)
    assert phase("cancelled, pending") is Phase.QUEUED
    client.cancel(named([ids["cancelled, running"], ids["cancelled, pending"]]))
    try:
        until(lambda: all(phase(case) is Phase.ENDED for case in FINAL))
    except AssertionError:
        raise AssertionError(
            {case: state for case, state in seen.items() if state.phase is not Phase.ENDED}
        ) from None
    for case, (_, _, final, cause) in FINAL.items():
        assert (case, seen[case].cause, seen[case].final[: len(final)]) == (case, cause, final)


def test_a_payload_ends_its_calculation_before_the_limit_and_says_so(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("hang", 0)
    # ORCA would get 57 s, and Slurm's signal (which may come up to a minute early) or the payload's clock ends it.
    campaign, ledger = prepared(tmp_path, engine, 2, "slurm", n_hours=1 / 60, signal_before_limit_s=50)
    words = settled(list(batch(campaign, ledger, [0, 1])))
    assert isinstance(words[1], Completed) and isinstance(words[0], Failed)
    assert words[0].failure_class == "timeout"
    (attempt,) = ledger.history.attempts(0)
    assert attempt.outcome is Outcome.TIMEOUT
    record = json.loads((campaign.jobs_dir / "job_0" / "exit.json").read_text())
    assert record["how"] == "time_limit", "the payload said it, Slurm did not have to"
    assert slurm.jobs("%T", attempt.scheduler_job_id) != ["TIMEOUT"]


# --- traps --------------------------------------------------------------------------------------------------------


def test_trap_1_a_submit_whose_answer_is_lost_is_not_made_twice(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    campaign, ledger = prepared(tmp_path, engine, 20, "slurm")
    slurm.run("sinfo")
    slurm.freeze()
    threading.Timer(8.0, slurm.thaw).start()
    # Known before the controller is frozen, as in a run that goes on.
    events = list(batch(campaign, ledger, list(range(20))))
    assert all(isinstance(word, Completed) for word in settled(events).values())
    assert Counter(engine.runs) == dict.fromkeys(range(20), 1)
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 20}
    assert all(len(found) == 1 for found in ledger.history.attempts_of(range(20)).values())


@pytest.mark.parametrize(
    ("fault", "settings"),
    [
        # sbatch's own words when the controller is frozen, exit code 1; the job is there.
        (
            '"$REAL" "$@" >/dev/null; echo "sbatch: error: Batch job submission failed: Socket timed out on'
            ' send/recv operation" >&2; exit 1',
            {},
        ),
        ('"$REAL" "$@" >/dev/null; sleep 60', {"command_timeout_s": 1.5}),
        ('"$REAL" "$@" >/dev/null; kill -9 $$', {}),
        ('"$REAL" "$@" >/dev/null; exit 0', {}),
    ],
    ids=["socket timed out", "time limit of the call", "killed", "no id"],
)
def test_trap_1_the_jobs_are_looked_up_by_name(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine, fault: str, settings: dict[str, Any]
) -> None:
    slurm.put_fault("sbatch", fault)
    campaign, ledger = prepared(tmp_path, engine, 10, "slurm", **settings)
    events = list(batch(campaign, ledger, list(range(10))))
    assert all(isinstance(word, Completed) for word in settled(events).values())
    assert Counter(engine.runs) == dict.fromkeys(range(10), 1)
    assert len(slurm.calls_of("sbatch")) == 1
    assert any("the answer to a submit of 10 jobs was lost" in note for note in notes(events))
    assert any("found in the queue: 10 jobs of that submit" in note for note in notes(events))


def test_trap_1_a_submit_that_never_arrived_is_made_again(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    slurm.put_fault(
        "sbatch",
        'if [ ! -e "$0.once" ]; then touch "$0.once"; echo "sbatch: error: Batch job submission failed: Unable to'
        ' contact slurm controller (connect failure)" >&2; exit 1; fi; exec "$REAL" "$@"',
    )
    campaign, ledger = prepared(tmp_path, engine, 5, "slurm")
    events = list(batch(campaign, ledger, list(range(5))))
    assert all(isinstance(word, Completed) for word in settled(events).values())
    assert Counter(engine.runs) == dict.fromkeys(range(5), 1)
    assert any("not in the queue and submitted again: 5 jobs of that submit" in n for n in notes(events))


def test_trap_2_the_record_of_a_refused_submit_is_no_job(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    campaign, ledger = prepared(tmp_path, engine, 2, "slurm", mem=500_000)
    with pytest.raises(LauncherError, match=r"slurm refused its job: .*nothing more was started"):
        list(batch(campaign, ledger, [0, 1]))
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 2}
    name = next(word for word in slurm.calls_of("sbatch")[0].split() if word.startswith("--job-name="))
    assert Slurm(JobOptions()).find([JobArray(Path(name.removeprefix("--job-name=")), [], [])]) == {}
    assert engine.runs == []


def test_trap_3_a_job_that_the_queue_forgot_is_judged_by_its_files(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("slow")
    engine.set("slow hang", 2)
    campaign, ledger = prepared(tmp_path, engine, 3, "slurm")
    first = worker(campaign, "killed", "0-2")
    until(lambda: len(engine.runs) == 3)
    first.kill()
    first.wait()
    until(lambda: all((campaign.jobs_dir / f"job_{n}" / "exit.json").exists() for n in range(3)))
    # As if the payload of the third had been killed before it could say how it ended.
    (campaign.jobs_dir / "job_2" / "exit.json").unlink()
    (campaign.jobs_dir / "job_2" / "orca.out").write_text("")
    client = Slurm(JobOptions())
    ids = [str(ledger.history.attempts(index)[0].scheduler_job_id) for index in range(3)]
    until(lambda: not client.states(named(ids[:1])))
    assert client.states(named(ids)) == {}, "one id that is gone is an error, several are silence"
    stop = StopRequest()
    events = []
    for event in batch(campaign, ledger, [0, 1, 2], "next", stop=stop):
        events.append(event)
        if isinstance(event, Note) and "structure 2 was lost" in event.text:
            stop.raise_to(StopLevel.NOW, hold=True)
    words = settled(events)
    assert isinstance(words[0], Completed) and isinstance(words[1], Completed)
    lost = ledger.history.attempts(2)[0]
    assert lost.outcome is Outcome.LOST and "no longer known" in str(lost.message)
    assert Counter(engine.runs) == {0: 1, 1: 1, 2: 1}


def test_trap_4_the_queue_is_asked_for_a_batchs_own_jobs_and_never_for_json(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    strangers = tmp_path / "strangers.sh"
    strangers.write_text("#!/bin/sh\nsleep 100\n")
    slurm.run(
        "sbatch", "--parsable", "--output=/dev/null", "--array=0-49", "--begin=now+1hour", str(strangers)
    )
    campaign, ledger = prepared(tmp_path, engine, 10, "slurm")
    words = settled(list(batch(campaign, ledger, list(range(10)))))
    assert all(isinstance(word, Completed) for word in words.values())
    calls = [line.split()[2:] for line in slurm.calls.read_text().splitlines()]
    assert not any("json" in word for call in calls for word in call)
    array = str(ledger.history.attempts(0)[0].scheduler_job_id).partition("_")[0]
    asked = [call.split()[2:] for call in slurm.calls_of("squeue")]
    assert asked and all(call[call.index("-j") + 1] == array for call in asked)
    client = Slurm(JobOptions())
    assert set(client.states(named([f"{array}_0"]))) <= {f"{array}_{task}" for task in range(10)}


def test_tasks_that_are_cancelled_before_any_began_are_told_one_by_one(
    tmp_path: Path, slurm: RealSlurm
) -> None:
    array = JobArray.write(
        tmp_path, [Job(f"t{n}", tmp_path, 1) for n in range(3)], JobEnvironment(), "SLURM_ARRAY_TASK_ID"
    )
    client = Slurm(JobOptions(extra=["--begin=now+1hour"]))
    ids = list(client.submit(array).job_ids.values())
    client.cancel(named(ids[:1]))
    until(lambda: client.states(named(ids)).get(ids[0], JobState(Phase.ENDED)).phase is Phase.ENDED)
    assert client.states(named(ids))[ids[1]].phase is Phase.QUEUED
    client.cancel(named(ids[1:]))
    until(lambda: all(state.phase is Phase.ENDED for state in client.states(named(ids)).values()))
    assert {client.states(named(ids))[job_id].cause for job_id in ids[1:]} == {Cause.CANCELLED}


def test_trap_5_cancelling_what_is_not_there_and_without_a_controller(slurm: RealSlurm) -> None:
    client = Slurm(JobOptions())
    client.cancel(named(["999999_0", "999999_1"]))
    slurm.stop_controller()
    try:
        with pytest.raises(NoAnswerError, match="Unable to contact slurm controller"):
            client.cancel(named(["999999_0"]))
        with pytest.raises(NoAnswerError):
            client.states(named(["999999_0"]))
    finally:
        slurm.start_controller()


def test_a_job_is_followed_and_cancelled_only_while_it_bears_our_name(
    tmp_path: Path, slurm: RealSlurm
) -> None:
    """Of a cluster that was set up anew: the number of our array is another campaign's by now."""
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/bash\nsleep 600\n")
    array = slurm.run(
        "sbatch",
        "--parsable",
        "--output=/dev/null",
        "--job-name=oact-theirs",
        "--array=0-2",
        "-n8",
        str(script),
    ).strip()
    ids = [f"{array}_{task}" for task in range(3)]
    client = Slurm(JobOptions())
    until(lambda: any(s.phase is Phase.RUNNING for s in client.states(named(ids, "oact-theirs")).values()))
    assert client.states(named(ids, "oact-ours")) == {}
    client.cancel(named(ids, "oact-ours"))
    assert len(client.states(named(ids, "oact-theirs"))) == 3
    assert {s.phase for s in client.states(named(ids, "oact-theirs")).values()} <= {
        Phase.RUNNING,
        Phase.QUEUED,
    }
    client.cancel(named(ids, "oact-theirs"))
    until(
        lambda: all(s.phase is Phase.ENDED for s in client.states(named(ids, "oact-theirs")).values()),
        "their end",
    )


def test_a_few_arrays_are_asked_for_one_by_one(slurm: RealSlurm) -> None:
    """Of several at once squeue reads all jobs of the cluster."""
    client = Slurm(JobOptions())
    client.states(named(["991_0", "991_1", "992_0"]))
    assert [call.split(" -j ")[1].split()[0] for call in slurm.calls_of("squeue")] == ["991", "992"]
    client.states(named([f"{990 + number}_0" for number in range(9)]))
    assert len(slurm.calls_of("squeue")) == 3


def test_a_job_submitted_by_hand_is_not_submitted_a_second_time(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("hang normal")
    campaign, ledger = prepared(tmp_path, engine, 2, "slurm")
    (made,) = preview(campaign, ledger, [0])
    assert made.folder is not None
    by_hand = slurm.run("sbatch", "--parsable", str(made.folder / "slurm_job.sh")).strip()
    name = slurm.run("squeue", "-h", "-j", by_hand, "-o", "%j").strip()
    assert name.startswith("job_0-")
    until(lambda: engine.runs == [0], "the job by hand")
    words = settled(list(batch(campaign, ledger, [0])))
    assert isinstance(words[0], NotRun)
    assert words[0].reason.startswith(
        f"it was submitted by hand (slurm job {by_hand}) and is not submitted again"
    )
    assert engine.runs == [0] and ledger.history.attempts(0) == []
    slurm.run("scancel", by_hand)
    until(lambda: not slurm.run("squeue", "-h", "-n", name, "-o", "%i").strip(), "its end")
    engine.set("normal")
    words = settled(list(batch(campaign, ledger, [0, 1], "next")))
    assert all(isinstance(word, Completed) for word in words.values()), words


def test_trap_6_and_trap_7_what_runs_on_a_failed_node_writes_into_no_later_attempt(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("hang normal")
    campaign, ledger = prepared(tmp_path, engine, 1, "slurm", resources=[{"max_atoms": 9, "n_cores": 8}])
    events = []
    node = ""
    try:
        for event in batch(campaign, ledger, [0]):
            events.append(event)
            if isinstance(event, Running) and not node:
                until(lambda: engine.runs == [0])
                node = slurm.jobs("%N", ledger.history.attempts(0)[0].scheduler_job_id)[0]
                slurm.kill_node(node)
        (word,) = settled(events).values()
        assert isinstance(word, Completed)
        first, second = ledger.history.attempts(0)
        assert (first.outcome, second.outcome) == (Outcome.LOST, Outcome.COMPLETED)
        assert "lost its node (NODE_FAIL" in str(first.message)
        structure = ledger.structures.of([0])[0]
        assert (structure.fail_count, structure.loss_count) == (0, 1)
        assert slurm.jobs("%N", second.scheduler_job_id) != [node]
        # The first one still runs: ended now, its payload writes its record where its own files are.
        old, new = campaign.jobs_dir / "job_0.attempt-1", campaign.jobs_dir / "job_0"
        assert not (old / "exit.json").exists()
        before = {path.name: path.read_bytes() for path in new.iterdir()}
        start = json.loads((old / "started.json").read_text())
        os.kill(start["pid"], signal.SIGTERM)
        until(lambda: (old / "exit.json").exists())
        assert {path.name: path.read_bytes() for path in new.iterdir()} == before
    finally:
        if node:
            end_leftovers([attempt.token for attempt in ledger.history.attempts(0)])
            slurm.start_node(node)
            until(lambda: "idle" in slurm.run("sinfo", "-h", "-N", "-n", node, "-p", "main", "-o", "%t"))


def test_trap_8_a_job_that_is_requeued_does_not_run_twice_in_its_folder(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    engine.set("hang normal")
    # As where a site lets jobs be requeued whatever they ask for.
    campaign, ledger = prepared(tmp_path, engine, 1, "slurm", extra_directives=["--requeue"])
    events = []
    requeued = False
    for event in batch(campaign, ledger, [0]):
        events.append(event)
        if isinstance(event, Running) and not requeued:
            requeued = True
            until(lambda: engine.runs == [0])
            job_id = str(ledger.history.attempts(0)[0].scheduler_job_id)
            slurm.run("scontrol", "requeue", job_id)
            until(lambda job_id=job_id: slurm.jobs("%T", job_id) == ["PENDING"])  # type: ignore[misc]
            # It would begin after two minutes. In the second of its requeue, Slurm would refuse to start it
            # ("Job credential revoked").
            slurm.run("scontrol", "update", f"JobId={job_id}", "StartTime=now+2")
    assert isinstance(settled(events)[0], Completed)
    assert engine.runs == [0, 0]
    first, second = ledger.history.attempts(0)
    assert (first.outcome, second.outcome) == (Outcome.LOST, Outcome.COMPLETED)
    array = next(
        p.parent for p in (campaign.jobs_dir / ".batches").rglob("tasks.tsv") if first.token in p.read_text()
    )
    assert "another payload has begun this attempt" in (array / "0.out").read_text()


def test_what_squeue_forgot_is_asked_of_sacct(slurm: RealSlurm) -> None:
    # Accounting needs a database, which does not run here: its recorded answers are replayed.
    slurm.put_fault("scontrol", "echo 'AccountingStorageType   = accounting_storage/slurmdbd'")
    slurm.put_fault(
        "sacct",
        "cat <<END\n990_0|CANCELLED by 1000|0:0|00:00:01|00:00.075||n1|oact-a\n"
        "990_0.batch|CANCELLED|0:15|00:00:01|00:00.075|17680K|n1|batch\n"
        "990_1|OUT_OF_MEMORY|0:125|1-02:03:04|02:00:00||n2|oact-a\n"
        "990_2|RUNNING|0:0|00:00:05|00:00:00||n1|oact-a\n"
        "990_3|FAILED|7:0|00:00:05|00:00:00||n1|of somebody else\nEND",
    )
    found = Slurm(JobOptions()).states(named([f"990_{task}" for task in range(5)]))
    assert {job_id: (state.phase, state.cause) for job_id, state in found.items()} == {
        "990_0": (Phase.ENDED, Cause.CANCELLED),
        "990_1": (Phase.ENDED, Cause.OUT_OF_MEMORY),
    }, "a record that was never closed, or is another's, says nothing"
    assert found["990_0"].costs == JobCosts(1.0, 0.075, 17680 / 1024, "n1")
    assert found["990_1"].costs == JobCosts(93784.0, 7200.0, None, "n2")
    assert len(slurm.calls_of("sacct")) == 1


def test_trap_9_without_its_database_sacct_says_nothing(slurm: RealSlurm) -> None:
    slurm.put_fault("scontrol", "echo 'AccountingStorageType   = accounting_storage/slurmdbd'")
    slurm.put_fault(
        "sacct", "echo 'sacct: error: Problem talking to the database: Connection refused' >&2; exit 1"
    )
    client = Slurm(JobOptions())
    assert client.states(named(["990_0"])) == {} == client.states(named(["990_0"]))
    assert len(slurm.calls_of("sacct")) == 1, "it is not asked again soon"


def test_trap_9_a_frozen_database_holds_no_run_up(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    slurm.put_fault(
        "scontrol", "echo 'AccountingStorageType   = accounting_storage/slurmdbd'; echo 'MaxArraySize = 100'"
    )
    slurm.put_fault("sacct", "exec sleep 60")
    campaign, ledger = prepared(tmp_path, engine, 3, "slurm", command_timeout_s=1.0)
    words = settled(list(batch(campaign, ledger, [0, 1, 2])))
    assert all(isinstance(word, Completed) for word in words.values())
    assert len(slurm.calls_of("sacct")) == 1
    assert all((ledger.history.attempts(index)[0].max_rss_mb or 0) > 1 for index in range(3)), (
        "the payload tells"
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"queue": "short", "n_hours": 1.0}, "PartitionTimeLimit (the jobs' time limit is above"),
        (
            {"resources": [{"max_atoms": 9, "n_cores": 65}]},
            "PartitionConfig (the queue cannot give what the jobs ask for",
        ),
        ({"extra_directives": ["--nodes=5"]}, "PartitionNodeLimit (the jobs ask for more nodes"),
        (
            {"queue": "two", "extra_directives": ["--nodes=2"]},
            "PartitionNodeLimit (the jobs ask for more nodes",
        ),
        (
            {"extra_directives": ["--dependency=afterok:FAILED"]},
            "DependencyNeverSatisfied (the jobs never start",
        ),
        ({"queue": "last"}, "PartitionDown (the queue is down"),
        ({"queue": "last"}, "ReqNodeNotAvail"),
    ],
    ids=["time", "cores", "nodes", "nodes of a job", "dependency", "down", "drained"],
)
def test_trap_10_a_job_that_can_never_start_is_told_with_its_reason(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine, settings: dict[str, Any], reason: str
) -> None:
    if reason.startswith("Dependency"):
        settings = {"extra_directives": [f"--dependency=afterok:{failed_job(slurm, tmp_path)}"]}
    campaign, ledger = prepared(tmp_path, engine, 2, "slurm", **settings)
    kept: list[tuple[str, int]] = []
    word = reason.split(" (")[0]
    with unusable(slurm, reason):
        stop = StopRequest()
        events = []
        # Whatever is told, the run ends: it is asked after 5 s.
        stop.ask = lambda: stop.raise_to(StopLevel.NOW, hold=True)
        for event in batch(campaign, ledger, [0, 1], stop=stop):
            events.append(event)
            # At first Slurm may say PartitionConfig, until it has looked closer.
            if isinstance(event, Stuck) and event.reason.startswith(word):
                kept = ledger.figures.stuck_by_reason()
                if kept[0][1] == 2:
                    stop.raise_to(StopLevel.NOW, hold=True)
    assert [(why.startswith(word), count) for why, count in kept] == [(True, 2)]
    assert {event.orig_index for event in events if isinstance(event, Stuck)} == {0, 1}
    assert ledger.figures.stuck_by_reason() == [], "what is cancelled waits no more"
    (told,) = [note for note in notes(events) if f"slurm: 2 jobs wait: {word}" in note]
    assert reason in told
    assert all(isinstance(one, NotRun) for one in settled(events).values())
    assert not slurm.run("squeue", "-h", "-o", "%i").strip()
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 2}


def test_trap_10_pilots_that_can_never_start_are_told_with_what_waits_for_them(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    campaign, ledger = prepared(
        tmp_path,
        engine,
        2,
        "slurm",
        queue="last",
        per_job="parsl",
        n_hours=1.0,
        job_timeout_s=60.0,
        max_workers=2,
    )
    kept: list[tuple[str, int]] = []
    with unusable(slurm, "PartitionDown"):
        stop = StopRequest()
        stop.ask = lambda: stop.raise_to(StopLevel.NOW, hold=True)
        for event in batch(campaign, ledger, [0, 1], stop=stop):
            # Its node may have been drained a moment ago, and Slurm says that first.
            if isinstance(event, Stuck) and event.reason.startswith("PartitionDown"):
                kept = ledger.figures.stuck_by_reason()
                if kept[0][1] == 2:
                    stop.raise_to(StopLevel.NOW, hold=True)
    assert kept == [("PartitionDown (the queue is down)", 2)]
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 2}
    until(lambda: not slurm.run("squeue", "-h", "-o", "%i").strip())


def failed_job(slurm: RealSlurm, tmp_path: Path) -> str:
    """The id of a job that has failed."""
    script = tmp_path / "fails.sh"
    script.write_text("#!/bin/sh\nexit 1\n")
    job_id = slurm.run("sbatch", "--parsable", "--output=/dev/null", str(script)).strip()
    until(lambda: slurm.jobs("%T", job_id) == ["FAILED"])
    return job_id


def test_trap_11_an_id_may_come_with_the_name_of_its_cluster(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    # As `sbatch --parsable -M sandbox` prints it.
    slurm.put_fault("sbatch", 'id=$("$REAL" "$@") && echo "$id;sandbox"')
    campaign, ledger = prepared(tmp_path, engine, 3, "slurm")
    events = list(batch(campaign, ledger, [0, 1, 2]))
    assert all(isinstance(word, Completed) for word in settled(events).values())
    assert notes(events) == [], "the answer was understood"
    ids = [str(ledger.history.attempts(index)[0].scheduler_job_id) for index in range(3)]
    assert [one.partition("_")[2] for one in ids] == ["0", "1", "2"]
    assert all(one.partition("_")[0].isdecimal() for one in ids)


class unusable:  # noqa: N801
    """The queue ``last`` is down, or its node is drained, as long as it is needed."""

    def __init__(self, slurm: RealSlurm, reason: str) -> None:
        self._slurm = slurm
        self._down = reason.startswith("PartitionDown")
        self._drained = reason.startswith("ReqNodeNotAvail")

    def __enter__(self) -> None:
        if self._down:
            self._slurm.run("scontrol", "update", "PartitionName=last", "State=DOWN")
        if self._drained:
            self._slurm.run("scontrol", "update", "NodeName=n3", "State=DRAIN", "Reason=disk, broken")

    def __exit__(self, *error: object) -> None:
        if self._down:
            self._slurm.run("scontrol", "update", "PartitionName=last", "State=UP")
        if self._drained:
            self._slurm.run("scontrol", "update", "NodeName=n3", "State=RESUME")


def test_every_call_has_the_configuration_of_its_test(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    campaign, ledger = prepared(tmp_path, engine, 2, "slurm")
    list(batch(campaign, ledger, [0, 1]))
    calls = slurm.calls.read_text().splitlines()
    assert {line.split()[0] for line in calls} >= {"sbatch", "squeue"}
    assert {line.split()[1] for line in calls} == {str(slurm.configuration)}
    assert str(slurm.configuration).startswith(str(slurm.folder))

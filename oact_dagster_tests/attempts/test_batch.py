"""Batches from claim to record, with a real ledger, real processes, and engines that fail in every way."""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.attempts.events import Completed, Failed, InputWritten, Note, NotRun, Running
from oact_dagster.attempts.selection import Selection, resolve
from oact_dagster.attempts.stop_request import StopLevel, StopRequest
from oact_dagster.errors import LauncherError, LedgerError
from oact_dagster.intake.intake import take_in
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.batches import batch, settled
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.engines import ENERGY, GRADIENT, TestEngine
from oact_dagster_tests.waiting import until


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path)


def prepared(tmp_path: Path, engine: TestEngine, structures: int, **settings: Any) -> tuple[Campaign, Ledger]:
    campaign = write_campaign(tmp_path / "campaign", structures, engine.path, settings=settings)
    ledger = Ledger(campaign.ledger, create=True)
    take_in(campaign, ledger)
    return campaign, ledger


def test_a_batch_records_every_result(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 5)
    events = list(batch(campaign, ledger, [0, 1, 2, 3, 4]))
    words = settled(events)
    assert Counter(type(word) for word in words.values()) == {Completed: 5}
    for index, structure in ledger.structures.of(range(5)).items():
        assert structure.status is Status.COMPLETED
        assert structure.job_dir == str(campaign.jobs_dir / f"job_{index}")
    for row in ledger.history.completed():
        assert row["final_energy"] == pytest.approx(ENERGY - row["orig_index"] / 10_000, abs=1e-10)
        assert row["max_forces"] == pytest.approx(GRADIENT)
        assert (row["scf_steps"], row["wall_time"], row["n_cores"]) == (12, 3.6, 1)
    (attempt,) = ledger.history.attempts(3)
    assert (attempt.number, attempt.outcome, attempt.launcher) == (1, Outcome.COMPLETED, "local")
    assert attempt.token in (campaign.jobs_dir / "job_3" / "orca.out").read_text()
    assert sorted(engine.runs) == [0, 1, 2, 3, 4]
    assert sum(isinstance(event, Running) for event in events) == 5


def test_a_second_batch_computes_nothing(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 3)
    first = settled(list(batch(campaign, ledger, [0, 1, 2])))
    again = list(batch(campaign, ledger, [0, 1, 2], "again"))
    second = settled(again)
    assert sorted(engine.runs) == [0, 1, 2]
    for index in range(3):
        one, two = first[index], second[index]
        assert isinstance(one, Completed) and isinstance(two, Completed)
        assert not one.reused and two.reused
        assert two.attempt == one.attempt
    assert sum(isinstance(event, InputWritten) and event.reused for event in again) == 3


@pytest.mark.parametrize(
    ("behaviour", "outcome", "failure_class", "said"),
    [
        ("scf_not_converged", Outcome.FAILED, "scf_not_converged", "SCF NOT CONVERGED"),
        ("crash", Outcome.FAILED, "aborted", "killed by signal 11"),
        ("exit3", Outcome.FAILED, "aborted", "ended with exit code 3"),
        ("half", Outcome.FAILED, "truncated", "has no end"),
        ("silent", Outcome.FAILED, "truncated", "not this attempt's"),
        ("nonsense", Outcome.FAILED, "unphysical", "unphysical"),
        ("foreign", Outcome.FAILED, "truncated", "not this attempt's"),
        ("hang", Outcome.TIMEOUT, "timeout", "time limit of 1 s"),
        ("stubborn", Outcome.TIMEOUT, "timeout", "time limit of 1 s"),
    ],
)
def test_no_failure_is_taken_for_a_success_and_none_costs_its_neighbours(
    tmp_path: Path, engine: TestEngine, behaviour: str, outcome: Outcome, failure_class: str, said: str
) -> None:
    engine.set(behaviour, 1)
    campaign, ledger = prepared(tmp_path, engine, 3, launcher={"job_timeout_s": 1.0})
    words = settled(list(batch(campaign, ledger, [0, 1, 2])))
    assert isinstance(words[0], Completed) and isinstance(words[2], Completed)
    failed = words[1]
    assert isinstance(failed, Failed)
    assert (failed.failure_class, failed.structure.fail_count) == (failure_class, 1)
    assert said in failed.message
    structure = ledger.structures.of([1])[1]
    assert structure.status == outcome
    assert structure.error_message == failed.message
    (attempt,) = ledger.history.attempts(1)
    assert (attempt.outcome, attempt.failure_class) == (outcome, failure_class)
    if behaviour == "scf_not_converged":
        assert "aborting the run" in failed.tail


def test_what_was_mended_runs_again_in_a_fresh_folder(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("scf_not_converged", 0)
    campaign, ledger = prepared(tmp_path, engine, 1)
    list(batch(campaign, ledger, [0], "one"))
    engine.set("normal", 0)
    (word,) = settled(list(batch(campaign, ledger, [0], "two"))).values()
    assert isinstance(word, Completed) and word.attempt is not None
    assert word.attempt.number == 2
    old, new = campaign.jobs_dir / "job_0.attempt-1", campaign.jobs_dir / "job_0"
    assert "NOT CONVERGED" in (old / "orca.out").read_text()
    assert "TERMINATED NORMALLY" in (new / "orca.out").read_text()
    structure = ledger.structures.of([0])[0]
    assert (structure.fail_count, structure.error_message) == (1, None)


def test_the_budget_of_failures_is_kept_and_can_be_set_aside(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("exit1")
    campaign, ledger = prepared(
        tmp_path, engine, 1, retry={"max_failures": 3}, remedies={"aborted": ["again"] * 5}
    )
    for number in range(5):
        (word,) = settled(list(batch(campaign, ledger, [0], f"batch {number}"))).values()
        assert isinstance(word, Failed)
    assert engine.runs == [0, 0, 0]
    assert "set aside after 3 failed attempts (retry.max_failures: 3)" in word.message
    assert len(word.attempts) == 3
    list(batch(campaign, ledger, [0], "once more", ignore_budget=True))
    assert engine.runs == [0, 0, 0, 0]


def test_an_input_that_is_refused_fails_alone_and_writes_nothing(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = prepared(
        tmp_path, engine, 2, orca={"simple_input": "x2c", "non_actinide_basis": "def2-\n"}
    )
    words = settled(list(batch(campaign, ledger, [0, 1])))
    assert all(isinstance(word, Failed) and word.failure_class == "input_refused" for word in words.values())
    assert not any(campaign.jobs_dir.glob("job_*"))
    assert engine.runs == []


def test_a_folder_that_cannot_be_written_fails_its_structure_alone(
    tmp_path: Path, engine: TestEngine
) -> None:
    campaign, ledger = prepared(tmp_path, engine, 3)
    campaign.jobs_dir.mkdir()
    (campaign.jobs_dir / "job_1").write_text("a file where the folder should be")
    words = settled(list(batch(campaign, ledger, [0, 1, 2])))
    failed = words.pop(1)
    assert isinstance(failed, Failed) and failed.failure_class == "not_written"
    assert all(isinstance(word, Completed) for word in words.values())
    assert sorted(engine.runs) == [0, 2]
    assert [entry.name for entry in campaign.jobs_dir.iterdir() if entry.name.startswith(".job")] == []


def test_a_full_disk_while_an_input_is_written_leaves_no_half_folder(
    tmp_path: Path, engine: TestEngine
) -> None:
    campaign, _ = prepared(tmp_path, engine, 2)
    code = (
        "import resource, sys\n"
        "from oact_dagster.settings.campaign import load_campaign\n"
        "from oact_dagster.attempts.job_folder import FolderWriter\n"
        "from oact_dagster.attempts.job_layout import JobLayout\n"
        "from oact_dagster.ledger.store import Ledger\n"
        "campaign = load_campaign(sys.argv[1])\n"
        "structure = Ledger(campaign.ledger).structures.of([0])[0]\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try:\n"
        "    FolderWriter(campaign, JobLayout.of(campaign, None)).input_only(structure)\n"
        "except OSError as error:\n"
        "    print(error.strerror)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(campaign.file)], capture_output=True, text=True, check=True
    )
    assert "too large" in done.stdout
    assert list(campaign.jobs_dir.iterdir()) == []


def test_another_level_of_theory_is_refused_before_anything_runs(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 2)
    list(batch(campaign, ledger, [0]))
    other = write_campaign(tmp_path / "campaign", 0, engine.path, settings={"orca": {"functional": "PBE0"}})
    with pytest.raises(LedgerError, match=r"functional=wB97M-V, but the settings now say functional=PBE0"):
        list(batch(other, ledger, [1]))
    assert engine.runs == [0]


def test_held_structures_run_only_when_named(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 3)
    ledger.hold([1])
    assert list(resolve(campaign, ledger, Selection("unfinished")).orig_indices) == [0, 2]
    (word,) = settled(list(batch(campaign, ledger, [1], named=False))).values()
    assert isinstance(word, NotRun) and "oact release" in word.reason
    (word,) = settled(list(batch(campaign, ledger, [1], named=True))).values()
    assert isinstance(word, Completed)
    assert ledger.figures.count_held() == 0


@pytest.mark.parametrize("level", [StopLevel.FINISH, StopLevel.NOW])
@pytest.mark.parametrize("hold", [False, True])
def test_a_stop_gives_back_what_has_not_finished(
    tmp_path: Path, engine: TestEngine, level: StopLevel, hold: bool
) -> None:
    engine.set("hang")
    campaign, ledger = prepared(tmp_path, engine, 5)
    stop = StopRequest()
    events = []
    for event in batch(campaign, ledger, [0, 1, 2, 3, 4], stop=stop):
        events.append(event)
        if sum(isinstance(event, Running) for event in events) == 2:
            stop.raise_to(level, hold=hold)
    words = settled(events)
    assert all(isinstance(word, NotRun) for word in words.values()) and len(words) == 5
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 5}
    assert ledger.figures.count_held() == (5 if hold else 0)
    outcomes = [[attempt.outcome for attempt in ledger.history.attempts(index)] for index in range(5)]
    assert sorted(outcomes, key=len) == [[], [], [], [Outcome.CANCELLED], [Outcome.CANCELLED]]
    assert all(s.fail_count == 0 and s.loss_count == 0 for s in ledger.structures.of(range(5)).values())


def test_the_first_stop_lets_running_calculations_finish(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("slow")
    campaign, ledger = prepared(tmp_path, engine, 4, launcher={"stop_grace_s": 20})
    stop = StopRequest()
    events = []
    for event in batch(campaign, ledger, [0, 1, 2, 3], stop=stop):
        events.append(event)
        if sum(isinstance(event, Running) for event in events) == 2:
            stop.raise_to(StopLevel.FINISH)
    assert Counter(type(word) for word in settled(events).values()) == {Completed: 2, NotRun: 2}
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 2, Status.TO_RUN: 2}


def test_a_batch_that_is_dropped_leaves_nothing_running(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("hang")
    campaign, ledger = prepared(tmp_path, engine, 4)
    events = batch(campaign, ledger, [0, 1, 2, 3])
    while not isinstance(next(events), Running):
        pass
    events.close()  # type: ignore[attr-defined]
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 4}
    assert list(settled(list(batch(campaign, ledger, [], "next")))) == []


WORKER = """
import sys
from oact_dagster.settings.campaign import load_campaign
from oact_dagster.attempts.batch import BatchRun
from oact_dagster.attempts.engine import find_engine
from oact_dagster.attempts.selection import BatchRequest
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.ledger.store import Ledger

campaign = load_campaign(sys.argv[1])
indices = [int(word) for word in sys.argv[3].split(",")]
with Ledger(campaign.ledger) as ledger:
    run = BatchRun(campaign, ledger, make_launcher(campaign), find_engine(campaign), BatchRequest(indices), sys.argv[2])
    for event in run.run():
        kind = type(event).__name__
        index = getattr(event, "orig_index", None)
        if index is None and hasattr(event, "structure"):
            index = event.structure.orig_index
        print(kind, index, getattr(event, "reused", ""), getattr(event, "followed", ""), flush=True)
"""


def worker(campaign: Campaign, name: str, indices: list[int]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(campaign.file), name, ",".join(map(str, indices))],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_run_killed_with_9_is_taken_over(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 6)
    engine.set("hang", 2, 3, 4, 5)
    first = worker(campaign, "killed", [0, 1, 2, 3, 4, 5])
    until(lambda: {2, 3} <= set(engine.runs) and ledger.figures.count_by_status().get(Status.COMPLETED) == 2)
    first.kill()
    first.wait()
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 2, Status.RUNNING: 4}
    engine.set("normal", 2, 3, 4, 5)
    events = list(batch(campaign, ledger, [0, 1, 2, 3, 4, 5], "next"))
    words = settled(events)
    assert all(isinstance(word, Completed) for word in words.values()) and len(words) == 6
    assert [word.reused for _, word in sorted(words.items())] == [True, True, False, False, False, False]  # type: ignore[union-attr]
    assert Counter(engine.runs) == {0: 1, 1: 1, 2: 2, 3: 2, 4: 1, 5: 1}
    assert any(isinstance(event, Note) and "run that is gone" in event.text for event in events)
    losses = {i: s.loss_count for i, s in ledger.structures.of(range(6)).items()}
    assert losses == {0: 0, 1: 0, 2: 1, 3: 1, 4: 0, 5: 0}, "what was running is lost, what was queued is not"
    assert all(structure.fail_count == 0 for structure in ledger.structures.of(range(6)).values())


def test_what_finished_after_its_run_died_is_harvested(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 1)
    engine.set("slow")
    first = worker(campaign, "killed", [0])
    until(lambda: engine.runs == [0])
    # Stopped, the run sees nothing of the end; killed then, it never records it.
    first.send_signal(signal.SIGSTOP)
    until(lambda: (campaign.jobs_dir / "job_0" / "exit.json").exists())
    first.kill()
    first.wait()
    assert ledger.figures.count_by_status() == {Status.RUNNING: 1}
    events = list(batch(campaign, ledger, [0], "next"))
    (word,) = settled(events).values()
    assert isinstance(word, Completed) and word.attempt is not None and word.attempt.number == 1
    assert [event.attempt for event in events if isinstance(event, InputWritten)] == [1]
    assert engine.runs == [0]


def test_two_runs_over_the_same_structures_compute_each_once(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 6)
    engine.set("slow")
    runs = [worker(campaign, name, indices) for name, indices in (("a", [0, 1, 2, 3]), ("b", [2, 3, 4, 5]))]
    told = [run.communicate(timeout=60)[0].splitlines() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sorted(engine.runs) == [0, 1, 2, 3, 4, 5]
    done = [{int(line.split()[1]) for line in lines if line.startswith("Completed")} for lines in told]
    assert done == [{0, 1, 2, 3}, {2, 3, 4, 5}]
    followed = [
        line for lines in told for line in lines if line.startswith("Completed") and line.endswith("True")
    ]
    assert len(followed) == 2
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 6}


def test_a_lost_structure_runs_again_within_its_budget_of_losses(tmp_path: Path, engine: TestEngine) -> None:
    import psutil

    engine.set("hang")
    campaign, ledger = prepared(tmp_path, engine, 1, retry={"max_losses": 2})
    events = []
    for event in batch(campaign, ledger, [0]):
        events.append(event)
        if isinstance(event, Running):
            until(lambda: len(engine.runs) == sum(isinstance(one, Running) for one in events))
            spec = json.loads((campaign.jobs_dir / "job_0" / "attempt.json").read_text())
            for process in psutil.Process().children():
                if spec["token"] in process.cmdline():
                    process.kill()
    (word,) = settled(events).values()
    assert isinstance(word, Failed)
    assert "set aside after 2 lost attempts" in word.message
    assert len(engine.runs) == 2
    structure = ledger.structures.of([0])[0]
    assert (structure.fail_count, structure.loss_count, structure.status) == (0, 2, Status.TO_RUN)


def test_a_stop_that_is_asked_for_by_status_ends_a_silent_batch(
    tmp_path: Path, engine: TestEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oact_dagster.attempts.stop_request.ASK_EVERY_S", 0.2)
    engine.set("hang")
    campaign, ledger = prepared(tmp_path, engine, 3)
    stop = StopRequest()
    stop.ask = lambda: stop.raise_to(StopLevel.NOW, hold=True) if engine.runs else None
    words = settled(list(batch(campaign, ledger, [0, 1, 2], stop=stop)))
    assert all(isinstance(word, NotRun) for word in words.values())
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 3}
    assert ledger.figures.count_held() == 3


def test_an_engine_that_cannot_be_started_stops_the_batch_and_costs_no_budget(
    tmp_path: Path, engine: TestEngine
) -> None:
    engine.path.write_text("#!/no/such/interpreter\n")
    campaign, ledger = prepared(tmp_path, engine, 12)
    events = []
    with pytest.raises(LauncherError, match=r"could not be started: .*interpreter.*nothing more was started"):
        events.extend(batch(campaign, ledger, list(range(12))))
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 12}
    assert all(s.fail_count == 0 and s.loss_count == 0 for s in ledger.structures.of(range(12)).values())
    assert (
        sum(len(ledger.history.attempts(index)) for index in range(12)) <= campaign.launcher.max_workers * 2
    )


def test_a_full_disk_fails_one_structure_and_touches_no_other(
    tmp_path: Path, engine: TestEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign, ledger = prepared(tmp_path, engine, 6)
    campaign.jobs_dir.mkdir()
    (campaign.jobs_dir / "job_3").write_text("a folder that cannot be written")
    # Whatever is free counts as too little.
    monkeypatch.setattr("oact_dagster.attempts.full_disk.LEAST_SPACE_B", 2**62)
    events = []
    with pytest.raises(LauncherError, match="no space left on the disk"):
        for event in batch(campaign, ledger, list(range(6))):
            events.append(event)
    words = settled(events)
    assert isinstance(words.pop(3), Failed)
    assert len(words) == 5
    assert all(isinstance(word, NotRun) and "no space left" in word.reason for word in words.values())
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 5, Status.FAILED: 1}
    assert engine.runs == []


def test_what_never_began_leaves_no_folder_of_an_attempt(tmp_path: Path, engine: TestEngine) -> None:
    engine.set("hang")
    campaign, ledger = prepared(tmp_path, engine, 5)
    stop = StopRequest()
    for event in batch(campaign, ledger, [0, 1, 2, 3, 4], stop=stop):
        if isinstance(event, Running):
            stop.raise_to(StopLevel.NOW)
    engine.set("normal")
    list(batch(campaign, ledger, [0, 1, 2, 3, 4], "again"))
    retired = sorted(path.name for path in campaign.jobs_dir.glob("*.attempt-*"))
    assert retired == [f"job_{index}.attempt-1" for index in sorted(set(engine.runs[:-5]))]

"""The list that pilots share: real processes on one folder, some of them killed."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from oact_dagster.launchers.pilots.shared_list import SharedList
from oact_dagster.schedulers.jobs import WITHDRAWN, Job, JobState, Phase, ended_with, not_started, out_of_time
from oact_dagster_tests.waiting import until

TAKER = """
import sys, time
from pathlib import Path
from oact_dagster.launchers.pilots.shared_list import SharedList
shared, me, go = SharedList(Path(sys.argv[1])), sys.argv[2], Path(sys.argv[3])
print("ready", flush=True)
while not go.exists():
    time.sleep(0.001)
while (entry := shared.take(me, lambda limit, cost: True)) is not None:
    print(entry.token, flush=True)
"""


def always(limit: float, cost: float) -> bool:
    return True


def jobs(count: int, first: int = 0) -> list[Job]:
    return [Job(f"{n:04x}", Path(f"/jobs/job_{n}"), 4, 600.0, expected_cost=n) for n in range(first, count)]


@pytest.fixture
def shared(tmp_path: Path) -> SharedList:
    made = SharedList(tmp_path / "list")
    made.make()
    return made


def takers(shared: SharedList, count: int) -> list["subprocess.Popen[str]"]:
    """Processes that begin to take at the same moment."""
    go = shared.folder / "go"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TAKER, str(shared.folder), f"pilot{n}", str(go)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(count)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    go.touch()
    return processes


def test_three_processes_take_each_attempt_once(shared: SharedList) -> None:
    shared.put(jobs(600))
    outputs = [process.communicate(timeout=120)[0].split() for process in takers(shared, 3)]
    assert Counter(token for output in outputs for token in output) == {job.token: 1 for job in jobs(600)}
    assert sum(bool(output) for output in outputs) > 1, "more than one of them took some"
    assert shared.waiting() == set()
    assert set(shared.taken()) == {job.token for job in jobs(600)}


def test_what_a_killed_process_took_is_known_as_its_own(shared: SharedList) -> None:
    shared.put(jobs(400))
    first, second = takers(shared, 2)
    until(lambda: len(shared.taken()) > 50)
    first.kill()
    said = first.communicate()[0].split(), second.communicate()[0].split()
    pilots = shared.taken()
    assert set(pilots) == {job.token for job in jobs(400)}
    # It may have been killed between taking one and saying so.
    assert {token for token, pilot in pilots.items() if pilot == "pilot0"} >= set(said[0])
    assert {token for token, pilot in pilots.items() if pilot == "pilot1"} == set(said[1])


def test_withdrawing_and_taking_at_once_neither_loses_nor_doubles(shared: SharedList) -> None:
    shared.put(jobs(400))
    processes = takers(shared, 2)
    withdrawn = shared.withdraw({job.token for job in jobs(400)})
    took = [token for process in processes for token in process.communicate(timeout=120)[0].split()]
    assert Counter([*took, *withdrawn]) == {job.token: 1 for job in jobs(400)}
    assert shared.waiting() == set()


def test_the_dearest_comes_first_and_what_does_not_fit_is_left(shared: SharedList) -> None:
    shared.put([Job("slow", Path("a"), 4, 7200.0, expected_cost=5), *jobs(3)])
    taken = [shared.take("p", lambda limit, cost: limit <= 600 and cost > 0) for _ in range(3)]
    assert [entry and entry.token for entry in taken] == ["0002", "0001", None]
    assert shared.waiting() == {"slow", "0000"}
    last = shared.take("p", always)
    assert last is not None and (last.token, last.time_limit_s, last.folder) == ("slow", 7200.0, "a")


def test_an_end_is_told_once_it_is_whole(shared: SharedList) -> None:
    shared.put(jobs(2))
    entry = shared.take("p", always)
    assert entry is not None and shared.ended(entry.token) is None
    shared.end(entry.token, "p", ended_with(0))
    assert shared.ended(entry.token) == ended_with(0)
    assert shared.taken() == {}
    shared.forget([entry.token])
    assert shared.ended(entry.token) is None


@pytest.mark.parametrize(
    ("state", "spelled"),
    [
        (ended_with(0), "exit 0"),
        (ended_with(-9), "signal 9"),
        (WITHDRAWN, "never started"),
        (out_of_time(""), "out of time"),
        (not_started("no such folder"), "not started: no such folder"),
        (JobState(Phase.ENDED, "its pilot ended"), "its pilot ended"),
    ],
)
def test_an_end_is_spelled_as_pilots_of_other_versions_read_it(
    shared: SharedList, state: JobState, spelled: str
) -> None:
    shared.end("token", "p", state)
    assert json.loads((shared.folder / "ended" / "token").read_text()) == {"pilot": "p", "final": spelled}
    assert shared.ended("token") == state


def test_an_attempt_that_never_began_goes_back_to_its_place(shared: SharedList) -> None:
    shared.put(jobs(3))
    entry = shared.take("p", always)
    assert entry is not None and entry.token == "0002"
    shared.give_back(entry, "p")
    assert shared.taken() == {}
    again = shared.take("q", always)
    assert again == entry


def test_marks_ask_for_the_end_of_taken_attempts_only(shared: SharedList) -> None:
    shared.put(jobs(2))
    entry = shared.take("p", always)
    assert entry is not None
    assert shared.withdraw([entry.token, "0000"]) == {"0000"}
    shared.cancel([entry.token])
    assert shared.cancelled() == {entry.token}
    shared.end(entry.token, "p", ended_with(0))
    shared.forget([entry.token])
    assert shared.cancelled() == set()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"token": "x"}', b"\xff"])
def test_an_entry_that_cannot_be_read_is_told_and_holds_nothing_up(
    shared: SharedList, content: bytes
) -> None:
    shared.put(jobs(1))
    bad = shared.folder / "waiting" / "0000000000-600-bad"
    bad.write_bytes(content)
    (shared.folder / "waiting" / "not-of-ours").touch()
    entry = shared.take("p", always)
    assert entry is not None and entry.token == "0000"
    ended = shared.ended("bad")
    assert ended is not None and "cannot be read" in ended.final


def test_a_list_that_is_gone_is_empty(tmp_path: Path) -> None:
    shared = SharedList(tmp_path / "nowhere")
    assert shared.take("p", always) is None and shared.waiting() == set() and shared.is_empty()

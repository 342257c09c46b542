"""What the Parsl launcher is made of, without Parsl: tickets, blocks without a worker, lost attempts, ports."""

import errno
import multiprocessing
import os
import socket
from pathlib import Path

import pytest

from oact_dagster.errors import LauncherError
from oact_dagster.launchers.attempt_files import EXIT_FILE, ExitRecord, How, exit_text
from oact_dagster.launchers.parsl import blocks
from oact_dagster.launchers.parsl.app import TaskEnd, run_attempt
from oact_dagster.launchers.parsl.block_watch import Block, BlockPhase, BlockWatch
from oact_dagster.launchers.parsl.blocks import QueuedBlock, blocks_of
from oact_dagster.launchers.parsl.config import ports_refused
from oact_dagster.launchers.parsl.control import ControlFolder
from oact_dagster.launchers.parsl.lost_attempts import MARGIN_S, SEEN_S, LostAttempts
from oact_dagster.schedulers.command import Answer
from oact_dagster.schedulers.jobs import Job

# --- tickets -------------------------------------------------------------------------------------------------------


def opened(folder: Path) -> ControlFolder:
    control = ControlFolder(folder / "orders")
    control.open()
    return control


def test_a_ticket_is_taken_or_withdrawn_once(tmp_path: Path) -> None:
    control = opened(tmp_path)
    assert control.begin("a") and not control.begin("a") and not control.withdraw("a")
    assert control.withdraw("b") and not control.begin("b")
    control.forget("a")
    assert control.begin("a"), "after its end it is forgotten"


def _begin(folder: str, barrier: object, won: object) -> None:
    control = ControlFolder(folder)
    for number in range(50):
        barrier.wait()  # type: ignore[attr-defined]
        if control.begin(str(number)):
            won.put(number)  # type: ignore[attr-defined]


def test_of_a_worker_and_its_batch_one_gets_the_ticket(tmp_path: Path) -> None:
    control = opened(tmp_path)
    barrier, won = multiprocessing.Barrier(2), multiprocessing.Queue()
    worker = multiprocessing.Process(target=_begin, args=(str(control.path), barrier, won), daemon=True)
    worker.start()
    withdrawn = []
    for number in range(50):
        barrier.wait(60)
        if control.withdraw(str(number)):
            withdrawn.append(number)
    begun = [won.get(timeout=60) for _ in range(50 - len(withdrawn))]
    worker.join(60)
    assert worker.exitcode == 0 and won.empty()
    assert sorted(begun + withdrawn) == list(range(50))


def test_nothing_begins_once_the_folder_is_gone(tmp_path: Path) -> None:
    control = opened(tmp_path)
    assert control.withdraw("a")
    control.close()
    assert not control.begin("a") and not control.begin("b")
    assert control.ends("b") and control.withdraw("b")
    assert list(tmp_path.iterdir()) == []


def test_a_ticket_that_cannot_be_withdrawn_counts_as_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = opened(tmp_path)

    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", full)
        assert not control.withdraw("a")
        end, _, why, _ = run_attempt("token", str(tmp_path), str(control.path), "a", None)
    assert (end, why) == (TaskEnd.NOT_STARTED, f"{control.path}: No space left on device")
    assert control.begin("a")


@pytest.mark.parametrize("order", ["withdrawn", "cancelled", "stopped", "closed"])
def test_a_task_whose_batch_wants_it_no_more_starts_no_payload(tmp_path: Path, order: str) -> None:
    control = opened(tmp_path)
    {
        "withdrawn": lambda: control.withdraw("a"),
        "cancelled": lambda: control.cancel(["a"]),
        "stopped": control.stop,
        "closed": control.close,
    }[order]()
    job = tmp_path / "job"
    job.mkdir()
    assert run_attempt("token", str(job), str(control.path), "a", None) == (TaskEnd.CANCELLED, 0, "", 0.0)
    assert list(job.iterdir()) == []


# --- blocks without a worker ---------------------------------------------------------------------------------------


def watch(least: int = 1) -> BlockWatch:
    return BlockWatch("its workers try 10.0.0.1 at port 54321", 180.0, least)


def block(number: int, phase: BlockPhase, *, connected: bool = False, errors: str = "") -> Block:
    return Block(number, str(100 + number), phase, connected, f"2030-01-01T0{number}:00:00", errors)


def test_a_block_that_runs_without_a_worker_is_told_once() -> None:
    looked = watch()
    silent = block(0, BlockPhase.RUNS)
    good = block(1, BlockPhase.RUNS, connected=True)
    waits = block(2, BlockPhase.WAITS)
    for now in (0.0, 179.0):
        assert looked.see([silent, good, waits], now) == ""
        assert looked.notes() == []
    for now in (180.0, 181.0, 5000.0):
        assert looked.see([silent, good, waits], now) == ""
    (told,) = looked.notes()
    assert told.startswith(
        "Slurm's job 100 has been running since 2030-01-01T00:00:00, but none of its workers has connected: its workers"
        " try 10.0.0.1 at port 54321; "
    )
    assert "launcher.address" in told and "launcher.worker_ports" in told


def test_each_block_has_its_own_time() -> None:
    looked = watch()
    first, second = block(0, BlockPhase.RUNS), block(1, BlockPhase.RUNS)
    looked.see([first], 0.0)
    looked.see([first, second], 100.0)
    looked.see([first, second], 200.0)
    assert [text.split()[2] for text in looked.notes()] == ["100"]
    looked.see([first, second], 280.0)
    assert [text.split()[2] for text in looked.notes()] == ["101"]


def test_blocks_that_end_without_a_worker_are_told_once_for_each_cause() -> None:
    looked = watch()
    waits = block(9, BlockPhase.WAITS)
    ended = [
        block(0, BlockPhase.ENDED, errors="no such module"),
        block(1, BlockPhase.ENDED, errors="no such module"),
        block(2, BlockPhase.ENDED, errors="disk full"),
    ]
    for _ in range(2):
        assert looked.see([*ended, waits], 0.0) == ""
    assert [(text.split()[2], text.rpartition(": ")[2]) for text in looked.notes()] == [
        ("100", "no such module"),
        ("102", "disk full"),
    ]


def test_blocks_that_all_end_without_a_worker_are_of_no_use() -> None:
    looked = watch(least=2)
    failed = [block(0, BlockPhase.ENDED), block(1, BlockPhase.ENDED)]
    assert looked.see(failed[:1], 0.0) == ""
    assert "Slurm's job 101 has left the queue before any of its workers connected" in looked.see(failed, 0.0)
    assert len(looked.notes()) == 1, "of the first one; the last one is why the pool is given up"


@pytest.mark.parametrize(
    "other",
    [
        block(2, BlockPhase.WAITS),
        block(2, BlockPhase.RUNS),
        block(2, BlockPhase.RUNS, connected=True),
        block(2, BlockPhase.ENDED, connected=True),
    ],
)
def test_while_another_block_may_work_one_that_failed_is_no_reason_to_end(other: Block) -> None:
    assert watch().see([block(0, BlockPhase.ENDED), block(1, BlockPhase.ENDED), other], 0.0) == ""


def test_blocks_that_parsl_has_given_back_have_not_failed() -> None:
    looked = watch()
    assert looked.see([block(0, BlockPhase.GIVEN_BACK)], 0.0) == ""
    assert looked.notes() == []


def test_a_block_that_ran_and_ended_is_told_with_what_its_workers_tried() -> None:
    looked = watch()
    looked.see([block(0, BlockPhase.RUNS)], 0.0)
    failing = looked.see([block(0, BlockPhase.ENDED, errors="ConnectionError: No viable ZMQ url")], 40.0)
    assert "Slurm's job 100 began at 2030-01-01T00:00:00 and has ended" in failing
    assert "10.0.0.1 at port 54321" in failing and failing.endswith("No viable ZMQ url")


# --- Slurm's queue -------------------------------------------------------------------------------------------------


def test_blocks_are_known_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = (
        "12 R 2030-01-01T00:00:00 parsl.oact-abc.block-0.1\n"
        "13 PD N/A parsl.oact-abc.block-1.2\n"
        "14 PD N/A parsl.oact-abcd.block-0.3\n"
        "15 R 2030-01-01T00:00:00 a job of mine\n"
        "\n"
    )
    monkeypatch.setattr(blocks, "run_command", lambda *_, **__: Answer("squeue", 0, printed, ""))
    assert blocks_of(["abc"]) == [
        QueuedBlock("12", "R", "2030-01-01T00:00:00"),
        QueuedBlock("13", "PD", "N/A"),
    ]


def test_an_answer_that_failed_is_not_an_empty_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "run_command", lambda *_, **__: Answer("squeue", 1, "", "Socket timed out\n"))
    with pytest.raises(LauncherError, match="squeue: Socket timed out"):
        blocks_of(["abc"])


# --- attempts whose workers were lost ------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lost_job(tmp_path: Path, token: str) -> Job:
    folder = tmp_path / token
    folder.mkdir()
    return Job(token, folder, 1)


def record(job: Job) -> None:
    text = exit_text(ExitRecord(job.token, How.STOPPED, -15, 0.0, 1.0, 1.0, "n1", 1, "stopped by SIGTERM"))
    (job.folder / EXIT_FILE).write_text(text)


def test_an_attempt_whose_worker_was_lost_has_ended_when_its_payload_says_so(tmp_path: Path) -> None:
    clock = Clock()
    lost = LostAttempts(10.0, 10, 60, clock)
    one, other = lost_job(tmp_path, "one"), lost_job(tmp_path, "other")
    lost.add(one, "gone")
    lost.add(other, "gone")
    assert lost.take_ended() == []
    record(one)
    assert lost.take_ended() == [(one, "gone")]
    assert "one" not in lost and "other" in lost and len(lost) == 1


def test_without_a_word_it_ends_when_its_worker_must_have_missed_the_interchange(tmp_path: Path) -> None:
    clock = Clock()
    lost = LostAttempts(10.0, 10, 60, clock)
    job = lost_job(tmp_path, "one")
    lost.add(job, "gone")
    clock.now = 10.0 + 10 + 60 + MARGIN_S - 0.1
    assert lost.take_ended() == []
    clock.now += 0.1
    assert lost.take_ended() == [(job, "gone")]


def test_once_its_workers_have_ended_a_payload_has_its_grace_time(tmp_path: Path) -> None:
    clock = Clock()
    lost = LostAttempts(10.0, 10, 60, clock)
    job = lost_job(tmp_path, "one")
    lost.add(job, "gone")
    lost.workers_have_ended()
    clock.now = 10.0 + SEEN_S - 0.1
    assert lost.take_ended() == []
    clock.now += 0.1
    assert lost.take_ended() == [(job, "gone")]


# --- ports ---------------------------------------------------------------------------------------------------------


def test_ports_of_which_one_is_free_are_good() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert ports_refused("127.0.0.1", (port, port)) == (
            f"launcher.worker_ports [{port}, {port}]: Parsl cannot listen on any of these ports of this host; set"
            " others, or a wider range"
        )
        assert "launcher.worker_ports" in ports_refused(None, (port, port))
    assert ports_refused("127.0.0.1", (port, port)) == ""
    assert ports_refused(None, (54000, 55000)) == ""


def test_an_address_of_another_host_is_refused() -> None:
    assert ports_refused("203.0.113.7", (54000, 55000)) == (
        "launcher.address 203.0.113.7 is not an address of this host: `ip address` lists its addresses"
    )

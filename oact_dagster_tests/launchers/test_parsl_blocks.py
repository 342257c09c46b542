"""Parsl in blocks of a real Slurm's nodes: stops, blocks without a worker, and an interchange that is killed."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from oact_dagster.attempts.events import Completed, Note, NotRun
from oact_dagster.attempts.stop_request import StopLevel, StopRequest
from oact_dagster.errors import LauncherError
from oact_dagster.launchers.attempt_files import START_FILE
from oact_dagster.launchers.parsl import pool
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.batches import batch, settled
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.launchers.marked import marked
from oact_dagster_tests.launchers.parsl_runs import campaign_of, interchanges, process, run
from oact_dagster_tests.launchers.running import WORKER
from oact_dagster_tests.schedulers.real_slurm import RealSlurm
from oact_dagster_tests.waiting import until

pytestmark = [pytest.mark.parsl, pytest.mark.slurm, pytest.mark.usefixtures("parsl_is_there")]

BLOCKS: Final = {
    "provider": "slurm",
    "block_hours": 0.3,
    "job_timeout_s": 60.0,
    "max_workers": 1,
    "max_blocks": 2,
    "init_blocks": 2,
    "mem": "none",
    "stop_grace_s": 1.0,
}


@pytest.fixture
def blocks(slurm: RealSlurm, ours: str) -> Iterator[RealSlurm]:
    """A cluster for blocks; of those of the test none is in the queue at its end."""
    yield slurm
    left = jobs_of_blocks(slurm)
    slurm.clear()
    until(lambda: not marked(ours), "the end of what ran in the blocks")
    assert left == []


def blocks_of(
    tmp_path: Path, engine: TestEngine, structures: int, **launcher: Any
) -> tuple[Campaign, Ledger]:
    return campaign_of(tmp_path, engine, structures, **{**BLOCKS, **launcher})


def jobs_of_blocks(slurm: RealSlurm, state: str = "PD,R,CG") -> list[str]:
    """The ids of the blocks in the queue that are in one of these states."""
    lines = slurm.run("squeue", "-h", "-t", state, "-o", "%i %j").splitlines()
    return [line.split()[0] for line in lines if line.split()[1].startswith("parsl.oact-")]


def fill_the_nodes(slurm: RealSlurm) -> Callable[[], object]:
    """Let another job have all nodes; what is returned ends it."""
    job = ["sbatch", "--parsable", "-N", "3", "--exclusive", "-t", "60", "-o", "/dev/null"]
    number = slurm.run(*job, "--wrap", "sleep 1000").strip()
    until(lambda: slurm.jobs("%T", number) == ["RUNNING"], "the job that has all nodes")
    return lambda: slurm.run("scancel", number)


def cost_nothing(ledger: Ledger, structures: int, *, held: bool = False) -> None:
    """Check that structures are as they were before they were claimed."""
    assert ledger.figures.count_by_status() == {Status.TO_RUN: structures}
    found = ledger.structures.of(range(structures)).values()
    assert {(one.fail_count, one.loss_count, one.held) for one in found} == {(0, 0, held)}
    assert [ledger.history.attempts(index) for index in range(structures)] == [[]] * structures


def test_blocks_of_slurm_run_a_batch_and_end_with_it(tmp_path: Path, blocks: RealSlurm, ours: str) -> None:
    engine = TestEngine(tmp_path, "slow")
    campaign, ledger = blocks_of(tmp_path, engine, 8)
    most = 0
    for event in batch(campaign, ledger, list(range(8))):
        if isinstance(event, Completed):
            most = max(most, len(jobs_of_blocks(blocks)))
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 8}
    assert most == 2


def test_the_next_run_ends_the_blocks_of_a_killed_one(tmp_path: Path, blocks: RealSlurm, ours: str) -> None:
    engine = witnessed(tmp_path, "stubborn")
    campaign, ledger = blocks_of(tmp_path, engine, 2, heartbeat_threshold_s=600, stop_grace_s=10.0)
    ledger.close()
    with process(campaign, "first", "0-1") as one:
        until(lambda: len(engine.runs) >= 2)
        one.kill()
    old = jobs_of_blocks(blocks)
    assert len(old) == 2, "they go on by themselves until they miss the run"
    engine.set("normal")
    with Ledger(campaign.ledger) as again:
        run(campaign, again, 2, batch_id="second")
        assert again.figures.count_by_status() == {Status.COMPLETED: 2}
        no_engine_ran_twice_or_beside_another(engine, campaign, again)
    assert not set(old) & set(jobs_of_blocks(blocks))


def test_an_allocation_of_two_nodes_has_workers_on_both(tmp_path: Path, blocks: RealSlurm, ours: str) -> None:
    engine = TestEngine(tmp_path, "slow")
    wrapper = tmp_path / "where"
    wrapper.write_text(
        f"#!/bin/sh\necho $SLURMD_NODENAME >> '{tmp_path}/nodes'\nexec '{engine.path}' \"$1\"\n"
    )
    wrapper.chmod(0o755)
    engine.path = wrapper
    campaign, ledger = campaign_of(
        tmp_path, engine, 6, max_workers=1, oversubscribe=False, job_timeout_s=60.0
    )
    ledger.close()
    script = tmp_path / "batch.py"
    script.write_text(WORKER)
    job = ["sbatch", "--wait", "-N", "2", "-t", "10", "-o", f"{tmp_path}/printed", "--wrap"]
    subprocess.run(
        [*job, f"exec {sys.executable} {script} {campaign.file} inside 0-5"],
        check=True,
        timeout=120,
        stdout=subprocess.DEVNULL,
    )
    printed = (tmp_path / "printed").read_text()
    assert printed.count("Completed") == 6, printed
    assert "this allocation ends" in printed
    nodes = (tmp_path / "nodes").read_text().split()
    assert len(set(nodes)) == 2, "each has its share"


# --- stopping ------------------------------------------------------------------------------------------------------


NO_WORKER: Final = {"worker_init": ["sleep 1000"]}
"""Blocks run, and no worker of them ever connects."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("running", [False, True], ids=["blocks wait", "no worker"])
def test_a_signal_ends_a_run_whose_blocks_have_no_worker(
    tmp_path: Path, blocks: RealSlurm, ours: str, number: signal.Signals, running: bool
) -> None:
    engine = TestEngine(tmp_path)
    if not running:
        fill_the_nodes(blocks)
    campaign, ledger = blocks_of(tmp_path, engine, 5, **(NO_WORKER if running else {}))
    ledger.close()
    with process(campaign, "first", "0-4") as one:
        until(lambda: len(jobs_of_blocks(blocks, "R" if running else "PD")) == 2)
        os.killpg(one.pid, number)
        printed, _ = one.communicate(timeout=60)
    assert one.returncode == 0
    assert printed.count("NotRun") == 5
    assert jobs_of_blocks(blocks) == []
    with Ledger(campaign.ledger) as after:
        cost_nothing(after, 5)
    assert engine.runs == []


@pytest.mark.parametrize("running", [False, True], ids=["blocks wait", "no worker"])
def test_a_termination_cancels_blocks_without_a_worker_and_holds_the_structures(
    tmp_path: Path, blocks: RealSlurm, ours: str, running: bool
) -> None:
    engine = TestEngine(tmp_path)
    if not running:
        fill_the_nodes(blocks)
    campaign, ledger = blocks_of(tmp_path, engine, 5, **(NO_WORKER if running else {}))

    def terminate() -> None:
        if len(jobs_of_blocks(blocks, "R" if running else "PD")) == 2:
            stop.raise_to(StopLevel.NOW, hold=True)

    stop = StopRequest(terminate)
    told = settled(run(campaign, ledger, 5, stop=stop))
    assert len(told) == 5 and all(isinstance(event, NotRun) for event in told.values())
    assert jobs_of_blocks(blocks) == []
    cost_nothing(ledger, 5, held=True)
    assert engine.runs == []


def test_a_stop_tells_of_blocks_whose_end_slurm_does_not_confirm(
    tmp_path: Path, blocks: RealSlurm, ours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CLOSE_PATIENCE_S", 1.0)
    engine = TestEngine(tmp_path)
    fill_the_nodes(blocks)
    campaign, ledger = blocks_of(tmp_path, engine, 2)

    def stop_when_they_wait() -> None:
        if len(jobs_of_blocks(blocks)) == 2:
            for client in ("squeue", "scancel"):
                blocks.put_fault(client, "echo slurm_load_jobs error: Socket timed out >&2; exit 1")
            stop.raise_to(StopLevel.FINISH)

    stop = StopRequest(stop_when_they_wait)
    events = run(campaign, ledger, 2, stop=stop)
    left = jobs_of_blocks(blocks)
    blocks.mend()
    blocks.run("scancel", *left)
    cost_nothing(ledger, 2)
    assert len(left) == 2
    last = events[-1]
    assert isinstance(last, Note) and "Socket timed out: blocks of nodes may be left" in last.text
    assert "their names begin with parsl.oact-" in last.text and "cancel them with scancel" in last.text


# --- blocks without a worker ---------------------------------------------------------------------------------------


def test_a_block_that_is_cancelled_while_it_waits_is_asked_for_again(
    tmp_path: Path, blocks: RealSlurm, ours: str
) -> None:
    engine = TestEngine(tmp_path)
    free_the_nodes = fill_the_nodes(blocks)
    campaign, ledger = blocks_of(tmp_path, engine, 2, init_blocks=1, max_blocks=1)
    ledger.close()
    with process(campaign, "first", "0-1") as one:
        until(lambda: len(jobs_of_blocks(blocks, "PD")) == 1)
        (first,) = jobs_of_blocks(blocks)
        blocks.run("scancel", first)
        until(lambda: jobs_of_blocks(blocks, "PD") not in ([], [first]), "another block")
        free_the_nodes()
        printed, _ = one.communicate(timeout=120)
    assert one.returncode == 0
    assert printed.count(f"Slurm's job {first} has left the queue before any of its workers connected") == 1
    with Ledger(campaign.ledger) as after:
        assert after.figures.count_by_status() == {Status.COMPLETED: 2}
        assert [len(after.history.attempts(index)) for index in range(2)] == [1, 1]
    assert sorted(engine.runs) == [0, 1]


def test_blocks_that_slurm_refuses_end_the_run_with_its_words(
    tmp_path: Path, blocks: RealSlurm, ours: str
) -> None:
    engine = TestEngine(tmp_path)
    blocks.put_fault("sbatch", "echo sbatch: error: Invalid qos specification >&2; exit 1")
    campaign, ledger = blocks_of(tmp_path, engine, 3)
    with pytest.raises(LauncherError, match=r"Slurm refused a block of nodes.*Invalid qos") as told:
        run(campaign, ledger, 3)
    assert "\n" not in str(told.value)
    cost_nothing(ledger, 3)


def test_a_block_in_which_no_worker_connects_is_told_once_with_what_to_do(
    tmp_path: Path, blocks: RealSlurm, ours: str
) -> None:
    engine = TestEngine(tmp_path)
    campaign, ledger = blocks_of(
        tmp_path,
        engine,
        4,
        **NO_WORKER,
        heartbeat_threshold_s=2,
        address="127.0.0.1",
        worker_ports=[56100, 56199],
    )
    stop = StopRequest()
    told: list[str] = []
    running: list[str] = []
    ports: set[int] = set()
    for event in batch(campaign, ledger, list(range(4)), stop=stop):
        if isinstance(event, Note) and "none of its workers has connected" in event.text:
            told.append(event.text)
            running = jobs_of_blocks(blocks, "R")
            (interchange,) = interchanges(ours)
            ports = {c.laddr.port for c in interchange.net_connections() if c.status == psutil.CONN_LISTEN}
        if len(told) == 2:
            stop.raise_to(StopLevel.FINISH)
    pattern = (
        r"parsl: Slurm's job (\d+) has been running since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d, but none of its workers has"
        r" connected: its workers try 127\.0\.0\.1 at port (\d+) \(of launcher\.worker_ports 56100 to 56199\); if its"
        r" nodes cannot reach that, set launcher\.address to .* and launcher\.worker_ports to .*"
    )
    found = [re.fullmatch(pattern, text) for text in told]
    assert all(found), told
    assert sorted(match[1] for match in found if match) == sorted(running)
    assert {int(match[2]) for match in found if match} == ports
    cost_nothing(ledger, 4)


WRONG_PORT: Final = """\
import sys
# What Python was called with; the program that it runs sees it so.
if any("process_worker_pool" in word for word in sys.orig_argv):
    sys.argv[:] = ["--port=9" if word.startswith("--port=") else word for word in sys.argv]
"""


def test_workers_that_reach_nothing_are_told_with_what_they_tried(
    tmp_path: Path, blocks: RealSlurm, ours: str
) -> None:
    engine = TestEngine(tmp_path)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WRONG_PORT)
    broken = [f"export PYTHONPATH={shlex.quote(str(tmp_path / 'site'))}"]
    campaign, ledger = blocks_of(tmp_path, engine, 2, worker_init=broken, address="127.0.0.1")
    stop = StopRequest()
    told = []
    for event in batch(campaign, ledger, [0, 1], stop=stop):
        if isinstance(event, Note) and "its blocks of nodes fail" in event.text:
            told.append(event.text)
            stop.raise_to(StopLevel.FINISH)
    assert len(told) == 1 and "\n" not in told[0]
    assert re.search(
        r"Slurm's job \d+ began at \S+ and has ended, but none of its workers connected: its workers try"
        r" 127\.0\.0\.1 at port \d+ .*launcher\.address.*No viable ZMQ url",
        told[0],
    )
    cost_nothing(ledger, 2)


def test_address_and_ports_are_where_workers_connect(tmp_path: Path, blocks: RealSlurm, ours: str) -> None:
    engine = TestEngine(tmp_path, "slow")
    campaign, ledger = blocks_of(tmp_path, engine, 2, address="127.0.0.1", worker_ports=[56200, 56299])
    heard: set[tuple[str, int]] = set()
    for _ in batch(campaign, ledger, [0, 1]):
        for one in interchanges(ours):
            connections = [c for c in one.net_connections() if c.status == psutil.CONN_LISTEN]
            heard |= {(c.laddr.ip.removeprefix("::ffff:"), c.laddr.port) for c in connections}
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 2}
    ((address, port),) = heard
    assert address == "127.0.0.1" and 56200 <= port <= 56299


def test_where_parsl_cannot_listen_nothing_is_started(tmp_path: Path, blocks: RealSlurm, ours: str) -> None:
    campaign, ledger = blocks_of(tmp_path, TestEngine(tmp_path), 1, address="203.0.113.7")
    with pytest.raises(
        LauncherError, match=r"launcher\.address 203\.0\.113\.7 is not an address of this host"
    ) as told:
        run(campaign, ledger, 1)
    assert "\n" not in str(told.value)
    cost_nothing(ledger, 1)
    assert blocks.calls_of("sbatch") == []


# --- an interchange that is killed ---------------------------------------------------------------------------------


WITNESS: Final = """\
#!/bin/sh
n=$(sed -n 's/^# structure \\([0-9]*\\) of .*/\\1/p' "$1")
other=$(cat '@CONTROL@/pid-'$n 2>/dev/null)
if [ -n "$other" ] && grep -s '^State:' /proc/$other/status | grep -qv Z; then echo "$n" >> '@CONTROL@/overlaps'; fi
echo $$ > '@CONTROL@/pid-'$n
sed -n 's/^# oact_attempt: //p' "$1" >> '@CONTROL@/tokens'
exec '@ENGINE@' "$1"
"""
"""Runs the engine, and tells which attempts it was started for, and where another one of the structure still ran."""


def witnessed(tmp_path: Path, default: str = "normal") -> TestEngine:
    engine = TestEngine(tmp_path, default)
    witness = tmp_path / "witness"
    text = WITNESS.replace("@CONTROL@", str(engine.control)).replace("@ENGINE@", str(engine.path))
    witness.write_text(text)
    witness.chmod(0o755)
    engine.path = witness
    return engine


def no_engine_ran_twice_or_beside_another(engine: TestEngine, campaign: Campaign, ledger: Ledger) -> None:
    tokens = (engine.control / "tokens").read_text().split()
    assert len(tokens) == len(set(tokens)), "an attempt's engine is started once"
    assert not (engine.control / "overlaps").exists(), "no attempt of a structure computes beside another one"
    structures = sorted(set(engine.runs))
    begun = {index: len(list(campaign.jobs_dir.glob(f"job_{index}*/{START_FILE}"))) for index in structures}
    assert {index: engine.runs.count(index) for index in structures} == begun
    assert {index: len(ledger.history.attempts(index)) for index in structures} == begun


def test_an_interchange_that_is_killed_while_blocks_wait_costs_nothing(
    tmp_path: Path, blocks: RealSlurm, ours: str
) -> None:
    engine = witnessed(tmp_path)
    free_the_nodes = fill_the_nodes(blocks)
    campaign, ledger = blocks_of(tmp_path, engine, 5)
    ledger.close()
    with process(campaign, "first", "0-4") as one:
        until(lambda: len(jobs_of_blocks(blocks, "PD")) == 2)
        first = jobs_of_blocks(blocks)
        (interchange,) = interchanges(ours)
        interchange.kill()
        until(lambda: len(set(jobs_of_blocks(blocks, "PD")) - set(first)) == 2, "other blocks")
        assert not set(first) & set(jobs_of_blocks(blocks))
        free_the_nodes()
        printed, _ = one.communicate(timeout=120)
    with Ledger(campaign.ledger) as after:
        assert after.figures.count_by_status() == {Status.COMPLETED: 5}
        assert {one.loss_count for one in after.structures.of(range(5)).values()} == {0}
        no_engine_ran_twice_or_beside_another(engine, campaign, after)
        assert printed.count("its interchange has ended (signal 9); running structures lost with it: 0") == 1
    assert sorted(engine.runs) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("moment", "grace_s"), [("ticket", 3.0), ("record", 3.0), ("engine", 25.0)])
def test_an_interchange_that_is_killed_starts_nothing_twice(
    tmp_path: Path, blocks: RealSlurm, ours: str, moment: str, grace_s: float
) -> None:
    # The engines ignore SIGTERM: they go on for as long as they are let, and that is longer than a new pool needs.
    engine = witnessed(tmp_path, "stubborn")
    campaign, ledger = blocks_of(tmp_path, engine, 3, stop_grace_s=grace_s)
    ledger.close()
    seen: dict[str, Callable[[], object]] = {
        "ticket": lambda: list(campaign.jobs_dir.glob(".parsl/*/orders/*.taken")),
        "record": lambda: list(campaign.jobs_dir.glob(f"job_*/{START_FILE}")),
        "engine": lambda: len(engine.runs) == 2,
    }
    with process(campaign, "first", "0-2") as one:
        until(lambda: bool(seen[moment]()), moment)
        (first,) = interchanges(ours)
        first.kill()
        until(lambda: [other for other in interchanges(ours) if other != first] != [], "another one")
        assert len(engine.runs) <= 2
        engine.set("normal")
        printed, _ = one.communicate(timeout=120)
    with Ledger(campaign.ledger) as after:
        assert after.figures.count_by_status() == {Status.COMPLETED: 3}
        no_engine_ran_twice_or_beside_another(engine, campaign, after)
        assert printed.count("its interchange has ended (signal 9)") == 1
        lost = [index for index in range(3) if len(after.history.attempts(index)) > 1]
        assert {
            one.loss_count for index, one in after.structures.of(range(3)).items() if index not in lost
        } == {0}
        for index in lost:
            outcomes = [attempt.outcome for attempt in after.history.attempts(index)]
            assert outcomes == [Outcome.LOST, Outcome.COMPLETED]
        assert len(lost) == 2 if moment == "engine" else len(lost) <= 2


def test_an_interchange_that_is_killed_while_slurm_is_silent_starts_nothing_twice(
    tmp_path: Path, blocks: RealSlurm, ours: str
) -> None:
    engine = witnessed(tmp_path, "stubborn")
    campaign, ledger = blocks_of(tmp_path, engine, 4, stop_grace_s=5.0)
    ledger.close()
    with process(campaign, "first", "0-3") as one:
        until(lambda: len(engine.runs) == 2)
        for client in ("squeue", "scancel"):
            blocks.put_fault(client, "echo slurm_load_jobs error: Socket timed out >&2; exit 1")
        (first,) = interchanges(ours)
        first.kill()
        until(lambda: not marked(ours, "payload"), "the end of what ran: its workers are told by a file")
        engine.set("normal")
        blocks.mend()
        printed, _ = one.communicate(timeout=120)
    with Ledger(campaign.ledger) as after:
        assert after.figures.count_by_status() == {Status.COMPLETED: 4}
        no_engine_ran_twice_or_beside_another(engine, campaign, after)
        assert printed.count("its interchange has ended (signal 9)") == 1


def test_a_worker_that_is_killed_on_another_node_leaves_nothing_beside_the_next_attempt(
    tmp_path: Path, blocks: RealSlurm, ours: str
) -> None:
    engine = witnessed(tmp_path, "stubborn")
    campaign, ledger = blocks_of(tmp_path, engine, 2, stop_grace_s=5.0)
    ledger.close()
    with process(campaign, "first", "0-1") as one:
        until(lambda: len(engine.runs) == 2)
        engine.set("normal")
        for payload in marked(ours, "launchers.payload"):
            worker = payload.parent()
            assert worker is not None
            worker.kill()
        printed, _ = one.communicate(timeout=120)
    with Ledger(campaign.ledger) as after:
        assert after.figures.count_by_status() == {Status.COMPLETED: 2}
        no_engine_ran_twice_or_beside_another(engine, campaign, after)
        assert printed.count("was lost") == 2

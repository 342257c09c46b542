"""Whether the process that runs a batch lives, and who gets what it left."""

import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from oact_dagster.ledger.owner import Owner, boot_id, started
from oact_dagster.ledger.store import Ledger
from oact_dagster.ledger.writer import HEARTBEAT_LIMIT_S
from oact_dagster_tests.ledger.samples import claim, structure


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        yield ledger


@pytest.fixture
def process():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def owner_of(pid: int) -> Owner:
    return Owner(socket.gethostname(), boot_id(), pid, started(pid))


def test_a_batch_of_this_process_lives_until_it_is_closed(ledger):
    ledger.open_batch("one", Owner.this_process())
    assert ledger.batches.lives("one")
    ledger.close_batch("one")
    assert not ledger.batches.lives("one")
    assert not ledger.batches.lives("never opened")


def test_a_batch_of_another_process_dies_with_it(ledger, process):
    ledger.open_batch("one", owner_of(process.pid))
    assert ledger.batches.lives("one")
    process.kill()
    # Before it is waited for it is a zombie, which is dead too.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not ledger.batches.lives("one")
    process.wait()
    assert not ledger.batches.lives("one")


def test_a_heartbeat_keeps_no_dead_process_of_this_host_alive(ledger, process):
    ledger.open_batch("one", owner_of(process.pid))
    process.kill()
    process.wait()
    ledger.beat("one")
    assert not ledger.batches.lives("one")


def test_a_pid_that_is_used_again_is_another_process(ledger):
    me = Owner.this_process()
    ledger.open_batch("one", replace(me, pid_started=me.pid_started - 500))
    assert not ledger.batches.lives("one")


def test_nothing_lives_through_a_reboot(ledger):
    ledger.open_batch("one", replace(Owner.this_process(), boot_id="another boot"))
    assert not ledger.batches.lives("one")


def test_another_host_is_judged_by_its_heartbeat(ledger):
    ledger.open_batch("one", replace(Owner.this_process(), host="another host"), now=1000.0)
    assert ledger.batches.lives("one", now=1000.0 + HEARTBEAT_LIMIT_S - 1)
    assert not ledger.batches.lives("one", now=1000.0 + HEARTBEAT_LIMIT_S + 1)
    ledger.beat("one", now=2000.0)
    assert ledger.batches.lives("one", now=2000.0 + HEARTBEAT_LIMIT_S - 1)


def test_a_batch_that_goes_on_in_another_process_is_its(ledger, process):
    ledger.open_batch("one", owner_of(process.pid))
    process.kill()
    process.wait()
    ledger.open_batch("one", Owner.this_process())
    assert ledger.batches.lives("one")


def test_an_attempt_is_taken_over_by_one_only(ledger):
    ledger.add_structures([structure(0)])
    [claimed] = claim(ledger, [0])
    found = ledger.history.open_attempts([0])[0]
    assert ledger.take_over(found, "second")
    assert not ledger.take_over(found, "third")
    assert ledger.history.open_attempts([0])[0].batch_id == "second"
    assert ledger.history.open_attempts([0])[0].token == claimed.token
    ledger.give_back([claimed.token])
    assert not ledger.take_over(replace(found, batch_id="second"), "fourth")

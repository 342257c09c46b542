"""One host at a time writes."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from oact_dagster.errors import LedgerError
from oact_dagster.ledger.by_hand import update_status
from oact_dagster.ledger.owner import Owner
from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.ledger.writer import HEARTBEAT_LIMIT_S
from oact_dagster_tests.ledger.samples import claim, structure

HERE = Owner.this_process()
ELSEWHERE = Owner("login2", "boot of login2", 4711, 1.0)


@pytest.fixture
def path(tmp_path):
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(4)])
    return tmp_path / "workflow.db"


def refused(change):
    with pytest.raises(LedgerError) as caught:
        change()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_second_host_is_told_who_writes_and_reads_on(path):
    with Ledger(path, owner=ELSEWHERE) as there, Ledger(path) as here:
        there.open_batch("theirs", ELSEWHERE)
        told = refused(lambda: here.open_batch("ours", HERE))
        assert told.startswith(f"{path}: host login2 (process 4711) has been running batches on it since 20")
        assert "last seen 0 s ago; only one host at a time may write: run there" in told
        for change in (
            lambda: claim(here, [0]),
            lambda: here.reset(),
            lambda: here.hold([0]),
            lambda: here.set_meta("x", "y"),
            lambda: update_status(here, 1, Status.FAILED),
            lambda: here.add_structures([structure(9)]),
        ):
            assert "host login2" in refused(change)
        assert here.figures.count_by_status() == {Status.TO_RUN: 4}
        assert here.meta("x") is None
        assert here.batches.writer().host == "login2"
        assert len(claim(there, [0])) == 1
        there.close_batch("theirs")
        assert here.batches.writer() is None
        here.open_batch("ours", HERE)
        assert here.batches.writer().pid == HERE.pid


def test_several_processes_of_one_host_write(path):
    other = replace(HERE, pid=1, pid_started=1.0)
    with Ledger(path) as one, Ledger(path, owner=other) as two:
        one.open_batch("one", HERE)
        since = one.batches.writer().since
        two.open_batch("two", other)
        assert two.batches.writer().since == since
        assert len(claim(one, [0])) == len(claim(two, [1])) == 1


def test_a_host_whose_name_changes_is_the_same_until_it_is_booted_again(path):
    with Ledger(path) as one, Ledger(path, owner=replace(HERE, host="laptop.home")) as two:
        one.open_batch("one", HERE)
        two.open_batch("two", replace(HERE, host="laptop.home"))
    with Ledger(path, owner=replace(HERE, boot_id="next boot")) as booted:
        booted.open_batch("three", replace(HERE, host="laptop.home", boot_id="next boot"))
        assert booted.batches.writer().boot_id == "next boot"


def test_the_last_batch_of_a_host_that_closes_lets_others_write(path):
    with Ledger(path) as ledger:
        for name in ("one", "two"):
            ledger.open_batch(name, HERE)
        ledger.close_batch("one")
        assert ledger.batches.writer() is not None
        ledger.close_batch("two")
        assert ledger.batches.writer() is None


def test_a_batch_that_died_keeps_no_host_out_of_the_way(path):
    script = (
        "import os, sys; from oact_dagster.ledger.owner import Owner\n"
        "from oact_dagster.ledger.store import Ledger\n"
        "Ledger(sys.argv[1]).open_batch('dead', Owner.this_process()); os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == -9
    with Ledger(path, owner=ELSEWHERE) as there:
        assert f"host {HERE.host}" in refused(lambda: there.open_batch("theirs", ELSEWHERE))
    with Ledger(path) as ledger:
        ledger.open_batch("ours", HERE)
        ledger.close_batch("ours")
        assert ledger.batches.writer() is None


def test_a_silent_host_is_taken_over_when_that_is_asked_for(path):
    long_ago = time.time() - HEARTBEAT_LIMIT_S - 60
    with Ledger(path, owner=ELSEWHERE) as there, Ledger(path) as here:
        there.open_batch("theirs", ELSEWHERE, now=long_ago)
        told = refused(lambda: here.open_batch("ours", HERE))
        assert "last seen 11 minutes ago" in told
        assert "take the ledger over with --take-over" in told
        assert "--take-over" in refused(lambda: here.take_writer(HERE))
        here.open_batch("ours", HERE, take_over=True)
        assert here.batches.writer().host == HERE.host
        # It was asleep, and wakes up.
        for change in (
            lambda: there.beat("theirs"),
            lambda: claim(there, [0]),
            lambda: there.close_batch("theirs"),
        ):
            assert f"host {HERE.host}" in refused(change)
        assert here.batches.writer().host == HERE.host


def test_a_host_that_shows_itself_is_not_taken_over(path):
    long_ago = time.time() - HEARTBEAT_LIMIT_S - 60
    with Ledger(path, owner=ELSEWHERE) as there, Ledger(path) as here:
        there.open_batch("theirs", ELSEWHERE, now=long_ago)
        there.beat("theirs")
        told = refused(lambda: here.open_batch("ours", HERE, take_over=True))
        assert "--take-over is for a host that was not seen for 10 minutes" in told
        assert here.batches.writer().since == pytest.approx(long_ago)


def test_a_process_may_take_it_before_it_has_a_batch(path):
    with Ledger(path) as here, Ledger(path, owner=ELSEWHERE) as there:
        here.take_writer(HERE)
        refused(lambda: there.take_writer(ELSEWHERE))
        kept = json.loads(here.meta("writer"))
        assert {"host", "boot_id", "pid", "pid_started", "since", "heartbeat"} == set(kept)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"host": 3}'])
def test_a_writer_that_nobody_can_read_keeps_nobody_out(path, text):
    with Ledger(path) as ledger:
        ledger.set_meta("writer", text)
        assert ledger.batches.writer() is None
        ledger.open_batch("ours", HERE)
        assert ledger.batches.writer().host == HERE.host


def test_a_reader_sees_who_writes(path):
    with Ledger(path) as ledger:
        ledger.open_batch("ours", HERE)
        with open_reader(path) as reader:
            assert reader.batches.writer().host == HERE.host

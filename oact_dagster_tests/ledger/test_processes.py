"""Several real processes on one ledger file, and some that are killed."""

import json
import random
import sqlite3
import subprocess
import sys
import time

import pytest

from oact_dagster.errors import LedgerError
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.ledger.samples import claim, ending, structure

CLAIM = """
import json, sys
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.ledger.samples import claim
path, width = sys.argv[1], int(sys.argv[2])
with Ledger(path) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    mine = []
    while wanted := ledger.queue.select([Status.TO_RUN], limit=width):
        mine += [c.structure.orig_index for c in claim(ledger, wanted)]
print(json.dumps(mine))
"""


SWAP = """
import sys
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.ledger.samples import claim, ending
path, wanted = sys.argv[1], int(sys.argv[2])
with Ledger(path) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    claimed = 0
    while claimed < wanted:
        mine = claim(ledger, ledger.queue.select([Status.TO_RUN], limit=20))
        for one in mine:
            print(one.structure.orig_index, one.attempt, one.token)
        claimed += len(mine)
        # Half of them are handed over and lost, so that they are there to claim again.
        lost, given = mine[::2], mine[1::2]
        ledger.record([ending(one.token, Outcome.LOST) for one in lost])
        ledger.give_back([one.token for one in given])
"""


def swap(path, claims):
    """Two processes claim and let go the same structures, so many each; returns what each says that it was given."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SWAP, str(path), str(claims)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    given = [process.communicate(timeout=900)[0].split("\n")[:-1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return given


@pytest.mark.parametrize("claims", [1_000, pytest.param(20_000, marks=pytest.mark.chaos)])
def test_two_processes_claiming_at_once_give_none_twice_and_lose_none(tmp_path, claims):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(100)])
    given = swap(path, claims)
    assert all(len(mine) >= claims for mine in given)
    tokens = [line.split()[2] for mine in given for line in mine]
    assert len(set(tokens)) == len(tokens)
    with Ledger(path) as ledger:
        assert ledger.figures.count_by_status() == {Status.TO_RUN: 100}
        assert ledger.history.open_attempts(range(100)) == {}
        attempts = ledger.history.attempts_of(range(100))
        lost = {one.token for many in attempts.values() for one in many}
        assert lost <= set(tokens)
        for index, structure_now in ledger.structures.of(range(100)).items():
            # Each attempt that was lost is there once, and counted once.
            assert [one.number for one in attempts.get(index, [])] == [
                *range(1, structure_now.loss_count + 1)
            ]


@pytest.mark.parametrize("width", [1, 7, 400])
def test_no_structure_is_given_to_two(tmp_path, width):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(400)])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(path), str(width)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    given = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(index for mine in given for index in mine) == list(range(400))
    with Ledger(path) as ledger:
        assert ledger.figures.count_by_status() == {Status.RUNNING: 400}
        assert len(ledger.history.open_attempts(range(400))) == 400


WORK = """
import sys
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.ledger.samples import claim, ending
with Ledger(sys.argv[1]) as ledger:
    while wanted := ledger.queue.select([Status.TO_RUN], limit=5):
        tokens = [c.token for c in claim(ledger, wanted)]
        ledger.mark_submitted({token: "1" for token in tokens})
        ledger.mark_running(tokens[:-1])
        ledger.record([ending(tokens[0], Outcome.COMPLETED), ending(tokens[1], Outcome.FAILED)])
        ledger.give_back(tokens[-1:])
        ledger.record([ending(token, Outcome.LOST, message="x" * 5000) for token in tokens[2:4]])
        print("again", flush=True)
"""


@pytest.mark.parametrize("rounds", [8, pytest.param(30, marks=pytest.mark.chaos)])
def test_a_process_killed_at_any_moment_leaves_a_whole_ledger(tmp_path, rounds):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(5000)])
    chance = random.Random(3)
    for _ in range(rounds):
        process = subprocess.Popen([sys.executable, "-c", WORK, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "again\n"
        time.sleep(chance.uniform(0.02, 0.15))
        process.kill()
        process.communicate()
        with sqlite3.connect(path) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        db.close()
        with Ledger(path) as ledger:
            consistent(ledger)
            # Whoever comes next takes up what the dead one left.
            left = ledger.history.open_attempts(range(5000))
            ended = [ending(attempt.token, Outcome.LOST) for attempt in left.values()]
            assert ledger.record(ended) == {attempt.token for attempt in left.values()}
            assert ledger.figures.count_by_status().get(Status.RUNNING, 0) == 0
            consistent(ledger)
    with Ledger(path) as ledger:
        assert ledger.figures.count_by_status()[Status.COMPLETED] > 0
        assert ledger.figures.count_by_status()[Status.FAILED] > 0


def consistent(ledger: Ledger) -> None:
    """Statuses, results, counts and attempts say the same."""
    db = ledger.file.connection

    def none(query: str) -> None:
        assert db.execute(query).fetchall() == []

    assert db.execute("SELECT COUNT(*) FROM structures").fetchone()[0] == 5000
    none(
        "SELECT s.id FROM structures s LEFT JOIN attempts a ON a.structure_id = s.id AND a.state != 'closed'"
        " GROUP BY s.id HAVING COUNT(a.id) != (s.status = 'running')"
    )
    none("SELECT id FROM structures WHERE (status = 'completed') != (final_energy IS NOT NULL)")
    none("SELECT id FROM attempts WHERE (state = 'closed') != (outcome IS NOT NULL)")
    none("SELECT id FROM attempts WHERE (outcome = 'completed') != (result IS NOT NULL)")
    none(
        "SELECT s.id FROM structures s WHERE s.fail_count !="
        " (SELECT COUNT(*) FROM attempts a WHERE a.structure_id = s.id AND a.outcome IN ('failed', 'timeout'))"
    )
    none(
        "SELECT s.structure_id FROM structure_state s WHERE s.loss_count !="
        " (SELECT COUNT(*) FROM attempts a WHERE a.structure_id = s.structure_id AND a.outcome = 'lost')"
    )
    none(
        "SELECT s.id FROM structures s WHERE s.status IN ('completed', 'failed') AND s.status !="
        " (SELECT a.outcome FROM attempts a WHERE a.structure_id = s.id ORDER BY a.number DESC LIMIT 1)"
    )


def test_a_reader_reads_on_while_another_writes(tmp_path):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(100)])
        with Ledger(path) as writer, writer.file.transaction() as db:
            db.execute("UPDATE structures SET status = 'failed'")
            assert ledger.figures.count_by_status() == {Status.TO_RUN: 100}
        assert ledger.figures.count_by_status() == {Status.FAILED: 100}


def test_a_writer_waits_for_another_and_then_says_that_it_is_locked(tmp_path):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True) as ledger, Ledger(path, timeout=0.1) as other:
        ledger.add_structures([structure(0)])
        with (
            ledger.file.transaction(),
            pytest.raises(LedgerError, match=r"kept it locked for 0\.1 s") as caught,
        ):
            claim(other, [0])
        assert str(path) in str(caught.value)
        assert len(claim(other, [0])) == 1


def test_a_full_disk_undoes_the_whole_transaction(tmp_path):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(10)])
        [one, two] = claim(ledger, [0, 1])
        pages = ledger.file.connection.execute("PRAGMA page_count").fetchone()[0]
        ledger.file.connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(LedgerError, match=r"disk is full; nothing was changed"):
            ledger.record(
                [
                    ending(one.token, Outcome.COMPLETED),
                    ending(two.token, Outcome.FAILED, message="x" * 1_000_000),
                ]
            )
        assert ledger.figures.count_by_status() == {Status.TO_RUN: 8, Status.RUNNING: 2}
        assert ledger.record([ending(one.token, Outcome.COMPLETED)]) == {one.token}
        ledger.file.connection.execute("PRAGMA max_page_count = 1000000")
        assert ledger.record([ending(two.token, Outcome.FAILED, message="x" * 1_000_000)]) == {two.token}


def test_a_file_that_stays_locked_cannot_be_opened_and_says_so(tmp_path):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True) as ledger:
        ledger.add_structures([structure(0)])
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LedgerError, match=r"kept it locked for 0\.2 s") as caught:
        Ledger(path, timeout=0.2)
    assert "\n" not in str(caught.value)
    holder.close()
    with Ledger(path, timeout=0.2) as ledger:
        assert len(claim(ledger, [0])) == 1


def test_a_writer_waits_until_a_process_lets_go(tmp_path):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True) as ledger:
        ledger.add_structures([structure(0)])
    script = (
        "import sqlite3, sys, time; db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); time.sleep(1); db.execute('COMMIT')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "locked\n"
        with Ledger(path) as ledger:
            assert len(claim(ledger, [0])) == 1


def test_rows_that_another_process_has_changed_meanwhile_are_not_written_from_an_old_view(tmp_path):
    path = tmp_path / "workflow.db"
    with Ledger(path, create=True, timeout=0.3) as ledger, Ledger(path) as other:
        ledger.add_structures([structure(n) for n in range(10)])
        reading = ledger.structures.indices()
        next(reading)
        claim(other, [0])
        with pytest.raises(LedgerError, match="while this process is reading rows"):
            claim(ledger, [1])
        reading.close()
        assert len(claim(ledger, [1])) == 1

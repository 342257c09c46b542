"""What attempts cost: by Slurm's accounting where there is one, else by the payload."""

import json
from pathlib import Path

import pytest
from dagster import TableMetadataValue

from oact_dagster.attempts.events import Completed, Failed
from oact_dagster.defs.metadata import attempts_table, result_metadata
from oact_dagster.schedulers.jobs import Cause, JobCosts
from oact_dagster.schedulers.slurm.accounting import RECORD, read_records
from oact_dagster_tests.batches import batch, settled
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.launchers.running import prepared
from oact_dagster_tests.schedulers.real_slurm import RealSlurm

# Printed by sacct of Slurm 22.05.8 with slurmdbd and jobacct_gather/linux: two calculations of 2 s of CPU and 200 MB,
# one that was cancelled, and one that was still running for the database though squeue said COMPLETED.
RECORDED = """\
1_0|COMPLETED|0:0|00:00:05|00:02.202||n1|oact-f9e677e9319520dc
1_0.batch|COMPLETED|0:0|00:00:05|00:02.202|221380K|n1|batch
1_1|COMPLETED|0:0|00:00:05|00:02.171||n1|oact-f9e677e9319520dc
1_1.batch|COMPLETED|0:0|00:00:05|00:02.171|221712K|n1|batch
5_0|CANCELLED by 0|0:0|00:00:01|00:00.075||n1|oact-5ef4383bd52edf18
5_0.batch|COMPLETED|0:0|00:00:01|00:00.075|17680K|n1|batch
6_0|RUNNING|0:0|00:00:05|00:00:00||n1|oact-5ef4383bd52edf18
6_0.batch|RUNNING|0:0|00:00:05|00:00:00||n1|batch
"""


def test_recorded_answers_are_read() -> None:
    assert RECORD == "JobID,State,ExitCode,Elapsed,TotalCPU,MaxRSS,NodeList,JobName"
    first, second = "oact-f9e677e9319520dc", "oact-5ef4383bd52edf18"
    found = read_records(RECORDED, {"1_0": first, "1_1": first, "5_0": second, "6_0": second})
    assert {job_id: state.costs for job_id, state in found.items()} == {
        "1_0": JobCosts(5.0, 2.202, 221380 / 1024, "n1"),
        "1_1": JobCosts(5.0, 2.171, 221712 / 1024, "n1"),
        "5_0": JobCosts(1.0, 0.075, 17680 / 1024, "n1"),
    }
    assert (found["5_0"].cause, found["5_0"].final) == (Cause.CANCELLED, "CANCELLED by 0")


@pytest.mark.parametrize(
    ("text", "costs"),
    [
        ("7_0|TIMEOUT|0:0|1-02:03:04|4-00:00:00||n[1-2]|oact-a\n7_0.batch|CANCELLED|0:15|||1.5G|n1|batch",
         JobCosts(93784.0, 345600.0, 1536.0, "n[1-2]")),
        # Without jobacct_gather.
        ("7_0|FAILED|7:0|00:00:09|00:00:00||n1|oact-a\n7_0.batch|FAILED|7:0|00:00:09|00:00:00|0|n1|batch",
         JobCosts(9.0, None, None, "n1")),
        ("7_0|CANCELLED by 1000|0:0|00:00:00|00:00:00||None assigned|oact-a", JobCosts(0.0, None, None, None)),
        ("7_0|NODE_FAIL|0:0|00:10:00|INVALID||n1|oact-a", JobCosts(600.0, None, None, "n1")),
        ("7_0|FAILED|1:0", None),
        ("7_0|FAILED|1:0|00:00:09|00:00:00||n1|somebody's", None),
        ("8_0|FAILED|1:0|00:00:09|00:00:00||n1|oact-a", None),
        ("", None),
        ("sacct: something new", None),
    ],
)  # fmt: skip
def test_answers_of_all_kinds(text: str, costs: JobCosts | None) -> None:
    found = read_records(text, {"7_0": ""})
    assert {job_id: state.costs for job_id, state in found.items()} == (
        {} if costs is None else {"7_0": costs}
    )


def test_a_record_of_another_array_is_not_ours() -> None:
    record = "7_0|FAILED|1:0|00:00:09|00:00:00||n1|oact-a"
    assert list(read_records(record, {"7_0": "oact-a"})) == ["7_0"]
    assert read_records(record, {"7_0": "oact-b"}) == {}


@pytest.mark.slurm
def test_costs_by_accounting_are_in_the_ledger_and_the_metadata(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine
) -> None:
    # Accounting needs a database, which does not run here: recorded costs are replayed for the tasks asked for.
    slurm.put_fault(
        "scontrol", "echo 'AccountingStorageType   = accounting_storage/slurmdbd'; echo 'MaxArraySize = 100'"
    )
    slurm.put_fault(
        "sacct",
        # A record counts only under the name that the job was submitted with.
        f"name=$(sed -n 's/.*--job-name=\\([^ ]*\\).*/\\1/p' '{slurm.calls}' | tail -n 1)\n"
        'for ids in "$@"; do :; done\n'
        'for id in $(echo "$ids" | tr , " "); do\n'
        '  echo "$id|COMPLETED|0:0|00:36:00|02:00:00.5||n7|$name"\n'
        '  echo "$id.batch|COMPLETED|0:0|00:36:00|02:00:00.5|1.5G|n7|batch"\n'
        "done",
    )
    campaign, ledger = prepared(tmp_path, engine, 20, "slurm", poll_interval_s=1.0)
    words = settled(list(batch(campaign, ledger, list(range(20)))))
    assert all(isinstance(word, Completed) for word in words.values())
    for index in range(20):
        (attempt,) = ledger.history.attempts(index)
        assert (attempt.elapsed, attempt.cpu_time_s, attempt.max_rss_mb) == (2160.0, 7200.5, 1536.0)
    shown = result_metadata(words[3], None)  # type: ignore[arg-type]
    assert (shown["cpu_time_s"], shown["max_rss_mb"]) == (7200.5, 1536.0)
    asked = [id for call in slurm.calls_of("sacct") for id in call.split()[-1].split(",")]
    assert len(asked) == len(set(asked)) == 20, "each was asked for once"
    assert len(slurm.calls_of("sacct")) <= len(slurm.calls_of("squeue")), "in bulk, at most once in a poll"
    assert sum(ledger.figures.cores_spent().values()) == pytest.approx(20 * 0.6)


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path)


def test_without_accounting_the_payload_tells(tmp_path: Path, engine: TestEngine) -> None:
    busy = 'python3 -c "x = bytearray(100_000_000); sum(range(3_000_000))"'
    engine.path.write_text(engine.path.read_text().replace("slow) ", f"slow) {busy}; "))
    engine.set("slow", 0)
    engine.set("scf_not_converged", 1)
    campaign, ledger = prepared(tmp_path, engine, 2, "local")
    words = settled(list(batch(campaign, ledger, [0, 1])))
    assert isinstance(words[0], Completed) and isinstance(words[1], Failed)
    (good,), (failed,) = ledger.history.attempts(0), ledger.history.attempts(1)
    record = json.loads((campaign.jobs_dir / "job_0" / "exit.json").read_text())
    assert (good.cpu_time_s, good.max_rss_mb) == (record["cpu_time_s"], record["max_rss_mb"])
    assert (good.max_rss_mb or 0) > 95, "of the largest process that the engine started and waited for"
    assert (good.cpu_time_s or 0) > 0 and 0 < (failed.max_rss_mb or 0) < (good.max_rss_mb or 0)
    assert result_metadata(words[0], None)["max_rss_mb"] == round(good.max_rss_mb or 0, 1)
    table = attempts_table([failed])
    assert isinstance(table, TableMetadataValue)
    (row,) = table.records
    assert row.data["max_rss_mb"] == round(failed.max_rss_mb or 0, 1)


def test_an_engine_that_was_not_started_cost_nothing(tmp_path: Path, engine: TestEngine) -> None:
    campaign, ledger = prepared(tmp_path, engine, 1, "local")
    engine.path.write_text("#!/no/such/interpreter\n")
    with pytest.raises(Exception, match="could not be started"):
        list(batch(campaign, ledger, [0]))
    (attempt,) = ledger.history.attempts(0)
    assert (attempt.cpu_time_s, attempt.max_rss_mb) == (None, None)

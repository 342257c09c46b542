"""The dashboard: the format that groups know, what it adds, and every flag."""

import json
import re
import shutil
import signal
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.attempts.engine import STANDIN_NAME
from oact_dagster.cli.dashboard_text import dashboard_lines
from oact_dagster.ledger.metrics import Metrics, Statistic
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.retry import RetrySettings
from oact_dagster.status.overview import FailureGroup, Overview, Throughput, overview_of
from oact_dagster_tests.cli.command import assert_one_line, command, environment, oact
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.job_folders import made_job
from oact_dagster_tests.ledger.old_files import old_file
from oact_dagster_tests.ledger.samples import run, structure

# The reference document's example, without the bar, whose filling there does not fit its percentage.
EXAMPLE = """\
================================================================================
                          Workflow Status Summary
================================================================================

Status          Count    Percent
----------------------------------------
to_run           8500      85.0%
running          1200      12.0%
completed         250       2.5%
failed             30       0.3%
timeout            20       0.2%
----------------------------------------
TOTAL           10000     100.0%

================================================================================
              Computational Metrics (Completed Jobs)
================================================================================

Max Forces (Eh/Bohr):
  Mean:   0.001234
  Median: 0.000987
  Min:    0.000012
  Max:    0.004567

SCF Steps:
  Mean:   12.3
  Median: 11
  Min:    5
  Max:    45

Wall Time (seconds):
  Mean:   196.4
  Median: 180.2
  Min:    45.3
  Max:    892.1
  Total:  49100.0 (13.64 hours)

Cores Used:
  Mean:   4.0
  Min:    4
  Max:    4
  Total core-hours: 54.56

Total jobs with metrics: 250
Jobs with timing data: 250
"""


def statistic(mean: float, median: float, least: float, most: float, total: float = 0.0) -> Statistic:
    return Statistic(250, mean, median, least, most, total)


METRICS = Metrics(
    completed=250,
    final_energy=statistic(-100.0, -100.0, -101.0, -99.0),
    max_forces=statistic(0.001234, 0.000987, 0.000012, 0.004567),
    scf_steps=statistic(12.3, 11, 5, 45),
    wall_time=statistic(196.4, 180.2, 45.3, 892.1, 49100.0),
    n_cores=statistic(4, 4, 4, 4, 1000),
    core_hours=54.56,
    with_metrics=250,
    with_times=250,
)


def overview(**changes: Any) -> Overview:
    values: dict[str, Any] = {
        "at": 1_700_000_000.0,
        "counts": {
            Status.TO_RUN: 8500,
            Status.RUNNING: 1200,
            Status.COMPLETED: 250,
            Status.FAILED: 30,
            Status.TIMEOUT: 20,
        },
        "running_started": 300,
        "held": 2,
        "rejected": 4,
        "engines": Counter({"ORCA": 250}),
        "failures": (("scf_not_converged", 30), ("timeout", 20)),
        "groups": (FailureGroup("scf_not_converged", "not converged after 500 cycles", 30, 7),),
        "spent": {Outcome.COMPLETED: 54.56, Outcome.FAILED: 12.5, Outcome.TIMEOUT: 160.0},
        "throughput": Throughput(10.0, 250, 50, 30),
        "set_aside": 10,
        "metrics": METRICS,
        "host_faults": (("n7", 3), ("n2", 1)),
    }
    return Overview(**(values | changes))


def text(found: Overview, encoding: str | None = None) -> str:
    return "".join(f"{line}\n" for line in dashboard_lines(found, encoding))


def test_all_figures_of_the_example() -> None:
    shown = [line.strip() for line in text(overview()).splitlines()]
    place = 0
    for line in (line.strip() for line in EXAMPLE.splitlines() if line.strip()):
        place = shown.index(line, place) + 1
    assert any(re.fullmatch(r"Completion: \[█+░+\] 2\.5% \(250/10000\)", line) for line in shown)


def test_what_the_example_does_not_have() -> None:
    shown = text(overview())
    assert "\nrunning 1200 (900 queued)\n" in shown
    assert "\nheld 2 (run only after `oact release`, or when named)\n" in shown
    assert "\nset aside 10 (their budget of attempts is used up)\n" in shown
    assert "\nrejected rows 4 (in no count above; `oact dashboard --show-rejected` says why)\n" in shown
    assert (
        "\nThroughput: 25 completed an hour (250 in the last 10 h, 50 failed or timed out; 30 in the last hour)\n"
        in shown
    )
    # 8500 + 1200 to run, and 40 of the failed ones, at 25 an hour.
    assert "(in 16 days, 9740 structures left at this pace)" in shown
    assert "\nCore-hours of attempts: good 54.56, failed 12.50, timed out 160.00\n" in shown
    assert "\nFailures by class: scf_not_converged 30, timeout 20\n" in shown
    assert "\nAttempts that failed through their host's fault: n7 3, n2 1\n" in shown
    assert "     30  scf_not_converged: not converged after 500 cycles (structure 7)\n" in shown


@pytest.mark.parametrize(
    ("completed", "told"), [(10_234, "1,020"), (12_345_678, "1,230,000"), (123, "12.3"), (1, "0.1"), (0, "0")]
)
def test_a_throughput_is_told_as_people_write_numbers(completed: int, told: str) -> None:
    assert f"\nThroughput: {told} completed an hour (" in text(
        overview(throughput=Throughput(10.0, completed, 0, 0))
    )


def test_one_of_something_is_told_as_one() -> None:
    one = overview(
        counts={Status.COMPLETED: 1, Status.TO_RUN: 1},
        running_started=0,
        engines=Counter({STANDIN_NAME: 1}),
        set_aside=1,
        groups=(),
        failures=(),
    )
    shown = text(one)
    assert "NOT ORCA: 1 of 1 result comes from the stand-in engine (GFN2-xTB) and means nothing" in shown
    assert "\nset aside 1 (its budget of attempts is used up)\n" in shown
    assert "1 structures" not in shown and "1 results" not in shown


def test_an_end_is_estimated_only_from_what_ended() -> None:
    assert overview().ends_at == pytest.approx(1_700_000_000.0 + 3600 * 9740 / 25)
    # Without budgets nobody knows whether failed ones are tried again.
    assert overview(set_aside=None).left == 9700
    for throughput in (None, Throughput(10.0, 0, 5, 0)):
        assert overview(throughput=throughput).ends_at is None
        assert "Estimated end" not in text(overview(throughput=throughput))


def test_the_throughput_is_that_of_what_ended_lately(tmp_path: Path) -> None:
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(20)])
        for index, ended in ((0, 4000.0), (1, 5000.0), (2, 8000.0)):
            run(ledger, index, Outcome.COMPLETED, ended_at=ended)
        run(ledger, 3, Outcome.FAILED, ended_at=8100.0, elapsed=1800.0)
        # All were claimed at 1000 s.
        found = overview_of(ledger, RetrySettings(), now=8200.0)
        assert found.throughput == Throughput(2.0, 3, 1, 2) and found.throughput.per_hour == 1.5
        assert found.left == 17 and found.ends_at == 8200.0 + 17 / 1.5 * 3600
        assert found.spent[Outcome.FAILED] == pytest.approx(0.5 * 4)
        assert overview_of(ledger, now=8200.0 + 86_400).throughput is None
        # Its first minutes say nothing of a campaign's pace.
        assert overview_of(ledger, now=1200.0).throughput is None


def test_results_that_are_not_orcas_are_called_so() -> None:
    assert "NOT ORCA" not in text(overview())
    assert "NOT ORCA: 250 of 250 results" in text(overview(engines=Counter({"x (NOT ORCA)": 250})))


def test_ready_is_shown_where_an_old_ledger_has_it() -> None:
    assert "ready" not in EXAMPLE
    assert "ready               7" in text(overview(counts={Status.READY: 7}))


def test_messages_of_others_are_cut_and_harmless() -> None:
    group = FailureGroup("aborted", "\x1b[31mred\x07" + "x" * 300, 1, None)
    [line] = [line for line in text(overview(groups=(group,))).splitlines() if "aborted: " in line]
    assert line.isprintable() and line.endswith("...") and len(line) < 130


def test_an_empty_ledger(tmp_path: Path) -> None:
    with Ledger(tmp_path / "workflow.db", create=True):
        pass
    done = oact("dashboard", tmp_path / "workflow.db", "--show-metrics", "--show-failed", "--show-ready")
    assert done.returncode == 0, done.stderr
    assert "TOTAL               0       0.0%" in done.stdout and "0.0% (0/0)" in done.stdout
    assert "No completed jobs yet\n" in done.stdout and done.stdout.count("\nNone\n") == 2


def test_every_terminal_can_show_it(tmp_path: Path) -> None:
    text(overview(), "ascii").encode("ascii")
    assert "[#-------" in text(overview(), "latin-1")
    old_file(tmp_path / "workflow.db", [{"status": "failed", "error_message": "Å→\U0001f4a5"}])
    done = oact("dashboard", tmp_path / "workflow.db", "--show-failed", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and "???" in done.stdout and done.stderr == ""


# --- the flags, on a file as the old tool makes it ------------------------------------------------------------------


def completed(number: int) -> dict[str, Any]:
    return {
        "status": "completed",
        "final_energy": -100.0 - number,
        "max_forces": 0.001 * (number + 1),
        "scf_steps": 10 + number,
        "wall_time": 100.0 + number,
        "n_cores": 4,
    }


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An old file: 3 completed, 4 failed (0 to 3 counted failures), 2 timed out, 30 to run, 1 ready, 2 running."""
    rows: list[dict[str, Any]] = [completed(number) for number in range(3)]
    rows += [{"status": "failed", "error_message": f"failure {n}", "fail_count": n} for n in range(4)]
    rows += [{"status": "timeout", "error_message": "silent", "fail_count": n} for n in range(2)]
    rows += [{"status": "to_run"} for _ in range(30)]
    rows += [{"status": "ready"}, {"status": "running"}, {"status": "running"}]
    return old_file(tmp_path / "workflow.db", rows)


def statuses(file: Path) -> Counter[str]:
    with sqlite3.connect(file) as db:
        found = Counter(row[0] for row in db.execute("SELECT status FROM structures"))
    db.close()
    return found


def section(shown: str, title: str) -> list[str]:
    """The lines of a part of the dashboard, below its head."""
    lines = shown.splitlines()
    place = next(number for number, line in enumerate(lines) if line.strip() == title)
    found = []
    for line in lines[place + 3 :]:
        if line.startswith("===="):
            break
        found.append(line)
    return [line for line in found if line]


def test_looking_alters_nothing(old: Path) -> None:
    before = old.read_bytes()
    flags = (
        "--show-metrics",
        "--show-failed",
        "--show-timeout",
        "--show-ready",
        "--show-chronic-failures",
        "1",
    )
    for more in ([], [*flags, "--show-rejected", "--verbose"], ["--json", *flags]):
        done = oact("dashboard", old, *more)
        assert done.returncode == 0 and done.stderr == "", done.stderr
    assert old.read_bytes() == before
    assert [entry.name for entry in old.parent.iterdir()] == ["workflow.db"]


def test_looking_works_on_a_disk_that_cannot_be_written(old: Path) -> None:
    old.chmod(0o444)
    old.parent.chmod(0o555)
    try:
        done = oact("dashboard", old)
    finally:
        old.parent.chmod(0o755)
    assert done.returncode == 0 and "TOTAL              42" in done.stdout


def test_the_summary_alone(old: Path) -> None:
    shown = oact("dashboard", old).stdout
    assert "completed           3       7.1%" in shown and "ready               1       2.4%" in shown
    assert "Computational Metrics" not in shown and "Failed Jobs" not in shown


def test_show_metrics(old: Path) -> None:
    shown = oact("dashboard", old, "--show-metrics").stdout
    assert section(shown, "Computational Metrics (Completed Jobs)")[:5] == [
        "Max Forces (Eh/Bohr):",
        "  Mean:   0.002000",
        "  Median: 0.002000",
        "  Min:    0.001000",
        "  Max:    0.003000",
    ]
    assert "  Total:  303.0 (0.084 hours)" in shown and "Total core-hours: 0.34" in shown
    assert "Core-hours of attempts: good 0.34" in shown


def test_show_failed_with_fail_counts_and_limit(old: Path) -> None:
    rows = section(oact("dashboard", old, "--show-failed").stdout, "Failed Jobs")
    assert rows[0].split() == ["ID", "Index", "Status", "Atoms", "Fails", "Error"]
    assert rows[1].split() == ["4", "3", "failed", "2", "0", "failure", "0"]
    assert rows[4].split() == ["7", "6", "failed", "2", "3", "failure", "3"] and len(rows) == 5
    rows = section(oact("dashboard", old, "--show-failed", "--limit", "2").stdout, "Failed Jobs")
    assert len(rows) == 4 and rows[-1] == "and 2 more (--limit 4 shows all)"


def test_listed_failures_begin_with_their_class(tmp_path: Path) -> None:
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(2)])
        for index, message in enumerate(["ORCA aborted in GTOInt", "aborted: ORCA aborted in GTOInt"]):
            run(ledger, index, Outcome.FAILED, failure_class="aborted", message=message)
    rows = section(oact("dashboard", tmp_path / "workflow.db", "--show-failed").stdout, "Failed Jobs")
    assert [" ".join(row.split()[5:]) for row in rows[1:]] == ["aborted: ORCA aborted in GTOInt"] * 2


def test_what_others_marked_running_is_not_called_queued(old: Path) -> None:
    told = "\nrunning 2 (0 queued, 2 marked by another tool or by hand)\n"
    assert told in oact("dashboard", old).stdout
    found = json.loads(oact("dashboard", old, "--json").stdout)
    assert (found["running_queued"], found["running_unfollowed"]) == (0, 2)


def test_show_timeout(old: Path) -> None:
    rows = section(oact("dashboard", old, "--show-timeout").stdout, "Timeout Jobs")
    assert [row.split()[2] for row in rows[1:]] == ["timeout", "timeout"]


def test_show_ready_gives_both_kinds_up_to_the_limit(old: Path) -> None:
    rows = section(oact("dashboard", old, "--show-ready").stdout, "Ready Jobs")
    assert len(rows) == 22 and rows[-1] == "and 11 more (--limit 31 shows all)"
    rows = section(oact("dashboard", old, "--show-ready", "--limit", "100").stdout, "Ready Jobs")
    assert Counter(row.split()[2] for row in rows[1:]) == {"to_run": 30, "ready": 1}


def test_show_chronic_failures(old: Path) -> None:
    done = oact("dashboard", old, "--show-chronic-failures", "2")
    rows = section(done.stdout, "Chronic Failures (failed 2 times or more)")
    assert [row.split()[4] for row in rows[1:]] == ["3", "2"]
    assert oact("dashboard", old, "--show-chronic-failures", "0").returncode == 2


def test_verbose_shows_more_of_a_message_and_the_folder(tmp_path: Path) -> None:
    message = "Übel 'quoted' \"twice\"\n" + "y" * 1_000_000
    old_file(
        tmp_path / "workflow.db", [{"status": "failed", "error_message": message, "job_dir": "/jobs/job_0"}]
    )
    plain = section(oact("dashboard", tmp_path / "workflow.db", "--show-failed").stdout, "Failed Jobs")
    more = section(
        oact("dashboard", tmp_path / "workflow.db", "--show-failed", "--verbose").stdout, "Failed Jobs"
    )
    assert "Übel 'quoted' \"twice\" yyy" in plain[1] and plain[1].endswith("...") and len(plain[1]) < 110
    assert len(more[1]) > 400 and more[1].endswith("...") and more[2].strip() == "/jobs/job_0"
    found = json.loads(oact("dashboard", tmp_path / "workflow.db", "--show-failed", "--json").stdout)
    assert found["failed_jobs"][0]["error_message"] == message


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        (["--reset-failed"], {"to_run": 34, "timeout": 2}),
        (["--reset-timeout"], {"to_run": 32, "failed": 4}),
        (["--reset-failed", "--include-timeout-in-reset"], {"to_run": 36}),
        (["--reset-failed", "--reset-timeout"], {"to_run": 36}),
        # The failure that is there is counted first: those with 2 and 3 have used up three.
        (["--reset-failed", "--max-retries", "3"], {"to_run": 32, "failed": 2, "timeout": 2}),
        (["--reset-timeout", "--max-retries", "1"], {"to_run": 30, "failed": 4, "timeout": 2}),
    ],
)
def test_resets(old: Path, flags: list[str], left: dict[str, int]) -> None:
    done = oact("dashboard", old, *flags)
    assert done.returncode == 0, done.stderr
    assert statuses(old) == {"completed": 3, "ready": 1, "running": 2, **left}
    reset = left.get("to_run", 30) - 30
    assert done.stdout.startswith(f"Reset {reset} ")
    assert f"to_run {left['to_run']:>14}" in done.stdout
    found = json.loads(oact("dashboard", old, "--json", "--reset-failed", "--max-retries", "0").stdout)
    assert found["reset"] == 0


def test_three_retries_are_three_attempts_in_all(tmp_path: Path) -> None:
    file = tmp_path / "workflow.db"
    with Ledger(file, create=True) as ledger:
        ledger.add_structures([structure(0)])
    attempts = 0
    for _ in range(5):
        with Ledger(file) as ledger:
            if ledger.figures.count_by_status().get(Status.TO_RUN):
                run(ledger, 0, Outcome.FAILED, message="again")
                attempts += 1
        assert oact("dashboard", file, "--reset-failed", "--max-retries", "3").returncode == 0
    assert attempts == 3


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--include-timeout-in-reset"], "needs --reset-failed"),
        (["--max-retries", "3"], "needs --reset-failed or --reset-timeout"),
        (["--job-dir-pattern", "x_{id}"], "needs --update"),
        (["--watch", "--reset-failed"], "only reads"),
        (["--update", "nowhere"], "nowhere: no such folder"),
        (["--update", ".", "--job-dir-pattern", "../x_{id}"], "must stay inside jobs_dir"),
        (["--limit", "-1"], "--limit"),
    ],
)
def test_flags_that_do_not_go_together(old: Path, flags: list[str], said: str) -> None:
    before = old.read_bytes()
    done = oact("dashboard", old, *flags, cwd=old.parent)
    assert done.returncode == 2 and said in done.stderr
    assert old.read_bytes() == before


def test_update_judges_an_old_tools_jobs_by_their_outputs(tmp_path: Path) -> None:
    engine = TestEngine(tmp_path / "engine")
    file = old_file(tmp_path / "workflow.db", [{"status": "running"} for _ in range(6)])
    jobs = tmp_path / "jobs"
    made_job(jobs / "job_0", engine, 0)
    made_job(jobs / "job_1", engine, 1, "scf_not_converged")
    made_job(jobs / "job_2", engine, 2, "half", silent_h=7)
    made_job(jobs / "job_3", engine, 3, "half")
    (jobs / "job_4").mkdir()
    done = oact("dashboard", file, "--update", jobs)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "Updated 3 of 6 running jobs: 1 completed, 1 failed, 1 timeout",
        "  1 (id 6): its job folder is missing: its state is unknown",
    ]
    assert statuses(file) == {"completed": 1, "failed": 1, "timeout": 1, "running": 3}
    with Ledger(file) as ledger:
        rows = {row.id: row for row in ledger.structures.stored_by_status()}
    assert (rows[1].final_energy, rows[1].max_forces, rows[1].scf_steps, rows[1].wall_time) == (
        -76.0, 0.004501218, 12, 3.6,
    )  # fmt: skip
    assert rows[1].n_cores == 4 and rows[1].job_dir == str(jobs / "job_0")
    assert rows[2].error_message is not None and rows[2].error_message.startswith("scf_not_converged: ")
    assert rows[3].error_message is not None and "7.0 h" in rows[3].error_message
    again = json.loads(oact("dashboard", file, "--update", jobs, "--json").stdout)["update"]
    assert (again["looked_at"], again["changed"], again["still_running"]) == (3, {}, 3)


def test_update_with_another_pattern(tmp_path: Path) -> None:
    engine = TestEngine(tmp_path / "engine")
    file = old_file(tmp_path / "workflow.db", [{"status": "running", "orig_index": 40}])
    made_job(tmp_path / "jobs" / "calc_1", engine, 40)
    assert "Updated 0 of 1" in oact("dashboard", file, "--update", tmp_path / "jobs").stdout
    done = oact("dashboard", file, "--update", tmp_path / "jobs", "--job-dir-pattern", "calc_{id}")
    assert "Updated 1 of 1 running job: 1 completed" in done.stdout


def test_watch_looks_again_until_ctrl_c(old: Path) -> None:
    process = subprocess.Popen(
        command("dashboard", old, "--watch", "--every", "0.1"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    seen = 0
    for line in process.stdout:
        seen += line.startswith("TOTAL ")
        assert "\x1b" not in line
        if seen == 2:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and errors == ""


def test_json_holds_what_the_text_holds(old: Path) -> None:
    done = oact("dashboard", old, "--json", "--show-failed", "--show-ready", "--show-chronic-failures", "3")
    found = json.loads(done.stdout)
    assert found["statuses"] == {
        "to_run": 30, "ready": 1, "running": 2, "completed": 3, "failed": 4, "timeout": 2,
    }  # fmt: skip
    assert found["metrics"]["scf_steps"]["median"] == 11 and found["metrics"]["jobs_with_times"] == 3
    assert found["failures_by_message"][0] == {
        "failure_class": "failed", "message": "failure 0", "count": 4, "example": 3,
    }  # fmt: skip
    assert len(found["failed_jobs"]) == 4 and len(found["ready_jobs"]) == 20
    assert [job["fail_count"] for job in found["chronic_failures"]] == [3]
    assert found["throughput"] is None and found["estimated_end"] is None


def test_a_campaign_beside_the_ledger_gives_the_budgets(tmp_path: Path) -> None:
    file = tmp_path / "workflow.db"
    with Ledger(file, create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(3)])
        run(ledger, 0, Outcome.FAILED, message="no")
    assert json.loads(oact("dashboard", file, "--json").stdout)["set_aside"] is None
    (tmp_path / "campaign.yaml").write_text(
        "name: a\ncsv: null\norca: {command: orca}\nretry: {max_failures: 1}\n"
    )
    for given in (file, tmp_path, tmp_path / "campaign.yaml"):
        assert json.loads(oact("dashboard", given, "--json").stdout)["set_aside"] == 1
    assert RetrySettings().max_failures == 3


def test_the_examples_counts_from_a_ledger(tmp_path: Path) -> None:
    file = tmp_path / "workflow.db"
    with Ledger(file, create=True):
        pass
    counts = {"to_run": 8500, "running": 1200, "completed": 250, "failed": 30, "timeout": 20}
    rows = [status for status, count in counts.items() for _ in range(count)]
    with sqlite3.connect(file) as db:
        db.executemany("INSERT INTO structures (orig_index, status) VALUES (?, ?)", enumerate(rows))
        # 300 of the running ones compute.
        db.executemany(
            "INSERT INTO attempts (structure_id, number, token, state, batch_id, launcher, claimed_at)"
            " VALUES (?, 1, ?, ?, 'batch', 'local', 1)",
            ((8501 + n, f"token{n}", "running" if n < 300 else "submitted") for n in range(1200)),
        )
    db.close()
    shown = oact("dashboard", file).stdout.splitlines()
    place = EXAMPLE.splitlines().index("to_run           8500      85.0%")
    for line in EXAMPLE.splitlines()[place : place + 7]:
        assert line in shown
    assert "running 1200 (900 queued)" in shown


# --- faults ---------------------------------------------------------------------------------------------------------


def test_files_that_are_no_ledger(tmp_path: Path) -> None:
    assert_one_line(oact("dashboard", tmp_path / "none.db"), "none.db: no such ledger", "oact ingest")
    (tmp_path / "text.db").write_text("not a database, but long enough to be one" * 50)
    assert_one_line(oact("dashboard", tmp_path / "text.db"), "text.db: cannot be used as a ledger")
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE people (name TEXT)")
    db.close()
    assert_one_line(oact("dashboard", tmp_path / "other.db"), "its tables: people")


@pytest.mark.parametrize("flags", [[], ["--reset-failed"], ["--update", "."]])
def test_a_row_with_an_unknown_status(tmp_path: Path, flags: list[str]) -> None:
    file = old_file(tmp_path / "workflow.db", [{"status": "failed"}, {"status": "paused"}])
    before = file.read_bytes()
    done = oact("dashboard", file, *flags, cwd=tmp_path)
    assert_one_line(done, "unknown status 'paused'", "id 2", "set it to one of to_run, ready")
    assert file.read_bytes() == before


def test_a_reset_of_a_file_that_cannot_be_written(old: Path) -> None:
    old.chmod(0o444)
    old.parent.chmod(0o555)
    before = old.read_bytes()
    try:
        done = oact("dashboard", old, "--reset-failed")
    finally:
        old.parent.chmod(0o755)
    if done.returncode == 0:
        pytest.skip("this user may write everything: run the tests as another one than root")
    assert_one_line(done, "workflow.db", "cannot be")
    assert old.read_bytes() == before


def test_the_module_of_old_commands(old: Path, tmp_path: Path) -> None:
    shutil.copyfile(old, tmp_path / "copy.db")
    done = subprocess.run(
        [*command()[:1], "-m", "oact_dagster.workflows.dashboard", str(tmp_path / "copy.db"), "--show-metrics"],
        env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == oact("dashboard", tmp_path / "copy.db", "--show-metrics").stdout

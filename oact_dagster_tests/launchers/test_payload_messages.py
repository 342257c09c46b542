"""What a payload tells while its engine runs: real payloads, the real Pipes library, and the file between them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from dagster_pipes import DAGSTER_PIPES_CONTEXT_ENV_VAR, DAGSTER_PIPES_MESSAGES_ENV_VAR, encode_param

from oact_dagster.launchers.attempt_files import ATTEMPT_FILE, MESSAGES_FILE, read_exit, read_spec, spec_text
from oact_dagster.launchers.local import LocalLauncher
from oact_dagster.schedulers.jobs import Job
from oact_dagster_tests.launchers.test_local import finish, job

ENGINE = """
echo 'Iteration    Energy (Eh)           Delta-E    RMSDP     MaxDP     DIISErr   Damp  Time(sec)'
for n in 1 2 3 4 5 6 7 8; do
    echo "    $n    -76.00000$n     0.00e+00  1.36e-01  5.98e+00  4.16e+00  0.700   0.5"
    sleep 0.25
done
"""
CONTEXT = {
    "asset_keys": None,
    "code_version_by_asset_key": None,
    "provenance_by_asset_key": None,
    "partition_key": None,
    "partition_key_range": None,
    "partition_time_window": None,
    "run_id": "run",
    "job_name": None,
    "retry_number": 0,
    "extras": {},
}


def told_job(tmp_path: Path, token: str, *, progress_s: float, messages: str = MESSAGES_FILE) -> Job:
    one = job(tmp_path, token, ENGINE)
    context = tmp_path / "context.json"
    context.write_text(json.dumps(CONTEXT))
    spec = read_spec(one.folder)
    assert spec is not None
    pipes = {
        DAGSTER_PIPES_CONTEXT_ENV_VAR: encode_param({"path": str(context)}),
        DAGSTER_PIPES_MESSAGES_ENV_VAR: encode_param({"path": messages}),
    }
    changed = replace(spec, orig_index=42, attempt=2, pipes=pipes, progress_s=progress_s)
    (one.folder / ATTEMPT_FILE).write_text(spec_text(changed))
    return one


def run(one: Job) -> list[dict[str, Any]]:
    launcher = LocalLauncher(1)
    launcher.submit([one])
    finish(launcher, [one.token])
    launcher.close()
    assert read_exit(one.folder, one.token) is not None
    file = one.folder / MESSAGES_FILE
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def logged(messages: list[dict[str, Any]]) -> list[str]:
    return [one["params"]["message"] for one in messages if one["method"] == "log"]


def test_progress_is_told_while_it_runs_and_the_outcome_at_its_end(tmp_path: Path) -> None:
    messages = run(told_job(tmp_path, "told", progress_s=0.2))
    *during, last = logged(messages)
    assert len(during) >= 3
    assert all(line.startswith("structure 42, attempt 2: SCF cycle ") for line in during)
    assert len(set(during)) == len(during), "nothing is told twice"
    assert last.startswith("structure 42, attempt 2 on ")
    (report,) = [one["params"]["payload"] for one in messages if one["method"] == "report_custom_message"]
    assert (report["structure"], report["attempt"], report["returncode"]) == (42, 2, 0)


def test_no_progress_is_told_more_often_than_asked(tmp_path: Path) -> None:
    messages = run(told_job(tmp_path, "seldom", progress_s=60.0))
    assert len(logged(messages)) == 1


def test_messages_that_cannot_be_written_cost_no_calculation(tmp_path: Path) -> None:
    one = told_job(tmp_path, "deaf", progress_s=0.2, messages="no/such/folder/messages.jsonl")
    assert run(one) == []
    record = read_exit(one.folder, "deaf")
    assert record is not None and record.returncode == 0

"""A scheduler is added by a row, a class and a name: the example of docs/architecture.md, "Adding a launcher".

``tiny`` is a made-up scheduler. Its commands are ``tsub``, ``tstat`` and ``tdel``; each job is a process.
"""

import os
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from oact_dagster.attempts.events import Completed
from oact_dagster.cli import main
from oact_dagster.errors import NoAnswerError
from oact_dagster.feed.bad_hosts import can_leave_out
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.ledger.states import Status
from oact_dagster.schedulers.command import Answer, run_command
from oact_dagster.schedulers.job_array import JobArray, ResourceRequest
from oact_dagster.schedulers.job_script import Directives, by_hand_name, quoted
from oact_dagster.schedulers.jobs import JobState, Phase
from oact_dagster.schedulers.protocol import (
    ArrayNames,
    Finding,
    JobOptions,
    PlannedJobs,
    Reply,
    Scheduler,
    SubmitAnswer,
    is_ours,
)
from oact_dagster.schedulers.registry import SCHEDULERS
from oact_dagster.settings.launcher_kinds import LAUNCHER_KINDS, LauncherKind
from oact_dagster_tests.batches import batch, settled
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.launchers.running import prepared

# settings/launcher_kinds.py: a row.
TINY = LauncherKind("tiny", "Tiny jobs", program="tsub", jobs_outlive_run=True)


# schedulers/tiny.py: a class.
def directives(options: JobOptions, request: ResourceRequest) -> Directives:
    """A job's directives, the same in a script and in a submit."""
    return Directives(
        {"--cores": request.n_cores, "--minutes": request.minutes, "--queue": options.queue}, options.extra
    )


class Tiny:
    kind = "tiny"
    why_unknown = "Tiny forgets what has ended"
    task_variable = "TINY_TASK"
    script_name = "tiny_job.sh"

    def __init__(self, options: JobOptions, timeout_s: float = 60.0) -> None:
        self._options = options
        self._timeout_s = timeout_s

    def largest_array(self) -> int:
        return 100

    def submit(self, array: JobArray) -> SubmitAnswer:
        assert array.request is not None
        asked = directives(self._options, array.request).options()
        command = ["tsub", "--name", array.name, "--tasks", str(len(array.tokens)), *asked, array.script.name]
        answer = self._run(command, array.folder)
        if answer.returncode == 0:
            number = answer.stdout.strip()
            return SubmitAnswer(Reply.TAKEN, {task: f"{number}.{task}" for task in range(len(array.tokens))})
        return SubmitAnswer(Reply.UNCLEAR if answer.returncode is None else Reply.REFUSED, told=answer.told)

    def script_lines(self, folder: Path, request: ResourceRequest) -> Sequence[str]:
        asked = directives(self._options, request)
        named = {"--name": by_hand_name(folder), **asked.named}
        return replace(asked, named=named).lines("#TINY", quoted, {})

    def find(self, arrays: Collection[JobArray]) -> Mapping[str, Mapping[int, str]]:
        found: dict[str, dict[int, str]] = {array.name: {} for array in arrays}
        for job_id, name, _ in self._rows():
            if name in found:
                found[name][int(job_id.partition(".")[2])] = job_id
        return found

    def active(self, names: Collection[str]) -> Mapping[str, str]:
        return {name: job_id for job_id, name, state in self._rows() if name in names and state != "ended"}

    def states(self, names: ArrayNames) -> Mapping[str, JobState]:
        return {
            job_id: JobState(Phase(state))
            for job_id, name, state in self._rows()
            if job_id in names and is_ours(name, names[job_id])
        }

    def knows_ended_for_s(self) -> float:
        return 0.0

    def cancel(self, names: ArrayNames) -> None:
        self._run(["tdel", *names])

    def hosts(self) -> Collection[str] | None:
        return None

    def how_to_cancel(self, job_ids: Collection[str], names: Collection[str]) -> str:
        return f"tdel {' '.join(job_ids)}"

    def examine(self, wanted: Sequence[PlannedJobs]) -> Iterator[Finding]:
        yield from ()

    def why_pending(self, reason: str) -> str | None:
        return None

    def _rows(self) -> Iterator[list[str]]:
        answer = self._run(["tstat"])
        if answer.returncode != 0:
            raise NoAnswerError(answer.told)
        return map(str.split, answer.stdout.splitlines())

    def _run(self, command: Sequence[str], folder: Path | None = None) -> Answer:
        return run_command(command, self._timeout_s, folder=folder)


_: type[Scheduler] = Tiny

TSUB = """\
#!/bin/bash
name=$2; tasks=$4; script=${!#}
echo "tsub $*" >>'ROOT/calls'
for task in $(seq 0 $((tasks - 1))); do
    echo "7.$task $name running" >'ROOT/7.'$task
    (TINY_TASK=$task bash "$script" >>$task.out 2>&1; echo "7.$task $name ended" >'ROOT/7.'$task) >/dev/null 2>&1 &
done
echo 7
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of Tiny's jobs. It is registered, and its commands are on PATH."""
    monkeypatch.setitem(LAUNCHER_KINDS, "tiny", TINY)
    monkeypatch.setitem(SCHEDULERS, "tiny", Tiny)  # schedulers/registry.py: a name
    root, programs = tmp_path / "tiny", tmp_path / "programs"
    root.mkdir()
    programs.mkdir()
    for name, text in (
        ("tsub", TSUB.replace("ROOT", str(root))),
        ("tstat", f"#!/bin/sh\ncat '{root}'/7.*\n"),
    ):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return root


def test_a_batch(tmp_path: Path, tiny: Path) -> None:
    engine = TestEngine(tmp_path / "engine")
    campaign, ledger = prepared(tmp_path, engine, 3, "tiny", queue="small", n_hours=1)
    launcher = make_launcher(campaign)
    assert (launcher.kind, launcher.jobs_outlive_process) == ("tiny", TINY.jobs_outlive_run)
    assert not campaign.launcher.on_this_machine and not can_leave_out(campaign)
    words = settled(list(batch(campaign, ledger, [0, 1, 2])))
    assert all(isinstance(word, Completed) for word in words.values())
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 3}
    (call,) = (tiny / "calls").read_text().splitlines()
    assert "--tasks 3 --cores=1 --minutes=60 --queue=small job.sh" in call
    script = (campaign.jobs_dir / "job_0" / "tiny_job.sh").read_text()
    assert "#TINY --cores 1\n#TINY --minutes 60\n#TINY --queue small\n" in script


def test_a_submit_and_what_is_refused(tmp_path: Path, tiny: Path) -> None:
    engine = TestEngine(tmp_path / "engine")
    campaign, ledger = prepared(tmp_path, engine, 2, "tiny")
    ledger.close()
    done = CliRunner().invoke(main, ["submit", str(campaign.file)])
    assert done.exit_code == 0, done.output
    assert "submitted 2 of 2 structures to tiny\n" in done.output and "tdel 7.0 7.1" in done.output
    done = CliRunner().invoke(main, ["check", str(campaign.file)])
    assert "launcher.max_job_timeout_s is not set" in done.output, done.output
    text = campaign.file.read_text()
    campaign.file.write_text(text.replace("kind: tiny", "kind: tiny\n  per_job: parsl\n  n_hours: 9"))
    done = CliRunner().invoke(main, ["check", str(campaign.file)])
    assert "per_job: parsl is for kind slurm and flux (given: tiny)" in str(done.exception) + done.output
    subprocess.run(["bash", "-n", str(campaign.jobs_dir / "job_0" / "tiny_job.sh")], check=True)


def test_each_launcher_agrees_with_its_kind(tmp_path: Path) -> None:
    engine = TestEngine(tmp_path / "engine")
    for kind in LAUNCHER_KINDS.values():
        campaign, ledger = prepared(tmp_path / kind.name, engine, 1, kind.name)
        ledger.close()
        launcher = make_launcher(campaign)
        assert (launcher.kind, launcher.jobs_outlive_process) == (kind.name, kind.jobs_outlive_run)
        assert (kind.program is not None) == (kind.name in SCHEDULERS)

"""Slurm's commands: sbatch, squeue, sacct, scancel, scontrol."""

import math
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Final

from oact_dagster.errors import NoAnswerError
from oact_dagster.schedulers.command import Answer, run_command
from oact_dagster.schedulers.job_array import JobArray, ResourceRequest
from oact_dagster.schedulers.jobs import JobCosts, JobState, Phase
from oact_dagster.schedulers.protocol import (
    ArrayNames,
    Finding,
    JobOptions,
    PlannedJobs,
    Reply,
    SubmitAnswer,
    is_ours,
)
from oact_dagster.schedulers.slurm.accounting import RECORD, read_records
from oact_dagster.schedulers.slurm.directives import directives, script_lines
from oact_dagster.schedulers.slurm.errors import reply_of, words_of
from oact_dagster.schedulers.slurm.examination import examine
from oact_dagster.schedulers.slurm.states import job_state, why_pending

_IDS_AT_ONCE: Final = 500
"""Arrays or ranges of tasks in one command."""
ACCOUNTING_S: Final = 20.0
"""Time limit of sacct, whose answer is not worth a longer wait, s."""
ACCOUNTING_PAUSE_S: Final = 60.0
"""Pause before asking accounting again that did not answer, s."""
FEW_ARRAYS: Final = 4
"""Up to this many arrays are queried one by one. For several at once, squeue reads all jobs of the cluster."""
_FORMAT: Final = "%F|%K|%T|%j|%N|%r"
_USERS_DEFAULTS: Final = ("SQUEUE_", "SACCT_", "SCANCEL_", "SINFO_", "SBATCH_WAIT")
"""Variables hidden from the commands: a user's filters could hide our jobs, and SBATCH_WAIT blocks the submit."""
_NOT_THERE: Final = re.compile(
    r"Invalid job id|already completing or completed|Job/step already", re.IGNORECASE
)
_REJECTED: Final = ("FAILED", "BadConstraints")
"""State and reason of a record that a refused submit may leave under its name; it is not a job."""


class Slurm:
    """The Slurm cluster that the commands on PATH reach.

    Args:
        options: of every job.
        timeout_s: time limit of each command, s.
    """

    kind = "slurm"
    why_unknown = "Slurm forgets what has ended; another cluster may have them"
    task_variable = "SLURM_ARRAY_TASK_ID"
    script_name = "slurm_job.sh"

    def __init__(self, options: JobOptions, timeout_s: float = 60.0) -> None:
        self._options = options
        self._timeout_s = timeout_s
        self._accounting_from = 0.0

    def largest_array(self) -> int:
        """MaxArraySize, which is one more than the largest task number; ours start at 0."""
        return max(1, int(self._config.get("MaxArraySize", "1001")))

    def submit(self, array: JobArray) -> SubmitAnswer:
        """Submit all tasks of an array with one sbatch."""
        answer = self._run(self.submit_command(array))
        if answer.returncode == 0:
            # With several clusters, Slurm prints `5;sandbox`.
            job_id = answer.stdout.strip().split(";")[0]
            if job_id.isdecimal():
                tasks = range(len(array.tokens))
                return SubmitAnswer(Reply.TAKEN, {task: f"{job_id}_{task}" for task in tasks})
        return SubmitAnswer(reply_of(answer), told=words_of(answer))

    def submit_command(self, array: JobArray) -> list[str]:
        """The command that submits an array, with options, which take precedence over a user's SBATCH_ variables."""
        if array.request is None:
            raise ValueError(f"{array.name}: its resource request is unknown")
        return [
            "sbatch",
            "--parsable",
            f"--job-name={array.name}",
            f"--comment={array.name}",
            f"--array=0-{len(array.tokens) - 1}",
            # Logs are relative to this folder, so that a % in its name is not read as part of a pattern.
            f"--chdir={array.folder}",
            "--output=%a.out",
            *self._asked(array.request),
            str(array.script),
        ]

    def script_lines(self, folder: Path, request: ResourceRequest) -> Sequence[str]:
        """See :func:`oact_dagster.schedulers.slurm.directives.script_lines`."""
        return script_lines(self._options, folder, request)

    def _asked(self, request: ResourceRequest) -> list[str]:
        """A job's options for sbatch."""
        return directives(self._options, request).options()

    def examine(self, wanted: Sequence[PlannedJobs]) -> Iterator[Finding]:
        """See :func:`oact_dagster.schedulers.slurm.examination.examine`."""
        options = self._options
        return examine(
            wanted,
            queue=options.queue,
            accounts={"launcher.allocation": options.allocation, "launcher.qos": options.qos},
            asked=self._asked,
            config=lambda: self._config,
            run=self._run,
        )

    def find(self, arrays: Collection[JobArray]) -> Mapping[str, Mapping[int, str]]:
        """Search by job name."""
        found: dict[str, dict[int, str]] = {}
        for some in _chunks([array.name for array in arrays]):
            answer = self._run(["squeue", "-h", "-r", "-t", "all", "-n", ",".join(some), "-o", _FORMAT])
            for row in self._rows(answer):
                if (row.state, row.reason) != _REJECTED and row.name in some and row.task is not None:
                    found.setdefault(row.name, {})[row.task] = row.job_id
        return found

    def active(self, names: Collection[str]) -> Mapping[str, str]:
        """Query without a state, for which squeue lists jobs that wait, run or are completing."""
        found: dict[str, str] = {}
        for some in _chunks(list(names)):
            answer = self._run(["squeue", "-h", "-n", ",".join(some), "-o", _FORMAT])
            found |= {row.name: row.job_id for row in self._rows(answer)}
        return found

    def states(self, names: ArrayNames) -> Mapping[str, JobState]:
        """Query all jobs with squeue and, if there is accounting, the ended and unknown ones with sacct."""
        found: dict[str, JobState] = {}
        names_of_arrays = {job_id.partition("_")[0]: name for job_id, name in names.items()}
        size = 1 if len(names_of_arrays) <= FEW_ARRAYS else _IDS_AT_ONCE
        for some in _chunks(list(names_of_arrays), size):
            answer = self._run(["squeue", "-h", "-r", "-t", "all", "-j", ",".join(some), "-o", _FORMAT])
            for row in self._rows(answer):
                # A cluster that was set up again reuses job numbers; the name shows whose job it is.
                if is_ours(row.name, names_of_arrays.get(row.array, "")):
                    state = job_state(row.state, row.reason)
                    found[row.job_id] = replace(state, costs=JobCosts(node=row.node or None))
        for job_id in names:
            # Tasks that were cancelled before any started share one record, under the array's number.
            together = found.get(job_id.partition("_")[0])
            if job_id not in found and together is not None and together.phase is Phase.ENDED:
                found[job_id] = together
        over = {i: name for i, name in names.items() if i not in found or found[i].phase is Phase.ENDED}
        accounted = self._accounted(over) if over and self._has_accounting() else {}
        for job_id, state in accounted.items():
            found[job_id] = replace(found.get(job_id, state), costs=state.costs)
        return found

    def knows_ended_for_s(self) -> float:
        """``MinJobAge`` of slurm.conf, s; with 0, Slurm never forgets a job."""
        try:
            age = re.match(r"\d+", self._config.get("MinJobAge", ""))
        except NoAnswerError:
            return 0.0
        return (float(age[0]) or math.inf) if age else 0.0

    def cancel(self, names: ArrayNames) -> None:
        """Cancel with one scancel for each array, except jobs that are gone or now have another name."""
        of_array: dict[str, list[str]] = {}
        for job_id, name in names.items():
            of_array.setdefault(name, []).append(job_id)
        for name, job_ids in of_array.items():
            for some in _chunks(task_ranges(job_ids)):
                named = [f"--name={name}"] if name else []
                answer = self._run(["scancel", *named, *some])
                if answer.returncode != 0 and not _NOT_THERE.search(answer.stderr):
                    raise NoAnswerError(words_of(answer))

    def hosts(self) -> Collection[str] | None:
        """The nodes of the partition, whatever the constraint: sbatch refuses a job for which no node is left."""
        queue = [] if self._options.queue is None else ["-p", self._options.queue]
        answer = self._run(["sinfo", "-h", "-N", *queue, "-o", "%N"])
        if answer.returncode != 0:
            raise NoAnswerError(words_of(answer))
        return set(answer.stdout.split())

    def how_to_cancel(self, job_ids: Collection[str], names: Collection[str]) -> str:
        """Cancel by the array's number, because all its tasks are ours."""
        return f"scancel {' '.join(dict.fromkeys(job_id.partition('_')[0] for job_id in job_ids))}"

    def why_pending(self, reason: str) -> str | None:
        """See :func:`oact_dagster.schedulers.slurm.states.why_pending`."""
        return why_pending(reason)

    def _accounted(self, names: ArrayNames) -> dict[str, JobState]:
        """The final states and costs of jobs. If its database is down, sacct fails while all else works."""
        if time.monotonic() < self._accounting_from:
            return {}
        found: dict[str, JobState] = {}
        for some in _chunks(list(names)):
            command = ["sacct", "-n", "-P", "-o", RECORD, "-j", ",".join(some)]
            answer = run_command(command, min(self._timeout_s, ACCOUNTING_S), without=_USERS_DEFAULTS)
            if answer.returncode != 0:
                self._accounting_from = time.monotonic() + ACCOUNTING_PAUSE_S
                break
            found |= read_records(answer.stdout, names)
        return found

    def _has_accounting(self) -> bool:
        try:
            return "slurmdbd" in self._config.get("AccountingStorageType", "")
        except NoAnswerError:
            return False

    @cached_property
    def _config(self) -> dict[str, str]:
        answer = self._run(["scontrol", "show", "config"])
        if answer.returncode != 0:
            raise NoAnswerError(words_of(answer))
        pairs = (line.partition("=") for line in answer.stdout.splitlines() if "=" in line)
        return {key.strip(): value.strip() for key, _, value in pairs}

    def _run(self, command: Sequence[str]) -> Answer:
        return run_command(command, self._timeout_s, without=_USERS_DEFAULTS)

    @staticmethod
    def _rows(answer: Answer) -> "list[_Row]":
        if answer.returncode != 0:
            if answer.returncode is not None and _NOT_THERE.search(answer.stderr):
                return []  # squeue fails in this way if the only requested id is gone
            raise NoAnswerError(words_of(answer))
        rows = []
        for line in answer.stdout.splitlines():
            parts = line.split("|", 5)
            if len(parts) == 6:
                array, task, *others = parts
                number = int(task) if task.isdecimal() else None
                rows.append(_Row(array if number is None else f"{array}_{task}", array, number, *others))
        return rows


@dataclass(frozen=True, slots=True)
class _Row:
    job_id: str
    """The task's, or the array's if several tasks share the record."""
    array: str
    task: int | None
    state: str
    name: str
    node: str
    """Empty while the job waits."""
    reason: str


def task_ranges(job_ids: Collection[str]) -> list[str]:
    """Combine the job ids of an array's tasks: ``12_[0-3,7]``."""
    pairs = sorted(tuple(map(int, job_id.split("_"))) for job_id in job_ids)
    found = []
    for array, members in groupby(pairs, key=lambda pair: pair[0]):
        tasks = [task for _, task in members]
        runs = [list(run) for _, run in groupby(enumerate(tasks), key=lambda one: one[1] - one[0])]
        for some in _chunks(
            [f"{run[0][1]}-{run[-1][1]}" if len(run) > 1 else f"{run[0][1]}" for run in runs], 50
        ):
            found.append(f"{array}_[{','.join(some)}]")
    return found


def _chunks(items: Sequence[str], size: int = _IDS_AT_ONCE) -> list[list[str]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]

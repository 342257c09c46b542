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
"""Longest time limit of a sacct: what it says is worth no long wait, s."""
ACCOUNTING_PAUSE_S: Final = 60.0
"""How long accounting that gave no answer is not asked again, s."""
FEW_ARRAYS: Final = 4
"""So many arrays are asked for one by one. Of several at once squeue reads all jobs of the cluster to find them."""
_FORMAT: Final = "%F|%K|%T|%j|%N|%r"
_USERS_DEFAULTS: Final = ("SQUEUE_", "SACCT_", "SCANCEL_", "SINFO_", "SBATCH_WAIT")
"""A user's filter must hide no job from us, and no question must wait for an answer."""
_NOT_THERE: Final = re.compile(
    r"Invalid job id|already completing or completed|Job/step already", re.IGNORECASE
)
_REJECTED: Final = ("FAILED", "BadConstraints")
"""A submit that was refused may leave a record with this state and reason under its name: it is no job."""


class Slurm:
    """A Slurm cluster, as its commands on PATH reach it.

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
        """MaxArraySize is one more than the largest task number, and ours begin at 0."""
        return max(1, int(self._config.get("MaxArraySize", "1001")))

    def submit(self, array: JobArray) -> SubmitAnswer:
        """Submit all tasks of an array with one sbatch."""
        answer = self._run(self.submit_command(array))
        if answer.returncode == 0:
            # With several clusters: `5;sandbox`.
            job_id = answer.stdout.strip().split(";")[0]
            if job_id.isdecimal():
                tasks = range(len(array.tokens))
                return SubmitAnswer(Reply.TAKEN, {task: f"{job_id}_{task}" for task in tasks})
        return SubmitAnswer(reply_of(answer), told=words_of(answer))

    def submit_command(self, array: JobArray) -> list[str]:
        """The command that submits an array: as options, which outrank a user's SBATCH_ variables."""
        if array.request is None:
            raise ValueError(f"{array.name}: what its jobs ask for is not known")
        return [
            "sbatch",
            "--parsable",
            f"--job-name={array.name}",
            f"--comment={array.name}",
            f"--array=0-{len(array.tokens) - 1}",
            # Logs are relative to it: its own name is then no pattern in which % means something.
            f"--chdir={array.folder}",
            "--output=%a.out",
            *self._asked(array.request),
            str(array.script),
        ]

    def script_lines(self, folder: Path, request: ResourceRequest) -> Sequence[str]:
        """See :func:`oact_dagster.schedulers.slurm.directives.script_lines`."""
        return script_lines(self._options, folder, request)

    def _asked(self, request: ResourceRequest) -> list[str]:
        """What a job asks for, as options of sbatch."""
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
        """Look jobs up by name."""
        found: dict[str, dict[int, str]] = {}
        for some in _chunks([array.name for array in arrays]):
            answer = self._run(["squeue", "-h", "-r", "-t", "all", "-n", ",".join(some), "-o", _FORMAT])
            for row in self._rows(answer):
                if (row.state, row.reason) != _REJECTED and row.name in some and row.task is not None:
                    found.setdefault(row.name, {})[row.task] = row.job_id
        return found

    def active(self, names: Collection[str]) -> Mapping[str, str]:
        """Without a state squeue tells of jobs that wait, run, or are at their end."""
        found: dict[str, str] = {}
        for some in _chunks(list(names)):
            answer = self._run(["squeue", "-h", "-n", ",".join(some), "-o", _FORMAT])
            found |= {row.name: row.job_id for row in self._rows(answer)}
        return found

    def states(self, names: ArrayNames) -> Mapping[str, JobState]:
        """One squeue for all; where there is accounting, one sacct for those that have ended or are not known."""
        found: dict[str, JobState] = {}
        names_of_arrays = {job_id.partition("_")[0]: name for job_id, name in names.items()}
        size = 1 if len(names_of_arrays) <= FEW_ARRAYS else _IDS_AT_ONCE
        for some in _chunks(list(names_of_arrays), size):
            answer = self._run(["squeue", "-h", "-r", "-t", "all", "-j", ",".join(some), "-o", _FORMAT])
            for row in self._rows(answer):
                # Numbers are used again when a cluster is set up anew: the name shows whose job it is.
                if is_ours(row.name, names_of_arrays.get(row.array, "")):
                    state = job_state(row.state, row.reason)
                    found[row.job_id] = replace(state, costs=JobCosts(node=row.node or None))
        for job_id in names:
            # Tasks that were cancelled before any of them began have one record together, under the array's number.
            together = found.get(job_id.partition("_")[0])
            if job_id not in found and together is not None and together.phase is Phase.ENDED:
                found[job_id] = together
        over = [i for i in names if i not in found or found[i].phase is Phase.ENDED]
        accounted = self._accounted({i: names[i] for i in over}) if over and self._has_accounting() else {}
        for job_id, state in accounted.items():
            found[job_id] = replace(found.get(job_id, state), costs=state.costs)
        return found

    def knows_ended_for_s(self) -> float:
        """``MinJobAge`` (slurm.conf), s; with 0 it forgets none."""
        try:
            age = re.match(r"\d+", self._config.get("MinJobAge", ""))
        except NoAnswerError:
            return 0.0
        return (float(age[0]) or math.inf) if age else 0.0

    def cancel(self, names: ArrayNames) -> None:
        """One scancel for each array; jobs that are gone, or bear another name by now, are passed over."""
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
        """The nodes of the partition. A constraint is not looked at: sbatch refuses what it leaves no node for."""
        queue = [] if self._options.queue is None else ["-p", self._options.queue]
        answer = self._run(["sinfo", "-h", "-N", *queue, "-o", "%N"])
        if answer.returncode != 0:
            raise NoAnswerError(words_of(answer))
        return set(answer.stdout.split())

    def how_to_cancel(self, job_ids: Collection[str], names: Collection[str]) -> str:
        """An array's tasks are all ours: its number names them."""
        return f"scancel {' '.join(dict.fromkeys(job_id.partition('_')[0] for job_id in job_ids))}"

    def why_pending(self, reason: str) -> str | None:
        """See :func:`oact_dagster.schedulers.slurm.states.why_pending`."""
        return why_pending(reason)

    def _accounted(self, names: ArrayNames) -> dict[str, JobState]:
        """How jobs ended and what they took. Without its database sacct fails while all else works."""
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
                return []  # squeue's word when the only id that it was asked for is gone
            raise NoAnswerError(words_of(answer))
        rows = []
        for line in answer.stdout.splitlines():
            parts = line.split("|", 5)
            if len(parts) == 6:
                array, task, state, name, node, reason = parts
                if task.isdecimal():
                    rows.append(_Row(f"{array}_{task}", array, int(task), state, name, node, reason))
                else:
                    rows.append(_Row(array, array, None, state, name, node, reason))
        return rows


@dataclass(frozen=True, slots=True)
class _Row:
    job_id: str
    """Of a task; of the array where the record is of several tasks together."""
    array: str
    task: int | None
    state: str
    name: str
    node: str
    """Empty while it waits."""
    reason: str


def task_ranges(job_ids: Collection[str]) -> list[str]:
    """Job ids with their tasks drawn together: ``12_[0-3,7]``."""
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

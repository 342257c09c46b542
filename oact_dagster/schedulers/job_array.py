"""The folder of an array of jobs, submitted in one call: which task runs which attempt.

The folder is written before the submit, and the names of the jobs contain its name. So each job in the queue can be
traced to its attempt, even if the submitting process dies or the answer is lost.
"""

import contextlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from oact_dagster.files import atomic_write
from oact_dagster.schedulers.job_script import (
    PAYLOAD,
    JobEnvironment,
    quoted,
    require_one_line,
    script_text,
    whole_minutes,
    write_script,
)
from oact_dagster.schedulers.jobs import Job

ARRAYS_FOLDER: Final = ".batches"
"""The folder of all arrays, beside the job folders."""
NAME_PREFIX: Final = "oact-"
_TASKS: Final = "tasks.tsv"
_IDS: Final = "job_ids.json"
_SCRIPT: Final = "job.sh"
_LOG_LINES: Final = 10
_SAYS_NOTHING: Final = re.compile(r"flux-shell\[\d+\]: +WARN: ")
"""Warnings that Flux writes even into the log of a healthy job."""
LOG_BYTES: Final = 8192


@dataclass(frozen=True, slots=True)
class ResourceRequest:
    """The resources that a job asks for."""

    n_cores: int
    minutes: int
    memory_mb: int | None
    avoid: tuple[str, ...] = ()
    """Hosts that the job must not run on."""

    @classmethod
    def of(cls, job: Job) -> Self:
        """The request of a job, with its time limit in whole minutes."""
        return cls(job.n_cores, whole_minutes(job.time_limit_s), job.memory_mb, job.avoid)


@dataclass(frozen=True, slots=True)
class JobArray:
    """Jobs with one resource request, submitted in one call."""

    folder: Path
    tokens: Sequence[str]
    """Of each task, from 0."""
    folders: Sequence[Path]
    """The job folder of each task."""
    request: ResourceRequest | None = None
    """None for an array that was read back from disk."""

    @property
    def name(self) -> str:
        """The job name, unique in the queue."""
        return self.folder.name

    @property
    def script(self) -> Path:
        """The script that each task runs."""
        return self.folder / _SCRIPT

    @classmethod
    def write(
        cls,
        parent: Path,
        jobs: Sequence[Job],
        environment: JobEnvironment,
        task_variable: str,
        command: Sequence[str] = PAYLOAD,
    ) -> Self:
        """Write the folder of an array that is about to be submitted.

        Args:
            parent: the folder of all arrays.
            jobs: all with the same resource request.
            environment: what each task sets up.
            task_variable: environment variable in which the scheduler gives a task its number, from 0.
            command: what each task runs in its job folder, with the option ``--token``.

        Raises:
            ValueError: a path has more than one line.
            OSError: the folder cannot be written.
        """
        folder = parent / f"{NAME_PREFIX}{secrets.token_hex(8)}"
        array = cls(
            folder, [job.token for job in jobs], [job.folder for job in jobs], ResourceRequest.of(jobs[0])
        )
        folder.mkdir(parents=True)
        try:
            array._fill(environment, task_variable, command)
        except BaseException:
            array.remove()
            raise
        return array

    def _fill(self, environment: JobEnvironment, task_variable: str, command: Sequence[str]) -> None:
        folder = self.folder
        rows = [
            f"{token}\t{require_one_line(str(job_folder))}\n"
            for token, job_folder in zip(self.tokens, self.folders, strict=True)
        ]
        (folder / _TASKS).write_text("".join(rows), encoding="utf-8", errors="surrogateescape")
        body = [
            # This file shows that the task began, even if the user's options send the log elsewhere.
            f'true >>{quoted(folder)}/"${task_variable}.out"',
            # The task's number gives its attempt. The payload then checks that the folder still belongs to it.
            f'line=$(sed -n "$(({task_variable} + 1))p" -- {quoted(folder / _TASKS)})',
            "token=${line%%$'\\t'*}",
            "folder=${line#*$'\\t'}",
            'if [ -z "$token" ] || ! cd -- "$folder"; then',
            f'    echo "task ${task_variable}: no folder for it" >&2; exit 4',
            "fi",
            *environment.lines(),
            f'exec {" ".join(map(quoted, command))} --token "$token"',
        ]
        write_script(self.script, script_text([], body))

    def keep_ids(self, job_ids: Mapping[int, str]) -> None:
        """Save the scheduler's answer, the job id of each task.

        Raises:
            OSError: the file cannot be written.
        """
        atomic_write(self.folder / _IDS, json.dumps(job_ids))

    def kept_ids(self) -> dict[int, str]:
        """The saved job id of each task; empty if no answer was saved."""
        try:
            kept = json.loads((self.folder / _IDS).read_bytes())
            return {int(task): str(job_id) for task, job_id in kept.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    @property
    def written_at(self) -> float:
        """When the folder was written, Unix time, s; minus infinity if the folder is gone."""
        try:
            return (self.folder / _TASKS).stat().st_mtime
        except OSError:
            return -math.inf

    def log(self, task: int) -> Path:
        """The log of a task, with the output of scheduler and script."""
        return self.folder / f"{task}.out"

    def began(self, task: int) -> bool:
        """Whether the script of a task ever started on a node, where it first creates its log."""
        return self.log(task).exists()

    def last_lines(self, task: int) -> str:
        """The last lines of a task's log."""
        try:
            with self.log(task).open("rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                stream.seek(max(0, size - LOG_BYTES))
                lines = stream.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return "\n".join([line for line in lines if not _SAYS_NOTHING.match(line)][-_LOG_LINES:])

    def remove_empty_log(self, task: int) -> None:
        """Remove an empty log, once other files show that the task began."""
        with contextlib.suppress(OSError):
            if not self.log(task).stat().st_size:
                self.log(task).unlink()

    def remove(self) -> None:
        """Remove the folder, if the scheduler has not taken the array."""
        shutil.rmtree(self.folder, ignore_errors=True)


def split(jobs: Sequence[Job], at_most: int) -> Iterator[Sequence[Job]]:
    """Group jobs by resource request, in order, into groups of limited size."""
    groups: dict[ResourceRequest, list[Job]] = {}
    for job in jobs:
        groups.setdefault(ResourceRequest.of(job), []).append(job)
    for group in groups.values():
        for start in range(0, len(group), at_most):
            yield group[start : start + at_most]


def find_arrays(parent: Path, tokens: Collection[str]) -> dict[str, tuple[JobArray, int]]:
    """Find the array and task of each token; the newest array if there are several."""
    wanted = set(tokens)
    found: dict[str, tuple[JobArray, int]] = {}
    folders = parent.glob(f"{NAME_PREFIX}*")
    for folder in sorted(folders, key=lambda folder: JobArray(folder, (), ()).written_at, reverse=True):
        if not wanted:
            break
        try:
            rows = (folder / _TASKS).read_text(encoding="utf-8", errors="surrogateescape").split("\n")
        except OSError:
            continue
        parts = [row.partition("\t") for row in rows]
        array = JobArray(folder, [token for token, _, _ in parts], [Path(where) for _, _, where in parts])
        for task, token in enumerate(array.tokens):
            if token in wanted:
                found[token] = (array, task)
                wanted.discard(token)
    return found

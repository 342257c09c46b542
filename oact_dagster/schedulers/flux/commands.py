"""Flux's commands: submit, jobs, cancel. Each has a time limit, because a frozen broker hangs its clients for ever.

Flux keeps a user's history until the site purges it, so it may be long. Nothing here lists jobs that ended before ours
were submitted: states are queried by id, and searches by name go back only to the submit.
"""

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from oact_dagster.errors import NoAnswerError
from oact_dagster.schedulers.command import Answer, run_command
from oact_dagster.schedulers.flux.directives import directives, script_lines
from oact_dagster.schedulers.flux.examination import examine
from oact_dagster.schedulers.flux.nodes import eligible_nodes
from oact_dagster.schedulers.flux.states import HELD, job_state, read_jobs
from oact_dagster.schedulers.job_array import JobArray, ResourceRequest
from oact_dagster.schedulers.jobs import JobState, Phase
from oact_dagster.schedulers.protocol import (
    ArrayNames,
    Finding,
    JobOptions,
    PlannedJobs,
    Reply,
    SubmitAnswer,
    is_ours,
)

LARGEST_BULK: Final = 500
"""Jobs in one submit, which takes about 10 ms for each."""
_IDS_AT_ONCE: Final = 500
CLOCKS_DIFFER_S: Final = 600.0
"""Allowed difference between the clocks of the broker and of the file system, s."""
_ASCII_IDS: Final = {"FLUX_F58_FORCE_ASCII": "1"}
_FULL: Final = re.compile(r"max\w*[ _-](?:active|running|submitted)?[ _-]*jobs", re.IGNORECASE)
_ENDED: Final = re.compile(r"is inactive|unknown|No such", re.IGNORECASE)
_UNKNOWN_ID: Final = re.compile(r"JobID \S+ unknown")
_UNKNOWN_HOST: Final = re.compile(r"host '([^']+)' not found")


class Flux:
    """The Flux instance that ``flux`` on PATH reaches.

    Args:
        options: of every job.
        timeout_s: time limit of each command, s.
    """

    kind = "flux"
    why_unknown = "another instance may have them; FLUX_URI says which one is asked"
    task_variable = "FLUX_JOB_CC"
    script_name = "flux_job.flux"

    def __init__(self, options: JobOptions, timeout_s: float = 60.0) -> None:
        self._options = options
        self._timeout_s = timeout_s

    def largest_array(self) -> int:
        """Flux takes any number in one submit; this one takes a reasonable time."""
        return LARGEST_BULK

    def submit(self, array: JobArray) -> SubmitAnswer:
        """Submit all tasks of an array in one call.

        Flux prints the ids in no fixed order; the names of the jobs tell which is which.
        """
        answer = self._run(self.submit_command(array), array.folder)
        printed = answer.stdout.split()
        if answer.returncode is None or answer.returncode < 0:
            return SubmitAnswer(Reply.UNCLEAR, told=answer.told)
        if printed:
            try:
                found = _tasks([array], self._jobs_by_id(printed)).get(array.name, {})
            except NoAnswerError as error:
                return SubmitAnswer(Reply.UNCLEAR, told=str(error))
            # Flux may take a moment to list a new job.
            if len(found) < len(printed):
                message = f"only {len(found)} of {len(printed)} jobs are listed so far"
                return SubmitAnswer(Reply.UNCLEAR, told=message)
            return SubmitAnswer(Reply.TAKEN, found, _words(answer))
        reply = Reply.FULL if _FULL.search(answer.stderr) else Reply.REFUSED
        return SubmitAnswer(
            reply, told=_words(answer), unknown_hosts=set(_UNKNOWN_HOST.findall(answer.stderr))
        )

    def submit_command(self, array: JobArray) -> list[str]:
        """The command that submits an array. Run it in the array's folder: Flux gives braces in a path a meaning."""
        if array.request is None:
            raise ValueError(f"{array.name}: its resource request is unknown")
        last = len(array.tokens) - 1
        return [
            "flux",
            "submit",
            # A range of one number is refused: "IDset(): Invalid argument: 0-0".
            f"--cc=0-{last}" if last else "--cc=0",
            f"--job-name={array.name}-{{cc}}",
            "--output={cc}.out",
            *self._asked(array.request),
            "bash",
            array.script.name,
        ]

    def script_lines(self, folder: Path, request: ResourceRequest) -> Sequence[str]:
        """See :func:`oact_dagster.schedulers.flux.directives.script_lines`."""
        return script_lines(self._options, folder, request)

    def _asked(self, request: ResourceRequest) -> list[str]:
        """A job's options for ``flux submit``."""
        return directives(self._options, request).options()

    def find(self, arrays: Collection[JobArray]) -> Mapping[str, Mapping[int, str]]:
        """Search by name among the jobs that are active or ended after the first array was written."""
        written = min((array.written_at for array in arrays), default=0.0)
        since = 0 if math.isinf(written) else max(0, int(written - CLOCKS_DIFFER_S))
        answer = self._run(["flux", "jobs", "-c0", "--json", f"--since={since}"])
        if answer.returncode != 0:
            raise NoAnswerError(_words(answer))
        return _tasks(arrays, _read(answer))

    def active(self, names: Collection[str]) -> Mapping[str, str]:
        """Search among all jobs that have not ended."""
        answer = self._run(["flux", "jobs", "-c0", "--json"])
        if answer.returncode != 0:
            raise NoAnswerError(_words(answer))
        found = {str(job.get("name")): job_id for job_id, job in _read(answer).items()}
        return {name: found[name] for name in names if name in found}

    def states(self, names: ArrayNames) -> Mapping[str, JobState]:
        """Query only these jobs, so that the user's other and earlier jobs cost nothing."""
        return {
            job_id: job_state(job)
            for job_id, job in self._jobs_by_id(list(names)).items()
            if job_id in names and is_ours(_array_and_task(job)[0], names[job_id])
        }

    def knows_ended_for_s(self) -> float:
        """Flux also lists jobs that were cancelled while waiting, so an unknown job proves nothing."""
        return 0.0

    def cancel(self, names: ArrayNames) -> None:
        """Cancel jobs, except those that have ended or now belong to somebody else."""
        wanted = [job_id for job_id, state in self.states(names).items() if state.phase is not Phase.ENDED]
        for some in _chunks(wanted):
            answer = self._run(["flux", "cancel", *some])
            complaints = [line for line in answer.stderr.splitlines() if line.strip()]
            if answer.returncode != 0 and not (complaints and all(map(_ENDED.search, complaints))):
                raise NoAnswerError(_words(answer))

    def how_to_cancel(self, job_ids: Collection[str], names: Collection[str]) -> str:
        """Cancel by name, because every job has its own id."""
        return "; ".join(f"flux pkill {name}-" for name in names) or f"flux cancel {' '.join(job_ids)}"

    def hosts(self) -> Collection[str] | None:
        """The nodes of the queue that meet ``launcher.constraint``."""
        nodes = eligible_nodes(self._asked(ResourceRequest(1, 1, None)), self._run, _words)
        return None if nodes is None else [node.host for node in nodes]

    def examine(self, wanted: Sequence[PlannedJobs]) -> Iterator[Finding]:
        """See :func:`oact_dagster.schedulers.flux.examination.examine`."""
        return examine(wanted, bank=self._options.allocation, asked=self._asked, run=self._run, words=_words)

    def why_pending(self, reason: str) -> str | None:
        """Flux refuses jobs that can never start, so only held jobs wait for the user."""
        return "they are held: `flux job urgency ID 16` releases one" if reason == HELD else None

    def _jobs_by_id(self, job_ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Flux's records of jobs, by id; unknown jobs are left out."""
        found: dict[str, Mapping[str, Any]] = {}
        for some in _chunks(job_ids):
            answer = self._run(["flux", "jobs", "--json", *some])
            if answer.returncode != 0:
                complaints = [line.strip() for line in answer.stderr.splitlines() if line.strip()]
                # Flux knows none of them. If it knows one, it prints that one and ends with exit code 0.
                if answer.returncode is None or not all(map(_UNKNOWN_ID.fullmatch, complaints or [""])):
                    raise NoAnswerError(_words(answer))
                continue
            found |= _read(answer)
        return found

    def _run(self, command: Sequence[str], folder: Path | None = None) -> Answer:
        return run_command(command, self._timeout_s, folder=folder, environment=_ASCII_IDS)


def _array_and_task(job: Mapping[str, Any]) -> tuple[str, str]:
    """The name of a job's array and the number of its task; without a dash in the job's name, the array is empty."""
    array, _, task = str(job.get("name", "")).rpartition("-")
    return array, task


def _tasks(arrays: Collection[JobArray], jobs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[int, str]]:
    """The job ids of each task, by the name of its array."""
    wanted = {array.name for array in arrays}
    found: dict[str, dict[int, str]] = {}
    for job_id, job in jobs.items():
        name, task = _array_and_task(job)
        if name in wanted and task.isdecimal():
            found.setdefault(name, {})[int(task)] = job_id
    return found


def _read(answer: Answer) -> dict[str, Mapping[str, Any]]:
    try:
        return read_jobs(answer.stdout)
    except (ValueError, KeyError, TypeError) as error:
        raise NoAnswerError(f"flux jobs: cannot be read: {error}") from None


def _chunks(items: Sequence[str]) -> Iterator[Sequence[str]]:
    return (items[start : start + _IDS_AT_ONCE] for start in range(0, len(items), _IDS_AT_ONCE))


def _words(answer: Answer) -> str:
    """Flux's own words on one line; in a bulk, most jobs get the same ones."""
    lines = [
        re.sub(r"^(?:cc=\d+: |flux-\w+: ERROR: |flux \w+: error: )+", "", line.strip())
        for line in answer.stderr.splitlines()
    ]
    found = list(dict.fromkeys(line for line in lines if line and not line.startswith("usage: ")))
    told = "; ".join(found[:3]) or answer.told
    uri = os.environ.get("FLUX_URI")
    return f"{told}; FLUX_URI is {uri}" if uri and "Unable to connect" in told else told

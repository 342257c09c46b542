"""Flux's commands: submit, jobs, cancel. Each is given a time limit: a frozen broker hangs its clients for ever."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from oact_dagster.launchers.flux.examination import examine
from oact_dagster.launchers.flux.states import HELD, job_state, read_jobs
from oact_dagster.launchers.job_array import JobArray
from oact_dagster.launchers.protocol import JobState
from oact_dagster.launchers.scheduler import Finding, Reply, SubmitAnswer, Wanted
from oact_dagster.launchers.scheduler_command import Answer, NoAnswerError, run_command

LARGEST_BULK: Final = 500
"""Jobs in one call, which takes some 10 ms for each of them."""
IDS_AT_ONCE: Final = 500
_ASCII_IDS: Final = {"FLUX_F58_FORCE_ASCII": "1"}
_FULL: Final = re.compile(r"max\w*[ _-](?:active|running|submitted)?[ _-]*jobs", re.IGNORECASE)
_ENDED: Final = re.compile(r"is inactive|unknown|No such", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FluxOptions:
    """What every job asks for besides cores and time."""

    queue: str | None = None
    allocation: str | None = None
    constraint: str | None = None
    extra: Sequence[str] = ()


class Flux:
    """A Flux instance, as ``flux`` on PATH reaches it.

    Args:
        options: of every job.
        timeout_s: time limit of each command, s.
    """

    kind = "flux"
    task_variable = "FLUX_JOB_CC"

    def __init__(self, options: FluxOptions, timeout_s: float = 60.0) -> None:
        self._options = options
        self._timeout_s = timeout_s

    def largest_array(self) -> int:
        """How many jobs one call may submit in its time limit."""
        return LARGEST_BULK

    def submit(self, array: JobArray) -> SubmitAnswer:
        """Submit all tasks in one call. Their ids are printed in no certain order: the names tell which is which."""
        answer = self._run(self.submit_command(array), array.folder)
        printed = len(answer.stdout.split())
        if answer.returncode is None or answer.returncode < 0:
            return SubmitAnswer(Reply.UNCLEAR, told=answer.told)
        if printed:
            try:
                found = self.find([array.name]).get(array.name, {})
            except NoAnswerError as error:
                return SubmitAnswer(Reply.UNCLEAR, told=str(error))
            # Flux lists a job a moment after it has taken it.
            if len(found) < printed:
                return SubmitAnswer(Reply.UNCLEAR, told=f"{len(found)} of {printed} jobs are listed yet")
            return SubmitAnswer(Reply.TAKEN, found, _words(answer))
        reply = Reply.FULL if _FULL.search(answer.stderr) else Reply.REFUSED
        return SubmitAnswer(reply, told=_words(answer))

    def submit_command(self, array: JobArray) -> list[str]:
        """The command that submits an array, to be run in its folder: Flux would read braces in a path."""
        request, options = array.request, self._options
        if request is None:
            raise ValueError(f"{array.name}: what its jobs ask for is not known")
        named = {
            "queue": options.queue,
            "bank": options.allocation,
            "requires": requires(options.constraint, request.avoid),
        }
        return [
            "flux",
            "submit",
            f"--cc=0-{len(array.tokens) - 1}",
            f"--job-name={array.name}-{{cc}}",
            "-n1",
            f"-c{request.n_cores}",
            f"-t{request.minutes}m",
            "--output={cc}.out",
            *(f"--{name}={value}" for name, value in named.items() if value is not None),
            *options.extra,
            "bash",
            array.script.name,
        ]

    def find(self, names: Collection[str]) -> Mapping[str, Mapping[int, str]]:
        """Look jobs up by name."""
        found: dict[str, dict[int, str]] = {}
        for job_id, job in self._jobs().items():
            name, _, task = str(job.get("name", "")).rpartition("-")
            if name in names and task.isdecimal():
                found.setdefault(name, {})[int(task)] = job_id
        return found

    def states(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
        """One look at all jobs."""
        jobs = self._jobs()
        return {job_id: job_state(jobs[job_id]) for job_id in job_ids if job_id in jobs}

    def knows_ended_for_s(self) -> float:
        """Flux names what was cancelled while it waited, too: nothing has to be concluded."""
        return 0.0

    def cancel(self, job_ids: Collection[str]) -> None:
        """One cancel for all; those that have ended are passed over."""
        wanted = list(job_ids)
        for start in range(0, len(wanted), IDS_AT_ONCE):
            answer = self._run(["flux", "cancel", *wanted[start : start + IDS_AT_ONCE]])
            complaints = [line for line in answer.stderr.splitlines() if line.strip()]
            if answer.returncode != 0 and not (complaints and all(map(_ENDED.search, complaints))):
                raise NoAnswerError(_words(answer))

    def how_to_cancel(self, job_ids: Collection[str], names: Collection[str]) -> str:
        """By name: every job has an id of its own."""
        return "; ".join(f"flux pkill {name}-" for name in names) or f"flux cancel {' '.join(job_ids)}"

    def examine(self, wanted: Sequence[Wanted]) -> Iterator[Finding]:
        """See :func:`oact_dagster.launchers.flux.examination.examine`."""
        options = self._options
        return examine(wanted, queue=options.queue, bank=options.allocation, run=self._run, words=_words)

    def why_pending(self, reason: str) -> str | None:
        """Flux refuses what can never start; what is held waits for a hand."""
        return "they are held: `flux job urgency ID 16` lets one go" if reason == HELD else None

    def _jobs(self) -> dict[str, Mapping[str, Any]]:
        answer = self._run(["flux", "jobs", "-a", "-c0", "--json"])
        if answer.returncode != 0:
            raise NoAnswerError(_words(answer))
        try:
            return read_jobs(answer.stdout)
        except (ValueError, KeyError, TypeError) as error:
            raise NoAnswerError(f"flux jobs: cannot be read: {error}") from None

    def _run(self, command: Sequence[str], folder: Path | None = None) -> Answer:
        return run_command(command, self._timeout_s, folder=folder, environment=_ASCII_IDS)


def requires(constraint: str | None, avoid: Sequence[str]) -> str | None:
    """What ``--requires`` is given: terms with spaces between them must all hold, and ``-host:NAME`` excludes a host.

    From flux-submit(1), section CONSTRAINTS, and RFC 35 (constraint query syntax).

    Args:
        constraint: the user's, perhaps with operators of its own.
        avoid: hosts.
    """
    if not avoid:
        return constraint
    return " ".join([*([f"({constraint})"] if constraint else []), *(f"-host:{host}" for host in avoid)])


def _words(answer: Answer) -> str:
    """Flux's own words, in one line; in a bulk most jobs meet with the same."""
    lines = [
        re.sub(r"^(?:cc=\d+: |flux-\w+: ERROR: )+", "", line.strip()) for line in answer.stderr.splitlines()
    ]
    found = list(dict.fromkeys(line for line in lines if line))
    return "; ".join(found[:3]) or answer.told

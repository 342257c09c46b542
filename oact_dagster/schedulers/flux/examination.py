"""Ask Flux, before anything is submitted, whether it would accept a campaign's jobs and could ever start them.

The sources are its queues with their limits (flux-queue(1)), its nodes, and a dry run of the submit, which shows
whether options such as a constraint are readable. No command says whether a bank is accepted.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from oact_dagster.errors import NoAnswerError
from oact_dagster.schedulers.flux.nodes import (
    Jobspec,
    Node,
    NotToldError,
    Run,
    Words,
    dry_run,
    matching,
    nodes_of_queue,
    read_jobspec,
    read_nodes,
)
from oact_dagster.schedulers.job_array import ResourceRequest
from oact_dagster.schedulers.protocol import Finding, PlannedJobs
from oact_dagster.text import pluralise

_FIELDS: Final = (
    "queuem",
    "submission",
    "scheduling",
    "limits.timelimit",
    "limits.max.ncores",
    "limits.max.nnodes",
)
_FORMAT: Final = "|".join(f"{{{name}}}" for name in _FIELDS)
_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?(?:e[+-]?\d+)?)([smhd]?)", re.IGNORECASE)
_SECONDS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class _Queue:
    name: str
    """Empty in an instance without queues."""
    is_default: bool
    submission: str
    scheduling: str
    limit_s: float | None
    """Time limit of one job; None if Flux's answer is not understood."""
    max_cores: float
    """Of one job."""
    max_nodes: float

    @property
    def called(self) -> str:
        return f"queue {self.name}" if self.name else "the queue"


def examine(
    wanted: Sequence[PlannedJobs],
    *,
    bank: str | None,
    asked: Callable[[ResourceRequest], Sequence[str]],
    run: Run,
    words: Words,
) -> Iterator[Finding]:
    """Ask whether jobs would be accepted, and whether any node could run them.

    Args:
        wanted: the jobs.
        bank: the jobs' bank; None for the default one.
        asked: gives the options of ``flux submit`` for a request.
        run: runs a command.
        words: gives the error message of an answer, on one line.

    Yields:
        Problems, and checks that could not be made.

    Raises:
        NoAnswerError: Flux does not answer.
    """
    answer = run(["flux", "queue", "list", "-n", "-o", _FORMAT])
    if answer.returncode is None or "Unable to connect" in answer.stderr:
        raise NoAnswerError(words(answer))
    queues = _read_queues(answer.stdout)
    if answer.returncode != 0 or not queues:
        yield Finding(f"flux queue list: {words(answer)}: could not ask whether it would take the jobs")
    told: set[Finding] = set()
    for one in wanted:
        # Most findings are the same for all sizes of job; each is reported once.
        for finding in _of_job(one, queues, asked, run, words):
            if finding not in told:
                told.add(finding)
                yield finding
    if bank is not None:
        yield Finding(f"could not ask whether Flux accepts bank {bank}: only a submit will show it")


def _of_job(
    one: PlannedJobs,
    queues: Sequence[_Queue],
    asked: Callable[[ResourceRequest], Sequence[str]],
    run: Run,
    words: Words,
) -> Iterator[Finding]:
    answer = dry_run(asked(one.request), run)
    if answer.returncode != 0:
        yield Finding(f"flux submit would refuse the options of the jobs: {words(answer)}", blocks=True)
        return
    queue: _Queue | None = None
    try:
        spec = read_jobspec(answer.stdout)
        if queues:
            queue = _queue_of(spec, queues)
            if queue is None:
                yield _no_such_queue(spec, queues)
                return
            yield from _of_queue(one, queue)
        name = queue.name if queue is not None else spec.queue
        nodes = nodes_of_queue(read_nodes(run, words), name or None, run, words)
        yield from _of_nodes(one, queue, nodes, matching(nodes, spec.constraint, run, words))
    except NotToldError as error:
        yield Finding(f"could not ask whether a node can run the jobs ({error}): only a submit will show it")


def _read_queues(text: str) -> list[_Queue]:
    rows = [[part.strip() for part in line.split("|")] for line in text.splitlines()]
    found = []
    for row in rows:
        if len(row) == len(_FIELDS):
            name, submission, scheduling, limit, cores, nodes = row
            default = name.endswith("*") or not name
            limits = (_seconds(limit), _number(cores), _number(nodes))
            found.append(_Queue(name.removesuffix("*"), default, submission, scheduling, *limits))
    return found


def _queue_of(spec: Jobspec, queues: Sequence[_Queue]) -> _Queue | None:
    if spec.queue is not None:
        return next((one for one in queues if one.name == spec.queue), None)
    return next((one for one in queues if one.is_default), None)


def _no_such_queue(spec: Jobspec, queues: Sequence[_Queue]) -> Finding:
    there = ", ".join(one.name for one in queues if one.name)
    if spec.queue is None:
        text = f"launcher.queue is not set, and Flux has no default queue; it has {there}"
        return Finding(text, blocks=True)
    there = there or "one without a name: leave launcher.queue out"
    return Finding(f"launcher.queue: {spec.queue}: Flux has no such queue; it has {there}", blocks=True)


def _of_queue(one: PlannedJobs, queue: _Queue) -> Iterator[Finding]:
    request = one.request
    if queue.submission == "disabled":
        yield Finding(f"{queue.called} takes no jobs now (its submission is disabled)", blocks=True)
    if queue.scheduling.startswith("stopped"):
        yield Finding(
            f"{queue.called} starts no jobs now (its scheduling is {queue.scheduling}): they wait until it does"
        )
    if queue.limit_s is not None and request.minutes * 60.0 > queue.limit_s:
        yield Finding(
            f"launcher.n_hours: the jobs of {one.whose} ask for {request.minutes} minutes, but {queue.called} allows"
            f" {queue.limit_s / 60.0:g}: Flux would refuse them",
            blocks=True,
        )
    elif queue.limit_s is not None and (one.longest_minutes or 0) * 60.0 > queue.limit_s:
        yield Finding(
            f"launcher.max_job_timeout_s: a retry after a timeout may ask for {one.longest_minutes} minutes, but"
            f" {queue.called} allows {queue.limit_s / 60.0:g}: Flux would refuse it"
        )
    if request.n_cores > queue.max_cores:
        yield Finding(
            f"the jobs of {one.whose} ask for {pluralise(request.n_cores, 'core')}, but {queue.called} allows"
            f" {queue.max_cores:g}: Flux would refuse them",
            blocks=True,
        )
    if queue.max_nodes < 1:
        text = f"{queue.called} allows jobs of {queue.max_nodes:g} nodes: Flux would refuse them"
        yield Finding(text, blocks=True)


def _of_nodes(
    one: PlannedJobs, queue: _Queue | None, nodes: Sequence[Node], met: Sequence[Node]
) -> Iterator[Finding]:
    where = "Flux" if queue is None or not queue.name else queue.called
    if not nodes:
        yield Finding(f"{where} has no nodes: the jobs would never start", blocks=True)
    elif not met:
        properties = ", ".join(sorted(set().union(*(node.properties for node in nodes)))) or "none"
        yield Finding(
            f"launcher.constraint: no node of {where} meets it, and the jobs would never start; the properties of its"
            f" nodes: {properties}",
            blocks=True,
        )
    elif not any(node.n_cores >= one.request.n_cores for node in met):
        largest = max(node.n_cores for node in met)
        yield Finding(
            f"the jobs of {one.whose} ask for {pluralise(one.request.n_cores, 'core')} of one node, but {where} has at"
            f" most {largest}: they would never start",
            blocks=True,
        )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.inf


def _seconds(limit: str) -> float | None:
    """A Flux duration (RFC 23) in s; None for zero, which means no limit, and for other texts."""
    if limit.lower() in ("inf", "infinity"):
        return math.inf
    found = _DURATION.fullmatch(limit)
    seconds = None if found is None else float(found[1]) * _SECONDS[found[2].lower()]
    return seconds or None

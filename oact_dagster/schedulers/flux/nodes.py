"""The nodes of a Flux instance, and which of them could run a job.

``flux resource R`` prints the instance's resource set (RFC 20). ``flux submit --dry-run`` prints the jobspec of a
submit, with its constraint as a tree (RFC 31), and submits nothing.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from oact_dagster.errors import NoAnswerError, OactError
from oact_dagster.schedulers.command import Answer

Run = Callable[[Sequence[str]], Answer]
Words = Callable[[Answer], str]
"""Gives the error message of an answer, on one line."""
_QUEUES: Final = ["flux", "resource", "list", "-s", "all", "-n", "-o", "{queue}|{nodelist}"]


class NotToldError(OactError):
    """Flux does not give this information, or not in a known format."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of an instance."""

    rank: int
    host: str
    """As Flux names it."""
    n_cores: int
    properties: frozenset[str]


@dataclass(frozen=True, slots=True)
class Jobspec:
    """The queue and the constraint of a job."""

    queue: str | None
    """None for the default one."""
    constraint: Mapping[str, Any]
    """A tree as in RFC 31; empty if any node will do."""


def read_jobspec(text: str) -> Jobspec:
    """Read the jobspec that ``flux submit --dry-run`` prints.

    Raises:
        NotToldError: the text is not a jobspec.
    """
    try:
        system = json.loads(text)["attributes"]["system"]
        return Jobspec(system.get("queue"), dict(system.get("constraints") or {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotToldError(f"flux submit --dry-run: cannot be read: {error}") from None


def eligible_nodes(asked: Sequence[str], run: Run, words: Words) -> list[Node] | None:
    """The nodes that could run a job with these options of ``flux submit``, whatever its cores; None if unknown.

    Raises:
        NoAnswerError: Flux does not answer.
    """
    answer = dry_run(asked, run)
    if answer.returncode != 0:
        return None
    try:
        spec = read_jobspec(answer.stdout)
        nodes = nodes_of_queue(read_nodes(run, words), spec.queue or default_queue(run), run, words)
        return matching(nodes, spec.constraint, run, words)
    except NotToldError:
        return None


def dry_run(asked: Sequence[str], run: Run) -> Answer:
    """Flux's answer to the dry run of a submit.

    Raises:
        NoAnswerError: Flux does not answer in time.
    """
    answer = run(["flux", "submit", "--dry-run", *asked, "true"])
    if answer.returncode is None:
        raise NoAnswerError(answer.told)
    return answer


def read_nodes(run: Run, words: Words) -> list[Node]:
    """All nodes of the instance, up or down, in order of rank.

    Raises:
        NotToldError: this Flux does not give them.
        NoAnswerError: Flux does not answer.
    """
    text = _output(["flux", "resource", "R"], run, words)
    try:
        execution = json.loads(text)["execution"]
        cores = {
            rank: sum(1 for _ in idset(entry["children"].get("core", "")))
            for entry in execution["R_lite"]
            for rank in idset(entry["rank"])
        }
        properties = {name: set(idset(ranks)) for name, ranks in (execution.get("properties") or {}).items()}
        lists = [str(part) for part in execution["nodelist"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotToldError(f"flux resource R: cannot be read: {error}") from None
    hosts = expand_hosts(lists, run, words)
    if len(hosts) != len(cores):
        raise NotToldError(f"flux resource R: {len(hosts)} hosts for {len(cores)} ranks")
    return [
        Node(rank, host, cores[rank], frozenset(name for name, ranks in properties.items() if rank in ranks))
        for rank, host in zip(sorted(cores), hosts, strict=True)
    ]


def nodes_of_queue(nodes: Sequence[Node], queue: str | None, run: Run, words: Words) -> list[Node]:
    """The nodes that belong to a queue; without a queue, all of them.

    Raises:
        NotToldError, NoAnswerError: as of :func:`read_nodes`.
    """
    if queue is None:
        return list(nodes)
    rows = [line.partition("|") for line in _output(_QUEUES, run, words).splitlines() if "|" in line]
    lists = [hosts.strip() for queues, _, hosts in rows if queue in queues.split(",") and hosts.strip()]
    members = set(expand_hosts(lists, run, words))
    return [node for node in nodes if node.host in members]


def default_queue(run: Run) -> str | None:
    """The queue of jobs that name none; None if the instance has no queues, or no default.

    Raises:
        NoAnswerError: Flux does not answer.
    """
    answer = run(["flux", "queue", "list", "-n", "-o", "{queuem}"])
    if answer.returncode is None:
        raise NoAnswerError(answer.told)
    marked = [line.strip() for line in answer.stdout.splitlines() if line.strip().endswith("*")]
    return marked[0].removesuffix("*") if marked else None


def matching(nodes: Sequence[Node], constraint: Mapping[str, Any], run: Run, words: Words) -> list[Node]:
    """The nodes that meet a constraint.

    Raises:
        NotToldError: it has an unknown operator.
        NoAnswerError: Flux does not answer.
    """

    def expanded(lists: Sequence[str]) -> Collection[str]:
        return expand_hosts(lists, run, words)

    return [node for node in nodes if _meets(node, constraint, expanded)]


def _meets(
    node: Node, constraint: Mapping[str, Any], expanded: Callable[[Sequence[str]], Collection[str]]
) -> bool:
    """Evaluate a constraint of RFC 31: operators with their arguments. Every node meets an empty one."""
    for operator, values in constraint.items():
        if operator == "and":
            met = all(_meets(node, one, expanded) for one in values)
        elif operator == "or":
            met = any(_meets(node, one, expanded) for one in values)
        elif operator == "not":
            met = not all(_meets(node, one, expanded) for one in values)
        elif operator == "properties":
            met = all(
                (name[1:] not in node.properties) if name.startswith("^") else (name in node.properties)
                for name in values
            )
        elif operator == "hostlist":
            met = node.host in expanded(values)
        elif operator == "ranks":
            met = any(node.rank in idset(one) for one in values)
        else:
            raise NotToldError(f"constraint {operator!r}")
        if not met:
            return False
    return True


def expand_hosts(lists: Sequence[str], run: Run, words: Words) -> list[str]:
    """The hosts in host lists such as ``n[1-3,7]``, in order (RFC 29).

    Raises:
        NotToldError, NoAnswerError: as of :func:`read_nodes`.
    """
    together = ",".join(lists)
    if "[" not in together:
        # Flux would read a name such as fuzz1 as a job id.
        return [host for host in together.split(",") if host]
    return _output(["flux", "hostlist", "-e", "-d", " ", together], run, words).split()


def idset(text: str) -> Iterator[int]:
    """The numbers in an idset such as ``0-3,7`` (RFC 22).

    Raises:
        ValueError: the text is not an idset.
    """
    for part in text.strip("[]").split(",") if text else ():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _output(command: Sequence[str], run: Run, words: Words) -> str:
    answer = run(command)
    if answer.returncode is None or "Unable to connect" in answer.stderr:
        raise NoAnswerError(words(answer))
    if answer.returncode != 0:
        raise NotToldError(f"{' '.join(command[:3])}: {words(answer)}")
    return answer.stdout

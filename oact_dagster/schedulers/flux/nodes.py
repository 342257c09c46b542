"""What nodes a Flux instance has, and which of them could run a job.

``flux resource R`` prints the instance's resource set (RFC 20), and ``flux submit --dry-run`` the jobspec that a submit
would make, with its constraint as a tree (RFC 31). Nothing is submitted.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from oact_dagster.errors import NoAnswerError, OactError
from oact_dagster.schedulers.command import Answer

Run = Callable[[Sequence[str]], Answer]
Words = Callable[[Answer], str]
"""What an answer complains of, in one line."""
_QUEUES: Final = ["flux", "resource", "list", "-s", "all", "-n", "-o", "{queue}|{nodelist}"]


class NotToldError(OactError):
    """Flux does not tell this, or not in a way that is known here."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node of an instance."""

    rank: int
    host: str
    """As Flux names it."""
    n_cores: int
    properties: frozenset[str]


@dataclass(frozen=True, slots=True)
class Jobspec:
    """What a submit would ask for."""

    queue: str | None
    """None for the default one."""
    constraint: Mapping[str, Any]
    """A tree of RFC 31; empty where any node will do."""


def read_jobspec(text: str) -> Jobspec:
    """The jobspec that ``flux submit --dry-run`` prints.

    Raises:
        NotToldError: it is none.
    """
    try:
        system = json.loads(text)["attributes"]["system"]
        return Jobspec(system.get("queue"), dict(system.get("constraints") or {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotToldError(f"flux submit --dry-run: cannot be read: {error}") from None


def eligible_nodes(asked: Sequence[str], run: Run, words: Words) -> list[Node] | None:
    """The nodes that a submit with these options could be given, whatever its number of cores; None if not known.

    Args:
        asked: options of ``flux submit``.
        run: runs a command.
        words: for messages.

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
    """What Flux says of a submit that is not made.

    Raises:
        NoAnswerError: it gives no answer in time.
    """
    answer = run(["flux", "submit", "--dry-run", *asked, "true"])
    if answer.returncode is None:
        raise NoAnswerError(answer.told)
    return answer


def read_nodes(run: Run, words: Words) -> list[Node]:
    """All nodes of the instance, up or down, in the order of their ranks.

    Raises:
        NotToldError: this Flux does not tell.
        NoAnswerError: it does not answer.
    """
    text = _told(["flux", "resource", "R"], run, words)
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
    """Those of the nodes that belong to a queue; all of them where the instance has no queues.

    Raises:
        NotToldError, NoAnswerError: as of :func:`read_nodes`.
    """
    if queue is None:
        return list(nodes)
    rows = [line.partition("|") for line in _told(_QUEUES, run, words).splitlines() if "|" in line]
    lists = [hosts.strip() for queues, _, hosts in rows if queue in queues.split(",") and hosts.strip()]
    members = set(expand_hosts(lists, run, words))
    return [node for node in nodes if node.host in members]


def default_queue(run: Run) -> str | None:
    """The queue of jobs that name none; None where the instance has no queues, or no default one.

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
        NotToldError: it has an operator that is not known here.
        NoAnswerError: Flux does not answer.
    """

    def expanded(lists: Sequence[str]) -> Collection[str]:
        return expand_hosts(lists, run, words)

    return [node for node in nodes if _meets(node, constraint, expanded)]


def _meets(
    node: Node, constraint: Mapping[str, Any], expanded: Callable[[Sequence[str]], Collection[str]]
) -> bool:
    """RFC 31: one operator with its arguments; no operator is met by all."""
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
    """The hosts of host lists such as ``n[1-3,7]``, one after the other (RFC 29).

    Raises:
        NotToldError, NoAnswerError: as of :func:`read_nodes`.
    """
    together = ",".join(lists)
    if "[" not in together:
        # Flux would take a name such as fuzz1 for a job id.
        return [host for host in together.split(",") if host]
    return _told(["flux", "hostlist", "-e", "-d", " ", together], run, words).split()


def idset(text: str) -> Iterator[int]:
    """The numbers of ``0-3,7`` (RFC 22).

    Raises:
        ValueError: it is no such set.
    """
    for part in text.strip("[]").split(",") if text else ():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _told(command: Sequence[str], run: Run, words: Words) -> str:
    answer = run(command)
    if answer.returncode is None or "Unable to connect" in answer.stderr:
        raise NoAnswerError(words(answer))
    if answer.returncode != 0:
        raise NotToldError(f"{' '.join(command[:3])}: {words(answer)}")
    return answer.stdout

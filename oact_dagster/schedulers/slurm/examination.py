"""Ask Slurm, before anything is submitted, whether it would accept a campaign's jobs and could start them.

``sbatch --test-only`` with the jobs' own options shows what would be refused. It accepts jobs that would wait for ever
(a limit above the partition's, a partition that is down), so partitions and nodes are checked, too.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from oact_dagster.errors import NoAnswerError
from oact_dagster.schedulers.command import Answer
from oact_dagster.schedulers.job_array import ResourceRequest
from oact_dagster.schedulers.protocol import Finding, PlannedJobs, Reply
from oact_dagster.schedulers.slurm.errors import reply_of, words_of
from oact_dagster.schedulers.slurm.times import seconds_of, slurm_time
from oact_dagster.text import pluralise

Run = Callable[[Sequence[str]], Answer]

_UNUSABLE: Final = ("down", "drain", "fail", "inval", "unk")
_OWN_PARTITION: Final = ("-p", "--partition")
_ENFORCING: Final = ("associations", "limits", "qos", "safe", "all")
"""Values of AccountingStorageEnforce with which Slurm refuses an unknown account."""


@dataclass(frozen=True, slots=True)
class _Nodes:
    """A group of nodes with the same properties."""

    cores: int
    memory_mb: int
    state: str
    reason: str

    def has(self, request: ResourceRequest) -> bool:
        return self.cores >= request.n_cores and self.memory_mb >= (request.memory_mb or 0)

    @property
    def usable(self) -> bool:
        return not self.state.startswith(_UNUSABLE)


def examine(
    wanted: Sequence[PlannedJobs],
    *,
    queue: str | None,
    accounts: Mapping[str, str | None],
    asked: Callable[[ResourceRequest], list[str]],
    config: Callable[[], Mapping[str, str]],
    run: Run,
) -> Iterator[Finding]:
    """Ask whether jobs would be accepted, and could start.

    Args:
        wanted: the jobs.
        queue: their partition, or several separated by commas; None for the default one.
        accounts: the settings for account and quality of service, with their values.
        asked: gives the options of sbatch for a request.
        config: gives Slurm's configuration (``scontrol show config``).
        run: runs a command.

    Yields:
        Problems, and checks that could not be made.

    Raises:
        NoAnswerError: Slurm does not answer.
    """
    reported: list[PlannedJobs] = []
    options = [option for option in asked(wanted[0].request) if option != f"--partition={queue}"]
    if not any(option.startswith(_OWN_PARTITION) for option in options):
        partitions = _partitions(run)
        names = queue.split(",") if queue else [n for n, p in partitions.items() if p.get("Default") == "YES"]
        missing = [name for name in names if name not in partitions]
        if missing or not names:
            problem = f"{', '.join(missing)}: Slurm has no such" if missing else "Slurm has no default"
            there = ", ".join(partitions) or "none"
            yield Finding(f"launcher.queue: {problem} partition; it has {there}", blocks=True)
            return
        for one in wanted:
            found = list(_of_partitions(one, {name: partitions[name] for name in names}))
            found += _of_nodes(one, names, run)
            # No test for these: it would report drained nodes as missing.
            reported += [one] if found else []
            yield from found
        for name in names:
            if (state := partitions[name].get("State", "UP")) != "UP":
                yield Finding(f"partition {name} is {state}: its jobs wait until it is up")
    for one in wanted:
        if one in reported:
            continue
        answer = run(["sbatch", "--test-only", *asked(one.request), "--wrap=true"])
        if answer.returncode != 0:
            if reply_of(answer) is Reply.UNCLEAR:
                raise NoAnswerError(words_of(answer))
            reason = words_of(answer).removeprefix("allocation failure: ")
            yield Finding(f"Slurm would refuse the jobs of {one.whose}: {reason}", blocks=True)
    yield from _of_accounts(accounts, config())


def _partitions(run: Run) -> dict[str, dict[str, str]]:
    """All visible partitions with their settings."""
    answer = run(["scontrol", "--oneliner", "show", "partition"])
    if answer.returncode != 0:
        raise NoAnswerError(words_of(answer))
    found = {}
    for line in answer.stdout.splitlines():
        settings = dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
        if "PartitionName" in settings:
            found[settings["PartitionName"]] = settings
    return found


def _of_partitions(one: PlannedJobs, partitions: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    limits = {name: seconds_of(settings.get("MaxTime", "")) for name, settings in partitions.items()}
    minutes = {name: limit / 60.0 for name, limit in limits.items() if limit is not None}
    if len(minutes) < len(limits) or any(map(math.isinf, minutes.values())):
        return
    allowed = " and ".join(f"{name} allows {slurm_time(limit)}" for name, limit in minutes.items())
    longest = max(minutes.values())
    if longest < one.request.minutes:
        yield Finding(
            f"launcher.n_hours: the jobs of {one.whose} ask for {slurm_time(one.request.minutes)}, but partition"
            f" {allowed}: they would wait for ever",
            blocks=True,
        )
    elif one.longest_minutes is not None and longest < one.longest_minutes:
        yield Finding(
            f"launcher.max_job_timeout_s: a retry after a timeout may ask for {slurm_time(one.longest_minutes)}, but"
            f" partition {allowed}: it would wait for ever"
        )


def _of_nodes(one: PlannedJobs, names: Sequence[str], run: Run) -> Iterator[Finding]:
    answer = run(["sinfo", "-h", "-e", "-p", ",".join(names), "-o", "%c|%m|%T|%E"])
    if answer.returncode != 0:
        raise NoAnswerError(words_of(answer))
    nodes = []
    for line in answer.stdout.splitlines():
        cores, memory, state, reason = (*line.split("|", 3), "", "", "", "")[:4]
        if cores.isdecimal() and memory.isdecimal():
            nodes.append(_Nodes(int(cores), int(memory), state.lower(), reason))
    request, where = one.request, f"partition {', '.join(names)}"
    fitting = [node for node in nodes if node.has(request)]
    if not nodes:
        yield Finding(f"{where} has no nodes", blocks=True)
    elif not fitting:
        by_size = sorted(nodes, key=lambda node: (node.cores, node.memory_mb))
        sizes = [f"{pluralise(node.cores, 'core')} with {node.memory_mb} MB" for node in by_size[-2:]]
        largest = ", ".join(dict.fromkeys(sizes))
        memory = "" if request.memory_mb is None else f" and {request.memory_mb} MB"
        yield Finding(
            f"the jobs of {one.whose} ask for {pluralise(request.n_cores, 'core')}{memory} of one node, but {where} has"
            f" at most {largest}",
            blocks=True,
        )
    elif not any(node.usable for node in fitting):
        reasons = ", ".join(dict.fromkeys(f"{node.state}: {node.reason}" for node in fitting))
        yield Finding(
            f"no node of {where} that could run the jobs of {one.whose} is up ({reasons}): they wait until one is"
        )


def _of_accounts(accounts: Mapping[str, str | None], config: Mapping[str, str]) -> Iterator[Finding]:
    named = ", ".join(f"{setting} {value}" for setting, value in accounts.items() if value is not None)
    enforced = config.get("AccountingStorageEnforce", "").lower().split(",")
    if named and not any(word in enforced for word in _ENFORCING):
        yield Finding(f"{named}: this Slurm accepts any value, so this one could not be checked")

"""Asking Flux, before anything is submitted, whether it would take a campaign's jobs.

Its queues are asked, as flux-queue(1) describes. What a node has and which banks there are is not: no command was seen
to tell that of every site's Flux, and a submit is refused where they do not fit.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from oact_dagster.launchers.scheduler import Finding, Wanted
from oact_dagster.launchers.scheduler_command import Answer, NoAnswerError

Run = Callable[[Sequence[str]], Answer]

_FORMAT: Final = "{queue}|{submission}|{scheduling}|{limits.timelimit}"
_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?(?:e[+-]?\d+)?)([smhd]?)", re.IGNORECASE)
_SECONDS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def examine(
    wanted: Sequence[Wanted], *, queue: str | None, bank: str | None, run: Run, words: Callable[[Answer], str]
) -> Iterator[Finding]:
    """Ask whether jobs would be taken.

    Args:
        wanted: the jobs.
        queue: theirs; None for the default one.
        bank: theirs; None for the default one.
        run: runs a command.
        words: what an answer complains of, in one line.

    Yields:
        What was found, and what could not be asked.

    Raises:
        NoAnswerError: Flux does not answer.
    """
    answer = run(["flux", "queue", "list", "-n", "-o", _FORMAT])
    if answer.returncode is None or "Unable to connect" in answer.stderr:
        raise NoAnswerError(words(answer))
    rows = [line.split("|") for line in answer.stdout.splitlines() if line.count("|") == 3]
    queues = {name.strip(): [one.strip() for one in rest] for name, *rest in rows}
    if answer.returncode != 0 or not queues:
        yield Finding(
            f"flux queue list: {words(answer)}: whether the queue takes the jobs could not be asked"
        )
    elif queue is not None and queue not in queues:
        there = ", ".join(name for name in queues if name) or "one without a name: leave launcher.queue out"
        yield Finding(f"launcher.queue: {queue}: Flux has no such queue; it has {there}", blocks=True)
    elif queue is not None or list(queues) == [""]:
        yield from _of_queue(wanted, queue, *queues[queue or ""])
    else:
        yield Finding(
            f"launcher.queue is not set; Flux has the queues {', '.join(queues)}, and one of them may be the default"
        )
    unasked = ["whether one node has the cores that are asked for"]
    unasked += [f"whether bank {bank} is accepted"] if bank is not None else []
    yield Finding(f"Flux was not asked {' and '.join(unasked)}: a submit tells")


def _of_queue(
    wanted: Sequence[Wanted], queue: str | None, submission: str, scheduling: str, limit: str
) -> Iterator[Finding]:
    name = "the queue" if queue is None else f"queue {queue}"
    if submission == "disabled":
        yield Finding(f"{name} takes no jobs now (its submission is disabled)", blocks=True)
    if scheduling.startswith("stopped"):
        yield Finding(f"{name} starts no jobs now (its scheduling is {scheduling}): they wait until it does")
    seconds = _seconds(limit)
    for one in wanted:
        if seconds is not None and one.request.minutes * 60.0 > seconds:
            yield Finding(
                f"launcher.n_hours: the jobs of {one.whose} ask for {one.request.minutes} minutes, and {name} allows"
                f" {seconds / 60.0:g}: Flux would refuse them",
                blocks=True,
            )


def _seconds(limit: str) -> float | None:
    """Flux's duration (RFC 23), in s; None for one that says nothing."""
    if limit.lower() in ("inf", "infinity"):
        return math.inf
    found = _DURATION.fullmatch(limit)
    seconds = None if found is None else float(found[1]) * _SECONDS[found[2].lower()]
    # Zero is no limit.
    return seconds or None

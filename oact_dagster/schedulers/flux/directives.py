"""A Flux job's directives: options of flux submit, and ``#flux:`` lines of a script for flux batch."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from oact_dagster.schedulers.job_array import ResourceRequest
from oact_dagster.schedulers.job_script import Directives, by_hand_name, quoted
from oact_dagster.schedulers.protocol import JobOptions

_SHORT: Final = {"--queue": "-q", "--bank": "-B"}


def directives(options: JobOptions, request: ResourceRequest, *, batch: bool = False) -> Directives:
    """A job's directives, the same in a script and in a submit.

    Args:
        options: of every job.
        request: of this job.
        batch: for flux batch, which counts slots of one core each. flux submit starts tasks, so its one task gets all
            cores.
    """
    return Directives(
        {
            # Flux accepts --exclusive only with a number of nodes.
            "-N": 1,
            **({"-n": request.n_cores} if batch else {"-n": 1, "-c": request.n_cores}),
            "-t": f"{request.minutes}m",
            "--queue": options.queue,
            "--bank": options.allocation,
            "--requires": requires(options.constraint, request.avoid),
        },
        options.extra,
    )


def script_lines(options: JobOptions, folder: Path, request: ResourceRequest) -> list[str]:
    """The directives of the script in a job folder.

    Raises:
        ValueError: a value has more than one line.
    """
    asked = directives(options, request, batch=True)
    # No {{id}} in the log's name: it would contain a letter (ƒ) that many programs cannot read.
    log = str(folder / "flux_job.out")
    named = {"--job-name": by_hand_name(folder), **asked.named, "--output": log}
    return replace(asked, named=named).lines("#flux:", quoted, _SHORT)


def requires(constraint: str | None, avoid: Sequence[str]) -> str | None:
    """The value of ``--requires``: the user's constraint without the hosts to avoid.

    All terms separated by spaces must hold, and ``-host:NAME`` excludes a host; see flux-submit(1), section
    CONSTRAINTS, and RFC 35 (constraint query syntax). The constraint may have operators of its own.
    """
    if not avoid:
        return constraint
    return " ".join([*([f"({constraint})"] if constraint else []), *(f"-host:{host}" for host in avoid)])

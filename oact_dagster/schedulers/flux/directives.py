"""What a Flux job asks for: as options of flux submit, and as ``#flux:`` lines of a script for flux batch."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from oact_dagster.schedulers.job_array import ResourceRequest
from oact_dagster.schedulers.job_script import Directives, by_hand_name, quoted
from oact_dagster.schedulers.protocol import JobOptions

_SHORT: Final = {"--queue": "-q", "--bank": "-B"}


def directives(options: JobOptions, request: ResourceRequest, *, batch: bool = False) -> Directives:
    """What a job asks for, in a script and in a submit alike.

    Args:
        options: of every job.
        request: of this one.
        batch: in the words of flux batch, which counts slots of one core. flux submit counts tasks, and starts each:
            its one task gets all cores.
    """
    return Directives(
        {
            # One node: without a number of them Flux takes no --exclusive.
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
    # No {{id}} in the log's name: that puts a letter into it which many programs cannot read.
    named = {
        "--job-name": by_hand_name(folder),
        **asked.named,
        "--output": str(folder / "flux_job.out"),
    }
    return replace(asked, named=named).lines("#flux:", quoted, _SHORT)


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

"""``flux_job.flux``: the script by which a user submits one job folder by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Required, TypedDict, Unpack

from oact_dagster.schedulers.job_script import (
    PAYLOAD,
    JobEnvironment,
    by_hand_name,
    quoted,
    single_job_script,
    write_script,
)

FLUX_JOB_FILE: Final = "flux_job.flux"


class FluxJobOptions(TypedDict, total=False):
    """What a script may ask for, besides its folder."""

    n_cores: Required[int]
    minutes: Required[int]
    engine: Required[Sequence[str]]
    input_file: str
    token: str | None
    queue: str | None
    allocation: str | None
    constraint: str | None
    extra_directives: Sequence[str]
    environment: JobEnvironment | None


def flux_job_text(
    folder: Path,
    *,
    n_cores: int,
    minutes: int,
    engine: Sequence[str],
    input_file: str = "orca.inp",
    token: str | None = None,
    queue: str | None = None,
    allocation: str | None = None,
    constraint: str | None = None,
    extra_directives: Sequence[str] = (),
    environment: JobEnvironment | None = None,
) -> str:
    """The text of a job folder's script, for ``flux batch``.

    Args:
        folder: the job folder, absolute.
        n_cores: cores, as slots of one node.
        minutes: time limit.
        engine: the ORCA program, perhaps with arguments.
        input_file: its last argument.
        token: of the attempt that the script runs; None for a script without an attempt.
        queue: of Flux.
        allocation: bank.
        constraint: what the node must have.
        extra_directives: more options of flux batch.
        environment: what is set up first.

    Returns:
        The script's text; a directive without a value is left out.

    Raises:
        ValueError: a value has more than one line.
    """
    named = (("-q", queue), ("-B", allocation), ("--requires", constraint))
    options = [
        f"--job-name {by_hand_name(folder)}",
        "-N 1",
        f"-n {n_cores}",
        *(f"{name} {quoted(value)}" for name, value in named if value is not None),
        f"-t {minutes}m",
        # No {{id}} in it: that puts a letter into the name which many programs cannot read.
        f"--output {quoted(folder / 'flux_job.out')}",
        *map(quoted, extra_directives),
    ]
    payload = [*PAYLOAD, *(["--token", token] if token is not None else []), "--", *engine, input_file]
    return single_job_script(
        [f"#flux: {option}" for option in options], folder, environment or JobEnvironment(), payload
    )


def write_flux_job(folder: Path, **asked: Unpack[FluxJobOptions]) -> Path:
    """Write the script into its job folder; see :func:`flux_job_text`.

    Raises:
        ValueError: a value has more than one line.
        OSError: it cannot be written.
    """
    return write_script(folder / FLUX_JOB_FILE, flux_job_text(folder, **asked))

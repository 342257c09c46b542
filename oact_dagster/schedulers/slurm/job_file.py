"""``slurm_job.sh``: the script by which a user submits one job folder by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Required, TypedDict, Unpack

from oact_dagster.schedulers.job_script import (
    PAYLOAD,
    JobEnvironment,
    by_hand_name,
    require_one_line,
    single_job_script,
    write_script,
)

SLURM_JOB_FILE: Final = "slurm_job.sh"


class SlurmJobOptions(TypedDict, total=False):
    """What a script may ask for, besides its folder."""

    n_cores: Required[int]
    minutes: Required[int]
    engine: Required[Sequence[str]]
    input_file: str
    token: str | None
    queue: str | None
    qos: str | None
    allocation: str | None
    memory_mb: int | None
    constraint: str | None
    extra_directives: Sequence[str]
    signal_before_limit_s: int
    environment: JobEnvironment | None


def slurm_job_text(
    folder: Path,
    *,
    n_cores: int,
    minutes: int,
    engine: Sequence[str],
    input_file: str = "orca.inp",
    token: str | None = None,
    queue: str | None = None,
    qos: str | None = None,
    allocation: str | None = None,
    memory_mb: int | None = None,
    constraint: str | None = None,
    extra_directives: Sequence[str] = (),
    signal_before_limit_s: int = 0,
    environment: JobEnvironment | None = None,
) -> str:
    """The text of a job folder's script.

    Args:
        folder: the job folder, absolute.
        n_cores: cores, as tasks of one node.
        minutes: time limit.
        engine: the ORCA program, perhaps with arguments.
        input_file: its last argument.
        token: of the attempt that the script runs; None for a script without an attempt.
        queue: partition.
        qos: quality of service.
        allocation: account.
        memory_mb: of the job.
        constraint: features that the node must have.
        extra_directives: more options of sbatch.
        signal_before_limit_s: time before the limit at which the payload ends the calculation; 0 for never.
        environment: what is set up first.

    Returns:
        The script's text; a directive without a value is left out.

    Raises:
        ValueError: a value has more than one line.
    """
    log = f"{in_pattern(folder)}/slurm-%j"
    options = [
        f"--job-name {by_hand_name(folder)}",
        "-N 1",
        f"--ntasks-per-node {n_cores}",
        *(f"{name} {in_directive(value)}" for name, value in _given(queue, qos, allocation, constraint)),
        f"-t {minutes // 60}:{minutes % 60:02d}:00",
        *([f"--mem {memory_mb}M"] if memory_mb is not None else []),
        *([f"--signal B:USR1@{signal_before_limit_s}"] if signal_before_limit_s else []),
        "--open-mode append",
        "--no-requeue",
        f"-o {in_directive(log + '.out')}",
        f"-e {in_directive(log + '.err')}",
        *map(in_directive, extra_directives),
    ]
    payload = [*PAYLOAD, *(["--token", token] if token is not None else []), "--", *engine, input_file]
    return single_job_script(
        [f"#SBATCH {option}" for option in options], folder, environment or JobEnvironment(), payload
    )


def write_slurm_job(folder: Path, **asked: Unpack[SlurmJobOptions]) -> Path:
    """Write the script into its job folder; see :func:`slurm_job_text`.

    Raises:
        ValueError: a value has more than one line.
        OSError: it cannot be written.
    """
    return write_script(folder / SLURM_JOB_FILE, slurm_job_text(folder, **asked))


def _given(
    queue: str | None, qos: str | None, allocation: str | None, constraint: str | None
) -> list[tuple[str, str]]:
    named = (("--partition", queue), ("--qos", qos), ("--account", allocation), ("--constraint", constraint))
    return [(name, value) for name, value in named if value is not None]


def in_directive(value: str) -> str:
    """A value that sbatch reads as one word of a ``#SBATCH`` line.

    No shell reads these lines. sbatch takes quotes as a shell does, but a backslash escapes within all of them, and
    a bare # begins a comment.

    Raises:
        ValueError: it has more than one line.
    """
    escaped = require_one_line(value).replace("\\", "\\\\").replace('"', '\\"')
    plain = escaped.replace("=", "").replace("-", "").replace("_", "").replace("/", "").replace(".", "")
    return escaped if plain.isalnum() and plain.isascii() else f'"{escaped}"'


def in_pattern(path: Path) -> str:
    """A path in the name of a log file, where % begins a replacement."""
    return str(path).replace("%", "%%")

"""The flags of ``oact submit``, and the settings of a campaign that they stand for."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])

_TEMPLATES: Final = ("omol", "x2c", "dk3")

_COUNT: Final = click.IntRange(min=1)
_TIME: Final = click.FloatRange(min=0, min_open=True)

_OPTIONS: Final = (
    click.option("--batch-size", type=_COUNT, metavar="N", help="At most so many structures (default 10)."),
    click.option(
        "--max-fail-count", type=_COUNT, metavar="N", help="Leave out what has failed N times or more."
    ),
    click.option(
        "--max-in-flight",
        type=_COUNT,
        metavar="N",
        help="Submit only until so many run or wait, those of earlier calls included.",
    ),
    click.option(
        "--randomize", is_flag=True, help="Take any of them; else the most urgent, in the order of the CSV."
    ),
    click.option(
        "--job-dir-pattern",
        metavar="PATTERN",
        help="Names of the job folders, with {orig_index} or {id} (default job_{orig_index}).",
    ),
    click.option(
        "--dry-run",
        is_flag=True,
        help="Write folders and scripts to be looked at; submit nothing, and change no status.",
    ),
    click.option(
        "--take-over", is_flag=True, help="Take the ledger from another host that died while it had it."
    ),
    # What a job asks for.
    click.option(
        "--scheduler", type=click.Choice(["flux", "slurm"]), help="Default: the one that is on PATH."
    ),
    click.option(
        "--profile",
        metavar="NAME",
        help="A site's settings, of ~/.config/oact/profiles.yaml or OACT_PROFILES.",
    ),
    click.option("--n-cores", type=_COUNT, metavar="N", help="Cores of one calculation (default 4)."),
    click.option(
        "--n-hours", type=_TIME, metavar="H", help="Time limit of a job, h, such as 0.5 (default 2)."
    ),
    click.option("--queue", metavar="NAME", help="Queue (Flux), or partition (Slurm)."),
    click.option("--allocation", metavar="NAME", help="Bank (Flux), or account (Slurm)."),
    click.option("--qos", metavar="NAME", help="Slurm: quality of service."),
    click.option(
        "--mem",
        metavar="MB",
        help="Slurm: memory of a job; auto: what its input needs (default); none: what the queue gives.",
    ),
    click.option("--constraint", metavar="FEATURES", help="What a node must have."),
    click.option(
        "--extra-directive",
        multiple=True,
        metavar="OPTION",
        help="One more option of the scheduler, such as --extra-directive=--exclusive; repeatable.",
    ),
    click.option(
        "--module", multiple=True, metavar="NAME", help="Loaded by each job (or worker); repeatable."
    ),
    click.option("--conda-env", metavar="NAME", help="Activated by each job (or worker)."),
    click.option("--conda-base", metavar="FOLDER", help="Where conda is installed."),
    click.option(
        "--setup-line", multiple=True, metavar="BASH", help="Run first by each job (or worker); repeatable."
    ),
    click.option("--scratch-dir", metavar="FOLDER", help="Of the node, to run in, such as $TMPDIR."),
    click.option(
        "--poll-interval", type=_TIME, metavar="S", help="Between two looks at the queue (default 30)."
    ),
    click.option(
        "--command-timeout",
        type=_TIME,
        metavar="S",
        help="Time limit of each call of the scheduler (default 60).",
    ),
    # On this node.
    click.option("--use-parsl", is_flag=True, help="Run several at once on this node, until all have ended."),
    click.option(
        "--max-workers", type=_COUNT, metavar="N", help="With --use-parsl: calculations at once (default 4)."
    ),
    click.option(
        "--cores-per-worker",
        type=_COUNT,
        metavar="N",
        help="With --use-parsl: cores of each (default --n-cores, else 16).",
    ),
    click.option(
        "--oversubscribe", is_flag=True, help="With --use-parsl: also with more cores than the node has."
    ),
    click.option(
        "--job-timeout", type=_TIME, metavar="S", help="With --use-parsl: time limit of each (default 7200)."
    ),
    # What ORCA computes.
    click.option("--orca-path", metavar="PATH", help="The orca program (default: orca on PATH)."),
    click.option("--functional", metavar="NAME", help="Default wB97M-V."),
    click.option(
        "--simple-input",
        type=click.Choice(_TEMPLATES),
        help="Template: omol (core potentials; default), x2c, dk3 (all electrons).",
    ),
    click.option("--actinide-basis", metavar="NAME", help="A name or a file (default: the template's)."),
    click.option("--actinide-ecp", metavar="NAME", help="Default: the template's."),
    click.option("--non-actinide-basis", metavar="NAME", help="A name or a file (default def2-TZVPD)."),
    click.option("--scf-maxiter", type=_COUNT, metavar="N", help="Default: the template's 500."),
    click.option("--nbo", is_flag=True, help="Natural bond orbitals (needs the NBO program)."),
    click.option("--opt", is_flag=True, help="Optimise the geometry."),
)

_ORCA: Final[Mapping[str, str]] = {
    "orca_path": "command",
    "functional": "functional",
    "simple_input": "simple_input",
    "actinide_basis": "actinide_basis",
    "actinide_ecp": "actinide_ecp",
    "non_actinide_basis": "non_actinide_basis",
    "scf_maxiter": "scf_maxiter",
    "nbo": "nbo",
    "opt": "opt",
}
_JOB: Final[Mapping[str, str]] = {
    "n_hours": "n_hours",
    "queue": "queue",
    "allocation": "allocation",
    "qos": "qos",
    "mem": "mem",
    "constraint": "constraint",
    "extra_directive": "extra_directives",
    "module": "modules",
    "conda_env": "conda_env",
    "conda_base": "conda_base",
    "setup_line": "setup_lines",
    "scratch_dir": "scratch_dir",
    "poll_interval": "poll_interval_s",
    "command_timeout": "command_timeout_s",
}
"""Flags, and their names among a campaign's settings."""

_ON_THIS_NODE: Final = ("max_workers", "cores_per_worker", "oversubscribe", "job_timeout")
_OF_WORKERS: Final = ("module", "conda_env", "conda_base", "setup_line", "scratch_dir")
_OF_A_SCHEDULER: Final = ("scheduler", "profile", *(flag for flag in _JOB if flag not in _OF_WORKERS))


def submit_options(command: _F) -> _F:
    """Give a command the flags."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def without_effect(flags: Mapping[str, Any]) -> list[str]:
    """The flags that were given and mean nothing, with or without ``--use-parsl``."""
    idle = _OF_A_SCHEDULER if flags["use_parsl"] else _ON_THIS_NODE
    return [f"--{flag.replace('_', '-')}" for flag in idle if _said(flags[flag])]


def orca_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """What was said of ``orca``, without the cores."""
    found = {name: flags[flag] for flag, name in _ORCA.items() if _said(flags[flag])}
    command = found.get("command")
    if command is not None and "/" in command:
        # Of where the command was typed, and not of the campaign's folder.
        found["command"] = str(Path(command).expanduser().absolute())
    return found


def job_settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """What was said of ``launcher``, for jobs of a scheduler."""
    found = {name: flags[flag] for flag, name in _JOB.items() if _said(flags[flag])}
    if str(found.get("mem", "")).isdecimal():
        found["mem"] = int(found["mem"])
    return found


def worker_settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """What was said of ``launcher``, for workers on this node, without their number and size."""
    found = {_JOB[flag]: flags[flag] for flag in _OF_WORKERS if _said(flags[flag])}
    return found | ({"oversubscribe": True} if flags["oversubscribe"] else {})


def _said(value: Any) -> bool:
    return value not in (None, False, ())

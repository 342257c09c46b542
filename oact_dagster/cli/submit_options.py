"""The flags of ``oact submit``, and the settings of a campaign that they stand for."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import click
from annotated_types import Ge, Gt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from oact_dagster.settings.campaign import Campaign
from oact_dagster.settings.descriptions import limits_of
from oact_dagster.settings.launcher import LauncherSettings
from oact_dagster.settings.launcher_kinds import scheduler_names
from oact_dagster.settings.orca import OrcaSettings

_F = TypeVar("_F", bound=Callable[..., Any])

_COUNT: Final = click.IntRange(min=1)
_PARSL: Final = "With --use-parsl: "


def _setting(
    flag: str,
    model: type[BaseModel],
    name: str,
    metavar: str | None = None,
    *,
    when: str = "",
    default: str | None = None,
    **more: Any,
) -> Callable[[_F], _F]:
    """A flag that stands for a setting of a section; its help, default and range are the setting's.

    ``when`` is put before the help, ``default`` replaces the setting's, and ``more`` goes to ``click.option``.
    """
    field = model.model_fields[name]
    about, _, null = str(field.description).partition("; null: ")
    # A flag needs no words on false, and takes one item of a list at a time.
    about = re.sub(r"; false: .*|, such as \[.*", "", about)
    if default is None:
        default = null if field.default is None else _shown_default(field)
    words = f"{when}{about}{'; repeatable' if more.get('multiple') else ''}"
    words += f" (default: {default})." if default else "."
    return click.option(
        flag, metavar=metavar, help=words[:1].upper() + words[1:], **{"type": _type_of(field), **more}
    )


def _shown_default(field: FieldInfo) -> str:
    default = field.default
    return "" if default in (False, ()) else f"{default:g}" if isinstance(default, float) else str(default)


def _type_of(field: FieldInfo) -> "click.ParamType[Any] | None":
    """The type of a setting's flag: a choice, or a number in a range; None for text and for flags without a value."""
    if get_origin(field.annotation) is Literal:
        return click.Choice(get_args(field.annotation))
    limits = list(limits_of(field))
    for limit in limits:
        if isinstance(limit, Ge):
            return click.IntRange(min=limit.ge)  # type: ignore[arg-type]
        if isinstance(limit, Gt):
            return click.FloatRange(min=limit.gt, min_open=True)  # type: ignore[arg-type]
    return None


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


def _job(flag: str, metavar: str | None, **more: Any) -> Callable[[_F], _F]:
    return _setting(f"--{flag}", LauncherSettings, _JOB[flag.replace("-", "_")], metavar, **more)


def _orca(flag: str, metavar: str | None = None, **more: Any) -> Callable[[_F], _F]:
    return _setting(f"--{flag}", OrcaSettings, _ORCA[flag.replace("-", "_")], metavar, **more)


_OPTIONS: Final = (
    click.option("--batch-size", type=_COUNT, metavar="N", help="Most structures to submit (default: 10)."),
    click.option(
        "--max-fail-count",
        type=_COUNT,
        metavar="N",
        help="Leave out structures that have failed N times or more.",
    ),
    click.option(
        "--max-in-flight",
        type=_COUNT,
        metavar="N",
        help="Submit only until N structures run or wait, those of earlier calls included.",
    ),
    click.option(
        "--randomize",
        is_flag=True,
        help="Pick structures at random, not the most urgent in the order of the CSV.",
    ),
    _setting("--job-dir-pattern", Campaign, "job_dir_pattern", "PATTERN"),
    click.option(
        "--dry-run",
        is_flag=True,
        help="Write folders and scripts to look at; submit nothing, and change no status.",
    ),
    click.option(
        "--take-over", is_flag=True, help="Take the ledger from another host that died while it had it."
    ),
    # What a job asks for.
    click.option(
        "--scheduler",
        type=click.Choice(scheduler_names()),
        help="Scheduler to submit to (default: the one on PATH).",
    ),
    _setting("--profile", LauncherSettings, "profile", "NAME"),
    _setting("--n-cores", OrcaSettings, "n_cores", "N"),
    _job("n-hours", "H", default="2"),
    _job("queue", "NAME"),
    _job("allocation", "NAME"),
    _job("qos", "NAME"),
    _job("mem", "MB"),
    _job("constraint", "FEATURES"),
    _job("extra-directive", "OPTION", multiple=True),
    _job("module", "NAME", multiple=True),
    _job("conda-env", "NAME"),
    _job("conda-base", "FOLDER"),
    _job("setup-line", "BASH", multiple=True),
    _job("scratch-dir", "FOLDER"),
    _job("poll-interval", "S"),
    _job("command-timeout", "S"),
    # On this node.
    click.option("--use-parsl", is_flag=True, help="Run several at once on this node, until all have ended."),
    _setting("--max-workers", LauncherSettings, "max_workers", "N", when=_PARSL, default="4"),
    _setting(
        "--cores-per-worker",
        LauncherSettings,
        "cores_per_worker",
        "N",
        when=_PARSL,
        default="--n-cores, else 16",
    ),
    _setting("--oversubscribe", LauncherSettings, "oversubscribe", when=_PARSL, is_flag=True),
    _setting("--job-timeout", LauncherSettings, "job_timeout_s", "S", when=_PARSL),
    # What ORCA computes.
    _orca("orca-path", "PATH", default="orca on PATH"),
    _orca("functional", "NAME"),
    _orca("simple-input"),
    _orca("actinide-basis", "NAME"),
    _orca("actinide-ecp", "NAME"),
    _orca("non-actinide-basis", "NAME"),
    _orca("scf-maxiter", "N"),
    _orca("nbo", is_flag=True),
    _orca("opt", is_flag=True),
)

_ON_THIS_NODE: Final = ("max_workers", "cores_per_worker", "oversubscribe", "job_timeout")
_OF_WORKERS: Final = ("module", "conda_env", "conda_base", "setup_line", "scratch_dir")
_OF_A_SCHEDULER: Final = ("scheduler", "profile", *(flag for flag in _JOB if flag not in _OF_WORKERS))


def submit_options(command: _F) -> _F:
    """Give a command the flags."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def without_effect(flags: Mapping[str, Any]) -> list[str]:
    """The flags given that have no effect with, or without, ``--use-parsl``."""
    idle = _OF_A_SCHEDULER if flags["use_parsl"] else _ON_THIS_NODE
    return [f"--{flag.replace('_', '-')}" for flag in idle if _said(flags[flag])]


def orca_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of ``orca`` that were given, without the cores."""
    found = {name: flags[flag] for flag, name in _ORCA.items() if _said(flags[flag])}
    command = found.get("command")
    if command is not None and "/" in command:
        # A relative path starts where the command was typed, not in the campaign's folder.
        found["command"] = str(Path(command).expanduser().absolute())
    return found


def job_settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of ``launcher`` that were given for jobs of a scheduler."""
    found = {name: flags[flag] for flag, name in _JOB.items() if _said(flags[flag])}
    if str(found.get("mem", "")).isdecimal():
        found["mem"] = int(found["mem"])
    return found


def worker_settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of ``launcher`` that were given for workers on this node, without their number and size."""
    found = {_JOB[flag]: flags[flag] for flag in _OF_WORKERS if _said(flags[flag])}
    return found | ({"oversubscribe": True} if flags["oversubscribe"] else {})


def _said(value: Any) -> bool:
    return value not in (None, False, ())

"""A Slurm job's directives: options of sbatch, and ``#SBATCH`` lines of a script."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from oact_dagster.schedulers.job_array import ResourceRequest
from oact_dagster.schedulers.job_script import Directives, by_hand_name, require_one_line
from oact_dagster.schedulers.protocol import JobOptions
from oact_dagster.settings.launcher import signal_margin_s

_SHORT: Final = {"--nodes": "-N", "--time": "-t"}
_ONE_WORD: Final = re.compile(r"[\w=/.-]+|[\d:]+", re.ASCII)
"""A plain word or a time, which needs no quotes."""


def directives(options: JobOptions, request: ResourceRequest) -> Directives:
    """A job's directives, the same in a script and in a submit."""
    margin = round(signal_margin_s(options.signal_before_limit_s, request.minutes * 60))
    return Directives(
        {
            "--nodes": 1,
            "--ntasks-per-node": request.n_cores,
            "--time": f"{request.minutes // 60}:{request.minutes % 60:02d}:00",
            "--partition": options.queue,
            "--qos": options.qos,
            "--account": options.allocation,
            "--constraint": options.constraint,
            "--mem": None if request.memory_mb is None else f"{request.memory_mb}M",
            "--signal": f"B:USR1@{margin}" if margin else None,
            "--exclude": ",".join(request.avoid) or None,
            # Keep the output of an earlier run of the same job.
            "--open-mode": "append",
        },
        # Slurm must not run a job twice without our knowledge.
        ("--no-requeue", *options.extra),
    )


def script_lines(options: JobOptions, folder: Path, request: ResourceRequest) -> list[str]:
    """The directives of the script in a job folder.

    Raises:
        ValueError: a value has more than one line.
    """
    asked = directives(options, request)
    # In the name of a log file, % starts a replacement.
    log = f"{folder}/slurm-".replace("%", "%%") + "%j"
    named = {"--job-name": by_hand_name(folder), **asked.named, "-o": f"{log}.out", "-e": f"{log}.err"}
    return replace(asked, named=named).lines("#SBATCH", in_directive, _SHORT)


def in_directive(value: str) -> str:
    """Quote a value so that sbatch reads it as one word of a ``#SBATCH`` line.

    No shell reads these lines. sbatch treats quotes as a shell does, except that a backslash escapes within all of
    them. A bare # starts a comment.

    Raises:
        ValueError: it has more than one line.
    """
    escaped = require_one_line(value).replace("\\", "\\\\").replace('"', '\\"')
    return escaped if _ONE_WORD.fullmatch(escaped) else f'"{escaped}"'

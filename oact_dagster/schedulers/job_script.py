"""The common parts of all schedulers' job scripts: environment, directives and safe quoting."""

import hashlib
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oact_dagster.files import atomic_write

PAYLOAD = (sys.executable, "-P", "-m", "oact_dagster.launchers.payload")
"""The payload's command. With -P, Python imports nothing from the job folder."""


@dataclass(frozen=True, slots=True)
class JobEnvironment:
    """The environment that a job sets up before it runs the payload."""

    modules: Sequence[str] = ()
    conda_env: str | None = None
    setup_lines: Sequence[str] = ()
    """The user's lines of bash, the only text that the shell takes as code."""
    ld_library_path: str | None = None
    """Prepended to the variable of this name."""
    conda_base: str | None = None
    """Where conda is installed; None: the conda on PATH."""

    def lines(self) -> list[str]:
        """The lines of bash that set up the environment.

        Raises:
            ValueError: a value has more than one line.
        """
        found = []
        if self.modules:
            # Without the modules, one structure after the other would fail.
            found.append(f"module load {' '.join(map(quoted, self.modules))} || exit 5")
        if self.conda_env is not None:
            # A job's bash is not a login shell, so conda's shell function must be defined first.
            hook = 'eval "$("${CONDA_EXE:-conda}" shell.bash hook)"'
            if self.conda_base is not None:
                hook = f". {quoted(f'{self.conda_base}/etc/profile.d/conda.sh')}"
            found += [f"{hook} || exit 5", f"conda activate {quoted(self.conda_env)} || exit 5"]
        if self.ld_library_path is not None:
            found.append(
                f"export LD_LIBRARY_PATH={quoted(self.ld_library_path)}"
                "${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
            )
        return [*found, *map(require_one_line, self.setup_lines)]


@dataclass(frozen=True, slots=True)
class Directives:
    """A job's options, the same for a submit and for the script of a job folder."""

    named: Mapping[str, str | int | None]
    """Options with their values; an option whose value is None is left out."""
    extra: Sequence[str] = ()
    """The user's own options; they come last, and so win."""

    def options(self) -> list[str]:
        """The options as arguments of the submit command."""
        return [
            *(
                f"{name}={value}" if name.startswith("--") else f"{name}{value}"
                for name, value in self.named.items()
                if value is not None
            ),
            *self.extra,
        ]

    def lines(self, mark: str, quote: Callable[[str], str], short: Mapping[str, str]) -> list[str]:
        """The options as lines of a script.

        Args:
            mark: the beginning of each line.
            quote: turns a value into one word.
            short: other names for some of the options.

        Raises:
            ValueError: a value has more than one line.
        """
        return [
            *(
                # After a space, a value that begins with a dash would be read as another option.
                f"{mark} {short.get(name, name)}{'=' if str(value).startswith('-') else ' '}{quote(str(value))}"
                for name, value in self.named.items()
                if value is not None
            ),
            *(f"{mark} {quote(option)}" for option in self.extra),
        ]


def whole_minutes(seconds: float) -> int:
    """A time limit in minutes, rounded up, at least 1."""
    # 0.55 h are 1980.0000000000002 s, which must not become 34 min.
    return max(1, math.ceil(round(seconds / 60, 6)))


def require_one_line(value: str) -> str:
    """Return the value unchanged.

    Raises:
        ValueError: it has more than one line, of which the second would count as code or directive, or a NUL.
    """
    if any(character in value for character in "\n\r\0"):
        raise ValueError(f"{value!r}: must be one line")
    return value


def quoted(value: str | Path) -> str:
    """Quote a value for bash, so that it is one word whatever it contains.

    Raises:
        ValueError: it has more than one line.
    """
    return shlex.quote(require_one_line(str(value)))


def by_hand_name(folder: Path) -> str:
    """The name of a job that a user submits with a job folder's script.

    The folder's name makes it readable in the queue. A hash of the folder's real path makes it unique among campaigns.
    """
    digest = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', folder.name)}-{digest}"


def script_text(directives: Sequence[str], body: Sequence[str]) -> str:
    """The text of a bash script."""
    # A signal that arrives before the payload can handle it must not end the script.
    return "\n".join(["#!/bin/bash", *directives, "trap '' USR1", *body, ""])


def write_script(path: Path, text: str) -> Path:
    """Write an executable script.

    Raises:
        OSError: it cannot be written.
    """
    atomic_write(path, text)
    path.chmod(0o755)
    return path

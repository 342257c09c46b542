"""What the job scripts of all schedulers have in common: the environment that they set up, and safe quoting."""

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
"""The payload's command. -P: the job folder does not become a place that modules are imported from."""


@dataclass(frozen=True, slots=True)
class JobEnvironment:
    """What a job sets up before it runs the payload."""

    modules: Sequence[str] = ()
    conda_env: str | None = None
    setup_lines: Sequence[str] = ()
    """Lines of bash as the user wrote them: the only text that a shell reads as code."""
    ld_library_path: str | None = None
    """Put before what is there."""
    conda_base: str | None = None
    """Where conda is installed; None: the one on PATH."""

    def lines(self) -> list[str]:
        """The lines of bash that set it up.

        Raises:
            ValueError: a value has more than one line.
        """
        found = []
        if self.modules:
            # What is computed without it would only fail, structure after structure.
            found.append(f"module load {' '.join(map(quoted, self.modules))} || exit 5")
        if self.conda_env is not None:
            # A job's bash is no login shell: conda's function must be made first.
            made = 'eval "$("${CONDA_EXE:-conda}" shell.bash hook)"'
            if self.conda_base is not None:
                made = f". {quoted(f'{self.conda_base}/etc/profile.d/conda.sh')}"
            found += [
                f"{made} || exit 5",
                f"conda activate {quoted(self.conda_env)} || exit 5",
            ]
        if self.ld_library_path is not None:
            found.append(
                f"export LD_LIBRARY_PATH={quoted(self.ld_library_path)}"
                "${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
            )
        return [*found, *map(require_one_line, self.setup_lines)]


@dataclass(frozen=True, slots=True)
class Directives:
    """What a job asks its scheduler for: the same in a submit and in the script of a job folder."""

    named: Mapping[str, str | int | None]
    """Options with their values; an option without a value is left out."""
    extra: Sequence[str] = ()
    """Options as the user wrote them; they come last, and so win."""

    def options(self) -> list[str]:
        """As arguments of the command that submits."""
        return [
            *(
                f"{name}={value}" if name.startswith("--") else f"{name}{value}"
                for name, value in self.named.items()
                if value is not None
            ),
            *self.extra,
        ]

    def lines(self, mark: str, quote: Callable[[str], str], short: Mapping[str, str]) -> list[str]:
        """As lines of a script.

        Args:
            mark: what each begins with.
            quote: makes one word of a value.
            short: names of options that are written in another way.

        Raises:
            ValueError: a value has more than one line.
        """
        return [
            *(
                # What begins with a dash would be taken for another option.
                f"{mark} {short.get(name, name)}{'=' if str(value).startswith('-') else ' '}{quote(str(value))}"
                for name, value in self.named.items()
                if value is not None
            ),
            *(f"{mark} {quote(option)}" for option in self.extra),
        ]


def whole_minutes(seconds: float) -> int:
    """A time limit as schedulers take it: 1 min at least, and rounded up."""
    # 0.55 h are 1980.0000000000002 s, and no minute more.
    return max(1, math.ceil(round(seconds / 60, 6)))


def require_one_line(value: str) -> str:
    """The value itself.

    Raises:
        ValueError: it has more than one line, or a NUL: what follows would be read as a line of its own.
    """
    if any(character in value for character in "\n\r\0"):
        raise ValueError(f"{value!r}: must be one line")
    return value


def quoted(value: str | Path) -> str:
    """A value that bash takes as one word, whatever is in it.

    Raises:
        ValueError: it has more than one line.
    """
    return shlex.quote(require_one_line(str(value)))


def by_hand_name(folder: Path) -> str:
    """The name of the job that somebody submits by hand from a job folder's script.

    It holds the name of the folder, for whoever reads the queue, and a hash of the folder's real path, so that no
    other campaign has it.
    """
    digest = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', folder.name)}-{digest}"


def script_text(directives: Sequence[str], body: Sequence[str]) -> str:
    """A bash script."""
    return "\n".join(
        [
            "#!/bin/bash",
            *directives,
            # A signal that comes before the payload can take it must not end the script.
            "trap '' USR1",
            *body,
            "",
        ]
    )


def write_script(path: Path, text: str) -> Path:
    """Write a script that can be executed.

    Raises:
        OSError: it cannot be written.
    """
    atomic_write(path, text)
    path.chmod(0o755)
    return path

"""The files of a job folder: which one is the job's output, and which belong to it.

The output is the newest ORCA output, gzipped or not. Outputs of ORCA's own sub-runs never count, since they end
normally by themselves: atomic guesses (``orca_atom95.out``) and anything else named after the job (``orca_D001.out``
beside ``orca.inp``). Nor do a scheduler's files: ``slurm-*.out`` and ``flux-*.out`` hold only its messages.
"""

import os
import re
from pathlib import Path
from typing import Final

from oact_dagster.orca.outputs.file_blocks import FileBlocks, UnreadableFileError, last_bytes

_OUTPUT: Final = re.compile(r"(?:(?P<stem>.+)\.(?:out|log)|logs)(?:\.gz)?\Z", re.IGNORECASE)
_SCHEDULERS: Final = re.compile(r"(?:slurm|flux)-.*\.(?:out|err)\Z|.+\.err\Z", re.IGNORECASE)
_ATOMIC_GUESS: Final = re.compile(r"(?:.*_)?atom\d+\Z", re.IGNORECASE)
_NO_OUTPUT: Final = frozenset({"payload.log", "sella.log"})
_ORCAS: Final = (b"O   R   C   A", b"Program Version", b"INPUT FILE", b"NOT ORCA", b"ORCA TERMINATED")
_SNIFFED: Final = 64 << 10
_MESSAGES_KEPT: Final = 64 << 10
_CLOCKS_APART_S: Final = 300.0


class JobFolder:
    """A job folder, whose names are listed once."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """List the folder.

        Raises:
            OSError: The folder cannot be listed.
        """
        self.path = Path(path)
        with os.scandir(path) as entries:
            self._names = [entry.name for entry in entries]
        inputs = {name[:-4] for name in self._names if name.endswith(".inp")}
        self._inputs = {stem for stem in inputs if not _ATOMIC_GUESS.match(stem)}

    def output(self) -> Path | None:
        """Return the output: the newest that looks like ORCA's, else (the run has just begun) the newest of all."""
        candidates = self._newest_first([name for name in self._names if self._may_be_output(name)])
        if len(candidates) == 1:
            return candidates[0]
        for candidate in candidates:
            if _looks_like_orca(candidate):
                return candidate
        return candidates[0] if candidates else None

    def engrad(self, output: Path | None) -> Path | None:
        """Return the job's ``.engrad``: the one named like the output, else the newest."""
        return self._companion(output, (".engrad", ".engrad.gz"))

    def properties(self, output: Path | None) -> Path | None:
        """Return the job's ``.property.txt``: the one named like the output, else the newest."""
        return self._companion(output, (".property.txt", "_property.txt", ".property.txt.gz"))

    def scheduler_messages(self, output: Path) -> list[bytes]:
        """Return the ends of the scheduler's files that are not older than the output, newest first."""
        try:
            earliest = output.stat().st_mtime - _CLOCKS_APART_S
        except OSError:
            return []
        messages = []
        for path in self._newest_first([name for name in self._names if _SCHEDULERS.match(name)]):
            try:
                if path.stat().st_mtime >= earliest:
                    messages.append(last_bytes(path, _MESSAGES_KEPT))
            except (OSError, UnreadableFileError):
                continue
        return messages

    def _may_be_output(self, name: str) -> bool:
        match = _OUTPUT.match(name)
        if match is None or name in _NO_OUTPUT or _SCHEDULERS.match(name):
            return False
        stem = match.group("stem") or ""
        if _ATOMIC_GUESS.match(stem):
            return False
        if stem in self._inputs:
            return True
        # A file named after a job is from one of its sub-runs, unless it has an input of its own.
        return not any(stem.startswith((f"{job}_", f"{job}.")) for job in self._inputs)

    def _companion(self, output: Path | None, endings: tuple[str, ...]) -> Path | None:
        names = [name for name in self._names if name.endswith(endings)]
        match = _OUTPUT.match(output.name) if output is not None else None
        stem = match.group("stem") if match else None
        own = [name for name in names if any(name == f"{stem}{ending}" for ending in endings)]
        others = [name for name in names if not _ATOMIC_GUESS.match(name.partition(".")[0])]
        found = self._newest_first(own or others)
        return found[0] if found else None

    def _newest_first(self, names: list[str]) -> list[Path]:
        if len(names) < 2:
            return [self.path / name for name in names]
        times: list[tuple[int, bool, str]] = []
        for name in names:
            try:
                time = (self.path / name).stat().st_mtime_ns
            except OSError:
                time = -1
            # Files unpacked together may have the same time; then the job's own name decides.
            match = _OUTPUT.match(name)
            times.append((time, match is not None and match.group("stem") in self._inputs, name))
        return [self.path / name for _, _, name in sorted(times, reverse=True)]


def _looks_like_orca(path: Path) -> bool:
    try:
        top = next(FileBlocks(path, first_block=_SNIFFED).text(), b"")
    except UnreadableFileError:
        return False
    return any(words in top for words in _ORCAS)

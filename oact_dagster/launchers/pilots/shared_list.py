"""The list from which pilots take attempts: files in folders that all nodes see.

An attempt is taken by one rename, which succeeds for only one of two processes. No file is ever locked, since parallel
file systems may have no locks. ``waiting/`` holds one file for each attempt, named so that the costliest comes first; a
pilot moves it to ``taken/``, and writes its end to ``ended/``. ``cancelled/`` holds a mark for each taken attempt that
must end. Pilots import this on the nodes, so it needs only the standard library and small modules.
"""

import contextlib
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from oact_dagster.files import atomic_write
from oact_dagster.schedulers.jobs import (
    WITHDRAWN,
    Cause,
    Job,
    JobState,
    Phase,
    ended_with,
    not_started,
    out_of_time,
)

_HIGHEST_COST: Final = 10**10 - 1
_NOT_STARTED: Final = "not started: "
_SPELLED: Final = {Cause.WITHDRAWN: "never started", Cause.OUT_OF_TIME: "out of time"}
"""What is written for an attempt that never began. Pilots and runs of other versions read it."""
_RETURNED: Final = re.compile(r"(exit|signal) (\d+)")

Fits = Callable[[float, float], bool]
"""Whether an attempt with this time limit (s) and this expected cost can finish in time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt on the list."""

    token: str
    folder: str
    n_cores: int
    time_limit_s: float
    expected_cost: float = 0.0
    """The higher, the earlier it is taken."""

    @classmethod
    def of(cls, job: Job) -> "Entry":
        """The entry for a job."""
        return cls(job.token, str(job.folder), job.n_cores, job.time_limit_s, job.expected_cost)

    def job(self) -> Job:
        """The job of this entry."""
        folder = Path(self.folder)
        return Job(self.token, folder, self.n_cores, self.time_limit_s, expected_cost=self.expected_cost)


class SharedList:
    """The list in a folder, on a file system that login node and compute nodes share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._waiting = folder / "waiting"
        self._taken = folder / "taken"
        self._ended = folder / "ended"
        self._cancelled = folder / "cancelled"

    def make(self) -> None:
        """Make the folders."""
        for part in (self._waiting, self._taken, self._ended, self._cancelled):
            part.mkdir(parents=True, exist_ok=True)

    # --- for launchers ----------------------------------------------------------------------------------------------

    def put(self, jobs: Sequence[Job]) -> None:
        """Add attempts to those that wait.

        Raises:
            OSError: an attempt cannot be written; it is not on the list.
        """
        for job in jobs:
            name = _Name(job.token, job.time_limit_s, job.expected_cost)
            atomic_write(self._waiting / name.text(), json.dumps(asdict(Entry.of(job))))

    def withdraw(self, tokens: Collection[str]) -> set[str]:
        """Remove attempts that no pilot has taken, and return those that none can take any more."""
        wanted = set(tokens)
        found = set()
        for file, name in self._names():
            if name.token in wanted:
                # A pilot may take it at the same time; only one of the two succeeds.
                with contextlib.suppress(FileNotFoundError):
                    file.unlink()
                    found.add(name.token)
        return found

    def cancel(self, tokens: Collection[str]) -> None:
        """Ask the pilots that run these attempts to end them."""
        for token in tokens:
            (self._cancelled / token).touch()

    def waiting(self) -> set[str]:
        """Tokens of the attempts that no pilot has taken yet."""
        return {name.token for _, name in self._names()}

    def taken(self) -> dict[str, str]:
        """The pilot's token for each attempt that was taken and has not ended."""
        found = {}
        for name in _listed(self._taken):
            token, _, pilot = name.partition(".")
            found[token] = pilot
        return found

    def ended(self, token: str) -> JobState | None:
        """How an attempt ended, as its pilot saw it; None if no pilot has recorded its end."""
        try:
            return _read_state(str(json.loads((self._ended / token).read_bytes())["final"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def forget(self, tokens: Collection[str]) -> None:
        """Remove the files of attempts that have been judged."""
        taken = self.taken()
        for token in tokens:
            paths = [self._ended / token, self._cancelled / token]
            paths += [self._taken / f"{token}.{taken[token]}"] if token in taken else []
            for path in paths:
                with contextlib.suppress(OSError):
                    path.unlink()

    # --- for pilots -------------------------------------------------------------------------------------------------

    def take(self, pilot: str, fits: Fits) -> Entry | None:
        """Take the next attempt that fits for this pilot; None if there is none."""
        for file, name in self._names():
            if not fits(name.time_limit_s, name.expected_cost):
                continue
            target = self._taken / f"{name.token}.{pilot}"
            # A file server may repeat a rename whose answer was lost, and then report that there is no such file.
            with contextlib.suppress(FileNotFoundError):
                file.rename(target)
            try:
                return Entry(**json.loads(target.read_bytes()))
            except FileNotFoundError:
                continue  # another pilot was faster
            except (ValueError, TypeError):
                self.end(name.token, pilot, not_started("its entry on the list cannot be read"))
        return None

    def is_empty(self) -> bool:
        """Whether no attempt waits."""
        return not _listed(self._waiting)

    def end(self, token: str, pilot: str, state: JobState) -> None:
        """Record the end of an attempt."""
        atomic_write(self._ended / token, json.dumps({"pilot": pilot, "final": _written(state)}))
        with contextlib.suppress(OSError):
            (self._taken / f"{token}.{pilot}").unlink()

    def give_back(self, entry: Entry, pilot: str) -> None:
        """Put back an attempt that was taken but never begun."""
        self.put([entry.job()])
        with contextlib.suppress(OSError):
            (self._taken / f"{entry.token}.{pilot}").unlink()

    def cancelled(self) -> set[str]:
        """Tokens of the attempts that must end."""
        return set(_listed(self._cancelled))

    def _names(self) -> "Iterator[tuple[Path, _Name]]":
        """The waiting attempts, the costliest first."""
        for text in _listed(self._waiting):
            name = _Name.read(text)
            if name is not None:
                yield self._waiting / text, name


def _written(state: JobState) -> str:
    if state.cause is Cause.NOT_STARTED:
        return f"{_NOT_STARTED}{state.reason}"
    return _SPELLED.get(state.cause, state.final)


def _read_state(text: str) -> JobState:
    if text.startswith(_NOT_STARTED):
        return not_started(text.removeprefix(_NOT_STARTED))
    if text == _SPELLED[Cause.WITHDRAWN]:
        return WITHDRAWN
    if text == _SPELLED[Cause.OUT_OF_TIME]:
        return out_of_time("")
    if (returned := _RETURNED.fullmatch(text)) is not None:
        return ended_with(int(returned[2]) if returned[1] == "exit" else -int(returned[2]))
    return JobState(Phase.ENDED, text)


@dataclass(frozen=True, slots=True)
class _Name:
    """The name of a waiting attempt's file, by which it can be chosen without reading it."""

    token: str
    time_limit_s: float
    expected_cost: float

    def text(self) -> str:
        """Write the name; in the order of text the costliest comes first."""
        rank = min(_HIGHEST_COST, max(0, _HIGHEST_COST - round(self.expected_cost)))
        return f"{rank:010d}-{math.ceil(self.time_limit_s)}-{self.token}"

    @classmethod
    def read(cls, text: str) -> "_Name | None":
        rank, _, rest = text.partition("-")
        limit, _, token = rest.partition("-")
        if not (rank.isdecimal() and limit.isdecimal() and token):
            return None
        return cls(token, float(limit), float(_HIGHEST_COST - int(rank)))


def _listed(folder: Path) -> list[str]:
    """The sorted names of complete files; those being written begin with a dot."""
    try:
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []

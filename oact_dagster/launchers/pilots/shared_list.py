"""The list of attempts from which pilots take the next one: files in folders that all nodes see.

An attempt is taken by one rename, which a file system does for one of two processes only, and no file is ever
locked: on a parallel file system locks may be off. ``waiting/`` holds one file for each attempt, named so that the
dearest comes first; a pilot moves it to ``taken/``, and tells its end in ``ended/``. ``cancelled/`` holds a mark for
each taken attempt that is to be ended. Standard library only: pilots import it on the nodes.
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

_DEAREST: Final = 10**10 - 1
_NOT_STARTED: Final = "not started: "
_SPELLED: Final = {Cause.WITHDRAWN: "never started", Cause.OUT_OF_TIME: "out of time"}
"""How an attempt that never began stands on the list, where pilots and runs of other versions read it."""
_RETURNED: Final = re.compile(r"(exit|signal) (\d+)")

Fits = Callable[[float, float], bool]
"""Whether an attempt with this time limit (s) and this expected cost can end in time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt on the list."""

    token: str
    folder: str
    n_cores: int
    time_limit_s: float
    expected_cost: float = 0.0
    """The larger, the earlier it is taken."""

    @classmethod
    def of(cls, job: Job) -> "Entry":
        """The entry of a job."""
        return cls(job.token, str(job.folder), job.n_cores, job.time_limit_s, job.expected_cost)

    def job(self) -> Job:
        """The job of an entry."""
        return Job(
            self.token,
            Path(self.folder),
            self.n_cores,
            self.time_limit_s,
            expected_cost=self.expected_cost,
        )


class SharedList:
    """The list in a folder.

    Args:
        folder: on a file system that login node and compute nodes share.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._waiting = folder / "waiting"
        self._taken = folder / "taken"
        self._ended = folder / "ended"
        self._cancelled = folder / "cancelled"

    def make(self) -> None:
        """Make the folders.

        Raises:
            OSError: they cannot be made.
        """
        for part in (self._waiting, self._taken, self._ended, self._cancelled):
            part.mkdir(parents=True, exist_ok=True)

    # --- the side of the launcher -----------------------------------------------------------------------------------

    def put(self, jobs: Sequence[Job]) -> None:
        """Add attempts, the dearest ones first in the order; each is there whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        for job in jobs:
            name = _Name(job.token, job.time_limit_s, job.expected_cost)
            atomic_write(self._waiting / name.text(), json.dumps(asdict(Entry.of(job))))

    def withdraw(self, tokens: Collection[str]) -> set[str]:
        """Take attempts off the list that no pilot has taken.

        Returns:
            Those that no pilot can take any more.
        """
        wanted = set(tokens)
        found = set()
        for file, name in self._names():
            if name.token in wanted:
                # A pilot may take it at the same time: one of the two finds that it is gone.
                with contextlib.suppress(FileNotFoundError):
                    file.unlink()
                    found.add(name.token)
        return found

    def cancel(self, tokens: Collection[str]) -> None:
        """Ask the pilots that run these attempts to end them.

        Raises:
            OSError: it cannot be written.
        """
        for token in tokens:
            (self._cancelled / token).touch()

    def waiting(self) -> set[str]:
        """Attempts that no pilot has taken yet."""
        return {name.token for _, name in self._names()}

    def taken(self) -> dict[str, str]:
        """The pilot of each attempt that was taken and has not ended."""
        found = {}
        for name in _listed(self._taken):
            token, _, pilot = name.partition(".")
            found[token] = pilot
        return found

    def ended(self, token: str) -> JobState | None:
        """How an attempt has ended, as far as its pilot saw it; None where no pilot has said so."""
        try:
            return _read_state(str(json.loads((self._ended / token).read_bytes())["final"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def forget(self, tokens: Collection[str]) -> None:
        """Remove what is left of attempts that have been judged."""
        taken = self.taken()
        for token in tokens:
            paths = [self._ended / token, self._cancelled / token]
            paths += [self._taken / f"{token}.{taken[token]}"] if token in taken else []
            for path in paths:
                with contextlib.suppress(OSError):
                    path.unlink()

    # --- the side of a pilot ----------------------------------------------------------------------------------------

    def take(self, pilot: str, fits: Fits) -> Entry | None:
        """Take the next attempt that can end in time.

        Args:
            pilot: who takes it.
            fits: what does not fit is left to others.

        Returns:
            It is this pilot's alone; None where there is none.
        """
        for file, name in self._names():
            if not fits(name.time_limit_s, name.expected_cost):
                continue
            target = self._taken / f"{name.token}.{pilot}"
            # A file server that lost its own answer says of a rename that it did that there is no such file.
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
        """Whether nothing waits."""
        return not _listed(self._waiting)

    def end(self, token: str, pilot: str, state: JobState) -> None:
        """Tell that an attempt has ended.

        Raises:
            OSError: it cannot be written.
        """
        atomic_write(self._ended / token, json.dumps({"pilot": pilot, "final": _written(state)}))
        with contextlib.suppress(OSError):
            (self._taken / f"{token}.{pilot}").unlink()

    def give_back(self, entry: Entry, pilot: str) -> None:
        """Put an attempt back that was taken and never begun.

        Raises:
            OSError: it cannot be written.
        """
        self.put([entry.job()])
        with contextlib.suppress(OSError):
            (self._taken / f"{entry.token}.{pilot}").unlink()

    def cancelled(self) -> set[str]:
        """Attempts that are to be ended."""
        return set(_listed(self._cancelled))

    def _names(self) -> "Iterator[tuple[Path, _Name]]":
        """What waits, the dearest first."""
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
    """The name of a waiting attempt's file: it can be chosen without being read."""

    token: str
    time_limit_s: float
    expected_cost: float

    def text(self) -> str:
        """Sorted as text, the dearest comes first."""
        rank = min(_DEAREST, max(0, _DEAREST - round(self.expected_cost)))
        return f"{rank:010d}-{math.ceil(self.time_limit_s)}-{self.token}"

    @classmethod
    def read(cls, text: str) -> "_Name | None":
        rank, _, rest = text.partition("-")
        limit, _, token = rest.partition("-")
        if not (rank.isdecimal() and limit.isdecimal() and token):
            return None
        return cls(token, float(limit), float(_DEAREST - int(rank)))


def _listed(folder: Path) -> list[str]:
    """Names of whole files, sorted; those that are being written begin with a dot."""
    try:
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []

"""Faults of Dagster's own storage under a run: its folder is removed, its disk is full, its server does not answer.

The ledger is the truth, and needs none of it. So a batch comes to an orderly end without Dagster, and whoever runs it
is told in one line.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from dagster import DagsterInstance, DagsterRun, EventLogEntry
from sqlalchemy.exc import SQLAlchemyError

from oact_dagster.attempts.full_disk import no_space_in, why_full
from oact_dagster.defs.dagster_internals import intercept
from oact_dagster.errors import OactError

_FILES: Final = ("dagster.yaml", "history/runs.db", "history/runs/index.db", "schedules/schedules.db")
"""Of an instance; without the last three where it keeps its events in PostgreSQL."""


_GUARD: Final = "_oact_guard"
"""Where an instance keeps its guard: both go together."""


class StorageError(OactError):
    """Dagster's storage cannot be used; the text is one line that says where, why and what to do."""


class InstanceFolder:
    """The folder of a Dagster instance, as it was when somebody began to use it.

    Args:
        home: where it is.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._files = [file for name in _FILES if (file := home / name).exists()]

    def is_gone(self) -> bool:
        """Whether the folder, or a part of it, was removed since then."""
        return not self.home.is_dir() or not all(file.exists() for file in self._files)

    def is_full(self, error: BaseException) -> bool:
        """Whether an error is one of a full disk."""
        full = no_space_in(error) is not None or "disk is full" in str(error)
        return full or bool(why_full(self.home))

    def met(self, error: BaseException) -> bool:
        """Whether an error is one of the storage in this folder, and no other."""
        whose = type(error).__module__.startswith("dagster_postgres")
        return whose or isinstance(error, SQLAlchemyError) or no_space_in(error) is not None or self.is_gone()

    def told_of(self, error: BaseException) -> str:
        """What a user is told of an error of the storage, in one line."""
        if self.is_gone():
            return (
                f"{self.home}: Dagster's folder was removed while it was in use; the ledger has all results: run it"
                " again, and Dagster is told of them"
            )
        if self.is_full(error):
            return (
                f"{self.home}: Dagster's storage cannot be written: no space left on its disk; make room and run it"
                " again"
            )
        why = " ".join(str(getattr(error, "orig", None) or error).partition("\n")[0].split())
        return f"{self.home}: Dagster's storage cannot be used: {why}; run it again when it can be"


class StorageGuard:
    """Keeps a run going without Dagster from the first write on that fails: Dagster goes on, and writes nothing more.

    Args:
        instance: of this process; only this object is changed.
    """

    def __init__(self, instance: DagsterInstance) -> None:
        self.folder = InstanceFolder(Path(instance.root_directory))
        self.lost = ""
        """What a user is told of the storage once it is lost, in one line."""
        self._then: list[Callable[[], None]] = []
        self._thread = threading.get_ident()
        self._runs: dict[str, DagsterRun] = {}
        self._write, self._read_run = instance.handle_new_event, instance.get_run_by_id
        intercept(instance, self._handle_new_event, self._get_run_by_id)

    def then(self, run: DagsterRun, call: Callable[[], None]) -> None:
        """Call this as soon as the storage is lost: in the thread that the guard was made in.

        Args:
            run: what Dagster is answered then when it asks for this run.
            call: ends it.
        """
        self._runs[run.run_id] = run
        self._then.append(call)

    def lose(self, error: Exception) -> None:
        """Do without the storage from now on.

        Args:
            error: that it raised.
        """
        if self.lost:
            return
        self.lost = self.folder.told_of(error)
        for call in self._then:
            call()

    def _handle_new_event(self, event: EventLogEntry, **more: Any) -> None:
        if self.lost:
            return
        try:
            self._write(event, **more)
        except Exception as error:
            if threading.get_ident() == self._thread and self._matters(event, error):
                self.lose(error)

    def _matters(self, event: EventLogEntry, error: Exception) -> bool:
        """Whether a write that failed is more than a line of the log for which the storage had no time."""
        return event.dagster_event is not None or self.folder.is_gone() or self.folder.is_full(error)

    def _get_run_by_id(self, run_id: str) -> DagsterRun | None:
        """What Dagster asks for at a run's end."""
        try:
            return self._read_run(run_id)
        except Exception:
            if not self.lost:
                raise
            return self._runs.get(run_id)


def guarded(instance: DagsterInstance) -> StorageGuard:
    """The guard of an instance, of which each has one."""
    found = instance.__dict__.get(_GUARD)
    if not isinstance(found, StorageGuard):
        instance.__dict__[_GUARD] = found = StorageGuard(instance)
    return found


@contextmanager
def telling_of_storage(home: Path) -> Iterator[None]:
    """Turn what happens to Dagster's storage into one line.

    Args:
        home: the folder of the instance.

    Raises:
        StorageError: it was removed, is full, or cannot be used.
    """
    folder = InstanceFolder(home)
    try:
        yield
    except Exception as error:
        if not folder.met(error):
            raise
        raise StorageError(folder.told_of(error)) from None
